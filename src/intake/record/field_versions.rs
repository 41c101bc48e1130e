//! The column `renders.field_versions`.

use serde::{Deserialize, Serialize};

use super::rule::{Fields, Version};
use crate::domain::OutputField;

/// The versions of a render's fields, as stored in the database.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FieldVersions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project_type: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credits_charged: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<Version>,
    /// In the order of `OutputField::ALL`; empty if none was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) output: Vec<Option<Version>>,
}

impl FieldVersions {
    pub(super) fn of(fields: &Fields) -> Self {
        let output = OutputField::ALL.map(|field| fields.output.get(field).as_ref().map(|it| it.version));
        Self {
            name: fields.name.as_ref().map(|it| it.version),
            project_type: fields.project_type.as_ref().map(|it| it.version),
            error: fields.error.as_ref().map(|it| it.version),
            credits_charged: fields.credits_charged.as_ref().map(|it| it.version),
            deleted: fields.deleted.as_ref().map(|it| it.version),
            created_at: fields.created_at.as_ref().map(|it| it.version),
            output: if output == [None; OutputField::ALL.len()] { Vec::new() } else { output.to_vec() },
        }
    }

    pub(super) fn output(&self, field: OutputField) -> Option<Version> {
        self.output.get(field as usize).copied().flatten()
    }
}
