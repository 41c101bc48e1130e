//! `renderhook send`: signs and posts an event the way Magic Hour does.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::output::Output;
use crate::config::{ConfigErrors, ListenArgs, WebhookSecretArgs};
use crate::domain::{Action, EventType, Kind};
use crate::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_delivery};
use crate::runtime::Clock;

/// How long Magic Hour waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long Magic Hour's URLs expire.
const URL_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Flags of `send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  renderhook send video.started --id my-first\n  \
    renderhook send image.completed --to https://hooks.example.com/webhook --dry-run")]
pub(super) struct SendFlags {
    /// The event's type, such as video.completed
    #[arg(value_name = "EVENT")]
    event: String,
    #[command(flatten)]
    secret: WebhookSecretArgs,
    /// The URL to post to (default: the service on this machine, according to `LISTEN_ADDR` and `PORT`)
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    #[command(flatten)]
    listen: ListenArgs,
    /// The render's id (default: a new id)
    #[arg(long)]
    id: Option<String>,
    /// The status in the payload (default: the one that matches the event)
    #[arg(long)]
    status: Option<String>,
    /// The render's name
    #[arg(long)]
    name: Option<String>,
    /// Credits charged
    #[arg(long, default_value_t = 450)]
    credits: i64,
    /// The code of the render's error
    #[arg(long)]
    error_code: Option<String>,
    /// The URL of a file of the render; can be repeated
    #[arg(long = "download", value_name = "URL")]
    downloads: Vec<Url>,
    /// When the URLs of the files expire (default: in 24 hours)
    #[arg(long, value_name = "RFC3339")]
    expires_at: Option<DateTime<Utc>>,
    /// The timestamp to sign with, in Unix seconds (default: now)
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<String>,
    /// Prints a signed curl command instead of posting
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: SendFlags) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let secrets = args.secret.read(&mut errors);
    let url = args.url(&mut errors);
    let secrets = errors.into_result(secrets)?;
    let secret = secrets.as_slice().first().context("MAGIC_HOUR_WEBHOOK_SECRET contains no secret")?;
    let event = args.signed_event(secret, Clock::system().now());
    if !is_sent_by_magic_hour(&args.event) {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        let actions = Action::ALL.map(Action::as_str).join(", ");
        eprintln!(
            "warning: {} is not an event type of Magic Hour's, which are {{{kinds}}}.{{{actions}}}",
            args.event.escape_debug()
        );
    }
    if args.dry_run {
        Output::default().line(event.as_curl(&url))?;
        return Ok(());
    }
    let response = event.post(&url).await;
    let response = response.with_context(|| format!("cannot post to {url}"))?;
    let status = response.status();
    Output::default().line(format_args!("{} {}", status.as_u16(), response.text().await?))?;
    if !status.is_success() {
        bail!("the event was not accepted");
    }
    Ok(())
}

/// Whether Magic Hour documents this event type.
fn is_sent_by_magic_hour(event: &str) -> bool {
    let event_type = EventType::from_text(event.to_owned());
    event_type.kind().is_some() && event_type.action().is_some()
}

impl SendFlags {
    /// The URL to post to: `--to`, or the service on this machine.
    fn url(&self, errors: &mut ConfigErrors) -> Url {
        let address = self.listen.read_for_client(errors);
        let local = || Url::parse(&format!("http://{address}/webhook")).expect("an address and a path make a URL");
        self.to.clone().unwrap_or_else(local)
    }

    fn signed_event(&self, secret: &SecretString, now: DateTime<Utc>) -> SignedEvent {
        let body = json!({"type": self.event, "payload": self.payload(now)}).to_string();
        let timestamp = self.timestamp.clone().unwrap_or_else(|| now.timestamp().to_string());
        let signature = sign_delivery(secret, &timestamp, body.as_bytes());
        SignedEvent { timestamp, signature, body }
    }

    /// The project, with the fields that Magic Hour documents for its kind.
    fn payload(&self, now: DateTime<Utc>) -> Value {
        let event_type = EventType::from_text(self.event.clone());
        let kind = event_type.kind().unwrap_or(Kind::Video);
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let expires_at = time(self.expires_at.unwrap_or(now + URL_LIFETIME));
        let downloads: Vec<_> =
            self.downloads.iter().map(|url| json!({"url": url, "expires_at": expires_at})).collect();
        let mut payload = json!({
            "id": self.id.clone().unwrap_or_else(|| format!("demo-{}", Uuid::new_v4().simple())),
            "name": self.name,
            "status": self.status.as_deref().or_else(|| event_type.action().map(|action| action.status().as_str())),
            "created_at": time(now),
            "enabled": true,
            "credits_charged": self.credits,
            "error": self.error_code.as_ref().map(|code| json!({"code": code, "message": format!("It failed: {code}")})),
            "downloads": downloads,
        });
        let fields = match kind {
            Kind::Video => json!({
                "type": "FACE_SWAP", "width": 512, "height": 960, "fps": 30, "start_seconds": 0, "end_seconds": 15,
            }),
            Kind::Image => json!({"type": "AI_IMAGE", "image_count": self.downloads.len().max(1)}),
            Kind::Audio => json!({"type": "VOICE_GENERATOR"}),
        };
        for (name, value) in fields.as_object().into_iter().flatten() {
            payload[name] = value.clone();
        }
        payload
    }
}

/// A signed event.
struct SignedEvent {
    timestamp: String,
    signature: String,
    body: String,
}

impl SignedEvent {
    async fn post(&self, url: &Url) -> reqwest::Result<reqwest::Response> {
        reqwest::Client::new()
            .post(url.clone())
            .timeout(ANSWER_TIMEOUT)
            .header("content-type", "application/json")
            .header(TIMESTAMP_HEADER, &self.timestamp)
            .header(SIGNATURE_HEADER, &self.signature)
            .body(self.body.clone())
            .send()
            .await
    }

    /// A shell command that posts the event.
    fn as_curl(&self, url: &Url) -> String {
        let lines = [
            format!("curl -sS -X POST {}", shell_quoted(url.as_str())),
            "-H 'content-type: application/json'".to_owned(),
            format!("-H {}", shell_quoted(&format!("{TIMESTAMP_HEADER}: {}", self.timestamp))),
            format!("-H {}", shell_quoted(&format!("{SIGNATURE_HEADER}: {}", self.signature))),
            format!("--data-binary {}", shell_quoted(&self.body)),
        ];
        lines.join(" \\\n  ")
    }
}

/// Quotes `text` as a single word for a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_command_sends_exactly_the_signed_bytes() {
        let (timestamp, body) = ("1729314984".to_owned(), r#"{"it's":"here"}"#.to_owned());
        let signature = sign_delivery(&SecretString::from("whsec_test"), &timestamp, body.as_bytes());
        let event = SignedEvent { timestamp, signature: signature.clone(), body };
        let curl = event.as_curl(&Url::parse("http://127.0.0.1:8080/webhook").unwrap());
        assert!(curl.contains(r#"--data-binary '{"it'\''s":"here"}'"#), "{curl}");
        assert!(curl.contains(&format!("magic-hour-event-signature: {signature}")), "{curl}");
    }
}
