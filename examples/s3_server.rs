//! An S3 server over a folder, for measuring: `cargo run --example s3_server -- 127.0.0.1:9000 FOLDER`
//!
//! It checks signatures, with the keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. A folder in FOLDER is a bucket.

use anyhow::Context as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(folder)) = (words.next(), words.next()) else {
        anyhow::bail!("usage: s3_server ADDRESS:PORT FOLDER");
    };
    let files = FileSystem::new(&folder).ok().with_context(|| format!("cannot serve {folder}"))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(
        std::env::var("AWS_ACCESS_KEY_ID")?.as_str(),
        std::env::var("AWS_SECRET_ACCESS_KEY")?.as_str(),
    ));
    let service = service.build();
    let listener = TcpListener::bind(&address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            // A connection's errors are its client's.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
