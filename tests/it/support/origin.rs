//! A server of one file, `slow.bin`, that sends half of it and keeps the rest until the test lets go.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// The server. It ends with the runtime.
pub(crate) struct Origin {
    address: SocketAddr,
    asked: watch::Receiver<bool>,
    released: Arc<watch::Sender<bool>>,
}

impl Origin {
    /// What is in the file.
    pub(crate) const BYTES: &[u8] = b"the first half, the second half";

    /// Starts it on 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asking, asked) = watch::channel(false);
        let released = Arc::new(watch::Sender::new(false));
        let (asking, release) = (Arc::new(asking), released.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection's errors are its client's.
                tokio::spawn(answer(stream, asking.clone(), release.subscribe()));
            }
        });
        Self { address, asked, released }
    }

    /// A URL of the server's. What is not `slow.bin` is not there.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    /// Returns once somebody has the first half.
    pub(crate) async fn asked(&self) {
        self.asked.clone().wait_for(|asked| *asked).await.unwrap();
    }

    /// Lets the second half go, to everyone from now on.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }
}

async fn answer(
    mut stream: TcpStream,
    asking: Arc<watch::Sender<bool>>,
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
    asking.send_replace(true);
    // OK because the sender lives as long as the test.
    let _ = released.wait_for(|released| *released).await;
    stream.write_all(second).await
}
