//! Logging in, logging out, and what ends a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use super::client::{Browser, READER, SCRAPER, start, start_with};
use crate::support::app::TOKEN;
use crate::support::{App, Options};

#[sqlx::test]
async fn a_token_logs_in_and_logging_out_ends_the_session_in_every_replica(pool: PgPool) {
    let (app, replica) = (start(&pool, &[]).await, start(&pool, &[]).await);
    let mut browser = Browser::new(&app);
    let page = browser.get("/ui/renders?kind=video&archive=stored").await;
    assert_eq!(
        (page.status, page.location()),
        (303, "/ui/login?next=%2Fui%2Frenders%3Fkind%3Dvideo%26archive%3Dstored")
    );
    let form = browser.get(page.location()).await;
    assert!(form.text.contains(r#"name="next" value="/ui/renders?kind=video&amp;archive=stored""#), "{}", form.text);
    let fields = [("form_token", &*form.form_token()), ("token", TOKEN), ("next", "/ui/renders?kind=video")];
    let answer = browser.post("/ui/login", &fields).await;
    assert_eq!((answer.status, answer.location()), (303, "/ui/renders?kind=video"));
    assert!(browser.is_logged_in().await);
    let mut elsewhere = browser.at(&replica);
    assert!(elsewhere.is_logged_in().await, "a session works in every replica");
    assert_eq!(elsewhere.get("/ui/login?next=/ui/deliveries").await.location(), "/ui/deliveries");

    let stolen = browser.clone();
    let answer = browser.log_out().await;
    assert_eq!((answer.status, answer.location()), (303, "/ui/login"));
    for mut copy in [stolen.clone(), stolen.at(&replica)] {
        assert!(!copy.is_logged_in().await, "the cookie is worth nothing any more");
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
    app.stop().await.unwrap();
    replica.stop().await.unwrap();
}

#[sqlx::test]
async fn only_tokens_that_may_read_log_in(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for (token, status, words) in [
        (TOKEN, 303, ""),
        (READER, 303, ""),
        (" test-token ", 303, ""),
        (SCRAPER, 403, "only read the metrics"),
        ("wrong", 401, "not one of"),
        ("", 401, "not one of"),
        ("<script>alert(1)</script>", 401, "not one of"),
    ] {
        let answer = Browser::new(&app).log_in(token).await;
        assert_eq!(answer.status, status, "{token}");
        assert!(answer.text.contains(words) && !answer.text.contains("alert(1)"), "{}", answer.text);
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_login_begins_a_session_with_a_new_secret_whatever_cookie_there_was(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let planted = format!("renderhook_session={}", "A".repeat(43));
    let mut browser = Browser::new(&app);
    browser.headers = vec![("cookie", planted.clone())];
    let answer = browser.log_in(TOKEN).await;
    assert_eq!(answer.status, 303);
    let session = answer.cookies().into_iter().find(|it| it.starts_with("renderhook_session=")).unwrap();
    assert!(!session.contains(&"A".repeat(43)), "{session}");
    let mut attacker = Browser::new(&app);
    attacker.headers = vec![("cookie", planted)];
    assert!(!attacker.is_logged_in().await);
    // The row does not have what the cookie has.
    let hash: Vec<u8> = sqlx::query_scalar("SELECT secret_hash FROM sessions").fetch_one(&pool).await.unwrap();
    assert!(!session.contains(&hex::encode(hash)));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn cookies_are_hidden_from_scripts_and_other_sites_and_over_tls_from_other_hosts(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for (protocol, name, place) in [
        ("http", "renderhook_session=", "; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=43200"),
        ("https", "__Host-renderhook_session=", "; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200"),
    ] {
        let mut browser = Browser::new(&app);
        browser.headers = vec![("x-forwarded-proto", protocol.to_owned())];
        let answer = browser.log_in(TOKEN).await;
        let cookies = answer.cookies();
        let [cookie] = &cookies[..] else { panic!("{cookies:?}") };
        assert!(cookie.starts_with(name) && cookie.ends_with(place), "{cookie}");
        assert!(browser.is_logged_in().await);
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_session_expires(pool: PgPool) {
    let seconds = Arc::new(AtomicI64::new(1_800_000_000));
    let clock = {
        let seconds = seconds.clone();
        Clock::from_fn(move || DateTime::from_timestamp(seconds.load(Ordering::Relaxed), 0).unwrap())
    };
    let app = start_with(&pool, Options { clock: Some(clock), ..Options::default() }, &[]).await;
    let mut browser = Browser::operator(&app).await;
    seconds.fetch_add(12 * 3600 - 1, Ordering::Relaxed);
    assert!(browser.is_logged_in().await);
    seconds.fetch_add(1, Ordering::Relaxed);
    assert!(!browser.is_logged_in().await);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_session_ends_with_its_token_and_with_a_change_of_its_role(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let (mut operator, mut reader) = (Browser::operator(&app).await, Browser::logged_in(&app, READER).await);
    assert!(operator.is_logged_in().await && reader.is_logged_in().await);
    app.stop().await.unwrap();

    // `--api-tokens` no longer has the operator's token, and the reader's may act.
    let app =
        App::start_with(&pool, Options::flags(&["--ui-enabled=true", &format!("--api-tokens=other,{READER}")])).await;
    assert!(!operator.at(&app).is_logged_in().await);
    assert!(!reader.at(&app).is_logged_in().await, "a session does not get more than its login");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_link_from_another_site_needs_no_new_login(pool: PgPool) {
    let app = start(&pool, &[]).await;
    // The browser sends no strict cookie along a link from elsewhere, but it does when a page of ours asks again.
    let mut browser = Browser::new(&app);
    browser.headers = vec![("sec-fetch-site", "cross-site".to_owned())];
    let page = browser.get("/ui/renders/clx?x=%22%3E").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains(r#"http-equiv="refresh" content="0; url=/ui/renders/clx?x=%22%3E""#), "{}", page.text);
    assert!(!page.cookies().iter().any(|it| it.contains("session")), "{:?}", page.cookies());
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_tokens_nobody_has_to_log_in(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--ui-enabled=true", "--api-tokens=none"])).await;
    let mut browser = Browser::new(&app);
    let page = browser.get("/ui").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("no login") && !page.text.contains("Log out"), "{}", page.text);
    assert_eq!(browser.get("/ui/login").await.location(), "/ui");
    // Forms are protected all the same: their token is that of the browser.
    let token = browser.get("/ui/retry?state=failed").await;
    assert_eq!(token.status, 200);
    assert_eq!(browser.post("/ui/retry", &[("form_token", "guessed")]).await.status, 403);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_the_setting_there_are_no_pages_and_with_two_addresses_only_the_second_has_them(pool: PgPool) {
    let app = App::start(&pool).await;
    for path in ["/ui", "/ui/", "/ui/login", "/ui/renders"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().await.unwrap().starts_with(r#"{"message":"#));
    }
    app.stop().await.unwrap();
    let app = start(&pool, &["--api-listen-addr=127.0.0.1:0"]).await;
    assert_eq!(app.get("/ui/login").await.status(), 404, "the public address");
    assert_eq!(Browser::new(&app).get("/ui/login").await.status, 200);
    app.stop().await.unwrap();
}
