//! A stand-in Magic Hour: what the demo and the tests talk to in its place.
//!
//! ```text
//!   who orders ──begin, turn, put──▶ projects ◀── api ◀──── GET, DELETE /v1/{kind}-projects/{id} ── service
//!                                   life │ clock   ▲
//!                                        │         └── faults
//!                                        ├── a stage begins ──▶ way ──▶ webhooks ──── POST, again and again ──▶ service
//!                                        └── files ◀─────────────────────────────── GET a signed URL ── service
//! ```
//!
//! Renders have lives of their own: [`StandIn::begin`] starts one, and from then on the details call tells what is true
//! at the moment, and webhooks tell each stage as it begins, signed and retried as the real ones are. What goes wrong is
//! the caller's to say: the API's [`faults`], the [`way`] of the webhooks, where they are posted to. The [`account`] has
//! every call and every webhook.
//!
//! Guaranteed: what is true of a render depends on its life and the clock alone, so [`StandIn::truth`] can be held
//! against what the service makes of what it hears. Nothing of it runs in `serve`.

pub mod account;
mod api;
mod connection;
pub mod faults;
pub mod files;
pub mod life;
pub mod media;
pub mod plan;
pub mod project;
mod projects;
pub mod sender;
pub mod way;
pub mod webhooks;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

use self::account::Account;
use self::api::Api;
use self::faults::{Fault, Faults};
use self::files::Files;
use self::life::Stage;
use self::plan::Plan;
use self::project::Project;
use self::projects::Projects;
use self::webhooks::{Retries, Webhooks};
use renderhook::runtime::Clock;

/// The path of the API: a base URL may carry one, so this one does.
const BASE: &str = "/api";
/// How often lives are looked at for stages that have begun.
const TICK: Duration = Duration::from_millis(20);

/// What may differ.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What time it is.
    pub clock: Clock,
    /// What webhooks are signed with.
    pub secret: SecretString,
    /// How webhooks that were not taken are sent again.
    pub retries: Retries,
    /// How long a URL lives that is handed out.
    pub urls_live: TimeDelta,
}

impl Settings {
    /// As the real one does it.
    #[must_use]
    pub fn new(clock: Clock, secret: SecretString) -> Self {
        Self { clock, secret, retries: Retries::default(), urls_live: TimeDelta::hours(24) }
    }
}

/// The stand-in. Cheap to clone; it ends with the runtime.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// Where the API is.
    pub base: Url,
    /// Where the files are.
    pub files: Files,
    /// What the API does wrong.
    pub faults: Faults,
    /// What went to and fro.
    pub account: Account,
    /// Who posts the webhooks.
    pub webhooks: Webhooks,
    projects: Projects,
    clock: Clock,
    key: SecretString,
}

impl StandIn {
    /// Starts it on ports of its own of 127.0.0.1. Webhooks have no receiver until [`Webhooks::post_to`] names one.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let Settings { clock, secret, retries, urls_live } = settings;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = Url::parse(&format!("http://{}{BASE}", listener.local_addr()?)).map_err(io::Error::other)?;
        let key = SecretString::from(format!("mhk_{}", Uuid::new_v4().simple()));
        let (faults, account) = (Faults::default(), Account::default());
        let files = Files::start(clock.clone()).await?;
        let projects = Projects::new(files.clone(), urls_live);
        let webhooks = Webhooks::new(clock.clone(), secret, retries, account.clone()).map_err(io::Error::other)?;
        let api = Api {
            clock: clock.clone(),
            key: key.clone(),
            projects: projects.clone(),
            faults: faults.clone(),
            account: account.clone(),
        };
        tokio::spawn(connection::serve(listener, api.router(BASE)));
        let standin = Self { base, files, faults, account, webhooks, projects, clock, key };
        tokio::spawn(standin.clone().live());
        Ok(standin)
    }

    /// The flags of `serve` that lead to it.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let key = self.key.expose_secret();
        vec![format!("--magic-hour-api-key={key}"), format!("--magic-hour-api-url={}", self.base)]
    }

    /// A render begins its life now.
    pub fn begin(&self, plan: Plan) -> Result<(), url::ParseError> {
        self.projects.begin(plan, self.clock.now())
    }

    /// A render goes over to `stage` now, and nothing comes of the rest of its life. Whether there is such a render.
    #[must_use]
    pub fn turn(&self, id: &str, stage: Stage) -> bool {
        self.projects.turn(id, stage, self.clock.now())
    }

    /// Knows a project as it is described, from now on, or knows better. It has no life and no webhooks.
    pub fn put(&self, project: Project) {
        self.projects.put(project);
    }

    /// What is true of a project now. One that was deleted is not enabled.
    #[must_use]
    pub fn truth(&self, id: &str) -> Option<Project> {
        self.projects.truth(id, self.clock.now())
    }

    /// Refuses the next calls so, one status each, with its `Retry-After`.
    pub fn refuse(&self, statuses: impl IntoIterator<Item = (u16, Option<u32>)>) {
        self.faults.next(statuses.into_iter().map(|(status, retry_after)| Fault::Refuses { status, retry_after }));
    }

    /// Refuses every call so; `None` ends it.
    pub fn always(&self, status: Option<u16>) {
        match status {
            Some(status) => self.faults.last(Fault::refuses(status)),
            None => self.faults.heal(),
        }
    }

    /// How often this was asked of a project.
    #[must_use]
    pub fn count(&self, method: &Method, id: &str) -> usize {
        self.account.calls().iter().filter(|call| call.method == *method && call.id == id).count()
    }

    /// How many calls came.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.account.calls().len()
    }

    /// Sends the webhooks of every stage as it begins.
    async fn live(self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            for announcement in self.projects.announcements(self.clock.now()) {
                self.webhooks.send(announcement);
            }
        }
    }
}
