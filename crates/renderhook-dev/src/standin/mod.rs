//! A stand-in for Magic Hour that tests, the demo and developers run the service against.
//!
//! ```text
//!  SDK ──────POST /v1/{mode}─────▶ api ──creation──▶ renders ◀──start_render, move_render── test, demo, page
//!  service ──GET, DELETE /v1/…───▶  ▲                   │ lifecycle
//!                                 faults                ├── a stage begins ──▶ webhooks ──network, POST──▶ service
//!                                                       └── files ◀──GET a signed URL── service
//! ```
//!
//! A create call, or [`StandIn::start_render`], starts a render that proceeds by itself: the details call answers with its
//! current state, and a webhook is sent as each stage begins, signed and retried as Magic Hour does. The caller decides what
//! goes wrong: how a render ends, the API ([`Faults`]), the [`Network`] that webhooks take, and whether a receiver is there.
//! The [`CallLog`] has every call and every webhook, and a page at `/` shows them.
//!
//! The state of a render depends only on its lifecycle and the clock, so a test can compare what the service knows with
//! [`StandIn::project`].

mod api;
mod call_log;
mod control;
mod files;
mod http_connection;
mod renders;
mod webhooks;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

use self::api::{Api, FaceDetections, Uploads, plan_render};
pub use self::api::{ApiDescription, ApiOperation, Fault, Faults, Mode, Schema};
pub use self::call_log::{ApiCall, CallLog, WebhookAttempt, WebhookOutcome};
pub use self::files::{FileServer, media};
use self::files::{UrlSigner, http_origin};
use self::renders::Projects;
pub use self::renders::{Lifecycle, OutputFile, Project, RenderPlan, Stage, VideoFacts};
pub use self::webhooks::{Answer, Network, Retries, RetrySigning, SignedRequest, WebhookSender};

/// How often the lifecycles are checked for stages that have begun.
const TICK: Duration = Duration::from_millis(20);

/// The settings of a stand-in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The clock.
    pub clock: Clock,
    /// The secret that signs webhooks.
    pub webhook_secret: SecretString,
    /// The key that API calls must carry; a random one by default.
    pub api_key: SecretString,
    /// The address to listen on; a free port on 127.0.0.1 by default.
    pub listen: SocketAddr,
    /// The API's path below the address. `/api` by default, because a base URL may have a path.
    pub api_path: &'static str,
    /// What the URLs in webhooks begin with, without a slash at the end; by default `http://` and the address. Answers of the
    /// API have URLs that begin with the host of the request.
    pub public_url: Option<String>,
    /// How long a render takes that a create call starts, unless its name says otherwise.
    pub render_time: TimeDelta,
    /// How webhooks are retried.
    pub retries: Retries,
    /// The lifetime of a file's URL.
    pub url_lifetime: TimeDelta,
}

impl Settings {
    /// Behaves as Magic Hour does.
    #[must_use]
    pub fn new(clock: Clock, webhook_secret: SecretString) -> Self {
        Self {
            clock,
            webhook_secret,
            api_key: SecretString::from(format!("mhk_{}", Uuid::new_v4().simple())),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            api_path: "/api",
            public_url: None,
            render_time: TimeDelta::seconds(2),
            retries: Retries::default(),
            url_lifetime: TimeDelta::hours(24),
        }
    }
}

/// A running stand-in. Cheap to clone; it ends with the runtime.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// The API's base URL.
    pub base: Url,
    /// The key that API calls must carry.
    pub api_key: SecretString,
    /// The files.
    pub files: FileServer,
    /// The API's faults.
    pub faults: Faults,
    /// What happened.
    pub call_log: CallLog,
    /// The sender of webhooks.
    pub webhooks: WebhookSender,
    projects: Projects,
    clock: Clock,
    render_time: TimeDelta,
    origin: String,
}

impl StandIn {
    /// Starts a stand-in. Webhooks are not answered until [`WebhookSender::set_receiver`] sets their URL.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let Settings {
            clock,
            webhook_secret,
            api_key,
            listen,
            api_path,
            public_url,
            render_time,
            retries,
            url_lifetime,
        } = settings;
        let listener = TcpListener::bind(listen).await?;
        let own_origin = http_origin(listener.local_addr()?);
        let base = Url::parse(&format!("{own_origin}{api_path}")).map_err(io::Error::other)?;
        let origin = public_url.unwrap_or(own_origin);
        let (faults, call_log, signer) = (Faults::default(), CallLog::default(), UrlSigner::new(clock.clone()));
        let files = FileServer::new(origin.clone(), signer.clone());
        let projects = Projects::new(files.clone(), url_lifetime);
        let sender = WebhookSender::new(clock.clone(), webhook_secret, retries, call_log.clone());
        let webhooks = sender.map_err(io::Error::other)?;
        let uploads = Uploads::new(signer, call_log.clone());
        let api = Api {
            clock: clock.clone(),
            key: api_key.clone(),
            projects: projects.clone(),
            uploads: uploads.clone(),
            faces: FaceDetections::new(render_time),
            faults: faults.clone(),
            call_log: call_log.clone(),
            render_time,
            origin: origin.clone(),
        };
        let router = api.router(api_path).merge(files.clone().router()).merge(uploads.router());
        let standin = Self { base, api_key, files, faults, call_log, webhooks, projects, clock, render_time, origin };
        tokio::spawn(http_connection::serve(listener, router.merge(control::router(standin.clone()))));
        tokio::spawn(standin.clone().send_webhooks());
        Ok(standin)
    }

    /// The flags that point `serve` to this stand-in.
    #[must_use]
    pub fn serve_flags(&self) -> Vec<String> {
        let key = self.api_key.expose_secret();
        vec![format!("--magic-hour-api-key={key}"), format!("--magic-hour-api-url={}", self.base)]
    }

    /// Starts a render now.
    pub fn start_render(&self, plan: RenderPlan) -> Result<(), url::ParseError> {
        self.projects.start(plan, self.clock.now())
    }

    /// Starts a video, an image and an audio render, as create calls would, and returns their ids.
    pub fn start_samples(&self) -> Result<Vec<(Kind, String)>, url::ParseError> {
        let samples = [("text-to-video", 5), ("ai-image-generator", 0), ("ai-voice-generator", 0)];
        let mut ids = Vec::new();
        for (path, seconds) in samples {
            let Some(mode) = Mode::at(path) else { continue };
            let now = self.clock.now();
            let body = json!({"name": "A sample", "end_seconds": seconds});
            let plan = plan_render(mode, &body, now, self.render_time);
            ids.push((mode.kind, plan.id.clone()));
            self.projects.start(plan, now)?;
        }
        Ok(ids)
    }

    /// Moves a render to `stage` now and drops its later stages. `false` if there is no such render.
    #[must_use]
    pub fn move_render(&self, id: &str, stage: Stage) -> bool {
        self.projects.move_to(id, stage, self.clock.now())
    }

    /// Adds or replaces a project that stays as it is and sends no webhooks.
    pub fn put_project(&self, project: Project) {
        self.projects.put(project);
    }

    /// The project as it is now. A deleted project is not `enabled`.
    #[must_use]
    pub fn project(&self, id: &str) -> Option<Project> {
        self.projects.project(id, self.clock.now())
    }

    /// The next calls fail with these statuses and values of `Retry-After`, one each.
    pub fn fail_next(&self, statuses: impl IntoIterator<Item = (u16, Option<u32>)>) {
        let faults = statuses.into_iter().map(|(status, retry_after)| Fault::Status { status, retry_after });
        self.faults.inject_next(faults);
    }

    /// Every call fails with this status until [`StandIn::recover`].
    pub fn fail_all(&self, status: u16) {
        self.faults.inject_always(Fault::status(status));
    }

    /// Removes all faults of the API.
    pub fn recover(&self) {
        self.faults.clear();
    }

    /// The number of calls with this method for this project.
    #[must_use]
    pub fn call_count(&self, method: &Method, id: &str) -> usize {
        self.call_log.calls().iter().filter(|call| call.method == *method && call.id == id).count()
    }

    /// The number of all calls.
    #[must_use]
    pub fn total_calls(&self) -> usize {
        self.call_log.calls().len()
    }

    /// Sends the webhook of each stage as it begins.
    async fn send_webhooks(self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            for webhook in self.projects.take_webhooks(self.clock.now()) {
                self.webhooks.send(webhook);
            }
        }
    }
}
