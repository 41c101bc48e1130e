//! Downloads that are at risk of expiring.

use chrono::TimeDelta;
use renderhook::archive::Backlog;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::observations::{completed, record};

#[sqlx::test]
async fn a_file_is_endangered_when_it_has_little_time_left_and_nothing_works(pool: PgPool) {
    let now = Clock::system().now();
    let soon = Some(now + TimeDelta::minutes(90));
    record(&pool, &[completed("soon", &["https://files.example/a.mp4"], soon, now)]).await;
    let later = Some(now + TimeDelta::hours(20));
    record(&pool, &[completed("later", &["https://files.example/b.mp4"], later, now)]).await;
    sqlx::query("UPDATE downloads SET due_at = $1").bind(now).execute(&pool).await.unwrap();
    let found = Backlog::read(&pool, now).await.unwrap();
    assert_eq!((found.downloading, found.endangered, found.most_urgent), (0, 0, None));
    assert_eq!(found.first_expires_at.map(|at| at.timestamp()), soon.map(|at| at.timestamp()));

    // No worker claims it.
    let found = Backlog::read(&pool, now + TimeDelta::minutes(6)).await.unwrap();
    assert_eq!((found.endangered, found.most_urgent.as_deref()), (1, Some("soon")));

    // It fails.
    sqlx::query("UPDATE downloads SET error_code = 'http_500', error_message = 'm'").execute(&pool).await.unwrap();
    let found = Backlog::read(&pool, now).await.unwrap();
    assert_eq!((found.endangered, found.most_urgent.as_deref()), (1, Some("soon")));
}
