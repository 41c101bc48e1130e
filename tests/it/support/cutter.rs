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
pub(crate) enum Way {
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
    MuteAfter(Vec<u8>),
}

/// The proxy. It ends with the runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    upstream: Url,
    way: Arc<watch::Sender<Way>>,
}

impl Proxy {
    /// Starts the proxy on 127.0.0.1, in front of the server of `upstream`.
    pub(crate) async fn start(upstream: &Url) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let (server, ways) = (Server::of(upstream), way.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), ways.subscribe()));
            }
        });
        Self { address, upstream: upstream.clone(), way }
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
    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
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

/// Forwards one connection until it ends or the state changes. Dropped connections are reset, not closed.
async fn carry(mut client: TcpStream, server: Server, mut way: watch::Receiver<Way>) -> std::io::Result<()> {
    client.set_zero_linger()?;
    let (mut answers, mut questions) = server.connect().await?;
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut is_seen, mut mute, mut messages) = (false, false, None);
    let is_new = *way.borrow() == Way::Frozen;
    loop {
        let now = way.borrow_and_update().clone();
        match now {
            Way::Refused => return Ok(()),
            Way::Stalled => return stay(client, way).await,
            Way::Frozen if !is_new => return stay(client, way).await,
            _ => {}
        }
        tokio::select! {
            changed = way.changed() => if changed.is_err() { return Ok(()) },
            read = client.read(&mut from_client) => {
                let bytes = &from_client[..read?];
                let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
                match &now {
                    _ if bytes.is_empty() => return Ok(()),
                    Way::CutBefore(word) if holds(word) => return Ok(()),
                    Way::CutWhileRecording(after) => {
                        if holds(b"SET LOCAL lock_timeout = '2s'") {
                            messages = Some(0);
                        }
                        if messages == Some(*after) {
                            return Ok(());
                        }
                        messages = messages.map(|messages| messages + 1);
                    }
                    Way::CutAfter(word) | Way::MuteAfter(word) => {
                        is_seen |= holds(word);
                        mute |= is_seen && holds(b"COMMIT");
                    }
                    _ => {}
                }
                questions.write_all(bytes).await?;
            }
            read = answers.read(&mut from_server) => {
                let bytes = &from_server[..read?];
                match &now {
                    _ if bytes.is_empty() => return Ok(()),
                    Way::CutAfter(_) if mute => return Ok(()),
                    _ if mute => return stay(client, way).await,
                    _ => client.write_all(bytes).await?,
                }
            }
        }
    }
}

/// Keeps a connection open without forwarding, until connections are reset.
async fn stay(client: TcpStream, mut way: watch::Receiver<Way>) -> std::io::Result<()> {
    let refused = way.wait_for(|way| *way == Way::Refused);
    // OK to ignore: the test has ended.
    let _ = tokio::time::timeout(Duration::from_mins(10), refused).await;
    drop(client);
    Ok(())
}
