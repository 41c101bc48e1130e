//! Finds a project: in the account that owns it, or in any.

use chrono::{DateTime, Utc};

use super::{Account, AccountId, Accounts};
use crate::domain::{Kind, Payload, RenderId};
use crate::runtime::{Clock, DatabaseError};
use crate::upstream::error::UpstreamError;
use crate::upstream::throttle::{FailureEffect, Throttle};

/// Asks for projects, at the rate and with the pauses of all processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProjectFinder {
    /// The accounts.
    pub accounts: Accounts,
    /// Limits the rate of calls.
    pub throttle: Throttle,
    /// The clock.
    pub clock: Clock,
}

/// A project, as an account answered.
#[derive(Debug)]
pub(crate) struct FoundProject {
    /// The account, which owns it.
    pub(crate) account: AccountId,
    /// The project.
    pub(crate) payload: Payload,
    /// When it was asked for.
    pub(crate) called_at: DateTime<Utc>,
}

/// Why there is no project.
#[derive(Debug)]
pub(crate) enum NoProject {
    /// The account that owns it does not know it any more: it was deleted.
    Deleted,
    /// No account knows it. It may belong to another one, so this does not prove that it is gone.
    Unknown,
    /// No project can have this id.
    InvalidId,
    /// An account could not be asked, and no other one has it.
    Unanswered(UnansweredCall),
    /// The database failed, which has been logged.
    Database(DatabaseError),
}

/// A call that was not answered.
#[derive(Debug)]
pub(crate) enum UnansweredCall {
    /// It was not made, because calls of the account are paused.
    Paused,
    /// It failed.
    Failed {
        /// Why.
        error: UpstreamError,
        /// What it affects.
        effect: FailureEffect,
    },
}

impl ProjectFinder {
    /// Asks for a project: the account that is known to own it, or one after the other until one has it. `has_turn` is whether
    /// the turn for the first call is taken.
    pub(crate) async fn find(
        &self,
        kind: Kind,
        id: &RenderId,
        owner: Option<&AccountId>,
        mut has_turn: bool,
    ) -> Result<FoundProject, NoProject> {
        let is_owned = owner.is_some_and(|owner| self.accounts.get(owner).is_some());
        let mut unanswered = None;
        for account in self.accounts.to_ask(owner) {
            // The rest of a turn that was taken for a paused account is not used.
            let may_call = if std::mem::take(&mut has_turn) {
                !self.throttle.is_paused(account).await.map_err(NoProject::Database)?
            } else {
                self.throttle.wait_for_turn(account).await.map_err(NoProject::Database)?
            };
            let asked = if may_call {
                self.ask(account, kind, id).await
            } else {
                Err(NoProject::Unanswered(UnansweredCall::Paused))
            };
            match asked {
                Ok(found) => return Ok(found),
                Err(NoProject::Unknown) => {}
                Err(NoProject::Unanswered(call)) => {
                    unanswered.get_or_insert(call);
                }
                Err(error) => return Err(error),
            }
        }
        Err(match unanswered {
            Some(call) => NoProject::Unanswered(call),
            None if is_owned => NoProject::Deleted,
            None => NoProject::Unknown,
        })
    }

    async fn ask(&self, account: &Account, kind: Kind, id: &RenderId) -> Result<FoundProject, NoProject> {
        let called_at = self.clock.now();
        match account.client.details(kind, id).await {
            Ok(payload) => {
                self.throttle.record_success(account, called_at).await;
                Ok(FoundProject { account: account.id.clone(), payload, called_at })
            }
            Err(UpstreamError::NotFound) => {
                self.throttle.record_success(account, called_at).await;
                Err(NoProject::Unknown)
            }
            Err(UpstreamError::InvalidId) => Err(NoProject::InvalidId),
            Err(error) => {
                let effect = self.throttle.record_failure(account, &error, id, called_at).await;
                Err(NoProject::Unanswered(UnansweredCall::Failed { error, effect }))
            }
        }
    }
}
