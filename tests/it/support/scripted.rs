//! A file server that does what a test tells it, and remembers what it was asked.

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

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    /// The headers, with lower-case names.
    pub(crate) headers: HashMap<String, String>,
}

impl Asked {
    /// The first byte that was asked for.
    pub(crate) fn from(&self) -> u64 {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |first| first.parse().unwrap())
    }
}

/// What the server says of the length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Length {
    /// The truth.
    #[default]
    True,
    /// So many bytes more than there are.
    More(usize),
    /// So many bytes less than there are.
    Less(usize),
    /// Nothing: chunks, the last of which ends the file.
    Chunked,
    /// Nothing: the end of the connection is the end of the file.
    Closing,
}

/// How one request is answered; the default is as a good server does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// An answer with this status and no file.
    pub(crate) status: Option<u16>,
    /// More headers, which win over the usual ones; an empty value takes one away.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The connection ends after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// The server falls silent after so many bytes of the body, until [`Origin::go_on`].
    pub(crate) hold: Option<usize>,
    /// The server thinks before it answers, until [`Origin::let_heads_go`].
    pub(crate) hold_head: bool,
    /// Bytes go out in pieces of this size, each of them by itself.
    pub(crate) pieces: Option<usize>,
    /// What it says of the length.
    pub(crate) length: Length,
    /// Ranges are ignored.
    pub(crate) whole: bool,
}

impl Step {
    /// A refusal.
    pub(crate) fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Ends the connection after `bytes` of the body.
    pub(crate) fn cut(bytes: usize) -> Self {
        Self { cut: Some(bytes), ..Self::default() }
    }

    /// Falls silent after `bytes` of the body.
    pub(crate) fn hold(bytes: usize) -> Self {
        Self { hold: Some(bytes), ..Self::default() }
    }

    /// With one header more or another value of it.
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
    asked: Vec<Asked>,
    under_way: usize,
    peak: usize,
    sent: usize,
}

/// The server. Every path is the same file.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// How far held answers may go by now.
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
                // A connection's errors are its client's.
                tokio::spawn(async move { origin.connection(stream).await.ok() });
            }
        });
        origin
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the file is, under a name and a query of its own.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    /// The next requests are answered so, one step each; those after them well.
    pub(crate) fn next(&self, steps: impl IntoIterator<Item = Step>) {
        self.state().script.extend(steps);
    }

    /// Requests without a step of their own are answered so.
    pub(crate) fn always(&self, step: Step) {
        self.state().always = step;
    }

    /// Another version of the file, with another `ETag`.
    pub(crate) fn change(&self, file: impl Into<Bytes>) {
        let mut state = self.state();
        state.file = file.into();
        state.version += 1;
    }

    /// URLs with another query are dead from now on.
    pub(crate) fn only(&self, query: &str) {
        self.state().query = Some(query.to_owned());
    }

    /// Ends every silence.
    pub(crate) fn go_on(&self) {
        self.hold_again(usize::MAX);
    }

    /// Ends every silence, for a new one after so many bytes of the body.
    pub(crate) fn hold_again(&self, bytes: usize) {
        self.held_until.send_replace(bytes);
    }

    /// Lets servers answer that think.
    pub(crate) fn let_heads_go(&self) {
        self.heads.send_replace(true);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The first byte of each request so far.
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.asked().iter().map(Asked::from).collect()
    }

    /// How many answers were under way at once at most.
    pub(crate) fn peak(&self) -> usize {
        self.state().peak
    }

    /// How many bytes of bodies have gone out so far.
    pub(crate) fn sent(&self) -> usize {
        self.state().sent
    }

    /// Waits until so many requests have come.
    pub(crate) async fn was_asked(&self, times: usize) {
        until(&format!("{times} requests"), || async { (self.asked().len() >= times).then_some(()) }).await;
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
        let asked = Asked { target, headers };
        let (step, file, version) = {
            let mut state = self.state();
            state.asked.push(asked.clone());
            state.under_way += 1;
            state.peak = state.peak.max(state.under_way);
            let alive = state.query.as_ref().is_none_or(|query| asked.target.ends_with(&format!("?{query}")));
            let step = if alive { state.script.pop_front() } else { Some(Step::status(403)) };
            (step.unwrap_or_else(|| state.always.clone()), state.file.clone(), state.version)
        };
        let answered = self.answer(&asked, &step, &file, version, &mut write).await;
        self.state().under_way -= 1;
        answered
    }

    async fn answer(
        &self,
        asked: &Asked,
        step: &Step,
        file: &Bytes,
        version: u32,
        write: &mut OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let mut held_until = self.held_until.subscribe();
        if step.hold_head {
            // OK that the sender may be gone: then the test is over.
            let _ = self.heads.subscribe().wait_for(|go| *go).await;
        }
        let etag = format!("\"v{version}\"");
        let same = asked.headers.get("if-range").is_none_or(|told| *told == etag);
        let from = usize::try_from(asked.from()).unwrap();
        let from = if same && !step.whole && from < file.len() { from } else { 0 };
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
        let mut head = format!("HTTP/1.1 {status} As told\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write.write_all(format!("{head}\r\n").as_bytes()).await?;
        let mut sent = 0;
        let wall = |until: usize| step.hold.map_or(usize::MAX, |first| first.max(until));
        let length = step.cut.unwrap_or(body.len()).min(body.len());
        while sent < length {
            let piece = step.pieces.unwrap_or(64 << 10).min(length - sent).min(wall(*held_until.borrow()) - sent);
            if piece == 0 {
                let _ = held_until.wait_for(|until| wall(*until) > sent).await;
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
        if matches!(step.length, Length::Chunked) && step.cut.is_none() {
            write.write_all(b"0\r\n\r\n").await?;
        }
        write.shutdown().await
    }
}
