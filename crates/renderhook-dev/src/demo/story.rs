//! What the demo tells, and checks as it tells it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::say;
use super::stage::Stage;
use crate::standin::account::{Outcome, Sent};
use crate::standin::life::{self, Life};
use crate::standin::media;
use crate::standin::plan::{Output, Plan};
use crate::standin::project::Project;
use crate::standin::sender::{Answer, Delivery};
use renderhook::domain::{Action, EventType};
use renderhook::domain::{Kind, Status};
use renderhook::runtime::Clock;

/// How long anything in the story may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Tells the story of two renders: of one webhooks tell, of the other nobody but who asks. An error is the first thing that did not go as it should.
pub(super) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    earlier_renders(stage).await?;
    let id = format!("demo-{}", Uuid::new_v4().simple());
    refuse_a_forgery(stage, &id).await?;

    let plan = ball_in_a_gradient(&id)?;
    stage.magic_hour.begin(plan.clone())?;
    say("magic hour", format!("the video {id} is ordered, and waits in the queue"));
    webhook(stage, &id, Action::Started, "").await?;
    say_rendering(stage, &id).await?;

    let what = format!(" with {} downloads", plan.files.len());
    let completed = webhook(stage, &id, Action::Completed, &what).await?;
    let render = render(stage, &id, "?wait=60s").await?.context("the render is gone")?;
    ensure!(render["archive"] == "stored", "the files are not stored: {render:#}");
    check_files(stage, &render, &plan.files).await?;

    post(stage, "the same video.completed again", &completed, StatusCode::OK).await?;
    let again = self::render(stage, &id, "").await?.context("the render is gone")?;
    ensure!(again == render, "the duplicate has changed the render: {again:#}");
    say("", "the duplicate changed nothing: the render, its transitions and its files are as they were");

    say("application", format!("GET /renders/{id}"));
    println!("{again:#}");
    find_a_cancelation(stage).await
}

/// A render that is canceled in the queue: no webhook tells of that.
async fn find_a_cancelation(stage: &Stage) -> anyhow::Result<()> {
    let id = format!("demo-{}", Uuid::new_v4().simple());
    stage.magic_hour.begin(Plan::new(Kind::Video, &id, Life::queued()))?;
    say("magic hour", format!("another video is ordered, {id}"));
    let announcement = json!({"kind": Kind::Video, "external_id": "order-17"});
    say("application", format!("PUT /renders/{id} {announcement}"));
    let url = stage.at(&format!("/renders/{id}"))?;
    let answer = stage.client.put(url).bearer_auth(&stage.token).json(&announcement).send().await?;
    say("renderhook", answer.status().as_str());
    ensure!(answer.status() == StatusCode::CREATED, "the announcement was answered with {}", answer.status());
    say_found(stage, &id, Status::Queued).await?;

    ensure!(stage.magic_hour.turn(&id, life::Stage::Canceled), "the stand-in has lost {id}");
    say("magic hour", "somebody cancels it, and there is no webhook of that");
    say_found(stage, &id, Status::Canceled).await
}

/// Waits until a render has this status, by a poll.
async fn say_found(stage: &Stage, id: &str, status: Status) -> anyhow::Result<()> {
    let find = async {
        loop {
            let render = render(stage, id, "").await?.context("the render is gone")?;
            if render["status"] == status.as_str() {
                return anyhow::Ok(render);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, find).await;
    let render = found.with_context(|| format!("nobody has found out that {id} is {status}"))??;
    let transition = render["transitions"].as_array().and_then(|all| all.last()).context("no transition")?;
    ensure!(transition["source"] == "poll", "{status} was told by {}", transition["source"]);
    let calls = stage.magic_hour.count(&Method::GET, id);
    say("", format!("it is {:?}, as a poll found out (calls so far: {calls})", status.as_str()));
    Ok(())
}

/// A video of a second in the queue and two in the making.
fn ball_in_a_gradient(id: &str) -> anyhow::Result<Plan> {
    let seed = u64::from_be_bytes(Sha256::digest(id)[..8].try_into()?);
    let life = Life::queued()
        .then(TimeDelta::seconds(1), life::Stage::Rendering)
        .then(TimeDelta::seconds(3), life::Stage::Complete);
    let mut plan = Plan::new(Kind::Video, id, life);
    plan.name = Some("A ball in a gradient".to_owned());
    plan.files = vec![Output::video(seed), Output::image(seed), Output::audio(seed)];
    Ok(plan)
}

/// What somebody who knows no secret says of a render is not believed.
async fn refuse_a_forgery(stage: &Stage, id: &str) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let mut project = Project::new(Kind::Video, id, now);
    project.status = Some("complete".to_owned());
    let guessed = SecretString::from("whsec_guessed");
    let forged = Delivery::sign(&guessed, now.timestamp().to_string(), project.event("video.completed"));
    post(stage, "a forgery, signed with a guessed secret", &forged, StatusCode::UNAUTHORIZED).await?;
    ensure!(render(stage, id, "").await?.is_none(), "the forgery has made a render");
    Ok(())
}

/// Waits for a webhook of the stand-in's, and gives it as it was sent.
async fn webhook(stage: &Stage, id: &str, action: Action, what: &str) -> anyhow::Result<Delivery> {
    let event_type = EventType::new(Kind::Video, action);
    let meant = |sent: &Sent| sent.id == id && sent.event_type == event_type;
    let sent = tokio::time::timeout(PATIENCE, stage.magic_hour.account.wait_for(meant)).await;
    let sent = sent.ok().flatten().with_context(|| format!("{event_type} was not sent"))?;
    say("magic hour", format!("POST /webhook: {event_type}{what}"));
    let Outcome::Answered(delivery, answer) = sent.outcome else { bail!("{event_type} was not answered") };
    check_answer(event_type.as_str(), &answer, StatusCode::OK)?;
    Ok(delivery)
}

async fn earlier_renders(stage: &Stage) -> anyhow::Result<()> {
    let url = stage.at("/renders?limit=3")?;
    let page: Value = stage.client.get(url).bearer_auth(&stage.token).send().await?.error_for_status()?.json().await?;
    for render in page["renders"].as_array().context("a list without renders")? {
        let (id, status) = (render["id"].as_str().unwrap_or("?"), render["status"].as_str().unwrap_or("unknown"));
        say("database", format!("an earlier start's render is still there: {id} ({status})"));
    }
    Ok(())
}

async fn post(stage: &Stage, what: &str, delivery: &Delivery, expected: StatusCode) -> anyhow::Result<()> {
    let answer = delivery.post(&stage.client, &stage.at("/webhook")?).await?;
    say("magic hour", format!("POST /webhook: {what}"));
    check_answer(what, &answer, expected)
}

fn check_answer(what: &str, Answer { status, body }: &Answer, expected: StatusCode) -> anyhow::Result<()> {
    say("renderhook", format!("{} {body}", status.as_u16()));
    ensure!(*status == expected, "{what} was answered with {status} in the place of {expected}");
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

async fn say_rendering(stage: &Stage, id: &str) -> anyhow::Result<()> {
    let render = render(stage, id, "").await?.context("video.started has made no render")?;
    // Its first transition, since it may have gone on by now.
    let transition = &render["transitions"][0];
    ensure!(transition["to"] == "rendering", "the render is not rendering: {render:#}");
    say("", format!("render {id} is now {}, {} ms after it was signed", transition["to"], transition["lag_ms"]));
    Ok(())
}

/// Compares every stored file, in the store and as the service hands it out, with what was served.
async fn check_files(stage: &Stage, render: &Value, served: &[Output]) -> anyhow::Result<()> {
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

/// What to try while the demo stays up.
pub(super) fn how_to_go_on(stage: &Stage) -> anyhow::Result<()> {
    let (base, token) = (stage.base.as_str().trim_end_matches('/'), &stage.token);
    let picture = stage.magic_hour.files.put("my-image/picture.png", media::image(7), "image/png")?;
    let secret = stage.secret.expose_secret();
    println!(
        "
It stays up until Ctrl-C. In another terminal:

  # an event of your own
  export MAGIC_HOUR_WEBHOOK_SECRET={secret}
  cargo run --quiet -- send image.completed --to {base}/webhook --id my-image --download '{picture}'

  # what became of it
  curl -sS -H 'authorization: Bearer {token}' '{base}/renders/my-image?wait=30s'

  # the file itself
  curl -sS -H 'authorization: Bearer {token}' {base}/renders/my-image/downloads/0 -o picture.png

  # whether the service is ready
  curl -sS {base}/readyz

  # any other event, at any time
  cargo run --quiet -- send video.errored --to {base}/webhook --id my-video
"
    );
    Ok(())
}
