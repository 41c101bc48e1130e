//! What every connection sets, whatever the defaults of the server, the database and the role are.

use renderhook::runtime::{Database, DatabaseUrls};
use secrecy::SecretString;
use sqlx::PgPool;

use crate::support::process::database_url;

#[sqlx::test]
async fn every_connection_pins_what_the_statements_count_on(pool: PgPool) {
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
