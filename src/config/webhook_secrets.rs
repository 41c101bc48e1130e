//! `MAGIC_HOUR_WEBHOOK_SECRET`: the secrets that sign webhooks.

use std::ffi::OsString;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::errors::{ConfigErrors, ConfigWarning};
use super::secret::{self, SecretSource};

const NAME: &str = "MAGIC_HOUR_WEBHOOK_SECRET";

/// The flags for the webhook secrets.
#[derive(Debug, Clone, Default, Args)]
pub struct WebhookSecretArgs {
    /// The secret of the webhook as shown in Developer Hub, or several, comma-separated (required)
    #[arg(long, env = NAME, value_name = "SECRETS", hide_env_values = true)]
    magic_hour_webhook_secret: Option<SecretString>,
    /// A file with `MAGIC_HOUR_WEBHOOK_SECRET`
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET_FILE", value_name = "PATH")]
    magic_hour_webhook_secret_file: Option<OsString>,
}

impl WebhookSecretArgs {
    /// The secrets, byte for byte. It is an error if there is none or one of them is empty.
    pub fn read(&self, errors: &mut ConfigErrors) -> WebhookSecrets {
        let file = self.magic_hour_webhook_secret_file.as_deref();
        let secrets = SecretSource::new(NAME, self.magic_hour_webhook_secret.as_ref(), file).required(errors);
        WebhookSecrets(secret::split(NAME, &secrets, errors))
    }
}

/// The webhook secrets. A delivery may be signed with any of them.
#[derive(Debug, Clone)]
pub struct WebhookSecrets(Vec<SecretString>);

impl WebhookSecrets {
    /// The secrets.
    #[must_use]
    pub fn as_slice(&self) -> &[SecretString] {
        &self.0
    }

    /// Warnings about outer spaces and quotes: no secret of Developer Hub has them, but shells, compose files, and copying add
    /// them. The secret is still used as is, so no delivery passes verification.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        let quotes = ['"', '\'', '`', '“', '”'];
        let numbered = self.0.iter().zip(1..);
        let problems = numbered.filter_map(|(secret, number)| {
            let secret = secret.expose_secret();
            let which = if self.0.len() == 1 {
                "the secret".to_owned()
            } else {
                format!("secret {number} of {}", self.0.len())
            };
            if secret.trim() != secret {
                Some(format!("{which} begins or ends with a space, which is used as part of it: remove it"))
            } else if secret.starts_with(quotes) || secret.ends_with(quotes) {
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
    fn outer_quotes_and_spaces_are_kept_with_a_warning_that_does_not_show_the_secret() {
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
