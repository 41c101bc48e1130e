//! The projects that the stand-in has.
//!
//! The state of a planned render is a function of its lifecycle and the time: the details call asks for now, a stale
//! answer for a while ago, and a test for any time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::{EventType, Kind};
use url::Url;

use super::lifecycle::Stage;
use super::plan::RenderPlan;
use super::project::Project;
use crate::standin::files::FileServer;

#[derive(Debug, Clone)]
enum ProjectTimeline {
    /// Follows its plan.
    Planned { plan: Box<RenderPlan>, created_at: DateTime<Utc> },
    /// Stays as it was given.
    Fixed(Box<Project>),
}

#[derive(Debug, Clone)]
struct ProjectEntry {
    source: ProjectTimeline,
    deleted_at: Option<DateTime<Utc>>,
    /// How many stages have begun when webhooks were taken last.
    stages_announced: usize,
}

impl ProjectEntry {
    const fn new(source: ProjectTimeline) -> Self {
        Self { source, deleted_at: None, stages_announced: 0 }
    }
}

/// The result of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::standin) enum Deletion {
    /// The project and its files are deleted.
    Done,
    /// There is no such project of this kind.
    Unknown,
    /// The project belongs to a template.
    Template,
}

/// A webhook to send.
#[derive(Debug)]
pub(in crate::standin) struct Webhook {
    pub(in crate::standin) event_type: EventType,
    pub(in crate::standin) id: String,
    pub(in crate::standin) body: Vec<u8>,
}

/// The projects. Cheap to clone: clones share their state.
#[derive(Debug, Clone)]
pub(in crate::standin) struct Projects {
    files: FileServer,
    url_lifetime: TimeDelta,
    entries: Arc<Mutex<HashMap<String, ProjectEntry>>>,
}

impl Projects {
    pub(in crate::standin) fn new(files: FileServer, url_lifetime: TimeDelta) -> Self {
        Self { files, url_lifetime, entries: Arc::default() }
    }

    /// The same projects, whose files are reached at another address.
    pub(in crate::standin) fn reached_at(&self, origin: String) -> Self {
        Self { files: self.files.reached_at(origin), ..self.clone() }
    }

    /// Their files.
    pub(in crate::standin) const fn files(&self) -> &FileServer {
        &self.files
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, ProjectEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a project that stays as it is.
    pub(in crate::standin) fn put(&self, project: Project) {
        let id = project.id.clone();
        self.entries().insert(id, ProjectEntry::new(ProjectTimeline::Fixed(Box::new(project))));
    }

    /// Starts a render.
    pub(in crate::standin) fn start(&self, plan: RenderPlan, now: DateTime<Utc>) -> Result<(), url::ParseError> {
        for file in &plan.files {
            self.files.put(&path(&plan, &file.name), file.bytes.clone(), file.content_type)?;
        }
        let id = plan.id.clone();
        let source = ProjectTimeline::Planned { plan: Box::new(plan), created_at: now };
        self.entries().insert(id, ProjectEntry::new(source));
        Ok(())
    }

    /// Moves a render to `stage` now, whatever its plan says. `false` if there is no such render.
    pub(in crate::standin) fn move_to(&self, id: &str, stage: Stage, now: DateTime<Utc>) -> bool {
        let mut entries = self.entries();
        let source = entries.get_mut(id).map(|entry| &mut entry.source);
        let Some(ProjectTimeline::Planned { plan, created_at }) = source else { return false };
        plan.lifecycle.move_to(now - *created_at, stage);
        true
    }

    /// The project at `at`, with URLs signed at `at`. A deleted project is not `enabled`.
    pub(in crate::standin) fn project(&self, id: &str, at: DateTime<Utc>) -> Option<Project> {
        let entry = self.entries().get(id)?.clone();
        let mut project = match &entry.source {
            ProjectTimeline::Fixed(project) => Project::clone(project),
            ProjectTimeline::Planned { plan, created_at } => {
                self.in_stage(plan, plan.lifecycle.at(at - *created_at)?, *created_at, at)
            }
        };
        project.enabled &= entry.deleted_at.is_none_or(|deleted_at| at < deleted_at);
        Some(project)
    }

    /// The stage of a render that follows a plan and is not deleted.
    pub(in crate::standin) fn stage(&self, id: &str, now: DateTime<Utc>) -> Option<Stage> {
        let entries = self.entries();
        let entry = entries.get(id).filter(|entry| entry.deleted_at.is_none())?;
        match &entry.source {
            ProjectTimeline::Planned { plan, created_at } => plan.lifecycle.at(now - *created_at).cloned(),
            ProjectTimeline::Fixed(_) => None,
        }
    }

    /// The projects that exist at `at`, the newest first.
    pub(in crate::standin) fn all(&self, at: DateTime<Utc>) -> Vec<Project> {
        let ids: Vec<_> = self.entries().keys().cloned().collect();
        let mut projects: Vec<_> = ids.iter().filter_map(|id| self.project(id, at)).collect();
        projects.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| one.id.cmp(&other.id)));
        projects
    }

    /// The answer of the details call for `kind` at `at`; `None` for a deleted project.
    pub(in crate::standin) fn details(&self, kind: Kind, id: &str, at: DateTime<Utc>) -> Option<Project> {
        let deleted_at = self.entries().get(id)?.deleted_at;
        let exists = deleted_at.is_none_or(|deleted_at| at < deleted_at);
        self.project(id, at).filter(|project| exists && project.kind == kind)
    }

    /// Deletes a project.
    pub(in crate::standin) fn delete(&self, kind: Kind, id: &str, now: DateTime<Utc>) -> Deletion {
        if self.details(kind, id, now).is_none() {
            return Deletion::Unknown;
        }
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(id) else { return Deletion::Unknown };
        if matches!(&entry.source, ProjectTimeline::Planned { plan, .. } if plan.is_template) {
            return Deletion::Template;
        }
        entry.deleted_at = Some(now);
        self.files.remove(id);
        Deletion::Done
    }

    /// The webhooks of the stages that have begun since the last call.
    pub(in crate::standin) fn take_webhooks(&self, now: DateTime<Utc>) -> Vec<Webhook> {
        let mut webhooks = Vec::new();
        for entry in self.entries().values_mut().filter(|entry| entry.deleted_at.is_none()) {
            let ProjectTimeline::Planned { plan, created_at } = &entry.source else { continue };
            let begun = plan.lifecycle.begun(now - *created_at);
            for (age, stage) in &begun[entry.stages_announced.min(begun.len())..] {
                let Some(event_type) = plan.webhook(stage) else { continue };
                let project = self.in_stage(plan, stage, *created_at, *created_at + *age);
                let body = project.event(event_type.as_str());
                webhooks.push(Webhook { event_type, id: plan.id.clone(), body });
            }
            entry.stages_announced = begun.len();
        }
        webhooks
    }

    /// The project in `stage`, with URLs signed at `at` if it is complete.
    fn in_stage(&self, plan: &RenderPlan, stage: &Stage, created_at: DateTime<Utc>, at: DateTime<Utc>) -> Project {
        let mut project = plan.project(stage, created_at);
        project.expires_at = at + self.url_lifetime;
        if *stage == Stage::Complete {
            let url = |name: &str| -> Option<Url> { self.files.sign(&path(plan, name), project.expires_at).ok() };
            project.downloads = plan.files.iter().filter_map(|file| url(&file.name)).collect();
        }
        project
    }
}

/// The path of a render's file.
fn path(plan: &RenderPlan, name: &str) -> String {
    format!("{}/{name}", plan.id)
}
