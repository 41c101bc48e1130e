//! A proxy before the S3 server that fails at the requests that a test names.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is asked of an S3 server in the course of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// A whole object in one request.
    Put,
    /// The beginning of a multipart upload.
    Create,
    /// One of its parts, from 1.
    Part(u32),
    /// Its end.
    Complete,
    /// Its abortion.
    Abort,
    /// An object or a range of it is read.
    Get,
    /// Anything else.
    Other,
}

impl Call {
    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
        let upload = query.contains("uploadId=");
        match (method, part) {
            ("PUT", Some(number)) => Self::Part(number),
            ("PUT", None) => Self::Put,
            ("POST", _) if upload => Self::Complete,
            ("POST", _) => Self::Create,
            ("DELETE", _) if upload => Self::Abort,
            ("GET", _) => Self::Get,
            _ => Self::Other,
        }
    }
}

/// What an error's body repeats.
pub(crate) const SESSION_TOKEN: &str = "test-session-token";
/// After how many bytes an answer breaks off.
pub(crate) const CUT_BYTES: usize = 4 << 20;

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500, before the server has seen it.
    Error,
    /// The connection ends, before the server has seen it.
    Reset,
    /// The server does it, and the connection ends before its answer.
    Lost,
    /// An error whose body repeats [`SESSION_TOKEN`], as S3's does.
    Expired,
    /// The server answers, and the connection ends after [`CUT_BYTES`] of its answer.
    Cut,
    /// Silence.
    Hang,
    /// Silence until [`Proxy::heal`], and then the server does it.
    Hold,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<(Call, Fault)>,
    calls: Vec<Call>,
}

/// The proxy.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    faulty: watch::Sender<bool>,
}

impl Proxy {
    /// Starts it before `server`.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy =
            Self { address: listener.local_addr().unwrap(), state: Arc::default(), faulty: watch::Sender::default() };
        let listening = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = listening.clone();
                // A connection's errors are its client's.
                tokio::spawn(async move { proxy.connection(stream, server).await.ok() });
            }
        });
        proxy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `call` fails so, however often it is made.
    pub(crate) fn fail(&self, call: Call, fault: Fault) {
        self.state().faults.push((call, fault));
        self.faulty.send_replace(true);
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        self.state().faults.clear();
        self.faulty.send_replace(false);
    }

    async fn healed(&self) {
        // OK because the proxy that heals it is there for as long as its connections.
        let _ = self.faulty.subscribe().wait_for(|faulty| !faulty).await;
    }

    /// What was asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    async fn connection(&self, client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
        let mut client = BufReader::new(client);
        let mut first = String::new();
        client.read_line(&mut first).await?;
        let (mut head, mut length) = (first.clone(), 0);
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if !lower.starts_with("connection:") {
                head.push_str(&line);
            }
        }
        head.push_str("connection: close\r\n\r\n");
        let call = Call::of(&first);
        let fault = {
            let mut state = self.state();
            state.calls.push(call);
            state.faults.iter().find(|(at, _)| *at == call).map(|(_, fault)| *fault)
        };
        let mut body = vec![0; length];
        client.read_exact(&mut body).await?;
        match fault {
            Some(Fault::Error) => {
                let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                return client.get_mut().write_all(answer).await;
            }
            Some(Fault::Expired) => {
                let body = format!(
                    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
                     <Token-0>{SESSION_TOKEN}</Token-0></Error>"
                );
                let head =
                    format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                return client.get_mut().write_all((head + &body).as_bytes()).await;
            }
            Some(Fault::Reset) => return Ok(()),
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Hold) => self.healed().await,
            Some(Fault::Lost | Fault::Cut) | None => {}
        }
        let mut upstream = TcpStream::connect(server).await?;
        upstream.write_all(head.as_bytes()).await?;
        upstream.write_all(&body).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        match fault {
            Some(Fault::Lost) => {}
            Some(Fault::Cut) => client.get_mut().write_all(&answer[..answer.len().min(CUT_BYTES)]).await?,
            _ => client.get_mut().write_all(&answer).await?,
        }
        Ok(())
    }
}
