//! What every connection sets, whatever the defaults of the server, the database and the role are, and what it is for.

use std::time::Duration;

use renderhook::runtime::{Database, DatabaseError, DatabaseUrls};
use secrecy::SecretString;
use sqlx::PgPool;

use crate::support::process::database_url;
use crate::support::until;

#[sqlx::test]
async fn every_connection_sets_the_parameters_that_statements_rely_on(pool: PgPool) {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    for (setting, unwanted) in
        [("jit", "on"), ("default_transaction_isolation", "'serializable'"), ("statement_timeout", "0")]
    {
        let set = format!("ALTER DATABASE \"{name}\" SET {setting} = {unwanted}");
        sqlx::query(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
    }
    let urls = DatabaseUrls::from(SecretString::from(database_url(&pool).to_string()));
    let database = Database::new(&urls).unwrap();
    for (setting, expected) in
        [("jit", "off"), ("default_transaction_isolation", "read committed"), ("statement_timeout", "12s")]
    {
        let current = sqlx::query_scalar::<_, String>("SELECT current_setting($1)").bind(setting);
        assert_eq!(current.fetch_one(database.pool()).await.unwrap(), expected, "{setting}");
    }
}

#[sqlx::test]
async fn a_statement_that_timed_out_is_canceled_on_the_server(pool: PgPool) {
    let urls = DatabaseUrls::from(SecretString::from(database_url(&pool).to_string()));
    let database = Database::new(&urls).unwrap();
    let running = || async {
        let statement =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'
            AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(statement).fetch_one(&pool).await.unwrap()
    };
    database.connect().await.unwrap();
    let sleep = sqlx::query("SELECT pg_sleep(600)").execute(database.pool());
    let (result, ()) = tokio::join!(database.with_timeout(Duration::from_secs(1), sleep), async {
        until("the statement to run", || async { (running().await == 1).then_some(()) }).await;
    });
    assert!(matches!(result, Err(DatabaseError::TimedOut)), "{result:?}");
    until("the statement to be canceled", || async { (running().await == 0).then_some(()) }).await;
    // Its connection can be used again.
    let answers = (0..16).map(|_| sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(database.pool()));
    assert!(futures::future::join_all(answers).await.into_iter().all(|answer| answer.unwrap() == 1));
}
