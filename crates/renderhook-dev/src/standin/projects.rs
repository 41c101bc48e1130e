//! The projects that the stand-in has: those with a life of their own, and those that a test describes.
//!
//! What is true of a project is a function of its life and the time, so it can be asked of any moment: of now by the
//! details call, of a while ago by an API that lags, and of any time by a test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::files::Files;
use super::life::Stage;
use super::plan::Plan;
use super::project::Project;
use renderhook::domain::EventType;
use renderhook::domain::Kind;

#[derive(Debug, Clone)]
enum Told {
    /// As its life goes.
    ByLife { plan: Box<Plan>, created_at: DateTime<Utc> },
    /// As a test says.
    ByHand(Box<Project>),
}

#[derive(Debug, Clone)]
struct Held {
    told: Told,
    deleted_at: Option<DateTime<Utc>>,
    /// How many of its stages have had their webhook, if they have one.
    announced: usize,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deletion {
    /// The project is gone, and its files are.
    Done,
    /// There is none, or not of this kind.
    Unknown,
    /// It is a template's.
    Template,
}

/// A stage that has begun, and that a webhook tells.
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) event_type: EventType,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// The projects. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Projects {
    files: Files,
    /// How long the URLs live that are handed out.
    urls_live: TimeDelta,
    held: Arc<Mutex<HashMap<String, Held>>>,
}

impl Projects {
    pub(super) fn new(files: Files, urls_live: TimeDelta) -> Self {
        Self { files, urls_live, held: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows a project from now on, or knows better.
    pub(super) fn put(&self, project: Project) {
        let id = project.id.clone();
        self.held().insert(id, Held { told: Told::ByHand(Box::new(project)), deleted_at: None, announced: 0 });
    }

    /// A render begins its life.
    pub(super) fn begin(&self, plan: Plan, now: DateTime<Utc>) -> Result<(), url::ParseError> {
        for file in &plan.files {
            self.files.put(&path(&plan, &file.name), file.bytes.clone(), file.content_type)?;
        }
        let id = plan.id.clone();
        let told = Told::ByLife { plan: Box::new(plan), created_at: now };
        self.held().insert(id, Held { told, deleted_at: None, announced: 0 });
        Ok(())
    }

    /// A render goes over to `stage` now, whatever its life was to be. Whether there is such a render.
    pub(super) fn turn(&self, id: &str, stage: Stage, now: DateTime<Utc>) -> bool {
        let mut held = self.held();
        let Some(Told::ByLife { plan, created_at }) = held.get_mut(id).map(|held| &mut held.told) else { return false };
        plan.life.turn(now - *created_at, stage);
        true
    }

    /// What is true of a project at `at`, with URLs signed at `at`. One that was deleted is no longer enabled.
    pub(super) fn truth(&self, id: &str, at: DateTime<Utc>) -> Option<Project> {
        let held = self.held().get(id)?.clone();
        let mut project = match &held.told {
            Told::ByHand(project) => Project::clone(project),
            Told::ByLife { plan, created_at } => self.project(plan, plan.life.at(at - *created_at)?, *created_at, at),
        };
        project.enabled &= held.deleted_at.is_none_or(|deleted_at| at < deleted_at);
        Some(project)
    }

    /// What the details call of `kind` answers at `at`: nothing of a project that was deleted.
    pub(super) fn details(&self, kind: Kind, id: &str, at: DateTime<Utc>) -> Option<Project> {
        let deleted_at = self.held().get(id)?.deleted_at;
        let alive = deleted_at.is_none_or(|deleted_at| at < deleted_at);
        self.truth(id, at).filter(|project| alive && project.kind == kind)
    }

    /// Deletes a project.
    pub(super) fn delete(&self, kind: Kind, id: &str, now: DateTime<Utc>) -> Deletion {
        if self.details(kind, id, now).is_none() {
            return Deletion::Unknown;
        }
        let mut held = self.held();
        let Some(held) = held.get_mut(id) else { return Deletion::Unknown };
        if matches!(&held.told, Told::ByLife { plan, .. } if plan.is_template) {
            return Deletion::Template;
        }
        held.deleted_at = Some(now);
        self.files.remove(id);
        Deletion::Done
    }

    /// The stages that have begun since this was asked last, as far as webhooks tell them.
    pub(super) fn announcements(&self, now: DateTime<Utc>) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for held in self.held().values_mut().filter(|held| held.deleted_at.is_none()) {
            let Told::ByLife { plan, created_at } = &held.told else { continue };
            let begun = plan.life.begun(now - *created_at);
            for (after, stage) in &begun[held.announced.min(begun.len())..] {
                let Some(event_type) = plan.webhook(stage) else { continue };
                let body = self.project(plan, stage, *created_at, *created_at + *after).event(event_type.as_str());
                announcements.push(Announcement { event_type, id: plan.id.clone(), body });
            }
            held.announced = begun.len();
        }
        announcements
    }

    /// A project at a stage of its life, with URLs signed at `at` if it has files by then.
    fn project(&self, plan: &Plan, stage: &Stage, created_at: DateTime<Utc>, at: DateTime<Utc>) -> Project {
        let mut project = plan.project(stage, created_at);
        project.expires_at = at + self.urls_live;
        if *stage == Stage::Complete {
            let url = |name: &str| -> Option<Url> { self.files.sign(&path(plan, name), project.expires_at).ok() };
            project.downloads = plan.files.iter().filter_map(|file| url(&file.name)).collect();
        }
        project
    }
}

/// Where a file of a render is.
fn path(plan: &Plan, name: &str) -> String {
    format!("{}/{name}", plan.id)
}
