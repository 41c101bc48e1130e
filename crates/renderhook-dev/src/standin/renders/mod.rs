//! Renders: the plan of each, and its project at any time.

mod lifecycle;
mod plan;
mod project;
mod projects;

pub use self::lifecycle::{Lifecycle, Stage};
pub use self::plan::{OutputFile, RenderPlan};
pub use self::project::{Project, VideoFacts};
pub(in crate::standin) use self::projects::{Deletion, Projects, Webhook};
