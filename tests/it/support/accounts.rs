//! The details and deletion calls of Magic Hour, with several accounts that do not see each other's projects.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountCall {
    /// `GET` or `DELETE`.
    pub(crate) method: Method,
    /// The key that it was made with.
    pub(crate) key: String,
    /// The project.
    pub(crate) id: String,
    /// The answer.
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
struct Accounts {
    /// The projects of each key.
    projects: HashMap<String, HashMap<String, Value>>,
    /// What every call with a key is answered.
    failing: HashMap<String, u16>,
    calls: Vec<AccountCall>,
}

/// A Magic Hour with several accounts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct MagicHourAccounts {
    base: Url,
    accounts: Arc<Mutex<Accounts>>,
}

impl MagicHourAccounts {
    /// Starts it with an account for each key.
    pub(crate) async fn start(keys: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let projects = keys.iter().map(|key| ((*key).to_owned(), HashMap::new())).collect();
        let accounts = Arc::new(Mutex::new(Accounts { projects, ..Accounts::default() }));
        let magic_hour = Self { base, accounts };
        let router = Router::new()
            .route("/v1/{projects}/{id}", routing::get(answer).delete(answer))
            .with_state(magic_hour.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        magic_hour
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flags of `serve` that use it, with these keys.
    pub(crate) fn flags(&self, keys: &str) -> Vec<String> {
        vec![
            format!("--magic-hour-api-url={}", self.base),
            format!("--magic-hour-api-key={keys}"),
            "--reconcile-after=1s".to_owned(),
            "--reconcile-rate=100".to_owned(),
        ]
    }

    /// Adds a project to an account, or replaces it.
    pub(crate) fn put(&self, key: &str, id: &str, project: &Value) {
        let mut project = project.clone();
        project["id"] = json!(id);
        self.lock().projects.get_mut(key).unwrap().insert(id.to_owned(), project);
    }

    /// Whether an account has a project.
    pub(crate) fn has(&self, key: &str, id: &str) -> bool {
        self.lock().projects[key].contains_key(id)
    }

    /// Answers every call with this key with this status.
    pub(crate) fn fail(&self, key: &str, status: u16) {
        self.lock().failing.insert(key.to_owned(), status);
    }

    /// Answers calls with this key normally again.
    pub(crate) fn recover(&self, key: &str) {
        self.lock().failing.remove(key);
    }

    /// The calls about a project, in order.
    pub(crate) fn calls(&self, id: &str) -> Vec<AccountCall> {
        self.lock().calls.iter().filter(|call| call.id == id).cloned().collect()
    }
}

impl Accounts {
    fn answer(&mut self, method: &Method, key: &str, id: &str) -> (StatusCode, Option<Value>) {
        if let Some(status) = self.failing.get(key) {
            return (StatusCode::from_u16(*status).unwrap(), None);
        }
        let Some(projects) = self.projects.get_mut(key) else { return (StatusCode::UNAUTHORIZED, None) };
        if *method == Method::DELETE {
            let status = projects.remove(id).map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT);
            return (status, None);
        }
        match projects.get(id) {
            Some(project) => (StatusCode::OK, Some(project.clone())),
            None => (StatusCode::NOT_FOUND, None),
        }
    }
}

async fn answer(
    State(magic_hour): State<MagicHourAccounts>,
    method: Method,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = key.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let mut accounts = magic_hour.lock();
    let (status, project) = accounts.answer(&method, &key, &id);
    accounts.calls.push(AccountCall { method, key, id, status: status.as_u16() });
    match project {
        _ if status == StatusCode::NO_CONTENT => status.into_response(),
        Some(project) => Json(project).into_response(),
        None => (status, Json(json!({"message": status.to_string()}))).into_response(),
    }
}
