//! The column `renders.field_versions`.

use super::rule::{Fields, UnknownVersions, Version};
use crate::domain::OutputField;

/// The fields that have versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionedField {
    Name,
    ProjectType,
    Error,
    CreditsCharged,
    Deleted,
    CreatedAt,
    Output(OutputField),
}

impl VersionedField {
    /// The number of those before [`Self::Output`].
    const BEFORE_OUTPUT: usize = 6;
    const COUNT: usize = Self::BEFORE_OUTPUT + OutputField::ALL.len();

    /// Its bit in the column. It must not change.
    const fn bit(self) -> usize {
        match self {
            Self::Name => 0,
            Self::ProjectType => 1,
            Self::Error => 2,
            Self::CreditsCharged => 3,
            Self::Deleted => 4,
            Self::CreatedAt => 5,
            Self::Output(field) => Self::BEFORE_OUTPUT + field as usize,
        }
    }
}

/// The versions of a render's fields. A field that was never observed has none.
///
/// The column has three numbers for each version: the rank of the status, the microseconds since the epoch, and the bits of
/// the fields that have it. The fields of one observation have the same version, so there are only a few.
///
/// While replicas are replaced, one may read fields that a newer one has observed. It keeps their versions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FieldVersions {
    known: [Option<Version>; VersionedField::COUNT],
    pub(super) unknown: UnknownVersions,
}

/// The error for a column that is not a list of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the column field_versions is not a list of ranks, times, and bits")]
pub(super) struct InvalidFieldVersions;

impl FieldVersions {
    pub(super) fn of(fields: &Fields) -> Self {
        let mut versions = Self { unknown: fields.unknown.clone(), ..Self::default() };
        let mut set = |field: VersionedField, version| versions.known[field.bit()] = version;
        set(VersionedField::Name, fields.name.as_ref().map(|it| it.version));
        set(VersionedField::ProjectType, fields.project_type.as_ref().map(|it| it.version));
        set(VersionedField::Error, fields.error.as_ref().map(|it| it.version));
        set(VersionedField::CreditsCharged, fields.credits_charged.as_ref().map(|it| it.version));
        set(VersionedField::Deleted, fields.deleted.as_ref().map(|it| it.version));
        set(VersionedField::CreatedAt, fields.created_at.as_ref().map(|it| it.version));
        for field in OutputField::ALL {
            set(VersionedField::Output(field), fields.output.get(field).as_ref().map(|it| it.version));
        }
        versions
    }

    /// The version of a field, if it was observed.
    pub(super) const fn get(&self, field: VersionedField) -> Option<Version> {
        self.known[field.bit()]
    }

    pub(super) fn from_column(numbers: &[i64]) -> Result<Self, InvalidFieldVersions> {
        let mut versions = Self::default();
        let (groups, rest) = numbers.as_chunks();
        if !rest.is_empty() {
            return Err(InvalidFieldVersions);
        }
        for &[rank, micros, bits] in groups {
            let version = Version { rank: rank.try_into().map_err(|_| InvalidFieldVersions)?, micros };
            for (bit, known) in versions.known.iter_mut().enumerate() {
                if (bits >> bit) & 1 == 1 {
                    *known = Some(version);
                }
            }
            let unknown = bits & !Self::KNOWN_BITS;
            if unknown != 0 {
                versions.unknown.push((version, unknown));
            }
        }
        Ok(versions)
    }

    const KNOWN_BITS: i64 = (1 << VersionedField::COUNT) - 1;

    pub(super) fn into_column(self) -> Vec<i64> {
        let mut groups: Vec<[i64; 3]> = Vec::new();
        let known = self.known.into_iter().enumerate().filter_map(|(bit, version)| Some((version?, 1 << bit)));
        for (Version { rank, micros }, bits) in known.chain(self.unknown) {
            match groups.iter_mut().find(|group| group[..2] == [rank.into(), micros]) {
                Some(group) => group[2] |= bits,
                None => groups.push([rank.into(), micros, bits]),
            }
        }
        groups.into_flattened()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(known: &[Option<Version>; VersionedField::COUNT]) -> FieldVersions {
        FieldVersions { known: *known, unknown: Vec::new() }
    }

    #[test]
    fn fields_with_the_same_version_share_three_numbers() {
        let (old, new) = (Version { rank: 2, micros: 10 }, Version { rank: 4, micros: 20 });
        let mut versions = [Some(old); VersionedField::COUNT];
        assert_eq!(known(&versions).into_column(), [2, 10, 0b1111_1111_1111]);
        versions[VersionedField::Name.bit()] = Some(new);
        versions[VersionedField::Output(OutputField::Fps).bit()] = None;
        assert_eq!(known(&versions).into_column(), [4, 20, 1, 2, 10, 0b1110_1111_1110]);
        assert_eq!(FieldVersions::default().into_column(), Vec::<i64>::new());
    }

    #[test]
    fn versions_of_fields_that_are_not_known_yet_are_kept() {
        let column = [2, 10, (1 << 12) | 1, 4, 20, 1 << 40];
        let versions = FieldVersions::from_column(&column).unwrap();
        assert_eq!(versions.get(VersionedField::Name), Some(Version { rank: 2, micros: 10 }));
        assert_eq!(versions.into_column(), column);
    }

    #[test]
    fn each_field_has_its_own_bit() {
        let mut bits: Vec<_> = OutputField::ALL.map(|field| VersionedField::Output(field).bit()).to_vec();
        let others = [
            VersionedField::Name,
            VersionedField::ProjectType,
            VersionedField::Error,
            VersionedField::CreditsCharged,
            VersionedField::Deleted,
            VersionedField::CreatedAt,
        ];
        bits.extend(others.map(VersionedField::bit));
        bits.sort_unstable();
        assert_eq!(bits, (0..VersionedField::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn a_column_of_another_form_is_an_error() {
        for numbers in [&[2][..], &[2, 10], &[40_000, 10, 1]] {
            assert_eq!(FieldVersions::from_column(numbers), Err(InvalidFieldVersions), "{numbers:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_is_written_is_read_back(
            versions in prop::array::uniform12(prop::option::of((0..5_i16, prop_oneof![0..3_i64, any::<i64>()]))),
        ) {
            let versions = versions.map(|it| it.map(|(rank, micros)| Version { rank, micros }));
            let column = known(&versions).into_column();
            prop_assert_eq!(FieldVersions::from_column(&column), Ok(known(&versions)));
        }
    }
}
