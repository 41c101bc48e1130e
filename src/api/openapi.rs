//! `GET /openapi.json`: the `OpenAPI` document.
//!
//! It describes every route and no other, because the routes are built from the handlers' own descriptions
//! (`router::openapi_document`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::info::{ContactBuilder, LicenseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder, Server};

use super::access::Role;
use super::webhooks;
use crate::http::Message;

/// The serialized document.
#[derive(Debug)]
pub(super) struct Document(Bytes);

impl Document {
    /// Serializes the document.
    #[must_use]
    pub(super) fn new(document: &OpenApi) -> Self {
        Self(openapi_json(document).into())
    }
}

/// The document as indented text.
#[must_use]
pub fn openapi_json(document: &OpenApi) -> String {
    // Never fails: the document only has maps with string keys.
    document.to_pretty_json().unwrap_or_default()
}

/// This document
///
/// For tools that generate clients or tests.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "OpenAPI 3.1.", body = std::collections::HashMap<String, serde_json::Value>),
        (status = 400, description = "The request is malformed.", body = Message),
    ),
)]
pub(super) async fn get(State(document): State<Arc<Document>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0.clone())
}

/// The general part of the document.
#[must_use]
pub(super) fn about() -> OpenApi {
    let mut components: Components = webhooks::components();
    for role in Role::ALL {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some(format!("One of the tokens in `{}`.", role.setting())));
        components.add_security_scheme(role.scheme(), SecurityScheme::Http(bearer.build()));
    }
    let info = InfoBuilder::new()
        .title("renderhook")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .contact(Some(ContactBuilder::new().name(Some("The renderhook developers")).build()))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build()));
    let tags = [
        ("webhook", "For Magic Hour."),
        ("renders", "For applications."),
        ("events", "For applications: what happened, in order."),
        (webhooks::TAG, "What is posted to `NOTIFY_URL`, after Standard Webhooks."),
        ("operations", "For operators and platforms."),
    ];
    let tags = tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some(tags))
        .components(Some(components))
        .webhooks(Some(webhooks::webhooks()))
        .security(Some([SecurityRequirement::new(Role::Full.scheme(), [""; 0])]))
        .build()
}
