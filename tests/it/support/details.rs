//! A stand-in for the details call and the deletion of a project.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use renderhook::standin::project::Project;
use tokio::net::TcpListener;
use url::Url;

/// The key that it takes.
pub(crate) const KEY: &str = "mhk_test_key";

#[derive(Debug, Default)]
struct Inner {
    projects: HashMap<String, Project>,
    refusals: VecDeque<(u16, Option<u32>)>,
    always: Option<u16>,
    calls: Vec<(Method, String)>,
}

/// The stand-in.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    /// Where it is, with a path.
    pub(crate) base: Url,
    inner: Arc<Mutex<Inner>>,
}

impl Details {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = Url::parse(&format!("http://{}/api", listener.local_addr().unwrap())).unwrap();
        let details = Self { base, inner: Arc::default() };
        let route = get(answer).delete(answer);
        let router = Router::new().route("/api/v1/{projects}/{id}", route).with_state(details.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        details
    }

    /// The flags that lead to it.
    pub(crate) fn flags(&self) -> Vec<String> {
        vec![format!("--magic-hour-api-key={KEY}"), format!("--magic-hour-api-url={}", self.base)]
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows a project from now on, or knows better.
    pub(crate) fn put(&self, project: Project) {
        self.inner().projects.insert(project.id.clone(), project);
    }

    /// Refuses the next calls so, one status each, with its `Retry-After`.
    pub(crate) fn refuse(&self, statuses: impl IntoIterator<Item = (u16, Option<u32>)>) {
        self.inner().refusals.extend(statuses);
    }

    /// Refuses every call so; `None` ends it.
    pub(crate) fn always(&self, status: Option<u16>) {
        self.inner().always = status;
    }

    /// How often this was asked of a project.
    pub(crate) fn count(&self, method: &Method, id: &str) -> usize {
        self.inner().calls.iter().filter(|(asked, about)| asked == method && about == id).count()
    }

    /// How many calls came.
    pub(crate) fn calls(&self) -> usize {
        self.inner().calls.len()
    }
}

async fn answer(
    State(details): State<Details>,
    Path((projects, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut inner = details.inner();
    inner.calls.push((method.clone(), id.clone()));
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer {KEY}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let always = inner.always.map(|status| (status, None));
    if let Some((status, after)) = inner.refusals.pop_front().or(always) {
        let status = StatusCode::from_u16(status).unwrap();
        return match after {
            Some(seconds) => (status, [("retry-after", seconds.to_string())]).into_response(),
            None => status.into_response(),
        };
    }
    match inner.projects.get(&id).filter(|project| projects == format!("{}-projects", project.kind)) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(project) if method == Method::GET => axum::Json(project.payload()).into_response(),
        Some(_) => {
            inner.projects.remove(&id);
            StatusCode::OK.into_response()
        }
    }
}
