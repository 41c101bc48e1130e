//! The stand-in for Magic Hour as a program of its own, to develop against.

use std::io::stdin;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use renderhook::runtime::{Clock, stop_signal};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use url::Url;
use uuid::Uuid;

use super::output::{print_line, say};
use crate::standin::{ApiCall, CallLog, Settings, StandIn, WebhookAttempt, WebhookOutcome};

/// Flags of `standin`.
#[derive(Debug, clap::Args)]
pub(super) struct StandInFlags {
    /// The address of the API, the files and the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// What the URLs in webhooks begin with (default: the address)
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// Where webhooks are posted (default: nowhere)
    #[arg(long, value_name = "URL", requires = "signing_secret")]
    webhook_url: Option<Url>,
    /// The secret that signs webhooks; of several, comma-separated, the first
    #[arg(
        long,
        env = "MAGIC_HOUR_WEBHOOK_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        group = "signing_secret"
    )]
    webhook_secret: Option<SecretString>,
    /// A file with the secret
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET_FILE", value_name = "PATH", group = "signing_secret")]
    webhook_secret_file: Option<PathBuf>,
    /// The key that API calls must carry; of several, comma-separated, the first (default: a new one)
    #[arg(long, env = "MAGIC_HOUR_API_KEY", value_name = "KEY", hide_env_values = true, group = "key")]
    api_key: Option<SecretString>,
    /// A file with the key
    #[arg(long, env = "MAGIC_HOUR_API_KEY_FILE", value_name = "PATH", group = "key")]
    api_key_file: Option<PathBuf>,
    /// How long a render takes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    render_time: Duration,
    /// Instead of running, checks that a stand-in answers at `--listen` on this machine
    #[arg(long)]
    health: bool,
}

impl StandInFlags {
    fn settings(&self) -> anyhow::Result<Settings> {
        let secret = first_secret(self.webhook_secret.as_ref(), self.webhook_secret_file.as_deref())?;
        ensure!(self.webhook_url.is_none() || secret.is_some(), "the secret that signs webhooks is empty");
        // Without a URL no webhook is sent, so the secret does not matter.
        let secret = secret.unwrap_or_else(|| SecretString::from(Uuid::new_v4().simple().to_string()));
        let mut settings = Settings::new(Clock::system(), secret);
        settings.listen = self.listen;
        settings.api_path = "";
        settings.public_url = self.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        settings.render_time = TimeDelta::from_std(self.render_time).context("--render-time is too long")?;
        if let Some(key) = first_secret(self.api_key.as_ref(), self.api_key_file.as_deref())? {
            settings.api_key = key;
        }
        Ok(settings)
    }
}

pub(super) async fn run(args: StandInFlags) -> anyhow::Result<()> {
    if args.health {
        return check_health(args.listen.port()).await;
    }
    let settings = args.settings()?;
    let magic_hour = StandIn::start(settings).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let sends_webhooks = args.webhook_url.is_some();
    let base = magic_hour.base.as_str().trim_end_matches('/');
    print_line(format_args!("base URL  {base}"))?;
    print_line(format_args!("API key   {}", magic_hour.api_key.expose_secret()))?;
    print_line(format_args!("page      {base}/"))?;
    match &args.webhook_url {
        Some(url) => print_line(format_args!("webhooks  {url}"))?,
        None => print_line("webhooks  none are sent: --webhook-url is not set")?,
    }
    print_line("Press Enter to start a video, image and audio render. Ctrl-C stops.\n")?;
    magic_hour.webhooks.set_receiver(args.webhook_url);
    tokio::select! {
        result = start_renders_on_enter(&magic_hour) => result,
        result = print_calls(&magic_hour.call_log) => result,
        result = print_webhooks(&magic_hour.call_log), if sends_webhooks => result,
        result = stop_signal() => Ok(result?),
    }
}

async fn check_health(port: u16) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(4)).build()?;
    let page = client.get(format!("http://{}:{port}/", Ipv4Addr::LOCALHOST)).send().await?;
    page.error_for_status()?;
    Ok(())
}

/// The first of the secrets in a variable or a file, which the service's settings of the same names have, too. `None` if
/// it is empty.
fn first_secret(value: Option<&SecretString>, file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    let secrets = match (value, file) {
        (Some(value), _) => value.expose_secret().to_owned(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, None) => return Ok(None),
    };
    let first = secrets.trim_end_matches(['\r', '\n']).split(',').next().unwrap_or_default();
    Ok((!first.is_empty()).then(|| SecretString::from(first)))
}

async fn start_renders_on_enter(magic_hour: &StandIn) -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // A thread of its own: the runtime would wait for the end of a blocking read before it stops.
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    while lines.recv().await.is_some() {
        for (kind, id) in magic_hour.start_samples()? {
            say("render", format_args!("{kind} {id}"))?;
        }
    }
    // Standard input is closed.
    std::future::pending().await
}

async fn print_calls(call_log: &CallLog) -> anyhow::Result<()> {
    let mut printed = 0;
    loop {
        let calls = call_log.next_calls(printed).await;
        for ApiCall { method, path, status, created, .. } in &calls {
            let status = status.map_or_else(|| "closed".to_owned(), |status| status.as_u16().to_string());
            match created {
                Some(id) => say("call", format_args!("{method} {path}: {status}, creates {id}"))?,
                None => say("call", format_args!("{method} {path}: {status}"))?,
            }
        }
        printed += calls.len();
    }
}

async fn print_webhooks(call_log: &CallLog) -> anyhow::Result<()> {
    let mut printed = 0;
    loop {
        let webhooks = call_log.next_webhooks(printed).await;
        for WebhookAttempt { event_type, id, attempt, outcome, .. } in &webhooks {
            let outcome = match outcome {
                WebhookOutcome::Lost => "lost".to_owned(),
                WebhookOutcome::Unanswered(_) => "no answer".to_owned(),
                WebhookOutcome::Answered(_, answer) => answer.status.as_u16().to_string(),
            };
            say("webhook", format_args!("{event_type} {id}: {outcome} (attempt {attempt})"))?;
        }
        printed += webhooks.len();
    }
}
