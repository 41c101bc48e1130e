//! What Magic Hour's own descriptions say: which calls its API has, what they take and answer, and what a webhook's body is.
//!
//! The stand-in validates requests against them, and its tests validate its answers and its webhooks. README.md beside
//! this file says where the descriptions come from.

mod schema;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::Value;

pub use self::schema::Schema;

static MAGIC_HOUR: LazyLock<ApiDescription> = LazyLock::new(|| {
    ApiDescription::read(include_str!("api.json"), include_str!("webhook.json"))
        .expect("a test reads the embedded descriptions")
});

/// A call of the API.
#[derive(Debug)]
pub struct ApiOperation {
    /// The method.
    pub method: Method,
    /// The path, such as `/v1/video-projects/{id}`.
    pub path: String,
    /// The body that it takes, if it takes one.
    pub request: Option<Schema>,
    /// The body of each status that it answers with; `None` for an answer without a body.
    pub answers: BTreeMap<u16, Option<Schema>>,
}

impl ApiOperation {
    /// Whether it is a call of this path.
    fn matches(&self, method: &Method, path: &str) -> bool {
        let is_same = |(described, actual): (&str, &str)| described == actual || described == "{id}";
        self.method == *method
            && self.path.split('/').count() == path.split('/').count()
            && self.path.split('/').zip(path.split('/')).all(is_same)
    }
}

/// The calls of the API, and the bodies of webhooks.
#[derive(Debug)]
pub struct ApiDescription {
    operations: Vec<ApiOperation>,
    webhooks: BTreeMap<String, Schema>,
}

impl ApiDescription {
    /// Magic Hour's.
    #[must_use]
    pub fn magic_hour() -> &'static Self {
        &MAGIC_HOUR
    }

    /// All calls.
    #[must_use]
    pub fn operations(&self) -> &[ApiOperation] {
        &self.operations
    }

    /// The call with this method and path, such as `/v1/video-projects/clx123`.
    #[must_use]
    pub fn operation(&self, method: &Method, path: &str) -> Option<&ApiOperation> {
        self.operations.iter().find(|operation| operation.matches(method, path))
    }

    /// The body of the webhook with this type.
    #[must_use]
    pub fn webhook(&self, event_type: &str) -> Option<&Schema> {
        self.webhooks.get(event_type)
    }

    fn read(api: &str, webhook: &str) -> serde_json::Result<Self> {
        let operations = calls(&serde_json::from_str(api)?)?;
        let mut webhooks = BTreeMap::new();
        for call in calls(&serde_json::from_str(webhook)?)? {
            webhooks.extend(call.request.map(|body| (call.path.trim_start_matches('/').to_owned(), body)));
        }
        Ok(Self { operations, webhooks })
    }
}

/// The calls of an OpenAPI document.
fn calls(document: &Value) -> serde_json::Result<Vec<ApiOperation>> {
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (name, call) in methods.as_object().into_iter().flatten() {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).map_err(serde::de::Error::custom)?;
            let mut answers = BTreeMap::new();
            for (status, answer) in call["responses"].as_object().into_iter().flatten() {
                let status = status.parse().map_err(serde::de::Error::custom)?;
                answers.insert(status, body_schema(answer)?);
            }
            calls.push(ApiOperation {
                method,
                path: path.clone(),
                request: body_schema(&call["requestBody"])?,
                answers,
            });
        }
    }
    Ok(calls)
}

/// The schema of a request or an answer; `None` if it has no body.
fn body_schema(message: &Value) -> serde_json::Result<Option<Schema>> {
    message.pointer("/content/application~1json/schema").cloned().map(serde_json::from_value).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_of_the_descriptions_is_known() {
        let description = ApiDescription::magic_hour();
        assert_eq!(description.operations().len(), 36);
        assert_eq!(description.webhooks.len(), 9);
        let creates = description.operations().iter().filter(|call| call.request.is_some());
        assert_eq!(creates.count(), 29);
    }

    #[test]
    fn a_call_is_found_by_its_path() {
        let path = |path| ApiDescription::magic_hour().operation(&Method::GET, path).map(|call| &*call.path);
        assert_eq!(path("/v1/video-projects/clx"), Some("/v1/video-projects/{id}"));
        assert_eq!(path("/v1/video-projects/clx/more"), None);
        assert_eq!(path("/v1/face-swap"), None, "it is a POST");
    }
}
