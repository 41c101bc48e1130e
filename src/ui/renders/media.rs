//! Links to the stored files of a render, for pictures and players.

use std::collections::{BTreeSet, HashMap};

use url::Url;

use crate::api::ApiState;
use crate::domain::{DownloadState, ObjectKey, RenderId};
use crate::http::HttpError;
use crate::views::RenderView;

/// How a file can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaKind {
    Image,
    Video,
    Audio,
    Other,
}

impl MediaKind {
    /// By the content type. Pictures that can hold scripts are not shown.
    pub(super) fn of(content_type: Option<&str>) -> Self {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.split_once('/') {
            Some(("image", "svg+xml")) => Self::Other,
            Some(("image", _)) => Self::Image,
            Some(("video", _)) => Self::Video,
            Some(("audio", _)) => Self::Audio,
            _ => Self::Other,
        }
    }
}

/// The links, by the index of the file. Each works for an hour without a token.
#[derive(Debug)]
pub(super) struct MediaLinks(HashMap<i32, String>);

impl MediaLinks {
    pub(super) async fn of(api: &ApiState, id: &RenderId, render: &RenderView) -> Result<Self, HttpError> {
        let mut links = HashMap::new();
        for download in render.downloads.iter().filter(|download| download.state == DownloadState::Stored) {
            let Some(object) = &download.object else { continue };
            // A path: the pages and the files are at one address, whatever PUBLIC_URL says.
            let link = api.link(id, download.index, &ObjectKey::from_row(object.key.clone()), "").await?;
            links.insert(download.index, link.url);
        }
        Ok(Self(links))
    }

    pub(super) fn get(&self, index: i32) -> Option<&str> {
        self.0.get(&index).map(String::as_str)
    }

    /// The origins of the links that lead to the bucket. A page must allow them.
    pub(super) fn origins(&self) -> Vec<String> {
        let urls = self.0.values().filter_map(|link| Url::parse(link).ok());
        let origins: BTreeSet<_> = urls.map(|url| url.origin().ascii_serialization()).collect();
        origins.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_by_its_content_type() {
        for (content_type, kind) in [
            (Some("video/mp4"), MediaKind::Video),
            (Some("image/png"), MediaKind::Image),
            (Some("Image/WebP; q=1"), MediaKind::Image),
            (Some("image/svg+xml"), MediaKind::Other),
            (Some("audio/mpeg"), MediaKind::Audio),
            (Some("text/html"), MediaKind::Other),
            (Some("video"), MediaKind::Other),
            (None, MediaKind::Other),
        ] {
            assert_eq!(MediaKind::of(content_type), kind, "{content_type:?}");
        }
    }

    #[test]
    fn only_the_bucket_has_an_origin_of_its_own() {
        let links = MediaLinks(HashMap::from([
            (0, "/renders/a/downloads/0?expires=1&signature=2".to_owned()),
            (1, "https://bucket.example/key?X-Amz-Signature=1".to_owned()),
            (2, "http://127.0.0.1:9000/bucket/key?x".to_owned()),
            (3, "https://bucket.example/other".to_owned()),
        ]));
        assert_eq!(links.origins(), ["http://127.0.0.1:9000", "https://bucket.example"]);
    }
}
