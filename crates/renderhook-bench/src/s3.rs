//! An S3 server over a folder, as a process of its own, and its floor: bare `PUT` requests that were signed beforehand.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use renderhook::archive::Store;
use renderhook::domain::{Kind, ObjectKey};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use url::Url;

use crate::environment::release;
use crate::load::{self, Requests};
use crate::service::free_address;

/// The bucket, and a prefix in it.
pub(crate) const URL: &str = "s3://files/kept";
/// The credentials, which the server checks, and a region.
const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench-secret"), ("AWS_REGION", "us-east-1")];
/// How long the requests of a floor may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A running server.
#[derive(Debug)]
pub(crate) struct S3 {
    address: SocketAddr,
    server: Child,
}

impl S3 {
    /// Starts the server on `folder`.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("files"))?;
        let address = free_address()?;
        let mut command = Command::new(release("examples/s3_server")?);
        command.arg(address.to_string()).arg(folder).envs(KEYS).kill_on_drop(true);
        let mut server = command.spawn().context("cannot run the S3 server")?;
        while TcpStream::connect(address).await.is_err() {
            ensure!(server.try_wait()?.is_none(), "the S3 server has ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { address, server })
    }

    /// The settings with which a program finds it.
    pub(crate) fn settings(&self) -> HashMap<String, String> {
        let endpoint = ("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", self.address));
        KEYS.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain([endpoint]).collect()
    }

    /// Puts `files` new objects of `content`, `at_once` at once. Returns how many per second.
    pub(crate) async fn measure(&self, run: &str, files: usize, content: &[u8], at_once: usize) -> anyhow::Result<f64> {
        let Store::Bucket(bucket) = Store::at(&Url::parse(URL)?, &self.settings())? else { bail!("not a bucket") };
        let mut requests = Vec::with_capacity(files);
        for number in 0..files {
            let key = ObjectKey::new(Kind::Video, &format!("{run}-{number}").parse()?, 0, None);
            let link = bucket.link(&key, "PUT".parse()?).await.context("cannot sign")?;
            requests.push(put(&link, content));
        }
        let measured = load::run(self.address, Requests::once(requests), at_once, LIMIT).await?;
        if measured.refused > 0 {
            bail!("the S3 server refused {} of {files} objects", measured.refused);
        }
        Ok(measured.rate)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.server.kill().await?)
    }
}

fn put(link: &Url, content: &[u8]) -> Bytes {
    let head = format!(
        "PUT {}?{} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
        link.path(),
        link.query().unwrap_or_default(),
        &link[url::Position::BeforeHost..url::Position::AfterPort],
        content.len()
    );
    [head.as_bytes(), content].concat().into()
}
