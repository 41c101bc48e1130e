//! Deletes a project because a person says so, whatever is stored of it.

use super::accounts::{Account, AccountId, NoProject, ProjectFinder, UnansweredCall};
use super::error::UpstreamError;
use crate::domain::{Kind, RenderId};

/// Deletes projects, each with the key of its account. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProjectDeleter {
    /// Asks Magic Hour for projects.
    pub finder: ProjectFinder,
}

/// What became of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectDeletion {
    /// It is deleted, now or before.
    Deleted,
    /// Magic Hour does not delete it.
    Refused,
    /// It is not deleted yet, and why.
    Postponed(String),
}

impl ProjectDeleter {
    /// Deletes a project. `owner` is the account that is known to own it; without one, every account is asked first.
    pub async fn delete(&self, kind: Kind, id: &RenderId, owner: Option<&AccountId>) -> ProjectDeletion {
        let accounts = &self.finder.accounts;
        let owner = match owner.and_then(|owner| accounts.get(owner)) {
            Some(owner) => owner.clone(),
            None => match self.finder.find(kind, id, None, false).await {
                Ok(found) => match accounts.get(&found.account) {
                    Some(owner) => owner.clone(),
                    None => return ProjectDeletion::Postponed("its account is not among the settings".to_owned()),
                },
                Err(error) => return not_found(error),
            },
        };
        self.delete_as(&owner, kind, id).await
    }

    async fn delete_as(&self, owner: &Account, kind: Kind, id: &RenderId) -> ProjectDeletion {
        let ProjectFinder { throttle, clock, .. } = &self.finder;
        match throttle.wait_for_turn(owner).await {
            Ok(true) => {}
            Ok(false) => return ProjectDeletion::Postponed(format!("calls of {owner} are paused")),
            Err(error) => return ProjectDeletion::Postponed(error.to_string()),
        }
        let called_at = clock.now();
        match owner.client.delete(kind, id).await {
            Ok(()) | Err(UpstreamError::NotFound) => {
                throttle.record_success(owner, called_at).await;
                ProjectDeletion::Deleted
            }
            Err(UpstreamError::Template | UpstreamError::InvalidId) => ProjectDeletion::Refused,
            Err(error) => {
                throttle.record_failure(owner, &error, id, called_at).await;
                ProjectDeletion::Postponed(error.to_string())
            }
        }
    }
}

fn not_found(error: NoProject) -> ProjectDeletion {
    match error {
        NoProject::Deleted => ProjectDeletion::Deleted,
        NoProject::InvalidId => ProjectDeletion::Refused,
        NoProject::Unknown => ProjectDeletion::Postponed(
            "no account of MAGIC_HOUR_API_KEY knows the project: add the key of its account".to_owned(),
        ),
        NoProject::Unanswered(UnansweredCall::Paused) => {
            ProjectDeletion::Postponed("calls to Magic Hour are paused".to_owned())
        }
        NoProject::Unanswered(UnansweredCall::Failed { error, .. }) => ProjectDeletion::Postponed(error.to_string()),
        NoProject::Database(error) => ProjectDeletion::Postponed(error.to_string()),
    }
}
