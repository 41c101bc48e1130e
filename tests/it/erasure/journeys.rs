//! `DELETE /renders/{id}` and `FILE_RETENTION`, by the whole service.

use renderhook::runtime::Clock;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::mentions;
use crate::support::accounts::MagicHourAccounts;
use crate::support::app::{TOKEN, signed_at, video};
use crate::support::rows::count;
use crate::support::scripted::Origin;
use crate::support::{App, Options, until};

/// Words that appear in what Magic Hour and the application say about a render.
const PERSONAL: [&str; 6] = ["alicename", "aliceorder", "alicemeta", "alicefile", "alicesecret", "aliceerror"];

fn project(origin: &Origin, id: &str) -> Value {
    let mut url = origin.url("alicefile.mp4");
    url.query_pairs_mut().append_pair("X-Goog-Signature", "alicesecret");
    json!({
        "id": id, "status": "complete", "name": "alicename", "type": "FACE_SWAP", "width": 512,
        "error": {"code": "aliceerror", "message": "aliceerror"},
        "downloads": [{"url": url, "expires_at": null}]
    })
}

async fn send(app: &App, event_type: &str, project: &Value) -> u16 {
    let event = json!({"type": event_type, "payload": project}).to_string();
    app.post(event.as_bytes()).await.status.as_u16()
}

async fn announce(app: &App, id: &str) -> StatusCode {
    let body = json!({"kind": "video", "external_id": "aliceorder", "metadata": {"user": "alicemeta"}});
    let put = app.client.put(app.at(&format!("/renders/{id}"))).bearer_auth(TOKEN).body(body.to_string());
    put.send().await.unwrap().status()
}

async fn delete(app: &App, id: &str, query: &str) -> (u16, Value) {
    let request = app.client.delete(app.at(&format!("/renders/{id}{query}"))).bearer_auth(TOKEN);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn erased(app: &App, id: &str, query: &str) {
    until(&format!("{id} to be erased"), || async { (delete(app, id, query).await.0 == 200).then_some(()) }).await;
}

/// A stored render with all that may be personal.
async fn store(app: &App, origin: &Origin, id: &str) {
    announce(app, id).await;
    let mut failed = project(origin, id);
    failed["status"] = json!("error");
    assert_eq!(send(app, "video.errored", &failed).await, 200);
    assert_eq!(send(app, "video.completed", &project(origin, id)).await, 200);
    app.archived(id, "stored").await;
    sqlx::query("UPDATE notifications SET error = 'alicename was refused' WHERE render_id = $1")
        .bind(id)
        .execute(&app.pool)
        .await
        .unwrap();
}

#[sqlx::test]
async fn an_erased_render_leaves_only_a_tombstone_that_nothing_revives(pool: PgPool) {
    let (app, origin) = (App::start(&pool).await, Origin::start("a face").await);
    store(&app, &origin, "x").await;
    for word in PERSONAL {
        assert!(!mentions(&pool, word).await.is_empty(), "{word} was never there");
    }
    assert_eq!(delete(&app, "unknown", "").await.0, 404);
    assert_eq!(delete(&app, "x", "?upstream=true").await.0, 400, "there is no API key");
    let (status, answer) = delete(&app, "x", "").await;
    assert_eq!((status, &answer["erased_at"]), (202, &Value::Null));
    erased(&app, "x", "").await;
    for word in PERSONAL {
        assert!(mentions(&pool, word).await.is_empty(), "{word}: {:?}", mentions(&pool, word).await);
    }
    assert!(!app.folder.path().join("video/x").exists());
    let tombstone = app.render("x").await;
    assert!(tombstone["erased_at"].is_string() && tombstone["status"] == "complete", "{tombstone}");
    assert_eq!((&tombstone["archive"], &tombstone["downloads"]), (&json!("none"), &json!([])));
    let listed: Value = app.get("/renders?archive=none").await.json().await.unwrap();
    assert_eq!(listed["renders"].as_array().unwrap().len(), 1);

    // Late events of every sort, and the application.
    let deliveries = count(&pool, "deliveries").await;
    for event_type in ["video.completed", "video.errored", "video.upscaled", "model.completed"] {
        assert_eq!(send(&app, event_type, &project(&origin, "x")).await, 200, "{event_type}");
    }
    let stale = json!({"type": "video.completed", "payload": project(&origin, "x")}).to_string();
    let long_ago = Clock::system().now().timestamp() - 100_000;
    assert_eq!(app.deliver(&signed_at(long_ago, stale.as_bytes())).await.status, 401);
    assert_eq!(announce(&app, "x").await, StatusCode::CONFLICT);
    assert_eq!(count(&pool, "deliveries").await, deliveries, "nothing of them is kept");
    for word in PERSONAL {
        assert!(mentions(&pool, word).await.is_empty(), "{word}: {:?}", mentions(&pool, word).await);
    }
    let after = app.render("x").await;
    assert_eq!(after, tombstone);
    assert_eq!(delete(&app, "x", "").await.0, 200, "it can be repeated");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn erasing_touches_no_other_render_and_keeps_the_totals_right(pool: PgPool) {
    let (app, origin) = (App::start(&pool).await, Origin::start("a face").await);
    let files = || async {
        let totals: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, sum(value)::int8 FROM tallies WHERE name LIKE 'files.%' GROUP BY name HAVING sum(value) <> 0",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        totals
    };
    store(&app, &origin, "kept").await;
    let (before, totals) = (app.render("kept").await, files().await);
    store(&app, &origin, "gone").await;
    delete(&app, "gone", "").await;
    erased(&app, "gone", "").await;
    assert_eq!((app.render("kept").await, files().await), (before, totals));
    assert_eq!(app.get("/renders/kept/downloads/0").await.bytes().await.unwrap(), "a face");
    assert_eq!(app.get("/renders/gone/downloads/0").await.status(), 404);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_project_is_deleted_with_the_key_of_its_account(pool: PgPool) {
    let (magic_hour, origin) = (MagicHourAccounts::start(&["a", "b"]).await, Origin::start("a face").await);
    let app = App::start_with(&pool, Options { flags: magic_hour.flags("a,b"), ..Options::default() }).await;
    magic_hour.put("b", "x", &project(&origin, "x"));
    send(&app, "video.completed", &project(&origin, "x")).await;
    app.archived("x", "stored").await;
    assert_eq!(delete(&app, "x", "?upstream=true").await.0, 202);
    erased(&app, "x", "?upstream=true").await;
    assert!(!magic_hour.has("b", "x"));

    // Magic Hour is asked later, about a render that is erased already, and refuses for a while.
    magic_hour.put("b", "y", &project(&origin, "y"));
    send(&app, "video.completed", &project(&origin, "y")).await;
    app.archived("y", "stored").await;
    delete(&app, "y", "").await;
    erased(&app, "y", "").await;
    magic_hour.fail("b", 500);
    assert_eq!(delete(&app, "y", "?upstream=true").await.0, 202);
    until("the first attempt", || async { magic_hour.calls("y").iter().any(|call| call.status == 500).then_some(()) })
        .await;
    assert!(app.render("y").await["erased_at"].is_string());
    magic_hour.recover("b");
    sqlx::query("UPDATE upstream_accounts SET paused_until = 'epoch'").execute(&pool).await.unwrap();
    until("the project to be deleted", || async {
        super::make_due(&pool).await;
        (!magic_hour.has("b", "y")).then_some(())
    })
    .await;
    erased(&app, "y", "?upstream=true").await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn renders_with_old_files_are_erased(pool: PgPool) {
    let (app, origin) = (App::start(&pool).await, Origin::start("a face").await);
    for id in ["old", "new"] {
        store(&app, &origin, id).await;
    }
    assert_eq!(app.send("video.started", &video("running", "rendering")).await.status, 200);
    app.stop().await.unwrap();
    sqlx::query("UPDATE downloads SET stored_at = now() - interval '31 days' WHERE render_id = 'old'")
        .execute(&pool)
        .await
        .unwrap();
    let again = App::start_with(&pool, Options::flags(&["--file-retention=30d"])).await;
    until("the old one to be erased", || async { again.render("old").await["erased_at"].is_string().then_some(()) })
        .await;
    for id in ["new", "running"] {
        assert_eq!(again.render(id).await["erased_at"], Value::Null, "{id}");
    }
    again.stop().await.unwrap();
}
