//! The stand-in for Magic Hour as a program of its own, to develop against.

use std::io::stdin;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use renderhook::domain::Kind;
use renderhook::runtime::{Clock, stop_signal};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use url::Url;
use uuid::Uuid;

use super::output::{print_line, say};
use crate::standin::{
    ApiCall, CallLog, Lifecycle, OutputFile, RenderPlan, Settings, Stage, StandIn, WebhookAttempt, WebhookOutcome,
};

/// Flags of `standin`.
#[derive(Debug, clap::Args)]
pub(super) struct StandInFlags {
    /// The address of the API and the files
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where webhooks are posted (default: nowhere)
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<Url>,
    /// The secret that signs webhooks
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    webhook_secret: Option<SecretString>,
    /// The key that API calls must carry (default: a new one)
    #[arg(long, env = "MAGIC_HOUR_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
    /// How long a render takes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    render_time: Duration,
}

pub(super) async fn run(args: StandInFlags) -> anyhow::Result<()> {
    let lifecycle = lifecycle(args.render_time)?;
    // Without a URL no webhook is sent, so the secret does not matter.
    let webhook_secret = args.webhook_secret.unwrap_or_else(|| SecretString::from(Uuid::new_v4().simple().to_string()));
    let mut settings = Settings::new(Clock::system(), webhook_secret);
    settings.listen = args.listen;
    settings.api_path = "";
    settings.api_key = args.api_key.unwrap_or(settings.api_key);
    let magic_hour = StandIn::start(settings).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let sends_webhooks = args.webhook_url.is_some();
    print_line(format_args!("base URL  {}", magic_hour.base.as_str().trim_end_matches('/')))?;
    print_line(format_args!("API key   {}", magic_hour.api_key.expose_secret()))?;
    match &args.webhook_url {
        Some(url) => print_line(format_args!("webhooks  {url}"))?,
        None => print_line("webhooks  none are sent: --webhook-url is not set")?,
    }
    print_line("Press Enter to start another video, image and audio render. Ctrl-C stops.\n")?;
    magic_hour.webhooks.set_receiver(args.webhook_url);
    start_renders(&magic_hour, &lifecycle)?;
    tokio::select! {
        result = start_renders_on_enter(&magic_hour, &lifecycle) => result,
        result = print_calls(&magic_hour.call_log) => result,
        result = print_webhooks(&magic_hour.call_log), if sends_webhooks => result,
        result = stop_signal() => Ok(result?),
    }
}

/// Queued for a quarter of the time, then rendering, then complete.
fn lifecycle(render_time: Duration) -> anyhow::Result<Lifecycle> {
    let age = |time: Duration| TimeDelta::from_std(time).context("--render-time is too long");
    let lifecycle = Lifecycle::queued().then(age(render_time / 4)?, Stage::Rendering);
    Ok(lifecycle.then(age(render_time)?, Stage::Complete))
}

fn start_renders(magic_hour: &StandIn, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    for kind in [Kind::Video, Kind::Image, Kind::Audio] {
        let uuid = Uuid::new_v4();
        let (seed, _) = uuid.as_u64_pair();
        let file = match kind {
            Kind::Video => OutputFile::video(seed),
            Kind::Image => OutputFile::image(seed),
            Kind::Audio => OutputFile::audio(seed),
        };
        let id = format!("standin-{}", uuid.simple());
        say("render", format_args!("{kind} {id}"))?;
        magic_hour.start_render(RenderPlan::new(kind, id, lifecycle.clone()).with(file))?;
    }
    Ok(())
}

async fn start_renders_on_enter(magic_hour: &StandIn, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // A thread of its own: the runtime would wait for the end of a blocking read before it stops.
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    while lines.recv().await.is_some() {
        start_renders(magic_hour, lifecycle)?;
    }
    // Standard input is closed.
    std::future::pending().await
}

async fn print_calls(call_log: &CallLog) -> anyhow::Result<()> {
    let mut printed = 0;
    loop {
        let calls = call_log.wait_for_calls(printed + 1).await;
        for ApiCall { method, id, status, .. } in &calls[printed..] {
            let status = status.map_or_else(|| "closed".to_owned(), |status| status.as_u16().to_string());
            say("call", format_args!("{method} {id}: {status}"))?;
        }
        printed = calls.len();
    }
}

async fn print_webhooks(call_log: &CallLog) -> anyhow::Result<()> {
    let mut printed = 0;
    loop {
        let webhooks = call_log.wait_for_webhooks(printed + 1).await;
        for WebhookAttempt { event_type, id, attempt, outcome, .. } in &webhooks[printed..] {
            let outcome = match outcome {
                WebhookOutcome::Lost => "lost".to_owned(),
                WebhookOutcome::Unanswered(_) => "no answer".to_owned(),
                WebhookOutcome::Answered(_, answer) => answer.status.as_u16().to_string(),
            };
            say("webhook", format_args!("{event_type} {id}: {outcome} (attempt {attempt})"))?;
        }
        printed = webhooks.len();
    }
}
