//! What the demo shows: two renders. Each step is checked; the first unexpected result is an error.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use renderhook::domain::{Action, EventType, Kind, Status};
use renderhook::runtime::Clock;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::environment::DemoServices;
use crate::cli::output::{print_line, say};
use crate::standin::{
    Answer, Lifecycle, OutputFile, Project, RenderPlan, SignedRequest, Stage, WebhookAttempt, WebhookOutcome, media,
};

/// How long each step may take.
const STEP_TIMEOUT: Duration = Duration::from_mins(1);

/// Shows a render that webhooks report, then one that only polling finds.
pub(super) async fn run(environment: &DemoServices) -> anyhow::Result<()> {
    show_earlier_renders(environment).await?;
    show_completed_render(environment).await?;
    show_canceled_render(environment).await
}

async fn show_earlier_renders(environment: &DemoServices) -> anyhow::Result<()> {
    let page: Value = environment.get("/renders?limit=3").await?.error_for_status()?.json().await?;
    for render in page["renders"].as_array().context("the list has no renders")? {
        let (id, status) = (render["id"].as_str().context("no id")?, &render["status"]);
        say("database", format_args!("a render from an earlier demo: {id} is {status}"))?;
    }
    Ok(())
}

async fn show_completed_render(environment: &DemoServices) -> anyhow::Result<()> {
    let id = new_id();
    send_forged_event(environment, &id).await?;

    let plan = three_second_render(&id)?;
    environment.magic_hour.start_render(plan.clone())?;
    say("magic hour", format_args!("the video {id} is created and waits in the queue"))?;
    wait_for_webhook(environment, &id, Action::Started, "").await?;
    let started = get_render(environment, &id, "").await?.context("video.started did not create the render")?;
    // Its first transition, because it may have completed by now.
    ensure!(started["transitions"][0]["to"] == "rendering", "the render is not rendering: {started:#}");
    say("", format_args!("the render {id} is now \"rendering\""))?;

    let files = format!(" with {} files", plan.files.len());
    let completed = wait_for_webhook(environment, &id, Action::Completed, &files).await?;
    let render = get_render(environment, &id, "?wait=60s").await?.context("the render is gone")?;
    ensure!(render["archive"] == "stored", "the files are not stored: {render:#}");
    check_files(environment, &render, &plan.files).await?;

    post_event(environment, "the same video.completed again", &completed, StatusCode::OK).await?;
    let repeated = get_render(environment, &id, "").await?.context("the render is gone")?;
    ensure!(repeated == render, "the duplicate changed the render: {repeated:#}");
    say("", "the duplicate changed nothing: the render, its transitions and its files are the same")?;

    say("application", format_args!("GET /renders/{id}"))?;
    print_line(format_args!("{repeated:#}"))?;
    Ok(())
}

/// A render that is canceled in the queue, for which there is no webhook.
async fn show_canceled_render(environment: &DemoServices) -> anyhow::Result<()> {
    let id = new_id();
    environment.magic_hour.start_render(RenderPlan::new(Kind::Video, &id, Lifecycle::queued()))?;
    say("magic hour", format_args!("another video is created: {id}"))?;
    let announcement = json!({"kind": Kind::Video, "external_id": "order-17"});
    say("application", format_args!("PUT /renders/{id} {announcement}"))?;
    let request = environment.client.put(environment.url(&format!("/renders/{id}"))?).json(&announcement);
    let answer = request.bearer_auth(environment.api_token.expose_secret()).send().await?;
    say("renderhook", answer.status().as_u16())?;
    ensure!(answer.status() == StatusCode::CREATED, "the announcement was answered with {}", answer.status());
    wait_for_poll(environment, &id, Status::Queued).await?;

    ensure!(environment.magic_hour.move_render(&id, Stage::Canceled), "the stand-in does not have {id}");
    say("magic hour", "a person cancels it; Magic Hour sends no webhook for that")?;
    wait_for_poll(environment, &id, Status::Canceled).await
}

/// Waits until a poll has found `status`.
async fn wait_for_poll(environment: &DemoServices, id: &str, status: Status) -> anyhow::Result<()> {
    let poll = async {
        loop {
            let render = get_render(environment, id, "").await?.context("the render is gone")?;
            if render["status"] == status.as_str() {
                return anyhow::Ok(render);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(STEP_TIMEOUT, poll).await;
    let render = found.with_context(|| format!("no poll has found that {id} is {status}"))??;
    let transition = render["transitions"].as_array().and_then(|all| all.last()).context("no transition")?;
    ensure!(transition["source"] == "poll", "the transition to {status} came from {}", transition["source"]);
    let polls = environment.magic_hour.call_count(&Method::GET, id);
    say("", format_args!("a poll found that it is \"{status}\" (polls so far: {polls})"))?;
    Ok(())
}

fn new_id() -> String {
    format!("demo-{}", Uuid::new_v4().simple())
}

/// A video that is queued for a second and rendered for two.
fn three_second_render(id: &str) -> anyhow::Result<RenderPlan> {
    let seed = u64::from_be_bytes(Sha256::digest(id)[..8].try_into()?);
    let lifecycle =
        Lifecycle::queued().then(TimeDelta::seconds(1), Stage::Rendering).then(TimeDelta::seconds(3), Stage::Complete);
    let mut plan = RenderPlan::new(Kind::Video, id, lifecycle);
    plan.name = Some("A demo".to_owned());
    plan.files = vec![OutputFile::video(seed), OutputFile::image(seed), OutputFile::audio(seed)];
    Ok(plan)
}

async fn send_forged_event(environment: &DemoServices, id: &str) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let mut project = Project::new(Kind::Video, id, now);
    project.status = Some("complete".to_owned());
    let guessed = SecretString::from("whsec_guessed");
    let forged = SignedRequest::sign(&guessed, now.timestamp().to_string(), project.event("video.completed"));
    let what = "a forged event, signed with a guessed secret";
    post_event(environment, what, &forged, StatusCode::UNAUTHORIZED).await?;
    ensure!(get_render(environment, id, "").await?.is_none(), "the forged event created a render");
    Ok(())
}

/// Waits until the stand-in has sent a webhook, and returns it.
async fn wait_for_webhook(
    environment: &DemoServices,
    id: &str,
    action: Action,
    details: &str,
) -> anyhow::Result<SignedRequest> {
    let event_type = EventType::new(Kind::Video, action);
    let is_wanted = |attempt: &WebhookAttempt| attempt.id == id && attempt.event_type == event_type;
    let sent = tokio::time::timeout(STEP_TIMEOUT, environment.magic_hour.call_log.wait_for_webhook(is_wanted)).await;
    let attempt = sent.ok().flatten().with_context(|| format!("{event_type} was not sent"))?;
    say("magic hour", format_args!("POST /webhook: {event_type}{details}"))?;
    match attempt.outcome {
        WebhookOutcome::Answered(delivery, answer) => {
            check_answer(event_type.as_str(), &answer, StatusCode::OK)?;
            Ok(delivery)
        }
        WebhookOutcome::Lost | WebhookOutcome::Unanswered(_) => bail!("{event_type} was not answered"),
    }
}

async fn post_event(
    environment: &DemoServices,
    what: &str,
    delivery: &SignedRequest,
    expected: StatusCode,
) -> anyhow::Result<()> {
    let answer = delivery.post(&environment.client, &environment.url("/webhook")?).await?;
    say("magic hour", format_args!("POST /webhook: {what}"))?;
    check_answer(what, &answer, expected)
}

fn check_answer(what: &str, Answer { status, body }: &Answer, expected: StatusCode) -> anyhow::Result<()> {
    say("renderhook", format_args!("{} {body}", status.as_u16()))?;
    ensure!(*status == expected, "{what} was answered with {status} instead of {expected}");
    Ok(())
}

async fn get_render(environment: &DemoServices, id: &str, query: &str) -> anyhow::Result<Option<Value>> {
    let answer = environment.get(&format!("/renders/{id}{query}")).await?;
    match answer.status() {
        StatusCode::OK => Ok(Some(answer.json().await?)),
        StatusCode::NOT_FOUND => Ok(None),
        status => bail!("/renders/{id} was answered with {status}"),
    }
}

/// Compares each file in the store, and as the service returns it, with the file that the stand-in serves.
async fn check_files(environment: &DemoServices, render: &Value, served: &[OutputFile]) -> anyhow::Result<()> {
    let downloads = render["downloads"].as_array().context("no downloads")?;
    ensure!(downloads.len() == served.len(), "{} of {} files are stored", downloads.len(), served.len());
    for (download, served) in downloads.iter().zip(served) {
        let key = download["object"]["key"].as_str().context("no key")?;
        let sha256 = hex::encode(Sha256::digest(&served.bytes));
        let path = environment.store.join(key);
        let stored = tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(stored == served.bytes, "{} differs from the served file", path.display());
        ensure!(download["sha256"] == sha256.as_str(), "{key}: {} is not {sha256}", download["sha256"]);
        let url = download["url"].as_str().context("no url")?;
        let returned = environment.get(url).await?.error_for_status()?.bytes().await?;
        ensure!(returned == served.bytes, "{url} differs from the served file");
        say("store", format_args!("{} ({} bytes, {})", path.display(), stored.len(), download["content_type"]))?;
        say("", format_args!("sha256 {sha256}, the same as the served file's"))?;
    }
    Ok(())
}

/// Prints what to try while the demo keeps running.
pub(super) fn print_next_steps(environment: &DemoServices) -> anyhow::Result<()> {
    let base = environment.base.as_str().trim_end_matches('/');
    let (secret, token) = (environment.webhook_secret.expose_secret(), environment.api_token.expose_secret());
    let magic_hour = &environment.magic_hour;
    let (api, key) = (&magic_hour.base, magic_hour.api_key.expose_secret());
    let page = api.join("/")?;
    let picture = magic_hour.files.put("my-image/picture.png", media::image(7), "image/png")?;
    print_line(format_args!(
        "
The demo keeps running until Ctrl-C. To see it all in a browser, open {base}/ui
and log in with the token {token}

In another terminal:

  # send an event of your own
  export MAGIC_HOUR_WEBHOOK_SECRET={secret}
  cargo run --quiet -- send image.completed --to {base}/webhook --id my-image --download '{picture}'

  # see the render
  curl -sS -H 'authorization: Bearer {token}' '{base}/renders/my-image?wait=30s'

  # get its file
  curl -sS -H 'authorization: Bearer {token}' {base}/renders/my-image/downloads/0 -o picture.png

  # send any other event
  cargo run --quiet -- send video.errored --to {base}/webhook --id my-video

The stand-in for Magic Hour, for curl or an SDK:

  base URL  {api}
  API key   {key}
  page      {page}
"
    ))?;
    Ok(())
}
