//! `MAGIC_HOUR_WEBHOOK_SECRET`: what signs the webhooks.

use std::ffi::OsString;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::errors::{ConfigErrors, ConfigWarning};
use super::secret::{self, SecretSource};

const NAME: &str = "MAGIC_HOUR_WEBHOOK_SECRET";

/// The flags for the webhook secrets.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookSecretArgs {
    /// The webhook's secret as Developer Hub shows it, or several, comma-separated (required)
    #[arg(long, env = NAME, value_name = "SECRETS", hide_env_values = true)]
    magic_hour_webhook_secret: Option<SecretString>,
    /// A file that holds `MAGIC_HOUR_WEBHOOK_SECRET`
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET_FILE", value_name = "PATH")]
    magic_hour_webhook_secret_file: Option<OsString>,
}

impl WebhookSecretArgs {
    /// The secrets, byte for byte. It is an error if there is none or one is empty.
    pub fn read(&self, errors: &mut ConfigErrors) -> WebhookSecrets {
        let file = self.magic_hour_webhook_secret_file.as_deref();
        let secrets = SecretSource::new(NAME, self.magic_hour_webhook_secret.as_ref(), file).required(errors);
        WebhookSecrets(secret::split(NAME, &secrets, errors))
    }
}

/// The secrets, any of which may have signed a delivery.
#[derive(Debug, Clone)]
pub struct WebhookSecrets(Vec<SecretString>);

impl WebhookSecrets {
    /// Each secret.
    #[must_use]
    pub fn as_slice(&self) -> &[SecretString] {
        &self.0
    }

    /// What Developer Hub never shows in a secret, and what shells, compose files and copying leave there: it is used as
    /// it stands, and then no delivery is verified.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        let marks = ['"', '\'', '`', '“', '”'];
        let numbered = self.0.iter().zip(1..);
        let problems = numbered.filter_map(|(secret, number)| {
            let secret = secret.expose_secret();
            let which = if self.0.len() == 1 {
                "the secret".to_owned()
            } else {
                format!("secret {number} of {}", self.0.len())
            };
            if secret.trim() != secret {
                Some(format!("{which} begins or ends with a blank, which is used as part of it: remove it"))
            } else if secret.starts_with(marks) || secret.ends_with(marks) {
                Some(format!("{which} begins or ends with a quotation mark, which is used as part of it: remove it"))
            } else {
                None
            }
        });
        problems.map(|problem| ConfigWarning { name: NAME, problem }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_outer_blanks_are_kept_and_warned_about_without_showing_the_secret() {
        for (text, expected) in [
            ("whsec_hush", 0),
            ("whsec_hush, whsec_hush", 0),
            (" whsec_hush", 1),
            ("whsec_hush,whsec_hush ", 1),
            ("\"whsec_hush\"", 1),
            ("'whsec_hush', 'hush'", 2),
        ] {
            let args = WebhookSecretArgs { magic_hour_webhook_secret: Some(text.into()), ..Default::default() };
            let mut errors = ConfigErrors::default();
            let warnings = args.read(&mut errors).warnings();
            assert!(errors.is_empty());
            assert_eq!(warnings.len(), expected, "{text}");
            assert!(!format!("{warnings:?}").contains("hush"), "{warnings:?}");
        }
    }
}
