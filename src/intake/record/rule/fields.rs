//! The fields of a render other than its status. The newest observation of each field wins.
//!
//! Every value has the [`Version`] of its observation. Merging takes the maximum of the pairs of version and value, so neither
//! the order nor repetitions of observations matter.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use crate::domain::{Measure, Nullable, OutputField, OutputFields, RenderError, Status, rank_of};
use crate::intake::record::Observation;

/// How new an observation is: the rank of its status, then its time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::intake::record) struct Version {
    pub(in crate::intake::record) rank: i16,
    /// Since the epoch.
    pub(in crate::intake::record) micros: i64,
}

impl Version {
    /// The version of an observation with this status at this time.
    #[must_use]
    pub(in crate::intake::record) fn new(status: Option<Status>, observed_at: DateTime<Utc>) -> Self {
        Self { rank: rank_of(status), micros: observed_at.timestamp_micros() }
    }
}

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct Versioned<T> {
    pub(in crate::intake::record) version: Version,
    pub(in crate::intake::record) value: T,
}

/// A field. `None` until it is observed.
pub(in crate::intake::record) type Field<T> = Option<Versioned<T>>;

/// Versions, and the bits of the fields that have them.
pub(in crate::intake::record) type UnknownVersions = Vec<(Version, i64)>;

/// The result of merging a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merged {
    /// The current value is at least as new.
    Unchanged,
    /// The same value was observed later.
    Confirmed,
    /// The value is different, or the first one.
    Changed,
}

/// A render's fields, each with its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::intake::record) struct Fields {
    pub(in crate::intake::record) name: Field<Nullable<String>>,
    pub(in crate::intake::record) project_type: Field<String>,
    pub(in crate::intake::record) error: Field<Nullable<RenderError>>,
    pub(in crate::intake::record) credits_charged: Field<i64>,
    pub(in crate::intake::record) deleted: Field<bool>,
    pub(in crate::intake::record) created_at: Field<DateTime<Utc>>,
    pub(in crate::intake::record) output: OutputFields<Field<Nullable<Measure>>>,
    /// The versions of fields that only a newer renderhook knows, which are written back as they were read.
    pub(in crate::intake::record) unknown: UnknownVersions,
}

/// The result of merging an observation's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldChanges {
    /// Whether any value changed.
    pub(super) any: bool,
    /// The result for the error.
    pub(super) error: Merged,
    /// The result for the credits.
    pub(super) credits: Merged,
}

impl Fields {
    /// The fields of an observation. A complete render has no error, whatever was observed before.
    #[must_use]
    pub(super) fn observed(observation: &Observation) -> Self {
        let Observation { payload_fields, status, observed_at, .. } = observation;
        let version = Version::new(*status, *observed_at);
        let error = if *status == Some(Status::Complete) { Some(Nullable::Null) } else { payload_fields.error.clone() };
        Self {
            name: payload_fields.name.clone().map(|value| Versioned { version, value }),
            project_type: payload_fields.project_type.clone().map(|value| Versioned { version, value }),
            error: error.map(|value| Versioned { version, value }),
            credits_charged: payload_fields.credits_charged.map(|value| Versioned { version, value }),
            deleted: payload_fields.deleted.map(|value| Versioned { version, value }),
            created_at: payload_fields.created_at.map(|value| Versioned { version, value }),
            output: OutputFields::from_fn(|field| {
                payload_fields.output.get(field).clone().map(|value| Versioned { version, value })
            }),
            unknown: UnknownVersions::default(),
        }
    }

    /// Takes newer values from `other`.
    pub(super) fn merge(&mut self, mut other: Self) -> FieldChanges {
        let error = merge(&mut self.error, other.error);
        let credits = merge(&mut self.credits_charged, other.credits_charged);
        let output =
            OutputField::ALL.map(|field| merge(self.output.get_mut(field), other.output.get_mut(field).take()));
        let merged = [
            merge(&mut self.name, other.name),
            merge(&mut self.project_type, other.project_type),
            merge(&mut self.deleted, other.deleted),
            merge(&mut self.created_at, other.created_at),
            error,
            credits,
        ];
        FieldChanges { any: merged.iter().chain(&output).any(|it| *it == Merged::Changed), error, credits }
    }

    /// A fact about the output, if it is known.
    pub(in crate::intake::record) fn measure(&self, field: OutputField) -> Option<f64> {
        match self.output.get(field) {
            Some(Versioned { value: Nullable::Value(measure), .. }) => Some(measure.get()),
            Some(Versioned { value: Nullable::Null, .. }) | None => None,
        }
    }

    /// The same as a whole number.
    pub(in crate::intake::record) fn integer(&self, field: OutputField) -> Option<i32> {
        self.measure(field).and_then(|measure| format!("{measure:.0}").parse().ok())
    }

    /// The code of the error, if any.
    pub(super) fn error_code(&self) -> Option<&str> {
        match &self.error {
            Some(Versioned { value: Nullable::Value(error), .. }) => error.code.as_deref(),
            _ => None,
        }
    }
}

fn merge<T: Ord>(field: &mut Field<T>, other: Field<T>) -> Merged {
    let Some(other) = other else { return Merged::Unchanged };
    let Some(current) = field else {
        *field = Some(other);
        return Merged::Changed;
    };
    let order = other.version.cmp(&current.version).then_with(|| other.value.cmp(&current.value));
    if order != Ordering::Greater {
        return Merged::Unchanged;
    }
    let merged = if other.value == current.value { Merged::Confirmed } else { Merged::Changed };
    *current = other;
    merged
}
