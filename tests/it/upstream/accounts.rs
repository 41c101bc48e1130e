//! Several accounts: which key is used for which render, and what a 404 proves.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::accounts::MagicHourAccounts;
use crate::support::{App, Options, until};

async fn start(pool: &PgPool, magic_hour: &MagicHourAccounts, keys: &str, more: &[&str]) -> App {
    let flags = [magic_hour.flags(keys), more.iter().map(|&flag| flag.to_owned()).collect()].concat();
    App::start_with(pool, Options { flags, ..Options::default() }).await
}

fn project(status: &str) -> Value {
    json!({"status": status, "type": "FACE_SWAP", "downloads": []})
}

/// Announces a render, which is polled at once.
async fn announce(app: &App, id: &str) {
    let put = app.client.put(app.at(&format!("/renders/{id}"))).bearer_auth(crate::support::app::TOKEN);
    assert!(put.body(r#"{"kind": "video"}"#).send().await.unwrap().status().is_success());
}

async fn becomes(app: &App, id: &str, status: &str) {
    until(&format!("{id} to be {status}"), || async { (app.render(id).await["status"] == status).then_some(()) }).await;
}

async fn account(pool: &PgPool, id: &str) -> Option<String> {
    sqlx::query_scalar("SELECT account FROM renders WHERE id = $1").bind(id).fetch_one(pool).await.unwrap()
}

fn keys_of(magic_hour: &MagicHourAccounts, id: &str) -> Vec<String> {
    magic_hour.calls(id).into_iter().map(|call| call.key).collect()
}

/// Makes a render due for a poll.
async fn poll_again(pool: &PgPool, id: &str) {
    let due = "UPDATE renders SET poll_requested = true, poll_due_at = now(), polled_at = NULL WHERE id = $1";
    sqlx::query(due).bind(id).execute(pool).await.unwrap();
}

#[sqlx::test]
async fn the_key_that_knows_a_render_is_learned_and_survives_reordering_and_rotation(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["a", "b", "c"]).await;
    let app = start(&pool, &magic_hour, "a,b", &[]).await;
    magic_hour.put("b", "x", &project("queued"));
    announce(&app, "x").await;
    becomes(&app, "x", "queued").await;
    assert_eq!(keys_of(&magic_hour, "x"), ["a", "b"], "one after the other, until one knows it");
    until("the account to be saved", || async { account(&pool, "x").await }).await;

    magic_hour.put("b", "x", &project("rendering"));
    poll_again(&pool, "x").await;
    becomes(&app, "x", "rendering").await;
    assert_eq!(keys_of(&magic_hour, "x")[2..], ["b"], "only the owner");
    app.stop().await.unwrap();

    // The order of the keys does not matter, and a key that is gone is learned anew.
    let reordered = start(&pool, &magic_hour, "b, a", &[]).await;
    until("a poll at the start", || async { (keys_of(&magic_hour, "x").len() == 4).then_some(()) }).await;
    assert_eq!(keys_of(&magic_hour, "x")[3..], ["b"]);
    reordered.stop().await.unwrap();
    let before = account(&pool, "x").await;
    magic_hour.put("c", "x", &project("error"));
    let rotated = start(&pool, &magic_hour, "a,c", &[]).await;
    becomes(&rotated, "x", "error").await;
    assert_eq!(keys_of(&magic_hour, "x")[4..], ["a", "c"]);
    until("the new account", || async { (account(&pool, "x").await != before).then_some(()) }).await;
    rotated.stop().await.unwrap();
}

#[sqlx::test]
async fn a_render_is_not_found_only_if_every_account_says_so(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["a", "b"]).await;
    magic_hour.fail("b", 401);
    let app = start(&pool, &magic_hour, "a,b", &[]).await;
    announce(&app, "x").await;
    until("the poll to fail", || async {
        let attempts =
            sqlx::query_scalar::<_, i32>("SELECT poll_attempts FROM renders").fetch_one(&pool).await.unwrap();
        (attempts > 0).then_some(())
    })
    .await;
    assert_eq!(app.render("x").await["not_found_at"], Value::Null, "the other account was not asked");
    magic_hour.recover("b");
    sqlx::query("UPDATE upstream_accounts SET paused_until = 'epoch'").execute(&pool).await.unwrap();
    poll_again(&pool, "x").await;
    until("every account to say so", || async { app.render("x").await["not_found_at"].is_string().then_some(()) })
        .await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn trouble_of_one_account_pauses_only_that_account(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["a", "b"]).await;
    let app = start(&pool, &magic_hour, "a,b", &[]).await;
    for (key, id) in [("a", "of-a"), ("b", "of-b")] {
        magic_hour.put(key, id, &project("queued"));
        announce(&app, id).await;
        until("the account to be saved", || async { account(&pool, id).await }).await;
    }
    magic_hour.fail("a", 402);
    poll_again(&pool, "of-a").await;
    let paused = || async {
        let paused = "SELECT account FROM upstream_accounts WHERE paused_until > now()";
        sqlx::query_scalar::<_, String>(paused).fetch_optional(&pool).await.unwrap()
    };
    let account_of_a = until("the pause", paused).await;
    assert_eq!(Some(account_of_a), account(&pool, "of-a").await);
    let calls = magic_hour.calls("of-a").len();
    poll_again(&pool, "of-a").await;
    for status in ["rendering", "error"] {
        magic_hour.put("b", "of-b", &project(status));
        poll_again(&pool, "of-b").await;
        becomes(&app, "of-b", status).await;
    }
    assert_eq!(magic_hour.calls("of-a").len(), calls, "no call is made during the pause");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn only_the_owner_can_say_that_a_project_is_deleted(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["a", "b"]).await;
    let app = start(&pool, &magic_hour, "a,b", &["--delete-after-store=true"]).await;
    let url = app.files.put("a.mp4", b"1".to_vec(), "video/mp4").unwrap();
    let complete = |id: &str| json!({"id": id, "status": "complete", "downloads": [{"url": url, "expires_at": null}]});
    let send = |id: &'static str| {
        let event = json!({"type": "video.completed", "payload": complete(id)}).to_string();
        let app = &app;
        async move { assert_eq!(app.post(event.as_bytes()).await.status, 200) }
    };
    let deletion = |id: &'static str| {
        let state = "SELECT deletion, deletion_attempts FROM renders WHERE id = $1";
        sqlx::query_as::<_, (Option<String>, i32)>(state).bind(id).fetch_one(&pool)
    };
    // Both keys are of other accounts.
    send("foreign").await;
    until("the attempt", || async { (magic_hour.calls("foreign").len() >= 2).then_some(()) }).await;
    // Known to the second one.
    magic_hour.put("b", "own", &complete("own"));
    send("own").await;
    until("the deletion", || async { deletion("own").await.unwrap().0 }).await;
    assert!(!magic_hour.has("b", "own"));
    let deletes: Vec<_> =
        magic_hour.calls("own").into_iter().filter(|call| call.method == Method::DELETE).map(|it| it.key).collect();
    assert_eq!(deletes, ["b"], "with the key that knows it");
    assert_eq!(deletion("foreign").await.unwrap().0, None, "a 404 with another account's key proves nothing");
    // The owner of this one is known, and says that it is gone.
    let owner = account(&pool, "own").await;
    sqlx::query("UPDATE renders SET account = $1, deletion_due_at = NULL WHERE id = 'foreign'")
        .bind(owner)
        .execute(&pool)
        .await
        .unwrap();
    until("the deletion", || async { deletion("foreign").await.unwrap().0 }).await;
    app.stop().await.unwrap();
}
