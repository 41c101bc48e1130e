//! A real `PgBouncer` between the service and Postgres.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use url::Url;

use crate::support::app::{signed, video};
use crate::support::process::{Service, database_url, renderhook, serve};
use crate::support::rows::count;
use crate::support::{skip, until};

/// What Debian and others install, where it is not in the path of everyone.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// A `PgBouncer` of a test's own. It ends with this.
struct PgBouncer {
    port: u16,
    /// Whether it keeps the prepared statements of its clients apart in transaction mode, as 1.21 and newer do.
    keeps_statements_apart: bool,
    _child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts it in front of the server of `upstream`; `None` where it is not installed, which is said.
    async fn start(upstream: &Url, mode: &str) -> Option<Self> {
        let Some((program, version)) = installed().await else {
            skip("PgBouncer is not installed (apt-get install pgbouncer)");
            return None;
        };
        let keeps_statements_apart = version >= (1, 21);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let configuration = folder.path().join("pgbouncer.ini");
        let statements = if keeps_statements_apart { "max_prepared_statements = 200\n" } else { "" };
        let text = format!(
            "[databases]\n* = {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = 40\nmax_client_conn = 200\n{statements}",
            server(upstream)
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new(program);
        command.arg(&configuration).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        // It does not run as root: it runs as the user of the server, whose socket it uses.
        if let Some(socket) = socket(upstream) {
            let owner = std::fs::metadata(socket).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = command.spawn().unwrap();
        until("PgBouncer to listen", || async { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok() }).await;
        Some(Self { port, keeps_statements_apart, _child: child, _folder: folder })
    }

    /// The URL of `database` by way of it.
    fn url(&self, database: &Url) -> Url {
        Url::parse(&format!("postgres://anyone@127.0.0.1:{}{}", self.port, database.path())).unwrap()
    }
}

/// The program and its version.
async fn installed() -> Option<(PathBuf, (u32, u32))> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let program = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())?;
    let output = Command::new(&program).arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((program, (numbers.next()?.ok()?, numbers.next()?.ok()?)))
}

/// The folder of the server's socket.
fn socket(upstream: &Url) -> Option<PathBuf> {
    let (_, folder) = upstream.query_pairs().find(|(name, value)| name == "host" && value.starts_with('/'))?;
    Some(Path::new(&*folder).to_owned())
}

/// The server, as `PgBouncer` is told of it.
fn server(upstream: &Url) -> String {
    let host =
        socket(upstream).map_or_else(|| upstream.host_str().unwrap().to_owned(), |path| path.display().to_string());
    let password = upstream.password().map(|password| format!(" password={password}")).unwrap_or_default();
    format!("host={host} port={} user={}{password}", upstream.port().unwrap_or(5432), upstream.username())
}

/// Sends many events at once, and expects each to be taken.
async fn send_many(service: &Service, name: &str) {
    for round in 0..5 {
        let sent = (0..40).map(|at| async move {
            let delivery = signed(&video(&format!("{name}-{round}-{at}"), "rendering").event("video.started"));
            delivery.post(&service.client, &service.at("webhook")).await.unwrap().status.as_u16()
        });
        let refused: Vec<_> = join_all(sent).await.into_iter().filter(|status| *status != 200).collect();
        assert!(refused.is_empty(), "{name}, round {round}: {refused:?}");
    }
}

#[sqlx::test]
async fn in_session_mode_everything_works(pool: PgPool) {
    let (direct, folder) = (database_url(&pool), TempDir::new().unwrap());
    let Some(pooler) = PgBouncer::start(&direct, "session").await else { return };
    let service = Service::start(serve(&pooler.url(&direct), &folder)).await;
    assert_eq!(service.log.events("database.pooled").len(), 0);
    send_many(&service, "session").await;
    assert_eq!(count(&pool, "renders").await, 200);
    service.stop().await;
}

#[sqlx::test(migrations = false)]
async fn in_transaction_mode_everything_works_or_the_start_fails(pool: PgPool) {
    let (direct, folder) = (database_url(&pool), TempDir::new().unwrap());
    let Some(pooler) = PgBouncer::start(&direct, "transaction").await else { return };
    let pooled = |direct: &str| {
        let mut command = serve(&pooler.url(&database_url(&pool)), &folder);
        command.env("DATABASE_DIRECT_URL", direct);
        command
    };
    if !pooler.keeps_statements_apart {
        let output = pooled(direct.as_str()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("PgBouncer 1.21 or newer"), "{error}");
        assert_eq!(output.status.code(), Some(1));
        return;
    }
    // Several at once, which also apply the migrations: one by way of the pooler alone.
    let services = join_all([direct.as_str(), "none", ""].map(|direct| Service::start(pooled(direct)))).await;
    let sent = services.iter().zip(["direct", "none", "unset"]).map(|(service, name)| send_many(service, name));
    join_all(sent).await;
    assert_eq!(count(&pool, "renders").await, 600);
    assert_eq!(services[2].log.events("database.pooled").len(), 1);
    for service in services {
        service.stop().await;
    }
}

#[sqlx::test]
async fn check_reports_if_a_pooler_can_be_used(pool: PgPool) {
    let direct = database_url(&pool);
    let Some(pooler) = PgBouncer::start(&direct, "transaction").await else { return };
    let check = renderhook(&["check"]).env("DATABASE_URL", pooler.url(&direct).as_str()).output().await.unwrap();
    let lines = String::from_utf8(check.stdout).unwrap();
    let line = lines.lines().find(|line| line.contains(" database ")).unwrap_or_else(|| panic!("{lines}"));
    if pooler.keeps_statements_apart {
        assert!(line.starts_with("warn") && line.contains("DATABASE_DIRECT_URL"), "{line}");
    } else {
        assert!(line.starts_with("FAIL") && line.contains("PgBouncer 1.21 or newer"), "{line}");
    }
}

#[sqlx::test]
async fn check_names_the_settings_that_a_pooler_keeps_from_the_server(pool: PgPool) {
    let direct = database_url(&pool);
    let name = pool.connect_options().get_database().unwrap().to_owned();
    for (value, status, text) in [("0", "warn", "SET statement_timeout = '12s'"), ("12s", "ok", "are applied")] {
        let set = format!("ALTER DATABASE \"{name}\" SET statement_timeout = '{value}'");
        sqlx::query(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
        // A new pooler each time: open server connections keep the settings that they began with.
        let Some(pooler) = PgBouncer::start(&direct, "session").await else { return };
        let check = renderhook(&["check"]).env("DATABASE_URL", pooler.url(&direct).as_str()).output().await.unwrap();
        let lines = String::from_utf8(check.stdout).unwrap();
        let line = lines.lines().find(|line| line.contains(" database ")).unwrap_or_else(|| panic!("{lines}"));
        assert!(line.starts_with(status) && line.contains(text), "{line}");
    }
}
