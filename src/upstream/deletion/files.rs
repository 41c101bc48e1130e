//! Whether a render's files are all that its project has, and whether the store has each of them intact.

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use url::Url;

use crate::archive::{Store, StoreError};
use crate::domain::{DownloadEntry, ObjectKey, Payload, SignedUrl, Status};

/// A file as its row says it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub(super) key: ObjectKey,
    pub(super) sha256: String,
    /// The path of the URL that it came from. A fresh URL of the same file differs in its query alone.
    pub(super) url_path: String,
}

impl StoredFile {
    /// The part of a URL that identifies a file, or nothing for a URL that cannot be read.
    pub(super) fn url_path(url: &str) -> String {
        Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default()
    }
}

/// Whether every object is what was stored.
pub(super) async fn are_intact(store: &Store, files: &[StoredFile]) -> Result<bool, StoreError> {
    for file in files {
        let mut bytes = store.read(&file.key, None).await?;
        let mut hash = Sha256::new();
        while let Some(chunk) = bytes.try_next().await? {
            hash.update(&chunk);
        }
        if hex::encode(hash.finalize()) != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the project is complete and has no file that is not among `files`, which are in the order of `downloads`.
pub(super) fn are_all(files: &[StoredFile], project: &Payload) -> bool {
    let is_stored = |(index, entry): (usize, &DownloadEntry)| {
        let path = entry.url.as_ref().map(SignedUrl::expose).map(Url::path);
        files.get(index).is_some_and(|file| path == Some(&file.url_path))
    };
    project.status == Some(Status::Complete)
        && !project.downloads.is_empty()
        && project.downloads.iter().enumerate().all(is_stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event;

    fn file(url_path: &str) -> StoredFile {
        StoredFile { key: ObjectKey::from_row("k".into()), sha256: String::new(), url_path: url_path.to_owned() }
    }

    #[test]
    fn the_files_are_all_only_if_the_complete_project_lists_no_other() {
        let files = [file("/x/a.mp4"), file("/x/b.mp4")];
        for (status, downloads, expected) in [
            ("complete", r#"["https://h/x/a.mp4?sig=2","https://h/x/b.mp4"]"#, true),
            ("complete", r#"["https://h/x/a.mp4"]"#, true),
            ("complete", r#"["https://h/x/a.mp4","https://h/x/b.mp4","https://h/x/c.mp4"]"#, false),
            ("complete", r#"["https://h/x/a.mp4","https://h/x/other.mp4"]"#, false),
            ("complete", r#"["https://h/x/a.mp4",{}]"#, false),
            ("complete", "[]", false),
            ("rendering", r#"["https://h/x/a.mp4","https://h/x/b.mp4"]"#, false),
        ] {
            let project = format!(r#"{{"id":"x","status":"{status}","downloads":{downloads}}}"#);
            let project = event::parse_details(project.as_bytes()).unwrap();
            assert_eq!(are_all(&files, &project), expected, "{status} {downloads}");
        }
        assert_eq!(StoredFile::url_path("https://h/x/a.mp4?sig=1"), "/x/a.mp4");
        assert_eq!(StoredFile::url_path("no url"), "");
    }
}
