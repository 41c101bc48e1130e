//! `renderhook send`: an event, signed and posted as Magic Hour does it.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::output::Output;
use crate::config::{ConfigErrors, WebhookSecretArgs};
use crate::domain::EventType;
use crate::domain::Kind;
use crate::runtime::Clock;
use crate::standin::project::Project;
use crate::standin::sender::Delivery;

/// Flags of `send`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event's type, such as video.completed
    #[arg(value_name = "EVENT")]
    event: String,
    #[command(flatten)]
    secret: WebhookSecretArgs,
    /// Where to post it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/webhook")]
    to: Url,
    /// The render's id (default: a new one)
    #[arg(long)]
    id: Option<String>,
    /// The status in the payload (default: the one that goes with the event)
    #[arg(long)]
    status: Option<String>,
    /// The render's name
    #[arg(long)]
    name: Option<String>,
    /// Credits charged
    #[arg(long, default_value_t = 450)]
    credits: i64,
    /// The code of an error
    #[arg(long)]
    error_code: Option<String>,
    /// A file of the render, as often as there are files
    #[arg(long = "download", value_name = "URL")]
    downloads: Vec<Url>,
    /// When the files' URLs expire (default: in 24 hours)
    #[arg(long, value_name = "RFC3339")]
    expires_at: Option<DateTime<Utc>>,
    /// The Unix seconds to sign with (default: now)
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<String>,
    /// Prints a curl command that passes verification, instead of posting
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let secrets = args.secret.read(&mut errors);
    let secrets = errors.or(secrets)?;
    let secret = secrets.as_slice().first().context("MAGIC_HOUR_WEBHOOK_SECRET holds no secret")?;
    let delivery = args.delivery(secret, Clock::system().now());
    if args.dry_run {
        Output::default().line(delivery.as_curl(&args.to))?;
        return Ok(());
    }
    let answer = delivery.post(&reqwest::Client::new(), &args.to).await;
    let answer = answer.with_context(|| format!("cannot post to {}", args.to))?;
    Output::default().line(format_args!("{} {}", answer.status.as_u16(), answer.body))?;
    if !answer.status.is_success() {
        bail!("the event was refused");
    }
    Ok(())
}

impl Args {
    fn delivery(&self, secret: &SecretString, now: DateTime<Utc>) -> Delivery {
        let event_type = EventType::told(self.event.clone());
        let status = event_type.action().map(|action| action.status().as_str().to_owned());
        let mut project = Project::new(
            event_type.kind().unwrap_or(Kind::Video),
            self.id.clone().unwrap_or_else(|| format!("demo-{}", Uuid::new_v4().simple())),
            now,
        );
        project.status = self.status.clone().or(status);
        project.name.clone_from(&self.name);
        project.credits_charged = self.credits;
        project.error_code.clone_from(&self.error_code);
        project.expires_at = self.expires_at.unwrap_or(project.expires_at);
        project.downloads.clone_from(&self.downloads);
        let timestamp = self.timestamp.clone().unwrap_or_else(|| now.timestamp().to_string());
        Delivery::sign(secret, timestamp, project.event(&self.event))
    }
}
