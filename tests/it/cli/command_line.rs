//! The commands and settings of the real binary.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Output;

use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::app::{SECRET, TOKEN, signed, video};
use crate::support::process::{Service, database_url, renderhook, serve};

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    text(&command.output().await.unwrap())
}

/// Invalid values, which must not be shown.
const INVALID: [(&str, &str); 20] = [
    ("DATABASE_URL", "postgres://hush:hush@h:port/d"),
    ("STORAGE_URL", "ftp://hush"),
    ("API_TOKENS", "hush,,hush"),
    ("READ_TOKENS", "hush"),
    ("METRICS_TOKENS", "hush"),
    ("LISTEN_ADDR", "hush"),
    ("API_LISTEN_ADDR", "hush"),
    ("SIGNATURE_TOLERANCE", "hush"),
    ("MAX_BODY_BYTES", "hush"),
    ("DOWNLOAD_CONCURRENCY", "hush"),
    ("DOWNLOAD_ALLOWED_HOSTS", "https://h/"),
    ("DOWNLOAD_ALLOW_PRIVATE", "hush"),
    ("DOWNLOAD_MAX_BYTES", "hush"),
    ("DOWNLOAD_MAX_ATTEMPTS", "hush"),
    ("DOWNLOAD_LEASE", "hush"),
    ("MAGIC_HOUR_API_KEY_FILE", "/nowhere/hush"),
    ("MAGIC_HOUR_API_URL", "ftp://hush"),
    ("DELETE_AFTER_STORE", "hush"),
    ("EVENT_RETENTION", "hush"),
    ("LOG_FORMAT", "hush"),
];

#[tokio::test]
async fn all_invalid_settings_are_reported_together_with_exit_code_2_and_without_their_values() {
    let (code, out, err) = run(renderhook(&["serve"]).envs(INVALID)).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    for name in INVALID.map(|(name, _)| name).into_iter().chain(["MAGIC_HOUR_WEBHOOK_SECRET"]) {
        assert_eq!(err.matches(&format!("\n  {name}: ")).count(), 1, "{name} in {err}");
    }
    assert!(!err.contains("hush"), "{err}");
}

#[tokio::test]
async fn a_wrong_setting_or_flag_of_any_command_ends_it_with_exit_code_2() {
    for command in ["migrate", "serve"] {
        let (code, _, err) = run(renderhook(&[command]).env("DATABASE_URL", "mysql://hush@h/d")).await;
        assert_eq!(code, Some(2), "{command}: {err}");
        assert!(err.contains("DATABASE_URL") && !err.contains("hush"), "{command}: {err}");
    }
    let (code, _, err) = run(&mut renderhook(&["send", "video.started"])).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("MAGIC_HOUR_WEBHOOK_SECRET: is required"), "{err}");
    let (code, _, err) = run(&mut renderhook(&["serve", "--no-such-flag"])).await;
    assert_eq!(code, Some(2), "{err}");
}

/// Settings of `serve`, and their defaults as the help shows them.
const DEFAULTS: [(&str, &str); 28] = [
    ("DATABASE_URL", "(required)"),
    ("DATABASE_URL_FILE", ""),
    ("MAGIC_HOUR_WEBHOOK_SECRET", "(required)"),
    ("MAGIC_HOUR_WEBHOOK_SECRET_FILE", ""),
    ("STORAGE_URL", "(required)"),
    ("API_TOKENS", "(required)"),
    ("API_TOKENS_FILE", ""),
    ("READ_TOKENS", ""),
    ("READ_TOKENS_FILE", ""),
    ("METRICS_TOKENS", ""),
    ("METRICS_TOKENS_FILE", ""),
    ("API_LISTEN_ADDR", ""),
    ("LISTEN_ADDR", "(default: 0.0.0.0:8080)"),
    ("PORT", ""),
    ("SIGNATURE_TOLERANCE", "[default: 5m]"),
    ("MAX_BODY_BYTES", "[default: 1MiB]"),
    ("DOWNLOAD_CONCURRENCY", "[default: 8]"),
    ("DOWNLOAD_ALLOWED_HOSTS", "(default: any public host)"),
    ("DOWNLOAD_ALLOW_PRIVATE", "[default: false]"),
    ("DOWNLOAD_MAX_BYTES", "[default: 20GiB]"),
    ("DOWNLOAD_MAX_ATTEMPTS", "[default: 20]"),
    ("DOWNLOAD_LEASE", "[default: 60s]"),
    ("MAGIC_HOUR_API_KEY", ""),
    ("MAGIC_HOUR_API_KEY_FILE", ""),
    ("MAGIC_HOUR_API_URL", "[default: https://api.magichour.ai]"),
    ("DELETE_AFTER_STORE", "[default: false]"),
    ("EVENT_RETENTION", "[default: 30d]"),
    ("LOG_FORMAT", "(default: pretty on a terminal, otherwise json)"),
];

/// Settings whose values are secret.
const SECRETS: [&str; 6] =
    ["DATABASE_URL", "MAGIC_HOUR_WEBHOOK_SECRET", "API_TOKENS", "READ_TOKENS", "METRICS_TOKENS", "MAGIC_HOUR_API_KEY"];

#[tokio::test]
async fn help_shows_every_setting_with_its_default_and_no_secret() {
    let (code, all, _) = run(renderhook(&["--help"]).envs(SECRETS.map(|name| (name, "hush")))).await;
    assert_eq!(code, Some(0));
    assert!(!all.contains("hush"), "{all}");
    let (code, out, _) = run(renderhook(&["serve", "--help"]).envs(SECRETS.map(|name| (name, "hush")))).await;
    assert_eq!(code, Some(0));
    assert!(!out.contains("hush"), "{out}");
    let words: String = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, default) in DEFAULTS {
        let flag = format!("--{} ", name.to_lowercase().replace('_', "-"));
        let from = words.find(&flag).unwrap_or_else(|| panic!("{flag} is missing in {words}"));
        let entry = &words[from..][..words[from + 2..].find(" --").map_or(words.len() - from, |end| end + 2)];
        assert!(entry.contains(&format!("[env: {name}")) && entry.contains(default), "{name}: {entry}");
        let line = all.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains(default)), "{name}: {line:?}");
    }
}

#[sqlx::test]
async fn every_secret_can_come_from_a_file(pool: PgPool) {
    let (folder, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut command = serve(&database_url(&pool), &folder);
    for (name, value) in
        [("DATABASE_URL", database_url(&pool).as_str()), ("MAGIC_HOUR_WEBHOOK_SECRET", SECRET), ("API_TOKENS", TOKEN)]
    {
        let path = secrets.path().join(name);
        std::fs::write(&path, format!("{value}\n")).unwrap();
        command.env(name, "").env(format!("{name}_FILE"), path);
    }
    // Other variables in the environment need not be valid Unicode.
    command.env("STRANGER", OsStr::from_bytes(b"\xff"));
    let service = Service::start(command).await;
    let answer = signed(&video("one", "rendering").event("video.started"));
    assert_eq!(answer.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
    assert_eq!(service.get("renders/one").await.0, 200);
    service.stop().await;
}

#[sqlx::test]
async fn send_posts_a_valid_event_and_its_dry_run_prints_a_curl_command_that_does_the_same(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let to = service.at("webhook").to_string();
    let send = |secret: &str, words: &[&str]| {
        let mut command = renderhook(&["send", "video.completed", "--to", &to]);
        command.args(words).env("MAGIC_HOUR_WEBHOOK_SECRET", secret);
        command
    };
    let (code, out, err) = run(&mut send(SECRET, &["--id", "sent", "--name", "it's"])).await;
    assert_eq!((code, out.starts_with("200 ")), (Some(0), true), "{out}{err}");
    assert_eq!(service.get("renders/sent").await.1["name"], "it's");
    let (code, out, err) = run(&mut send("another", &["--id", "forged"])).await;
    assert_eq!((code, out.starts_with("401 ")), (Some(1), true), "{out}{err}");
    assert!(!err.contains("another"), "{err}");

    // Without --to, the event goes to the address where `serve` listens with the same settings.
    let mut to_own = renderhook(&["send", "video.complete", "--id", "typo"]);
    to_own.env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET).env("PORT", service.base.port().unwrap().to_string());
    let (code, out, err) = run(&mut to_own).await;
    assert_eq!((code, out.starts_with("200 ")), (Some(0), true), "{out}{err}");
    assert!(err.contains("video.complete is not an event type of Magic Hour's"), "{err}");

    let (code, curl, err) =
        run(&mut send(SECRET, &["--id", "by-hand", "--name", "it's \\ \"$HOME\" `é`", "--dry-run"])).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(service.get("renders/by-hand").await.0, 404);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("command -v curl >&2 || exit 99\n{curl}")]).env("no_proxy", "*");
    let (code, out, err) = run(&mut shell).await;
    if code != Some(99) {
        assert_eq!((code, out.as_str()), (Some(0), r#"{"message":"recorded"}"#), "{curl}: {err}");
        assert_eq!(service.get("renders/by-hand").await.1["name"], "it's \\ \"$HOME\" `é`");
    }
    service.stop().await;
}

#[sqlx::test]
async fn closing_the_output_early_does_not_stop_the_command(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_renderhook");
    // The reader exits before the command prints anything, so the first line already meets a closed pipe.
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{{ {binary} check; echo $? >&2; }} | true")]);
    shell
        .env("DATABASE_URL", database_url(&pool).as_str())
        .env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET)
        .env("API_TOKENS", TOKEN)
        .env("STORAGE_URL", url::Url::from_file_path(folder.path()).unwrap().as_str())
        .env("MAGIC_HOUR_API_URL", "http://127.0.0.1:1/");
    let (_, _, err) = run(&mut shell).await;
    assert_eq!(err.trim(), "0", "no panic, and the exit code of its work");
}

#[sqlx::test(migrations = false)]
async fn health_exits_with_0_if_the_service_is_ready_or_alive(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let port = service.base.port().unwrap().to_string();
    let health = |flags: &[&str]| {
        let mut command = renderhook(&["health"]);
        command.args(flags).env("PORT", &port);
        command
    };
    assert_eq!(run(&mut health(&[])).await.0, Some(0));
    sqlx::query("DROP TABLE _sqlx_migrations").execute(&pool).await.unwrap();
    let (code, _, err) = run(&mut health(&[])).await;
    assert_eq!((code, err.contains("migrations")), (Some(1), true), "{err}");
    assert_eq!(run(&mut health(&["--live"])).await.0, Some(0), "alive, although not ready");
    service.stop().await;
    for flags in [&[][..], &["--live"]] {
        let (code, _, err) = run(&mut health(flags)).await;
        assert_eq!((code, err.contains("nothing answers")), (Some(1), true), "{err}");
    }
    assert_eq!(run(renderhook(&["health"]).env("PORT", "hush")).await.0, Some(2));
}
