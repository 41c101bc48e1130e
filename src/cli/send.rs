//! `renderhook send`: signs an event and posts it as Magic Hour does.

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
use crate::intake::signature::sign;
use crate::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::runtime::Clock;

/// Magic Hour waits this long for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Magic Hour's URLs expire after about a day.
const URL_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Flags of `send`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event's type, such as video.completed
    #[arg(value_name = "EVENT")]
    event: String,
    #[command(flatten)]
    secret: WebhookSecretArgs,
    /// Where to post it (default: this machine's own service, as `LISTEN_ADDR` and `PORT` say)
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    #[command(flatten)]
    listen: ListenArgs,
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
    let to = args.to(&mut errors);
    let secrets = errors.or(secrets)?;
    let secret = secrets.as_slice().first().context("MAGIC_HOUR_WEBHOOK_SECRET holds no secret")?;
    let event = args.signed_event(secret, Clock::system().now());
    if !is_sent_by_magic_hour(&args.event) {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        let actions = Action::ALL.map(Action::as_str).join(", ");
        eprintln!(
            "warning: {} is not an event that Magic Hour sends: those are {{{kinds}}}.{{{actions}}}",
            args.event.escape_debug()
        );
    }
    if args.dry_run {
        Output::default().line(event.as_curl(&to))?;
        return Ok(());
    }
    let response = event.post(&to).await;
    let response = response.with_context(|| format!("cannot post to {to}"))?;
    let status = response.status();
    Output::default().line(format_args!("{} {}", status.as_u16(), response.text().await?))?;
    if !status.is_success() {
        bail!("the event was refused");
    }
    Ok(())
}

/// Whether an event type is one of the documented ones.
fn is_sent_by_magic_hour(event: &str) -> bool {
    let event_type = EventType::from_text(event.to_owned());
    event_type.kind().is_some() && event_type.action().is_some()
}

impl Args {
    /// Where to post the event: the address that was given, or this machine's own service.
    fn to(&self, errors: &mut ConfigErrors) -> Url {
        let address = self.listen.read_for_client(errors);
        let own = || Url::parse(&format!("http://{address}/webhook")).expect("an address and a path make a URL");
        self.to.clone().unwrap_or_else(own)
    }

    fn signed_event(&self, secret: &SecretString, now: DateTime<Utc>) -> SignedEvent {
        let body = json!({"type": self.event, "payload": self.payload(now)}).to_string();
        let timestamp = self.timestamp.clone().unwrap_or_else(|| now.timestamp().to_string());
        let signature = sign(secret, &timestamp, body.as_bytes());
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

/// An event, ready to be posted.
struct SignedEvent {
    timestamp: String,
    signature: String,
    body: String,
}

impl SignedEvent {
    async fn post(&self, to: &Url) -> reqwest::Result<reqwest::Response> {
        reqwest::Client::new()
            .post(to.clone())
            .timeout(ANSWER_TIMEOUT)
            .header("content-type", "application/json")
            .header(TIMESTAMP_HEADER, &self.timestamp)
            .header(SIGNATURE_HEADER, &self.signature)
            .body(self.body.clone())
            .send()
            .await
    }

    /// The shell command that posts it.
    fn as_curl(&self, to: &Url) -> String {
        let lines = [
            format!("curl -sS -X POST {}", shell_quoted(to.as_str())),
            "-H 'content-type: application/json'".to_owned(),
            format!("-H {}", shell_quoted(&format!("{TIMESTAMP_HEADER}: {}", self.timestamp))),
            format!("-H {}", shell_quoted(&format!("{SIGNATURE_HEADER}: {}", self.signature))),
            format!("--data-binary {}", shell_quoted(&self.body)),
        ];
        lines.join(" \\\n  ")
    }
}

/// `text` as a single word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_command_sends_exactly_the_signed_bytes() {
        let (timestamp, body) = ("1729314984".to_owned(), r#"{"it's":"here"}"#.to_owned());
        let signature = sign(&SecretString::from("whsec_test"), &timestamp, body.as_bytes());
        let event = SignedEvent { timestamp, signature: signature.clone(), body };
        let curl = event.as_curl(&Url::parse("http://127.0.0.1:8080/webhook").unwrap());
        assert!(curl.contains(r#"--data-binary '{"it'\''s":"here"}'"#), "{curl}");
        assert!(curl.contains(&format!("magic-hour-event-signature: {signature}")), "{curl}");
    }
}
