//! A receiver of notifications that costs as little as possible: one thread, and an empty answer to each request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running receiver.
#[derive(Debug)]
pub(crate) struct NotificationReceiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Received,
}

/// When the first request of a run came, and how many came since.
#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<Option<(Instant, usize)>>>);

impl Received {
    fn count(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| (Instant::now(), 0)).1 += 1;
    }
}

impl NotificationReceiver {
    /// Starts a receiver on a thread of its own, which ends with the program.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (address, received) = (listener.local_addr()?, Received::default());
        let counted = received.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(listener, counted)));
        Ok(Self { address, received })
    }

    /// When the first request came since the last call, and how many came.
    pub(crate) fn take(&self) -> Option<(Instant, usize)> {
        self.received.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn serve(listener: std::net::TcpListener, received: Received) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let received = received.clone();
        // A connection's errors are its client's.
        tokio::spawn(async move { answer_all(stream, received).await });
    }
}

/// Answers the requests of a connection, one after another.
async fn answer_all(mut stream: TcpStream, received: Received) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(8 << 10);
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        while let Some(length) = request_length(&request).filter(|length| request.len() >= *length) {
            request.drain(..length);
            received.count();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
    }
}

/// The length of the first request, with its body; `None` until its head is complete.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&bytes[..end]).ok()?;
    let length = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    Some(end + head.lines().find_map(length).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_its_head_and_its_body() {
        assert_eq!(request_length(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n"), None);
        assert_eq!(request_length(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"), Some(41));
        assert_eq!(request_length(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
    }
}
