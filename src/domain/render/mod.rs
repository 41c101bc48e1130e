//! What identifies and describes a render: its ids, kind, and status.

mod external_id;
mod external_id_origin;
mod external_id_pattern;
mod kind;
mod render_id;
mod status;

pub use self::external_id::{ExternalId, InvalidExternalId};
pub use self::external_id_origin::ExternalIdOrigin;
pub use self::external_id_pattern::{ExternalIdPattern, InvalidExternalIdPattern};
pub use self::kind::Kind;
pub use self::render_id::{InvalidRenderId, RenderId};
pub use self::status::{Status, rank_of};

/// A string that matches no variant of the enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this version of renderhook does not know this value")]
pub struct UnknownVariant;

/// Implements `FromStr` and `Display` for an enum that has `ALL` and `as_str`.
macro_rules! string_enum {
    ($name:ty) => {
        impl std::str::FromStr for $name {
            type Err = crate::domain::UnknownVariant;

            fn from_str(text: &str) -> Result<Self, crate::domain::UnknownVariant> {
                Self::ALL.into_iter().find(|variant| variant.as_str() == text).ok_or(crate::domain::UnknownVariant)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use string_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_parses_from_its_own_string_and_no_other_string_parses() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for text in ["", "Complete", "completed", " error", "archived"] {
            assert_eq!(text.parse::<Status>(), Err(UnknownVariant), "{text:?}");
            assert_eq!(text.parse::<Kind>(), Err(UnknownVariant), "{text:?}");
        }
    }
}
