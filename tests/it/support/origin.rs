//! A server of one file, `slow.bin`, that sends one half, and the other when the test releases it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// The server. It ends with the runtime.
pub(crate) struct Origin {
    address: SocketAddr,
    requested: watch::Receiver<bool>,
    released: Arc<watch::Sender<bool>>,
}

impl Origin {
    /// What is in the file.
    pub(crate) const BYTES: &[u8] = b"the first half, the second half";

    /// Starts it on 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (request, requested) = watch::channel(false);
        let released = Arc::new(watch::Sender::new(false));
        let (request, release) = (Arc::new(request), released.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // OK to ignore: the client handles errors.
                tokio::spawn(answer(stream, request.clone(), release.subscribe()));
            }
        });
        Self { address, requested, released }
    }

    /// A URL of the server. Every path but `slow.bin` answers 404.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    /// Waits until a client has the first half.
    pub(crate) async fn wait_for_request(&self) {
        self.requested.clone().wait_for(|requested| *requested).await.unwrap();
    }

    /// Sends the second half, now and for later requests.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }
}

async fn answer(
    mut stream: TcpStream,
    request: Arc<watch::Sender<bool>>,
    mut released: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"GET /slow.bin") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }
    let (first, second) = Origin::BYTES.split_at(Origin::BYTES.len() / 2);
    let length = Origin::BYTES.len();
    stream
        .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    stream.write_all(first).await?;
    request.send_replace(true);
    // OK because the sender lives as long as the test.
    let _ = released.wait_for(|released| *released).await;
    stream.write_all(second).await
}
