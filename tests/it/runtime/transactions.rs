//! Transactions that are canceled.

use renderhook::runtime::begin;
use sqlx::PgPool;

use crate::support::observations::connections;
use crate::support::rows::count;

#[sqlx::test]
async fn a_transaction_that_is_canceled_while_it_begins_leaves_no_other_statement_uncommitted(pool: PgPool) {
    let one = connections(&pool, 1);
    sqlx::query("CREATE TABLE written (n int)").execute(&pool).await.unwrap();
    for n in 0..20 {
        let mut beginning = Box::pin(begin(&one, "BEGIN"));
        for _ in 0..n % 5 {
            if futures::poll!(&mut beginning).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(beginning);
        sqlx::query("INSERT INTO written VALUES ($1)").bind(n).execute(&one).await.unwrap();
        assert_eq!(count(&pool, "written").await, i64::from(n) + 1, "after {n}");
    }
}
