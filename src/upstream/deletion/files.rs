//! Checks that a render's files include all files of the project, and that their objects match their records.

use url::Url;

use crate::archive::{Store, StoreError, hash_object};
use crate::domain::{DownloadEntry, ObjectKey, Payload, SignedUrl, Status};

/// The record of a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRecord {
    pub(super) key: ObjectKey,
    pub(super) sha256: String,
    /// The path of the file's URL. A fresh URL of the same file only differs in the query.
    pub(super) url_path: String,
}

impl FileRecord {
    /// The part of a URL that identifies the file. Empty if the URL is invalid.
    pub(super) fn url_path(url: &str) -> String {
        Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default()
    }
}

/// Whether every object has the recorded hash.
pub(super) async fn match_store(store: &Store, files: &[FileRecord]) -> Result<bool, StoreError> {
    for file in files {
        let (_, sha256) = hash_object(store, &file.key).await?;
        if sha256 != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the project is complete and every file in it is in `files`, which are in the order of `downloads`.
pub(super) fn include_all(files: &[FileRecord], project: &Payload) -> bool {
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
    use crate::domain::Payload;

    fn file(url_path: &str) -> FileRecord {
        FileRecord { key: ObjectKey::from_row("k".into()), sha256: String::new(), url_path: url_path.to_owned() }
    }

    #[test]
    fn files_include_all_only_if_the_complete_project_has_no_other() {
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
            let project = Payload::from_details(project.as_bytes()).unwrap();
            assert_eq!(include_all(&files, &project), expected, "{status} {downloads}");
        }
        assert_eq!(FileRecord::url_path("https://h/x/a.mp4?sig=1"), "/x/a.mp4");
        assert_eq!(FileRecord::url_path("no url"), "");
    }
}
