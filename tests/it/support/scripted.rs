//! A file server with scripted answers, which records the requests.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use super::until;

/// A recorded request.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    /// Path and query.
    pub(crate) target: String,
    /// The headers, with lower-case names.
    pub(crate) headers: HashMap<String, String>,
}

impl ReceivedRequest {
    /// The first byte of the requested range.
    pub(crate) fn from(&self) -> u64 {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |first| first.parse().unwrap())
    }
}

/// The length that the server announces.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Length {
    /// The actual length.
    #[default]
    True,
    /// This many bytes more.
    More(usize),
    /// This many bytes less.
    Less(usize),
    /// None: the body is chunked.
    Chunked,
    /// None: the body ends with the connection.
    Closing,
}

/// How one request is answered. By default, correctly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// The status of an answer without a file.
    pub(crate) status: Option<u16>,
    /// Headers that are added or replaced; an empty value removes one.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The connection ends after this many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// The server pauses after this many bytes of the body, until [`Origin::release`].
    pub(crate) hold: Option<usize>,
    /// The server waits before it answers, until [`Origin::release_heads`].
    pub(crate) hold_head: bool,
    /// The body is sent in pieces of this size.
    pub(crate) pieces: Option<usize>,
    /// The announced length.
    pub(crate) length: Length,
    /// Ranges are ignored.
    pub(crate) whole: bool,
}

impl Step {
    /// Answers with an error.
    pub(crate) fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Ends the connection after `bytes` of the body.
    pub(crate) fn cut(bytes: usize) -> Self {
        Self { cut: Some(bytes), ..Self::default() }
    }

    /// Pauses after `bytes` of the body.
    pub(crate) fn hold(bytes: usize) -> Self {
        Self { hold: Some(bytes), ..Self::default() }
    }

    /// Adds or replaces a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Debug, Default)]
struct State {
    file: Bytes,
    version: u32,
    script: VecDeque<Step>,
    always: Step,
    query: Option<String>,
    requests: Vec<ReceivedRequest>,
    under_way: usize,
    peak: usize,
    sent: usize,
}

/// The server. Every path is the same file.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Paused answers may send this many bytes now.
    held_until: watch::Sender<usize>,
    heads: watch::Sender<bool>,
}

impl Origin {
    /// Serves `file` on a port of its own.
    pub(crate) async fn start(file: impl Into<Bytes>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State { file: file.into(), version: 1, ..State::default() })),
            held_until: watch::Sender::new(0),
            heads: watch::Sender::new(false),
        };
        let served = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = served.clone();
                // OK to ignore: the client handles errors.
                tokio::spawn(async move { origin.connection(stream).await.ok() });
            }
        });
        origin
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of the file.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    /// Answers the next requests with these steps, one each.
    pub(crate) fn next(&self, steps: impl IntoIterator<Item = Step>) {
        self.state().script.extend(steps);
    }

    /// Answers all other requests with this step.
    pub(crate) fn always(&self, step: Step) {
        self.state().always = step;
    }

    /// Replaces the file by another version with another `ETag`.
    pub(crate) fn change(&self, file: impl Into<Bytes>) {
        let mut state = self.state();
        state.file = file.into();
        state.version += 1;
    }

    /// Answers 403 to URLs with another query from now on.
    pub(crate) fn accept_only_query(&self, query: &str) {
        self.state().query = Some(query.to_owned());
    }

    /// Ends every pause.
    pub(crate) fn release(&self) {
        self.release_until(usize::MAX);
    }

    /// Continues paused answers up to this many bytes of the body.
    pub(crate) fn release_until(&self, bytes: usize) {
        self.held_until.send_replace(bytes);
    }

    /// Ends the wait before answers.
    pub(crate) fn release_heads(&self) {
        self.heads.send_replace(true);
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.state().requests.clone()
    }

    /// The first byte of each request so far.
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.requests().iter().map(ReceivedRequest::from).collect()
    }

    /// The maximum number of concurrent answers so far.
    pub(crate) fn peak(&self) -> usize {
        self.state().peak
    }

    /// The bytes of bodies that were sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.state().sent
    }

    /// Waits for this number of requests.
    pub(crate) async fn wait_for_requests(&self, times: usize) {
        until(&format!("{times} requests"), || async { (self.requests().len() >= times).then_some(()) }).await;
    }

    async fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let Some(first) = lines.next_line().await? else { return Ok(()) };
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        let request = ReceivedRequest { target, headers };
        let (step, file, version) = {
            let mut state = self.state();
            state.requests.push(request.clone());
            state.under_way += 1;
            state.peak = state.peak.max(state.under_way);
            let alive = state.query.as_ref().is_none_or(|query| request.target.ends_with(&format!("?{query}")));
            let step = if alive { state.script.pop_front() } else { Some(Step::status(403)) };
            (step.unwrap_or_else(|| state.always.clone()), state.file.clone(), state.version)
        };
        let answer = Answer::new(&request, &step, &file, version);
        let answered = self.answer(answer, &step, &mut write).await;
        self.state().under_way -= 1;
        answered
    }

    async fn answer(&self, answer: Answer, step: &Step, write: &mut OwnedWriteHalf) -> std::io::Result<()> {
        if step.hold_head {
            // OK to ignore: the test has ended.
            let _ = self.heads.subscribe().wait_for(|released| *released).await;
        }
        write.write_all(answer.head.as_bytes()).await?;
        self.send_body(&answer.body, step, write).await?;
        if matches!(step.length, Length::Chunked) && step.cut.is_none() {
            write.write_all(b"0\r\n\r\n").await?;
        }
        write.shutdown().await
    }

    async fn send_body(&self, body: &Bytes, step: &Step, write: &mut OwnedWriteHalf) -> std::io::Result<()> {
        let mut held_until = self.held_until.subscribe();
        let limit = |until: usize| step.hold.map_or(usize::MAX, |first| first.max(until));
        let length = step.cut.unwrap_or(body.len()).min(body.len());
        let mut sent = 0;
        while sent < length {
            let piece = step.pieces.unwrap_or(64 << 10).min(length - sent).min(limit(*held_until.borrow()) - sent);
            if piece == 0 {
                // OK to ignore: the test has ended.
                let _ = held_until.wait_for(|until| limit(*until) > sent).await;
                continue;
            }
            let bytes = body.slice(sent..sent + piece);
            if matches!(step.length, Length::Chunked) {
                write.write_all(format!("{piece:x}\r\n").as_bytes()).await?;
                write.write_all(&bytes).await?;
                write.write_all(b"\r\n").await?;
            } else {
                write.write_all(&bytes).await?;
            }
            if step.pieces.is_some() {
                tokio::task::yield_now().await;
            }
            sent += piece;
            self.state().sent += piece;
        }
        Ok(())
    }
}

/// The head of an answer, and the body that it announces.
struct Answer {
    head: String,
    body: Bytes,
}

impl Answer {
    fn new(request: &ReceivedRequest, step: &Step, file: &Bytes, version: u32) -> Self {
        let etag = format!("\"v{version}\"");
        let is_same = request.headers.get("if-range").is_none_or(|validator| *validator == etag);
        let from = usize::try_from(request.from()).unwrap();
        let from = if is_same && !step.whole && from < file.len() { from } else { 0 };
        let body = if step.status.is_some() { Bytes::new() } else { file.slice(from..) };
        let status = step.status.unwrap_or(if from > 0 { 206 } else { 200 });
        let mut headers = vec![("connection", "close".to_owned()), ("etag", etag)];
        if from > 0 {
            headers.push(("content-range", format!("bytes {from}-{}/{}", file.len() - 1, file.len())));
        }
        match step.length {
            Length::True => headers.push(("content-length", body.len().to_string())),
            Length::More(bytes) => headers.push(("content-length", (body.len() + bytes).to_string())),
            Length::Less(bytes) => headers.push(("content-length", (body.len() - bytes).to_string())),
            Length::Chunked => headers.push(("transfer-encoding", "chunked".to_owned())),
            Length::Closing => {}
        }
        for (name, value) in &step.headers {
            headers.retain(|(usual, _)| usual != name);
            if !value.is_empty() {
                headers.push((name, value.clone()));
            }
        }
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        Self { head: head + "\r\n", body }
    }
}
