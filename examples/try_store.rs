//! Tries a store through renderhook's own code: `cargo run --example try_store -- STORAGE_URL`
//!
//! The provider's variables are read from the environment, as `serve` reads them. It prints a line for each thing that
//! works and ends at the first that does not, with its reason. Objects are left below the URL's prefix, in `video/try-…`:
//! use a store that is thrown away.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::signer::Method;
use renderhook::archive::{NewObject, Store, Upload};
use renderhook::domain::Kind;
use renderhook::domain::ObjectKey;
use url::Url;
use uuid::Uuid;

const PART: usize = 8 << 20;
const LENGTH: usize = 2 * PART + 100_000;
const TYPE: &str = "video/webm";

struct Trial {
    store: Store,
    id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: try_store STORAGE_URL")?;
    let variables: HashMap<_, _> = std::env::vars().collect();
    let store = Store::at(&url.parse::<Url>()?, &variables)?;
    let trial = Trial { store, id: format!("try-{}", Uuid::new_v4().simple()) };
    trial.store.probe().await.context("the probe")?;
    println!("ok  a probe object is written and deleted");
    trial.whole("single", 1000).await?;
    println!("ok  a file of one part is put, and read back whole and in a range");
    trial.whole("parts", LENGTH).await?;
    println!("ok  a file of three parts appears at its end and not before, and is read back whole and in a range");
    trial.whole("empty", 0).await?;
    println!("ok  so does a file of no bytes");
    println!("ok  {}", trial.link().await?);
    println!("ok  {}", trial.resume().await?);
    trial.abort().await?;
    println!("ok  an aborted upload leaves no object, and can be discarded again");
    Ok(())
}

impl Trial {
    fn key(&self, name: &str) -> anyhow::Result<ObjectKey> {
        let url = Url::parse(&format!("https://h/{name}.webm"))?;
        Ok(ObjectKey::new(Kind::Video, &self.id.parse()?, 0, Some(&url)))
    }

    fn begin(&self, name: &str, length: usize) -> anyhow::Result<Upload> {
        let (key, token) = (self.key(name)?, Uuid::new_v4());
        let object = NewObject { key: &key, content_type: TYPE, max_bytes: length as u64, token };
        Ok(self.store.begin(object))
    }

    async fn read(&self, name: &str, range: Option<Range<u64>>) -> anyhow::Result<BytesMut> {
        let bytes = self.store.read(&self.key(name)?, range).await?;
        Ok(bytes
            .try_fold(BytesMut::new(), |mut all, chunk| async move {
                all.extend(chunk);
                Ok(all)
            })
            .await?)
    }

    async fn whole(&self, name: &str, length: usize) -> anyhow::Result<()> {
        let file = noise(length);
        let mut upload = self.begin(name, length)?;
        write(&mut upload, &file).await?;
        ensure!(self.read(name, None).await.is_err(), "{name}: there is an object before the end");
        upload.finish(lease()).await.with_context(|| format!("the end of {name}"))?;
        ensure!(self.read(name, None).await? == file, "{name}: the object is not the file");
        if length > 200 {
            ensure!(self.read(name, Some(100..200)).await? == file[100..200], "{name}: another range");
        }
        Ok(())
    }

    async fn link(&self) -> anyhow::Result<&'static str> {
        let Store::Bucket(bucket) = &self.store else { return Ok("a folder has no links") };
        for (name, length) in [("single", 1000), ("parts", LENGTH)] {
            let link = bucket.link(&self.key(name)?, Method::GET).await.context("no link")?;
            let answer = reqwest::get(link).await?.error_for_status()?;
            ensure!(answer.headers()["content-type"] == TYPE, "{name}: {:?}", answer.headers()["content-type"]);
            ensure!(answer.bytes().await? == noise(length), "{name}: the link leads to other bytes");
        }
        Ok("a link leads to the file with its content type, in one part and in several")
    }

    async fn resume(&self) -> anyhow::Result<&'static str> {
        let (file, key) = (noise(LENGTH), self.key("resumed")?);
        let mut upload = self.begin("resumed", LENGTH)?;
        write(&mut upload, &file[..PART]).await?;
        upload.flush().await?;
        let Some(saved) = upload.save().await? else {
            upload.abort().await?;
            return Ok("an upload cannot be resumed by another process: it starts over");
        };
        drop(upload);
        let mut upload = self.store.resume(&key, TYPE, &saved, PART as u64, Uuid::new_v4()).await?;
        write(&mut upload, &file[PART..]).await?;
        upload.finish(lease()).await?;
        ensure!(self.read("resumed", None).await? == file, "the object is not the file");
        Ok("an upload is resumed by another process")
    }

    async fn abort(&self) -> anyhow::Result<()> {
        let mut upload = self.begin("aborted", LENGTH)?;
        write(&mut upload, &noise(LENGTH)).await?;
        upload.flush().await?;
        let saved = upload.save().await?;
        upload.abort().await?;
        if let Some(saved) = saved {
            self.store.discard(&self.key("aborted")?, &saved).await.context("discarded after the abort")?;
        }
        ensure!(self.read("aborted", None).await.is_err(), "there is an object");
        Ok(())
    }
}

/// Until when the lease of a writer is held at least.
fn lease() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// Writes in pieces, as they come from a network.
async fn write(upload: &mut Upload, bytes: &[u8]) -> anyhow::Result<()> {
    for piece in bytes.chunks(100_000) {
        upload.ready().await?;
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

/// Bytes that differ from part to part.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7]).collect()
}
