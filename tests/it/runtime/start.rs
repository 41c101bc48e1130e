//! Starting with databases that are unusable, unreachable, or only allow few things.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use renderhook::runtime::MIGRATIONS;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::support::app::{signed, video};
use crate::support::process::{Service, database_url, renderhook, serve};
use crate::support::wait::MAX_WAIT;

/// The lock used in `migrations.rs`.
const LOCK: i64 = 0x7265_6e64_6572_686f;

/// A database URL where nothing listens.
fn unused_address() -> Url {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    Url::parse(&format!("postgres://someone:hush@127.0.0.1:{port}/renders")).unwrap()
}

/// A name on the server that only this test uses. Postgres truncates names after 63 bytes.
fn named(prefix: &str, pool: &PgPool) -> String {
    format!("{prefix}{}", pool.connect_options().get_database().unwrap()).chars().take(63).collect()
}

async fn execute(pool: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.unwrap();
}

/// Runs a command that must fail, and returns its error message.
async fn error(command: &mut Command) -> String {
    let output = timeout(MAX_WAIT, command.output()).await.expect("it ends at once").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("hush"), "{error}");
    error
}

#[tokio::test]
async fn an_unreachable_database_is_logged_once_and_waited_for() {
    let (folder, url) = (TempDir::new().unwrap(), unused_address());
    let mut child = serve(&url, &folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(MAX_WAIT, lines.next_line()).await.expect("a line").unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["event"], "database.waiting");
    let cause = line["error"].as_str().unwrap();
    let place = format!("127.0.0.1:{}", url.port().unwrap());
    assert!(cause.contains(&place) && cause.contains("nothing listens there"), "{cause}");
    child.kill().await.unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None, "the cause is logged once");
}

#[tokio::test]
async fn commands_report_the_address_of_an_unreachable_database() {
    let url = unused_address();
    for words in [&["retry", "--failed"][..], &["replay"]] {
        let error = error(renderhook(words).env("DATABASE_URL", url.as_str())).await;
        let place = format!("127.0.0.1:{}: nothing listens there", url.port().unwrap());
        assert!(error.contains(&place), "{error}");
    }
}

#[sqlx::test]
async fn a_permanent_database_error_ends_the_start_at_once(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let (mut nowhere, mut nobody) = (database_url(&pool), database_url(&pool));
    nowhere.set_path("nowhere");
    nobody.set_username("renderhook_nobody").unwrap();
    for (url, cause) in [(nowhere, "\"nowhere\" does not exist"), (nobody, "renderhook_nobody")] {
        let error = error(&mut serve(&url, &folder)).await;
        assert!(error.contains(cause) && error.contains("in the URL"), "{error}");
    }
}

#[sqlx::test]
async fn a_database_that_is_not_utf8_is_rejected(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let name = named("ascii", &pool);
    execute(&pool, format!("CREATE DATABASE \"{name}\" ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")).await;
    let mut url = database_url(&pool);
    url.set_path(&name);
    let serving = error(&mut serve(&url, &folder)).await;
    let checked = renderhook(&["check"]).env("DATABASE_URL", url.as_str()).output().await.unwrap();
    execute(&pool, format!("DROP DATABASE \"{name}\"")).await;
    assert!(serving.contains("its encoding is SQL_ASCII"), "{serving}");
    let lines = String::from_utf8(checked.stdout).unwrap();
    assert!(lines.lines().any(|line| line.starts_with("FAIL  database ") && line.contains("SQL_ASCII")), "{lines}");
}

#[sqlx::test]
async fn a_migration_lock_delays_no_start_without_pending_migrations(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut holder = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *holder).await.unwrap();
    Service::start(serve(&database_url(&pool), &folder)).await.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_start_with_pending_migrations_waits_for_the_lock_and_logs_it(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut holder = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *holder).await.unwrap();
    let mut child = serve(&database_url(&pool), &folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = async |event: &str| {
        let found = async { while !lines.next_line().await.unwrap().expect("it runs").contains(event) {} };
        timeout(MAX_WAIT, found).await.unwrap_or_else(|_| panic!("no {event}"));
    };
    wait_for("database.waiting").await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut *holder).await.unwrap();
    wait_for("database.migrated").await;
    wait_for("listening").await;
    child.kill().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_role_without_ownership_can_serve_after_the_owner_has_migrated(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let role = named("app", &pool);
    execute(&pool, format!("CREATE ROLE \"{role}\" LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")).await;
    let mut url = database_url(&pool);
    url.set_username(&role).unwrap();

    let refused = error(&mut serve(&url, &folder)).await;
    assert!(refused.contains("run `renderhook migrate` as the owner"), "{refused}");

    let migrated = renderhook(&["migrate"]).env("DATABASE_URL", database_url(&pool).as_str()).output().await.unwrap();
    let said = String::from_utf8(migrated.stdout).unwrap();
    assert!(said.contains(&format!("all {} migrations", MIGRATIONS.iter().count())), "{said}");
    execute(&pool, grants().replace("renderhook_app", &format!("\"{role}\""))).await;
    let service = Service::start(serve(&url, &folder)).await;
    let delivery = signed(&video("few-rights", "rendering").event("video.started"));
    assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
    assert_eq!(service.get("renders/few-rights").await.0, 200);
    service.stop().await;
    execute(&pool, format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"")).await;
}

/// The grants to `renderhook_app` in docs/database.md, without those that name the database.
fn grants() -> String {
    let lines = include_str!("../../../docs/database.md").lines();
    let is_grant = |line: &&str| line.starts_with("GRANT ") || line.starts_with("ALTER DEFAULT PRIVILEGES ");
    lines.filter(is_grant).filter(|line| !line.contains(" ON DATABASE ")).collect()
}
