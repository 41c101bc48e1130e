//! Deletes the project of an erased render at Magic Hour.

use super::queue::ErasureClaim;
use crate::upstream::{ProjectDeleter, ProjectDeletion};

/// What became of the project.
pub(super) async fn delete(deleter: Option<&ProjectDeleter>, claim: &ErasureClaim) -> ProjectDeletion {
    match deleter {
        Some(deleter) => deleter.delete(claim.kind, &claim.id, claim.account.as_ref()).await,
        None => ProjectDeletion::Postponed("MAGIC_HOUR_API_KEY is not set".to_owned()),
    }
}
