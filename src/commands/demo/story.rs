//! What the demo tells, and checks as it tells it.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::say;
use super::stage::Stage;
use crate::clock::Clock;
use crate::query;
use crate::render::Kind;
use crate::standin::media;
use crate::standin::project::Project;
use crate::standin::sender::{Answer, Delivery};

/// A file that the stand-in serves.
struct Served {
    url: Url,
    bytes: Bytes,
}

/// Tells the story of one render. An error is the first thing that did not go as it should.
pub(super) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    earlier_renders(stage).await?;
    let clock = Clock::system();
    let id = format!("demo-{}", Uuid::new_v4().simple());
    let mut project = Project::new(Kind::Video, &id, clock.now());
    project.name = Some("A ball in a gradient".to_owned());
    project.status = Some("rendering".to_owned());

    let now = || clock.now().timestamp().to_string();
    let forged = Delivery::sign(&SecretString::from("whsec_guessed"), now(), project.event("video.completed"));
    post(stage, "a forgery, signed with a guessed secret", &forged, StatusCode::UNAUTHORIZED).await?;
    ensure!(render(stage, &id, "").await?.is_none(), "the forgery has made a render");

    let started = Delivery::sign(&stage.secret, now(), project.event("video.started"));
    post(stage, "video.started", &started, StatusCode::OK).await?;
    say_status(stage, &id).await?;

    let served = serve_files(stage, &id)?;
    project.status = Some("complete".to_owned());
    project.downloads = served.iter().map(|file| file.url.clone()).collect();
    let completed = Delivery::sign(&stage.secret, now(), project.event("video.completed"));
    post(stage, &format!("video.completed with {} downloads", served.len()), &completed, StatusCode::OK).await?;
    let render = render(stage, &id, "?wait=60s").await?.context("the render is gone")?;
    ensure!(render["archive"] == "stored", "the files are not stored: {render:#}");
    check_files(stage, &render, &served).await?;

    post(stage, "the same video.completed again", &completed, StatusCode::OK).await?;
    let again = self::render(stage, &id, "").await?.context("the render is gone")?;
    ensure!(again == render, "the duplicate has changed the render: {again:#}");
    say("", "the duplicate changed nothing: the render, its transitions and its files are as they were");

    say("application", format!("GET /renders/{id}"));
    println!("{again:#}");
    Ok(())
}

async fn earlier_renders(stage: &Stage) -> anyhow::Result<()> {
    let earlier = query::newest(stage.database.pool(), 3).await?;
    for render in &earlier {
        let status = render.status.as_deref().unwrap_or("unknown");
        say("database", format!("an earlier start's render is still there: {} ({status})", render.id));
    }
    Ok(())
}

async fn post(stage: &Stage, what: &str, delivery: &Delivery, expected: StatusCode) -> anyhow::Result<()> {
    let Answer { status, body } = delivery.post(&stage.client, &stage.at("/webhook")?).await?;
    say("magic hour", format!("POST /webhook: {what}"));
    say("renderhook", format!("{} {body}", status.as_u16()));
    ensure!(status == expected, "{what} was answered with {status} in the place of {expected}");
    Ok(())
}

async fn render(stage: &Stage, id: &str, parameters: &str) -> anyhow::Result<Option<Value>> {
    let url = stage.at(&format!("/renders/{id}{parameters}"))?;
    let answer = stage.client.get(url).bearer_auth(&stage.token).send().await?;
    match answer.status() {
        StatusCode::OK => Ok(Some(answer.json().await?)),
        StatusCode::NOT_FOUND => Ok(None),
        status => bail!("/renders/{id} was answered with {status}"),
    }
}

async fn say_status(stage: &Stage, id: &str) -> anyhow::Result<()> {
    let render = render(stage, id, "").await?.context("video.started has made no render")?;
    let transition = &render["transitions"][0];
    ensure!(render["status"] == "rendering", "the render is not rendering: {render:#}");
    say("", format!("render {id} is now {}, {} ms after it was signed", render["status"], transition["lag_ms"]));
    Ok(())
}

fn serve_files(stage: &Stage, id: &str) -> anyhow::Result<Vec<Served>> {
    let seed = u64::from_be_bytes(Sha256::digest(id)[..8].try_into()?);
    let files = [
        ("output.mp4", Bytes::from(media::video(seed)), "video/mp4"),
        ("thumbnail.png", Bytes::from(media::image(seed)), "image/png"),
        ("soundtrack.wav", Bytes::from(media::audio(seed)), "audio/wav"),
    ];
    files
        .into_iter()
        .map(|(name, bytes, content_type)| {
            let url = stage.files.put(&format!("{id}/{name}"), bytes.clone(), content_type)?;
            Ok(Served { url, bytes })
        })
        .collect()
}

/// Compares every stored file, in the store and as the service hands it out, with what was served.
async fn check_files(stage: &Stage, render: &Value, served: &[Served]) -> anyhow::Result<()> {
    let downloads = render["downloads"].as_array().context("no downloads")?;
    ensure!(downloads.len() == served.len(), "{} of {} files are there", downloads.len(), served.len());
    for (download, served) in downloads.iter().zip(served) {
        let key = download["object"]["key"].as_str().context("no key")?;
        let sha256 = hex::encode(Sha256::digest(&served.bytes));
        let path = stage.objects.join(key);
        let stored = tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(stored == served.bytes, "{} differs from what was served", path.display());
        ensure!(download["sha256"] == sha256.as_str(), "{key}: {} is not {sha256}", download["sha256"]);
        let url = stage.at(download["url"].as_str().context("no url")?)?;
        let handed_out =
            stage.client.get(url).bearer_auth(&stage.token).send().await?.error_for_status()?.bytes().await?;
        ensure!(handed_out == served.bytes, "{key} is handed out otherwise than it was served");
        say("store", format!("{} ({} bytes, {})", path.display(), stored.len(), download["content_type"]));
        say("", format!("sha256 {sha256}, equal to what was served"));
    }
    Ok(())
}

/// What to do while the demo stays up.
pub(super) fn how_to_go_on(stage: &Stage) -> anyhow::Result<()> {
    let (base, token) = (stage.base.as_str().trim_end_matches('/'), &stage.token);
    let mut project = Project::new(Kind::Image, "my-image", Clock::system().now());
    project.status = Some("complete".to_owned());
    project.downloads = vec![stage.files.put("my-image/picture.png", media::image(7), "image/png")?];
    let timestamp = Clock::system().now().timestamp().to_string();
    let event = Delivery::sign(&stage.secret, timestamp, project.event("image.completed"));
    println!(
        "
It stays up until Ctrl-C. In another terminal:

  # an event of your own, signed for the next five minutes
{event}

  # what became of it
  curl -sS -H 'authorization: Bearer {token}' '{base}/renders/my-image?wait=30s'

  # the file itself
  curl -sS -H 'authorization: Bearer {token}' {base}/renders/my-image/downloads/0 -o picture.png

  # whether the service is ready
  curl -sS {base}/readyz

  # any other event, at any time
  MAGIC_HOUR_WEBHOOK_SECRET={secret} cargo run --quiet -- send video.errored --to {base}/webhook --id my-video
",
        secret = stage.secret.expose_secret(),
        event = indented(&event.as_curl(&stage.at("/webhook")?)),
    );
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
