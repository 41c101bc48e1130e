//! Guessing tokens is slow, and locks nobody else out.

use sqlx::PgPool;

use super::client::{Browser, start};
use crate::support::app::TOKEN;

#[sqlx::test]
async fn after_some_wrong_tokens_a_client_has_to_wait_and_others_do_not(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let from = |address: &str| {
        let mut browser = Browser::new(&app);
        browser.headers = vec![("x-forwarded-for", address.to_owned())];
        browser
    };
    let mut operator = from("198.51.100.7");
    assert_eq!(operator.log_in(TOKEN).await.status, 303);

    let mut statuses = Vec::new();
    for number in 0..20 {
        // What a client writes itself into the header counts for nothing.
        let mut stranger = from(&format!("10.0.0.{number}, 203.0.113.9"));
        let answer = stranger.log_in("guess").await;
        statuses.push(answer.status);
        if answer.status == 429 {
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=10).contains(&seconds), "{seconds}");
            assert!(answer.text.contains("Try again in"), "{}", answer.text);
        }
    }
    assert_eq!(statuses[..10], [401; 10]);
    // On a slow machine, another attempt may have become possible.
    assert!(statuses[10..].iter().filter(|&&status| status == 429).count() >= 8, "{statuses:?}");

    assert!(operator.is_logged_in().await, "who has logged in notices nothing");
    assert_eq!(from("198.51.100.8").log_in(TOKEN).await.status, 303, "nor do other clients");
    app.stop().await.unwrap();
}
