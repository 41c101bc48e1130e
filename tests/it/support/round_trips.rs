//! A way to Postgres that counts round trips: each `Sync` or simple query of the protocol, but for those with which a pool
//! only asks whether a connection still lives.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Where the connections go that are to be counted.
pub(crate) struct RoundTripCounter {
    folder: TempDir,
    round_trips: Arc<AtomicUsize>,
}

impl RoundTripCounter {
    /// Starts a proxy to where `options` lead.
    pub(crate) fn start(options: &PgConnectOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let round_trips = Arc::<AtomicUsize>::default();
        let (counter, server) = (round_trips.clone(), Server::of(options));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(client, counter.clone()));
            }
        });
        Self { folder, round_trips }
    }

    /// The same database, through the proxy.
    pub(crate) fn options(&self, options: &PgConnectOptions) -> PgConnectOptions {
        options.clone().socket(self.folder.path()).port(5432).ssl_mode(PgSslMode::Disable)
    }

    /// The round trips so far.
    pub(crate) fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::SeqCst)
    }
}

/// The real server.
#[derive(Clone)]
enum Server {
    Socket(PathBuf),
    Host(String, u16),
}

impl Server {
    fn of(options: &PgConnectOptions) -> Self {
        let (host, port) = (options.get_host(), options.get_port());
        let folder = options.get_socket().cloned().or_else(|| host.starts_with('/').then(|| PathBuf::from(host)));
        match folder {
            Some(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{port}"))),
            None => Self::Host(host.to_owned(), port),
        }
    }

    async fn serve(self, client: UnixStream, counter: Arc<AtomicUsize>) {
        let (from_client, to_client) = client.into_split();
        match self {
            Self::Socket(path) => {
                let (from_server, to_server) = UnixStream::connect(path).await.unwrap().into_split();
                pass(from_client, to_server, from_server, to_client, counter).await;
            }
            Self::Host(host, port) => {
                let (from_server, to_server) = TcpStream::connect((host, port)).await.unwrap().into_split();
                pass(from_client, to_server, from_server, to_client, counter).await;
            }
        }
    }
}

async fn pass(
    mut from_client: impl AsyncRead + Unpin,
    mut to_server: impl AsyncWrite + Unpin,
    mut from_server: impl AsyncRead + Unpin,
    mut to_client: impl AsyncWrite + Unpin,
    counter: Arc<AtomicUsize>,
) {
    let asked = async {
        // The first message has no type.
        let mut kind = None;
        let mut says_something = false;
        while let Some(message) = message(&mut from_client, kind).await {
            match kind {
                Some(b'S') if !says_something => {}
                Some(b'S' | b'Q') => {
                    counter.fetch_add(1, Ordering::SeqCst);
                    says_something = false;
                }
                _ => says_something = kind.is_some(),
            }
            if to_server.write_all(&message).await.is_err() {
                return;
            }
            kind = from_client.read_u8().await.ok();
            if kind.is_none() {
                return;
            }
        }
    };
    // Either side's end is the connection's.
    tokio::select! {
        () = asked => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// The rest of a message whose type has been read, with that type before it.
async fn message(from: &mut (impl AsyncRead + Unpin), kind: Option<u8>) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut message: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
    let body = message.len();
    message.resize(body + usize::try_from(length).ok()?.checked_sub(4)?, 0);
    from.read_exact(&mut message[body..]).await.ok()?;
    Some(message)
}
