//! A proxy in front of Postgres that can be blocked, or cut when given bytes pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use url::Url;

/// The state of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// It forwards everything.
    Open,
    /// It forwards nothing, but accepts connections, which stay open when it forwards again.
    Stalled,
    /// Existing connections hang forever. New ones work.
    Frozen,
    /// Existing and new connections are reset.
    Refused,
    /// The connection that sends these bytes is reset before Postgres receives them.
    CutBefore(Vec<u8>),
    /// The recording connection is reset after this number of messages in its transaction.
    CutWhileRecording(usize),
    /// Postgres commits the transaction with these bytes. Then the connection is reset, so the answer is lost.
    CutAfter(Vec<u8>),
    /// Postgres commits the transaction with these bytes. The answer is lost, but the connection stays open.
    HangAfter(Vec<u8>),
}

/// The proxy. It ends with the runtime.
pub(crate) struct PostgresProxy {
    address: SocketAddr,
    upstream: Url,
    mode: Arc<watch::Sender<ProxyMode>>,
}

impl PostgresProxy {
    /// Starts the proxy on 127.0.0.1, in front of the server of `upstream`.
    pub(crate) async fn start(upstream: &Url) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::Sender::new(ProxyMode::Open));
        let (server, modes) = (Server::of(upstream), mode.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), modes.subscribe()));
            }
        });
        Self { address, upstream: upstream.clone(), mode }
    }

    /// The URL of the same database through the proxy.
    pub(crate) fn url(&self) -> Url {
        let mut url = self.upstream.clone();
        url.set_query(Some("sslmode=disable"));
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url
    }

    /// Changes the state, for every connection.
    pub(crate) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }
}

#[derive(Clone)]
enum Server {
    Socket(PathBuf),
    Address(String),
}

impl Server {
    fn of(url: &Url) -> Self {
        let port = url.port().unwrap_or(5432);
        match url.query_pairs().find(|(name, value)| name == "host" && value.starts_with('/')) {
            Some((_, folder)) => Self::Socket(PathBuf::from(folder.as_ref()).join(format!(".s.PGSQL.{port}"))),
            None => Self::Address(format!("{}:{port}", url.host_str().unwrap())),
        }
    }

    async fn connect(
        &self,
    ) -> std::io::Result<(Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>)> {
        Ok(match self {
            Self::Socket(path) => {
                let (read, write) = UnixStream::connect(path).await?.into_split();
                (Box::new(read), Box::new(write))
            }
            Self::Address(address) => {
                let (read, write) = TcpStream::connect(address).await?.into_split();
                (Box::new(read), Box::new(write))
            }
        })
    }
}

/// What to do with bytes that arrived.
enum Step {
    Forward,
    Cut,
    Hang,
}

/// What has passed on one connection.
#[derive(Default)]
struct Passed {
    /// The text that the mode waits for.
    has_text: bool,
    /// After that, `COMMIT`.
    is_committed: bool,
    /// The number of messages in the recording transaction.
    messages: Option<usize>,
}

impl Passed {
    fn on_client_bytes(&mut self, mode: &ProxyMode, bytes: &[u8]) -> Step {
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        match mode {
            ProxyMode::CutBefore(text) if holds(text) => return Step::Cut,
            ProxyMode::CutWhileRecording(after) => {
                if holds(b"SET LOCAL lock_timeout = '2s'") {
                    self.messages = Some(0);
                }
                if self.messages == Some(*after) {
                    return Step::Cut;
                }
                self.messages = self.messages.map(|messages| messages + 1);
            }
            ProxyMode::CutAfter(text) | ProxyMode::HangAfter(text) => {
                self.has_text |= holds(text);
                self.is_committed |= self.has_text && holds(b"COMMIT");
            }
            _ => {}
        }
        Step::Forward
    }

    fn on_postgres_bytes(&self, mode: &ProxyMode) -> Step {
        match mode {
            _ if !self.is_committed => Step::Forward,
            ProxyMode::CutAfter(_) => Step::Cut,
            _ => Step::Hang,
        }
    }
}

/// Forwards one connection until it ends or the mode changes. Dropped connections are reset, not closed.
async fn forward(mut client: TcpStream, server: Server, mut modes: watch::Receiver<ProxyMode>) -> std::io::Result<()> {
    client.set_zero_linger()?;
    let (mut from_postgres, mut to_postgres) = server.connect().await?;
    let (mut sent, mut received, mut passed) = (vec![0; 64 << 10], vec![0; 64 << 10], Passed::default());
    let is_new = *modes.borrow() == ProxyMode::Frozen;
    loop {
        let mode = modes.borrow_and_update().clone();
        match mode {
            ProxyMode::Refused => return Ok(()),
            ProxyMode::Stalled => return hold(client, modes).await,
            ProxyMode::Frozen if !is_new => return hold(client, modes).await,
            _ => {}
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return Ok(()) },
            read = client.read(&mut sent) => {
                let bytes = &sent[..read?];
                match passed.on_client_bytes(&mode, bytes) {
                    Step::Forward if !bytes.is_empty() => to_postgres.write_all(bytes).await?,
                    _ => return Ok(()),
                }
            }
            read = from_postgres.read(&mut received) => {
                let bytes = &received[..read?];
                match passed.on_postgres_bytes(&mode) {
                    Step::Forward if !bytes.is_empty() => client.write_all(bytes).await?,
                    Step::Hang if !bytes.is_empty() => return hold(client, modes).await,
                    _ => return Ok(()),
                }
            }
        }
    }
}

/// Keeps a connection open without forwarding, until connections are reset.
async fn hold(client: TcpStream, mut mode: watch::Receiver<ProxyMode>) -> std::io::Result<()> {
    let refused = mode.wait_for(|mode| *mode == ProxyMode::Refused);
    // OK to ignore: the test has ended.
    let _ = tokio::time::timeout(Duration::from_mins(10), refused).await;
    drop(client);
    Ok(())
}
