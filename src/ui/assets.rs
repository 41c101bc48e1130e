//! The stylesheet, the script and the icon: files in the binary, whose addresses change with their content.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::UiError;

/// A file.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const STYLE: Asset = Asset {
    name: "style.css",
    content_type: "text/css; charset=utf-8",
    content: concat!(
        include_str!("assets/base.css"),
        include_str!("assets/parts.css"),
        include_str!("assets/pages.css")
    ),
};
const SCRIPT: Asset = Asset {
    name: "script.js",
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("assets/script.js"),
};
const ICON: Asset = Asset { name: "icon.svg", content_type: "image/svg+xml", content: include_str!("assets/icon.svg") };

/// The addresses of the files.
pub(super) struct AssetPaths {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

pub(super) static PATHS: LazyLock<AssetPaths> =
    LazyLock::new(|| AssetPaths { style: STYLE.path(), script: SCRIPT.path(), icon: ICON.path() });

impl Asset {
    fn path(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.content));
        format!("/ui/assets/{}/{}", &hash[..16], self.name)
    }
}

/// `GET /ui/assets/{hash}/{name}`. Another version's address is unknown, so that a cache never has the wrong content for an
/// address.
pub(super) async fn get(Path((hash, name)): Path<(String, String)>) -> Response {
    let path = format!("/ui/assets/{hash}/{name}");
    let Some(asset) = [STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.path() == path) else {
        return UiError::not_found("This file does not exist: reload the page.").into_response();
    };
    let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.content).into_response()
}
