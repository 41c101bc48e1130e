//! Other sites cannot send forms in the name of an operator.

use sqlx::PgPool;

use super::client::{Browser, start};

#[sqlx::test]
async fn a_form_needs_its_origin_and_its_token(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut browser = Browser::operator(&app).await;
    let token = browser.get("/ui").await.form_token();
    let own = app.base.origin().ascii_serialization();
    let fields = [("form_token", &*token), ("state", "failed")];
    for (from, status) in [
        (&[("sec-fetch-site", "same-origin")][..], 303),
        (&[("origin", &*own)], 303),
        (&[], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], 403),
        (&[("sec-fetch-site", "same-site"), ("origin", &own)], 403),
        (&[("sec-fetch-site", "none")], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
    ] {
        assert_eq!(browser.post_from(from, "/ui/retry", &fields).await.status, status, "{from:?}");
    }
    let other = Browser::operator(&app).await.get("/ui").await.form_token();
    for wrong in ["", "x", &other, &token[1..], &token.to_uppercase()] {
        let answer = browser.post("/ui/retry", &[("form_token", wrong), ("state", "failed")]).await;
        assert_eq!(answer.status, 403, "{wrong}");
        assert!(answer.text.contains("out of date"), "{}", answer.text);
    }
    assert_eq!(browser.post("/ui/retry", &[("state", "failed")]).await.status, 403, "no token");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn nobody_is_logged_in_or_out_by_another_site(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut browser = Browser::operator(&app).await;
    let token = browser.get("/ui").await.form_token();
    let from = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    assert_eq!(browser.post_from(&from, "/ui/logout", &[("form_token", &token)]).await.status, 403);
    assert_eq!(browser.post("/ui/logout", &[]).await.status, 403);
    assert!(browser.is_logged_in().await);

    // An attacker's own token for the form and for the API, sent by a victim's browser.
    let attackers = Browser::new(&app).get("/ui/login").await.form_token();
    let mut victim = Browser::new(&app);
    victim.get("/ui/login").await;
    let fields = [("form_token", &*attackers), ("token", crate::support::app::TOKEN)];
    assert_eq!(victim.post_from(&from, "/ui/login", &fields).await.status, 403);
    assert_eq!(victim.post("/ui/login", &fields).await.status, 403);
    assert!(!victim.is_logged_in().await);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn nothing_changes_by_a_get_and_large_forms_are_refused(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut browser = Browser::operator(&app).await;
    assert_eq!(browser.get("/ui/logout").await.status, 405);
    assert!(browser.is_logged_in().await);
    let token = browser.get("/ui").await.form_token();
    let large = "x".repeat(20_000);
    let answer = browser.post("/ui/retry", &[("form_token", &token), ("error", &large)]).await;
    assert_eq!(answer.status, 413);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn no_form_leads_to_another_site(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for next in
        ["https://evil.example/", "//evil.example", "/\\evil.example", "/ui/\\..//evil.example", "javascript:alert(1)"]
    {
        let mut browser = Browser::new(&app);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let form = browser.get(&format!("/ui/login?{query}")).await;
        assert!(form.text.contains(r#"name="next" value="/ui""#), "{next}: {}", form.text);
        let fields = [("form_token", &*form.form_token()), ("token", crate::support::app::TOKEN), ("next", next)];
        assert_eq!(browser.post("/ui/login", &fields).await.location(), "/ui", "{next}");
        let token = browser.get("/ui").await.form_token();
        let answer = browser.post("/ui/retry", &[("form_token", &token), ("back", next)]).await;
        assert_eq!(answer.location(), "/ui?retried=0", "{next}");
    }
    app.stop().await.unwrap();
}
