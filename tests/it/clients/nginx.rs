//! An nginx in front of the service.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::programs::free_port;
use crate::support::skip;
use crate::support::{App, until};

/// Where nginx may be that is not in the path of everyone.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// An nginx in front of the service, with its usual buffering. One process, so that nothing is left when it is killed.
pub(super) struct Nginx {
    port: u16,
    program: PathBuf,
    folder: TempDir,
    child: Child,
}

impl Nginx {
    /// With further `locations`. `None` where it is not installed, which is said.
    pub(super) async fn start(app: &App, locations: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
        let Some(program) = folders.map(|folder| folder.join("nginx")).find(|program| program.is_file()) else {
            skip("nginx is not installed (apt-get install nginx)");
            return None;
        };
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
             events {{}}
             http {{
               access_log off; log_format arguments '$args'; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
               uwsgi_temp_path uwsgi; scgi_temp_path scgi;
               server {{
                 listen 127.0.0.1:{port};
                 {locations}
                 location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_set_header Host $host; }}
               }}
             }}",
            app.base.as_str().trim_end_matches('/'),
        );
        std::fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let child = run(&program, &folder, port).await;
        Some(Self { port, program, folder, child })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Cuts every connection.
    pub(super) async fn restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = run(&self.program, &self.folder, self.port).await;
    }
}

async fn run(program: &PathBuf, folder: &TempDir, port: u16) -> Child {
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    until("nginx to listen", || async move { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok() }).await;
    child
}
