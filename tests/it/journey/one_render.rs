//! One render, from its first webhook to its stored file.

use renderhook_dev::standin::media;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::s3::S3;
use crate::support::{App, Options};

#[sqlx::test]
async fn a_render_goes_from_started_to_stored(pool: PgPool) {
    let app = App::start(&pool).await;
    assert_eq!(app.send("video.started", &video("clx1", "rendering")).await.status, 200);
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&app.pool).await.unwrap();
    assert_eq!(stored, 1);
    assert_eq!(app.render("clx1").await["status"], "rendering");

    let bytes = media::image(1);
    let mut project = video("clx1", "complete");
    project.downloads = vec![
        app.files.put("clx1/output.png", bytes.clone(), "image/png").unwrap(),
        app.files.put("clx1/empty.bin", Vec::new(), "application/octet-stream").unwrap(),
    ];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    let render = app.archived("clx1", "stored").await;
    assert_eq!(render["status"], "complete");
    let download = &render["downloads"][0];
    assert_eq!(download["object"]["key"], "video/clx1/0-output.png");
    assert_eq!(download["sha256"], hex::encode(Sha256::digest(&bytes)));
    assert_eq!(download["size_bytes"], bytes.len());
    assert_eq!(download["content_type"], "image/png");
    assert_eq!(std::fs::read(app.folder.path().join("video/clx1/0-output.png")).unwrap(), bytes);
    assert_eq!(render["downloads"][1]["size_bytes"], 0);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn files_go_to_a_bucket_whatever_their_size(pool: PgPool) {
    let s3 = S3::start().await;
    let mut options = Options::flags(&["--storage-url", &S3::url()]);
    options.environment = s3.environment();
    let app = App::start_with(&pool, options).await;
    // Below a part, one part exactly, a part and a byte, several parts.
    let sizes = [0, 1, 8 << 20, (8 << 20) + 1, 20_000_000];
    let mut project = video("clx2", "complete");
    for (size, index) in sizes.into_iter().zip(0u8..) {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at % 251).to_le_bytes()[0] ^ index).collect();
        project.downloads.push(app.files.put(&format!("clx2/{index}.mp4"), bytes, "video/mp4").unwrap());
    }
    app.send("video.completed", &project).await;
    let render = app.archived("clx2", "stored").await;
    for (size, index) in sizes.into_iter().zip(0u8..) {
        let download = &render["downloads"][usize::from(index)];
        let key = format!("video/clx2/{index}-{index}.mp4");
        assert_eq!(download["object"]["url"], format!("s3://renders/prefix/{key}"));
        let stored = std::fs::read(s3.path(&key)).unwrap();
        assert_eq!(stored.len(), size);
        assert_eq!(download["sha256"], hex::encode(Sha256::digest(&stored)));

        let redirect = app.get(download["url"].as_str().unwrap()).await;
        assert_eq!(redirect.status(), 307);
        let link = redirect.headers()["location"].to_str().unwrap().to_owned();
        let file = app.client.get(link).send().await.unwrap();
        assert_eq!(file.headers()["content-type"], "video/mp4");
        assert_eq!(file.bytes().await.unwrap(), stored);
    }
    app.stop().await.unwrap();
}
