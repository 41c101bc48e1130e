//! `GET /openapi.json`: what the addresses take and answer, for programs.
//!
//! Guaranteed: it describes every address that there is and no other, since the routes are made of the handlers'
//! own descriptions (`api::document`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

/// The name of the tokens' scheme in the document.
const TOKEN: &str = "token";

/// The document as it is sent.
#[derive(Debug)]
pub struct Document(Bytes);

impl Document {
    /// Writes the document once.
    #[must_use]
    pub fn new(document: &OpenApi) -> Self {
        Self(text(document).into())
    }
}

/// The document as text, for people to read as well.
#[must_use]
pub fn text(document: &OpenApi) -> String {
    // OK because a document is maps with texts as keys, which JSON can always hold.
    document.to_pretty_json().unwrap_or_default()
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "health",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = utoipa::openapi::Object)),
)]
pub async fn get(State(document): State<Arc<Document>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0.clone())
}

/// What the document says of the service as a whole.
#[must_use]
pub fn about() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("One of `API_TOKENS`."));
    let components: Components =
        ComponentsBuilder::new().security_scheme(TOKEN, SecurityScheme::Http(bearer.build())).build();
    let info = InfoBuilder::new()
        .title("renderhook")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")));
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(TOKEN, [""; 0])]))
        .build()
}
