//! How far a transfer is.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::harness::noise;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, until};

#[sqlx::test]
async fn a_long_transfer_shows_how_far_it_is_until_the_file_is_stored(pool: PgPool) {
    let app = App::start(&pool).await;
    let origin = Origin::start(noise(3_000_000, 1)).await;
    origin.next([Step { hold: Some(1_000_000), ..Step::default() }]);
    let mut project = video("clx", "complete");
    project.downloads = vec![origin.url("a.mp4")];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    let progress = until("the transfer's progress", || async {
        let download = app.render("clx").await["downloads"][0].take();
        (!download["progress"].is_null()).then_some(download)
    })
    .await;
    assert_eq!(progress["state"], "downloading");
    assert_eq!(progress["progress"], json!({"bytes_done": 1_000_000, "bytes_total": 3_000_000}));
    origin.release();
    let stored = app.archived("clx", "stored").await["downloads"][0].take();
    assert_eq!((&stored["progress"], &stored["size_bytes"]), (&Value::Null, &json!(3_000_000)));
    app.stop().await.unwrap();
}
