//! A server of files to download, which costs as little as possible: one thread, bytes from memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// How many bytes are in memory. Every file is cut out of them, a longer one is a repetition.
const NOISE_BYTES: usize = 1 << 20;
/// The longest head of a request.
const HEAD_BYTES: usize = 8 << 10;

/// A running server.
#[derive(Debug)]
pub(crate) struct NoiseServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    first_request: FirstRequest,
}

/// When the first request of a run came.
#[derive(Debug, Clone, Default)]
struct FirstRequest(Arc<Mutex<Option<Instant>>>);

impl FirstRequest {
    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl NoiseServer {
    /// Starts a server on a thread of its own, which ends with the program.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, first_request) = (listener.local_addr()?, FirstRequest::default());
        let (noise, noted) = (noise(), first_request.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(listener, noise, noted)));
        Ok(Self { address, first_request })
    }

    /// The URL of a file of this length. Files with different names differ.
    pub(crate) fn url(&self, name: &str, bytes: usize) -> anyhow::Result<Url> {
        Ok(Url::parse(&format!("http://{}/{bytes}/{name}.mp4", self.address))?)
    }

    /// When the first request came since the last call.
    pub(crate) fn take_first_request(&self) -> anyhow::Result<Instant> {
        self.first_request.take().context("no file was requested")
    }
}

async fn serve(listener: std::net::TcpListener, noise: Bytes, first_request: FirstRequest) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (noise, first_request) = (noise.clone(), first_request.clone());
        // A connection's errors are its client's.
        tokio::spawn(async move { answer_all(stream, noise, first_request).await });
    }
}

/// Answers the requests of a connection, one after another.
async fn answer_all(mut stream: TcpStream, noise: Bytes, first_request: FirstRequest) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        first_request.note();
        let (length, offset) = wanted(&head).context("not a request for a file")?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\netag: \"{length}-{offset}\"\r\ncontent-length: {length}\r\n\r\n"
        );
        send(&mut stream, &answer, length, offset, &noise).await?;
    }
}

async fn send(
    stream: &mut TcpStream,
    answer: &str,
    length: usize,
    offset: usize,
    noise: &Bytes,
) -> std::io::Result<()> {
    let first = noise.slice(offset..noise.len().min(offset + length));
    let mut left = length - first.len();
    stream.write_all_buf(&mut Buf::chain(answer.as_bytes(), first)).await?;
    while left > 0 {
        let piece = noise.slice(..left.min(noise.len()));
        left -= piece.len();
        stream.write_all(&piece).await?;
    }
    Ok(())
}

/// The length of the file that `GET /LENGTH/NAME` asks for, and where in the noise it begins.
fn wanted(head: &[u8]) -> Option<(usize, usize)> {
    let target = str::from_utf8(head).ok()?.strip_prefix("GET /")?.split(' ').next()?;
    let (length, name) = target.split_once('/')?;
    let hash = name.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    Some((length.parse().ok()?, hash % (NOISE_BYTES / 2)))
}

/// Bytes that nothing on the way can make fewer.
fn noise() -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(NOISE_BYTES);
    while bytes.len() < NOISE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.into()
}
