//! The settings for webhooks: how they are verified, and how long they are kept.

use std::time::Duration;

use clap::Args;

use super::errors::{ConfigErrors, ConfigWarning};
use super::external_ids::ExternalIdArgs;
use super::parse::{MAX_RETENTION, SettingWithDefault};
use super::webhook_secrets::WebhookSecretArgs;
use crate::domain::ExternalIdPattern;
use crate::intake::{QueueLimits, Verifier};

const SIGNATURE_TOLERANCE: SettingWithDefault = SettingWithDefault::new("SIGNATURE_TOLERANCE", "5m");
const MAX_BODY_BYTES: SettingWithDefault = SettingWithDefault::new("MAX_BODY_BYTES", "1MiB");
const EVENT_RETENTION: SettingWithDefault = SettingWithDefault::new("EVENT_RETENTION", "30d");

/// The flags for webhooks.
#[derive(Debug, Clone, Args)]
pub(super) struct WebhookArgs {
    #[command(flatten)]
    secret: WebhookSecretArgs,
    /// The maximum difference between the time of a delivery and the time of this machine
    #[arg(long, env = SIGNATURE_TOLERANCE.name, value_name = "TIME", default_value = SIGNATURE_TOLERANCE.default)]
    signature_tolerance: String,
    /// The maximum size of a delivery's body
    #[arg(long, env = MAX_BODY_BYTES.name, value_name = "SIZE", default_value = MAX_BODY_BYTES.default)]
    max_body_bytes: String,
    #[command(flatten)]
    external_ids: ExternalIdArgs,
    /// How long deliveries are stored
    #[arg(long, env = EVENT_RETENTION.name, value_name = "TIME", default_value = EVENT_RETENTION.default)]
    event_retention: String,
}

/// The settings for webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Verifies the signatures of deliveries.
    pub verifier: Verifier,
    /// The number of secrets.
    pub secrets: usize,
    /// The maximum size of a delivery's body.
    pub max_body_bytes: usize,
    /// Finds external ids in names.
    pub external_ids: Option<ExternalIdPattern>,
    /// How much may wait to be recorded.
    pub queue_limits: QueueLimits,
    /// How long deliveries are kept.
    pub event_retention: Duration,
}

impl WebhookArgs {
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Webhooks {
        let secrets = self.secret.read(errors);
        let max_body_bytes = MAX_BODY_BYTES.bytes(&self.max_body_bytes, errors);
        Webhooks {
            verifier: Verifier::new(secrets.as_slice(), self.tolerance(errors).unwrap_or_default()),
            secrets: secrets.as_slice().len(),
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            external_ids: self.external_ids.read(errors),
            queue_limits: QueueLimits::default(),
            event_retention: self.event_retention(errors),
        }
    }

    /// How far the time of a delivery may be from the time of this machine.
    pub(super) fn tolerance(&self, errors: &mut ConfigErrors) -> Option<Duration> {
        SIGNATURE_TOLERANCE.duration(&self.signature_tolerance, errors)
    }

    /// Warnings about the secrets. None if they are invalid.
    pub(super) fn warnings(&self) -> Vec<ConfigWarning> {
        let mut errors = ConfigErrors::default();
        let secrets = self.secret.read(&mut errors);
        if errors.is_empty() { secrets.warnings() } else { Vec::new() }
    }

    fn event_retention(&self, errors: &mut ConfigErrors) -> Duration {
        let retention = EVENT_RETENTION.duration(&self.event_retention, errors);
        if retention.is_some_and(|retention| retention > MAX_RETENTION) {
            errors.add(EVENT_RETENTION.name, "must be at most 100 years");
        }
        retention.unwrap_or_default()
    }
}
