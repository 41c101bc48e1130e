//! A proxy in front of the S3 server that fails for selected requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The requests to an S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Upload of a whole object.
    Put,
    /// Start of a multipart upload.
    Create,
    /// Upload of a part, from 1.
    Part(u32),
    /// Completion of a multipart upload.
    Complete,
    /// Abort of a multipart upload.
    Abort,
    /// Read of an object or a range.
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

/// The token that the body of an error repeats.
pub(crate) const SESSION_TOKEN: &str = "test-session-token";
/// The number of bytes after which an answer is cut off.
pub(crate) const CUT_BYTES: usize = 4 << 20;

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500, without forwarding the request.
    Error,
    /// The connection ends, without forwarding the request.
    Reset,
    /// The server handles the request, but the connection ends before the answer.
    Lost,
    /// An error whose body repeats [`SESSION_TOKEN`], like S3 does.
    Expired,
    /// The connection ends after [`CUT_BYTES`] of the answer.
    Cut,
    /// No answer.
    Hang,
    /// No answer until [`S3Proxy::heal`]. Then the server handles the request.
    Hold,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<(Call, Fault)>,
    calls: Vec<Call>,
}

/// The proxy.
#[derive(Debug, Clone)]
pub(crate) struct S3Proxy {
    /// The address.
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    faulty: watch::Sender<bool>,
}

impl S3Proxy {
    /// Starts the proxy in front of `server`.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy =
            Self { address: listener.local_addr().unwrap(), state: Arc::default(), faulty: watch::Sender::default() };
        let listening = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = listening.clone();
                // OK to ignore: the client handles errors.
                tokio::spawn(async move { proxy.connection(stream, server).await.ok() });
            }
        });
        proxy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every `call` fail from now on.
    pub(crate) fn fail(&self, call: Call, fault: Fault) {
        self.state().faults.push((call, fault));
        self.faulty.send_replace(true);
    }

    /// Stops failing.
    pub(crate) fn heal(&self) {
        self.state().faults.clear();
        self.faulty.send_replace(false);
    }

    async fn healed(&self) {
        // The proxy outlives its connections.
        let _ = self.faulty.subscribe().wait_for(|faulty| !faulty).await;
    }

    /// The requests so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    async fn connection(&self, client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
        let mut client = BufReader::new(client);
        let Some(request) = Request::read(&mut client).await? else { return Ok(()) };
        let fault = {
            let mut state = self.state();
            state.calls.push(request.call);
            state.faults.iter().find(|(call, _)| *call == request.call).map(|(_, fault)| *fault)
        };
        match fault {
            Some(Fault::Error) => return client.get_mut().write_all(&answer("500 Internal Server Error", "")).await,
            Some(Fault::Expired) => {
                let body = format!(
                    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
                     <Token-0>{SESSION_TOKEN}</Token-0></Error>"
                );
                return client.get_mut().write_all(&answer("400 Bad Request", &body)).await;
            }
            Some(Fault::Reset) => return Ok(()),
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Hold) => self.healed().await,
            Some(Fault::Lost | Fault::Cut) | None => {}
        }
        let answer = request.send(server).await?;
        match fault {
            Some(Fault::Lost) => Ok(()),
            Some(Fault::Cut) => client.get_mut().write_all(&answer[..answer.len().min(CUT_BYTES)]).await,
            _ => client.get_mut().write_all(&answer).await,
        }
    }
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A request, whose connection ends with its answer.
struct Request {
    call: Call,
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// Reads a request; `None` if the connection ends first.
    async fn read(client: &mut BufReader<TcpStream>) -> std::io::Result<Option<Self>> {
        let mut head = String::new();
        client.read_line(&mut head).await?;
        let (call, mut length) = (Call::of(&head), 0);
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Ok(None);
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
        let mut body = vec![0; length];
        client.read_exact(&mut body).await?;
        Ok(Some(Self { call, head, body }))
    }

    /// Sends it to the server, and returns the answer.
    async fn send(self, server: SocketAddr) -> std::io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(server).await?;
        upstream.write_all(self.head.as_bytes()).await?;
        upstream.write_all(&self.body).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}
