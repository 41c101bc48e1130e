//! `renderhook check`, run as the real binary.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use chrono::TimeDelta;
use renderhook::runtime::Clock;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use url::Url;

use crate::support::process::{database_url, renderhook};
use crate::support::s3::S3;
use crate::upstream::missing_webhooks::ended;

const KEY: &str = "mhk_hush";
const NOT_FOUND: &str = r#"{"message":"Not Found"}"#;

/// Starts a stub of Magic Hour's API. It answers requests with the right key with `status` and `body`, and others with 401.
/// Its clock is off by `off`.
async fn api(status: u16, body: &'static str, off: TimeDelta) -> Url {
    let answer = move |uri: Uri, headers: HeaderMap| async move {
        let time = (Clock::system().now() + off).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let project = uri.path().strip_prefix("/api/v1/video-projects/");
        let known = headers.get("authorization").is_some_and(|value| value == &format!("Bearer {KEY}"));
        let (status, body) = match (project, known) {
            (None, _) => (500, "it was asked of something else"),
            (_, false) => (401, r#"{"message":"Unauthorized"}"#),
            (_, true) => (status, body),
        };
        (StatusCode::from_u16(status).unwrap(), [("date", time)], body).into_response()
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = Url::parse(&format!("http://{}/api", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    base
}

/// A stub of the API without any problem.
async fn healthy_api() -> Url {
    api(404, NOT_FOUND, TimeDelta::zero()).await
}

/// `renderhook check` with valid settings.
fn check(database: &Url, folder: &TempDir, api: &Url) -> Command {
    let mut command = renderhook(&["check"]);
    command
        .env("DATABASE_URL", database.as_str())
        .env("MAGIC_HOUR_WEBHOOK_SECRET", "whsec_hush")
        .env("API_TOKENS", "token_hush")
        .env("STORAGE_URL", Url::from_file_path(folder.path()).unwrap().as_str())
        .env("MAGIC_HOUR_API_KEY", KEY)
        .env("MAGIC_HOUR_API_URL", api.as_str())
        .env("LISTEN_ADDR", "127.0.0.1:0");
    command
}

/// The report of one run: its exit code, and its lines by name.
struct CheckReport {
    code: Option<i32>,
    order: Vec<String>,
    lines: HashMap<String, (String, String)>,
}

impl CheckReport {
    async fn run(command: &mut Command) -> Self {
        let output = command.output().await.unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!out.contains("hush") && !err.contains("hush"), "{out}{err}");
        let (mut order, mut lines) = (Vec::new(), HashMap::new());
        for line in out.lines() {
            let (status, rest) = line.split_at(6);
            let (name, text) = rest.split_at_checked(31).unwrap_or_else(|| panic!("{line}"));
            order.push(name.trim().to_owned());
            let before = lines.insert(name.trim().to_owned(), (status.trim().to_owned(), text.to_owned()));
            assert_eq!(before, None, "there is one line for each name: {out}");
        }
        Self { code: output.status.code(), order, lines }
    }

    /// The status of `name`, whose text must contain `words`.
    fn status_of(&self, name: &str, words: &str) -> &str {
        let (status, text) = self.lines.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.order));
        assert!(text.contains(words), "{name}: {text}");
        status
    }

    /// The names of all lines that warn or fail.
    fn problems(&self) -> Vec<&str> {
        // The tests' Postgres is temporary, and its durability is off to save time.
        let lines = self.order.iter().map(String::as_str).filter(|name| *name != "durability");
        lines.filter(|name| !matches!(self.lines[*name].0.as_str(), "ok" | "skip")).collect()
    }
}

#[sqlx::test]
async fn if_nothing_is_wrong_every_setting_and_dependency_has_an_ok_line(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let report = CheckReport::run(&mut check(&database_url(&pool), &folder, &api)).await;
    assert_eq!((report.problems(), report.code), (vec![], Some(0)));
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let settings = serve.get_arguments().filter_map(|flag| flag.get_env()?.to_str());
    let settings: Vec<_> = settings.filter(|name| !name.ends_with("_FILE")).collect();
    let dependencies =
        ["database", "durability", "store", "api key", "clock", "webhooks", "notifications", "listen address"];
    assert_eq!(report.order, [settings.as_slice(), &dependencies].concat());
    for (name, words) in [
        ("DATABASE_URL", "set"),
        ("MAGIC_HOUR_WEBHOOK_SECRET", "set"),
        ("STORAGE_URL", "file:///"),
        ("SIGNATURE_TOLERANCE", "5m (default)"),
        ("MAGIC_HOUR_API_URL", "http://127.0.0.1"),
        ("database", "migrations are applied"),
        ("store", "a test object was written and deleted"),
        ("api key", "Magic Hour accepts it"),
        ("clock", "agrees"),
        ("webhooks", "none is missing"),
    ] {
        assert_eq!(report.status_of(name, words), "ok");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left in the store");
}

#[sqlx::test(migrations = false)]
async fn a_database_without_the_migrations_of_this_version_is_reported(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let url = database_url(&pool);
    let at = async |url: &Url| CheckReport::run(&mut check(url, &folder, &api)).await;

    let empty = at(&url).await;
    assert_eq!(
        (empty.status_of("database", "migrations are missing: `renderhook migrate`"), empty.code),
        ("warn", Some(0))
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&pool).await.unwrap(), 0, "no migration is applied");

    renderhook::runtime::MIGRATIONS.run(&pool).await.unwrap();
    sqlx::query(
        "UPDATE _sqlx_migrations SET checksum = '' WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let foreign = at(&url).await;
    assert_eq!(
        (foreign.status_of("database", "1 applied migrations are from another version"), foreign.code),
        ("FAIL", Some(1))
    );
}

#[sqlx::test]
async fn a_database_that_cannot_be_used_fails_with_the_reason(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let url = database_url(&pool);
    let mut read_only = url.clone();
    read_only.query_pairs_mut().append_pair("options", "-c default_transaction_read_only=on");
    let mut nowhere = url.clone();
    nowhere.set_path("nowhere");
    let nobody = Url::parse("postgres://someone:hush@127.0.0.1:1/renders").unwrap();
    for (url, reason) in
        [(read_only, "is read-only"), (nowhere, "\"nowhere\" does not exist"), (nobody, "nothing listens there")]
    {
        let report = CheckReport::run(&mut check(&url, &folder, &api)).await;
        assert_eq!(
            (report.status_of("database", reason), report.problems(), report.code),
            ("FAIL", vec!["database"], Some(1))
        );
    }
}

#[sqlx::test]
async fn a_store_that_cannot_be_written_fails_with_the_reason_and_shows_no_credential(pool: PgPool) {
    let (folder, api, s3) = (TempDir::new().unwrap(), healthy_api().await, S3::start().await);
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let mut command = check(&database_url(&pool), &folder, &api);
    let report = CheckReport::run(command.env("STORAGE_URL", format!("file://{}/store", file.display()))).await;
    assert_eq!(
        (report.status_of("store", "cannot be written"), report.problems(), report.code),
        ("FAIL", vec!["store"], Some(1))
    );

    for (name, value, expected, words) in [
        ("AWS_REGION", "us-east-1", "ok", "was written"),
        ("AWS_SECRET_ACCESS_KEY", "hush", "FAIL", "rejects the credentials"),
    ] {
        let mut command = check(&database_url(&pool), &folder, &api);
        command.envs(s3.environment()).env("STORAGE_URL", S3::url()).env(name, value);
        let report = CheckReport::run(&mut command).await;
        assert_eq!(report.status_of("store", words), expected);
        assert_eq!(report.code, Some(i32::from(expected == "FAIL")));
    }
}

#[sqlx::test]
async fn the_service_must_be_able_to_listen_on_both_addresses(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = holder.local_addr().unwrap();
    for (address, expected, words, code) in [
        ("127.0.0.1:0".to_owned(), "ok", "is free".to_owned(), 0),
        (taken.to_string(), "warn", format!("{taken} is in use"), 0),
        // No machine has this address: it is for documentation.
        ("192.0.2.1:0".to_owned(), "FAIL", "192.0.2.1:0 cannot be listened on".to_owned(), 1),
    ] {
        for (setting, line) in [("LISTEN_ADDR", "listen address"), ("API_LISTEN_ADDR", "api listen address")] {
            let mut command = check(&database_url(&pool), &folder, &api);
            let report = CheckReport::run(command.env(setting, &address)).await;
            assert_eq!((report.status_of(line, &words), report.code), (expected, Some(code)), "{setting}={address}");
        }
    }
    let mut command = check(&database_url(&pool), &folder, &api);
    let report = CheckReport::run(command.env("API_LISTEN_ADDR", "nowhere")).await;
    assert_eq!(report.status_of("api listen address", "API_LISTEN_ADDR is invalid"), "skip");
}

#[sqlx::test]
async fn a_rejected_key_fails_with_the_reason_from_the_api(pool: PgPool) {
    let (folder, url) = (TempDir::new().unwrap(), database_url(&pool));
    for (status, body, words) in [
        (401, r#"{"message":"Unauthorized"}"#, "rejects the key"),
        (403, "", "denies access"),
        (402, r#"{"message":"Payment required"}"#, "requires payment"),
        (429, "", "limits the rate"),
        (503, "", "failed (503"),
        (404, "<html>", "does not answer like Magic Hour's API"),
        (302, "", "does not answer like Magic Hour's API"),
    ] {
        let api = api(status, body, TimeDelta::zero()).await;
        let report = CheckReport::run(&mut check(&url, &folder, &api)).await;
        let status = report.status_of("api key", words);
        assert_eq!((status, report.problems(), report.code), ("FAIL", vec!["api key"], Some(1)), "{status}");
    }
    // A mock of the API answers for every project.
    let mock = api(200, "{}", TimeDelta::zero()).await;
    assert_eq!(CheckReport::run(&mut check(&url, &folder, &mock)).await.problems(), [""; 0]);

    let another =
        CheckReport::run(check(&url, &folder, &healthy_api().await).env("MAGIC_HOUR_API_KEY", "mhk_another_hush"))
            .await;
    assert_eq!((another.status_of("api key", "rejects the key"), another.code), ("FAIL", Some(1)));

    let nobody = CheckReport::run(&mut check(&url, &folder, &Url::parse("http://127.0.0.1:1/").unwrap())).await;
    assert_eq!((nobody.status_of("api key", "cannot be reached"), nobody.code), ("FAIL", Some(1)));
    assert_eq!(nobody.status_of("clock", "not checked"), "warn");
}

#[sqlx::test]
async fn without_a_key_nothing_fails_and_the_clock_is_still_checked(pool: PgPool) {
    let (folder, url) = (TempDir::new().unwrap(), database_url(&pool));
    let without = async |api: &Url| CheckReport::run(check(&url, &folder, api).env("MAGIC_HOUR_API_KEY", "")).await;
    let report = without(&healthy_api().await).await;
    assert_eq!((report.status_of("api key", "not set"), report.status_of("clock", "agrees")), ("ok", "ok"));
    assert_eq!(report.status_of("webhooks", "cannot be checked"), "skip");
    assert_eq!(report.code, Some(0));

    let off = without(&api(404, NOT_FOUND, TimeDelta::minutes(10)).await).await;
    assert_eq!((off.status_of("clock", "behind"), off.code), ("FAIL", Some(1)));

    let nobody = without(&Url::parse("http://127.0.0.1:1/").unwrap()).await;
    assert_eq!((nobody.problems(), nobody.code), (vec!["clock"], Some(0)));
}

#[sqlx::test]
async fn a_wrong_clock_warns_and_fails_if_events_would_be_rejected(pool: PgPool) {
    let (folder, url) = (TempDir::new().unwrap(), database_url(&pool));
    for (off, tolerance, status, words) in [
        (TimeDelta::minutes(-10), "5m", "FAIL", "ahead of"),
        (TimeDelta::minutes(10), "5m", "FAIL", "behind"),
        (TimeDelta::minutes(10), "1h", "warn", "behind"),
        (TimeDelta::seconds(-60), "5m", "warn", "ahead of"),
    ] {
        let api = api(404, NOT_FOUND, off).await;
        let report = CheckReport::run(check(&url, &folder, &api).env("SIGNATURE_TOLERANCE", tolerance)).await;
        assert_eq!((report.status_of("clock", words), report.problems()), (status, vec!["clock"]), "{off}");
        assert_eq!(report.code, Some(i32::from(status == "FAIL")), "{off}");
    }
}

#[sqlx::test]
async fn a_server_that_may_lose_committed_data_causes_a_warning(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let set = format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
    let report = CheckReport::run(&mut check(&database_url(&pool), &folder, &api)).await;
    assert_eq!((report.status_of("durability", "synchronous_commit"), report.code), ("warn", Some(0)));
}

#[sqlx::test]
async fn missing_webhooks_cause_a_warning(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    ended(&pool, "silent", "error", "poll", Clock::system().now() - TimeDelta::hours(1)).await;
    let report = CheckReport::run(&mut check(&database_url(&pool), &folder, &api)).await;
    assert_eq!((report.status_of("webhooks", "mistyped or disabled in Developer Hub"), report.code), ("warn", Some(0)));
}

#[sqlx::test]
async fn each_invalid_setting_has_a_line_and_the_rest_is_still_checked(pool: PgPool) {
    let (folder, api) = (TempDir::new().unwrap(), healthy_api().await);
    let mut command = check(&database_url(&pool), &folder, &api);
    command
        .env("STORAGE_URL", "ftp://hush")
        .env("SIGNATURE_TOLERANCE", "hush")
        .env("API_TOKENS", "")
        .env("MAGIC_HOUR_API_KEY", "")
        .env("MAGIC_HOUR_API_KEY_FILE", "/nowhere/hush")
        .env("AWS_SECRET_ACCESS_KEY_FILE", "/nowhere/hush");
    let report = CheckReport::run(&mut command).await;
    assert_eq!(report.code, Some(2));
    for (name, words) in [
        ("STORAGE_URL", "scheme must be"),
        ("SIGNATURE_TOLERANCE", "must be a duration"),
        ("API_TOKENS", "is required"),
        ("MAGIC_HOUR_API_KEY_FILE", "cannot read the file"),
        ("AWS_SECRET_ACCESS_KEY_FILE", "cannot read the file"),
    ] {
        assert_eq!(report.status_of(name, words), "FAIL");
    }
    for (name, words) in [("store", "STORAGE_URL"), ("api key", "MAGIC_HOUR_API_KEY"), ("clock", "SIGNATURE_TOLERANCE")]
    {
        assert_eq!(report.status_of(name, words), "skip");
    }
    assert_eq!(report.status_of("database", "migrations are applied"), "ok");

    let report = CheckReport::run(&mut renderhook(&["check"])).await;
    assert_eq!((report.code, report.status_of("database", "DATABASE_URL")), (Some(2), "skip"));
}

#[tokio::test]
async fn a_dependency_that_does_not_answer_fails_after_a_time_limit() {
    // The system accepts connections, but nothing ever reads from them.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let (database, api) = (format!("postgres://u:hush@{address}/d"), format!("http://{address}/"));
    let folder = TempDir::new().unwrap();
    let (database, api) = (Url::parse(&database).unwrap(), Url::parse(&api).unwrap());
    let report = CheckReport::run(&mut check(&database, &folder, &api)).await;
    assert_eq!((report.problems(), report.code), (vec!["database", "api key", "clock"], Some(1)));
    assert_eq!(report.status_of("clock", &format!("not checked: http://{address} cannot be reached")), "warn");
    for name in ["database", "api key"] {
        assert_eq!(report.status_of(name, "no answer within"), "FAIL");
    }
}
