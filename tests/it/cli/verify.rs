//! `renderhook verify`: stored objects are read back, and repaired.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::process::Command;
use url::Url;

use crate::support::app::video;
use crate::support::process::{database_url, renderhook};
use crate::support::{App, Options};

async fn run(pool: &PgPool, folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command: Command = renderhook(&["verify"]);
    command.args(flags).env("DATABASE_URL", database_url(pool).as_str());
    command.env("STORAGE_URL", Url::from_file_path(folder).unwrap().as_str());
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Stores renders `r0`, `r1` and so on with two files each.
async fn store(app: &App, count: usize) -> Vec<PathBuf> {
    let mut objects = Vec::new();
    for number in 0..count {
        let id = format!("r{number}");
        let mut project = video(&id, "complete");
        for name in ["a", "b"] {
            let path = format!("{id}/{name}.mp4");
            let bytes = format!("the bytes of {path}").into_bytes();
            project.downloads.push(app.files.put(&path, bytes, "video/mp4").unwrap());
        }
        app.send("video.completed", &project).await;
        let render = app.archived(&id, "stored").await;
        for download in render["downloads"].as_array().unwrap() {
            objects.push(app.folder.path().join(download["object"]["key"].as_str().unwrap()));
        }
    }
    objects
}

/// Removes the first file of `r0`, changes the first of `r1`, and cuts the second of `r2`.
fn damage(objects: &[PathBuf]) {
    let size = std::fs::read(&objects[2]).unwrap().len();
    std::fs::remove_file(&objects[0]).unwrap();
    std::fs::write(&objects[2], vec![b'x'; size]).unwrap();
    std::fs::write(&objects[5], "short").unwrap();
}

#[sqlx::test]
async fn missing_and_different_objects_are_reported(pool: PgPool) {
    let app = App::start(&pool).await;
    let objects = store(&app, 4).await;
    let folder = app.folder.path();
    let (code, output, _) = run(&pool, folder, &[]).await;
    assert_eq!((code, output.trim()), (Some(0), "8 objects read: 8 intact, 0 missing or different, 0 unreadable"));

    damage(&objects);
    let (code, output, error) = run(&pool, folder, &[]).await;
    assert_eq!(code, Some(1), "{output}");
    let lines: Vec<_> = output.lines().collect();
    for (line, words) in [(0, "r0 0 video/r0/0-a.mp4: the object is missing"), (1, "r1 0"), (2, "r2 1")] {
        assert!(lines[line].starts_with(words), "{output}");
    }
    assert!(lines[1].ends_with("another SHA-256") && lines[2].contains("has 5 bytes instead of"), "{output}");
    assert_eq!(lines[3], "8 objects read: 5 intact, 3 missing or different, 0 unreadable");
    assert!(error.contains("not every object is intact"), "{error}");
    assert_eq!(app.render("r1").await["archive"], "stored", "nothing was changed");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn only_what_the_flags_select_is_read(pool: PgPool) {
    let app = App::start(&pool).await;
    damage(&store(&app, 4).await);
    let folder = app.folder.path();
    assert_eq!(run(&pool, folder, &["--render", "r3"]).await.0, Some(0));
    assert_eq!(run(&pool, folder, &["--after", "r2"]).await.1.lines().count(), 1, "only the last render");
    assert_eq!(run(&pool, folder, &["--since", "1h", "--sample", "100%"]).await.0, Some(1));
    assert_eq!(run(&pool, folder, &["--sample", "200%"]).await.0, Some(2));
    assert_eq!(run(&pool, folder, &["--render", "nobody"]).await.0, Some(1));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn damaged_objects_are_downloaded_again_unless_magic_hour_has_deleted_the_render(pool: PgPool) {
    let app = App::start(&pool).await;
    let objects = store(&app, 4).await;
    let original = std::fs::read(&objects[2]).unwrap();
    damage(&objects);
    let folder = app.folder.path();
    sqlx::query("UPDATE renders SET deleted = true WHERE id = 'r2'").execute(&pool).await.unwrap();
    let (code, output, _) = run(&pool, folder, &["--repair"]).await;
    assert_eq!(code, Some(1));
    assert!(output.contains("; it is downloaded again") && output.contains("deleted at Magic Hour"), "{output}");
    assert!(output.ends_with("2 downloaded again\n"), "{output}");
    for id in ["r0", "r1"] {
        app.archived(id, "stored").await;
    }
    assert_eq!(std::fs::read(&objects[2]).unwrap(), original);
    let (code, output, _) = run(&pool, folder, &[]).await;
    assert_eq!((code, output.lines().count()), (Some(1), 2), "only the one that is gone: {output}");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_render_is_not_stored_while_its_file_is_downloaded_again(pool: PgPool) {
    let app = App::start(&pool).await;
    let objects = store(&app, 1).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::rename(app.folder.path().join("video"), folder.path().join("video")).unwrap();
    let moved = folder.path().join(objects[0].strip_prefix(app.folder.path()).unwrap());
    app.stop().await.unwrap();
    std::fs::remove_file(moved).unwrap();
    let idle = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    assert_eq!(run(&pool, folder.path(), &["--repair"]).await.0, Some(1));
    let render: Value = idle.render("r0").await;
    assert_eq!((&render["archive"], &render["downloads"][0]["state"]), (&json!("partial"), &json!("pending")));
    assert_eq!(render["downloads"][0]["error"]["code"], "object_damaged");
    idle.stop().await.unwrap();
}

#[sqlx::test]
async fn an_object_that_cannot_be_read_is_neither_intact_nor_downloaded_again(pool: PgPool) {
    let app = App::start(&pool).await;
    let objects = store(&app, 1).await;
    // A folder in the place of an object cannot be read as a file.
    std::fs::remove_file(&objects[0]).unwrap();
    std::fs::create_dir(&objects[0]).unwrap();
    let (code, output, _) = run(&pool, app.folder.path(), &["--repair"]).await;
    assert_eq!(code, Some(1));
    assert!(output.contains("cannot be read") && output.contains("1 unreadable"), "{output}");
    assert_eq!(app.render("r0").await["archive"], "stored");
    app.stop().await.unwrap();
}
