//! `API_TOKENS`, `READ_TOKENS`, and `METRICS_TOKENS`.

use std::ffi::OsString;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::errors::ConfigErrors;
use super::secret::{self, SecretSource};
use crate::api::{Access, BearerTokens, Role};

const API_TOKENS: &str = Role::Full.setting();
const READ_TOKENS: &str = Role::Read.setting();
const METRICS_TOKENS: &str = Role::Metrics.setting();

/// The value of `API_TOKENS` that disables authentication.
const NONE: &str = "none";

/// The flags for tokens.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AccessArgs {
    /// Bearer tokens that may read and act, comma-separated; the word none disables authentication (required)
    #[arg(long, env = API_TOKENS, value_name = "TOKENS", hide_env_values = true)]
    api_tokens: Option<SecretString>,
    /// A file with `API_TOKENS`
    #[arg(long, env = "API_TOKENS_FILE", value_name = "PATH")]
    api_tokens_file: Option<OsString>,
    /// Bearer tokens that may only read: every GET but the metrics
    #[arg(long, env = READ_TOKENS, value_name = "TOKENS", hide_env_values = true)]
    read_tokens: Option<SecretString>,
    /// A file with `READ_TOKENS`
    #[arg(long, env = "READ_TOKENS_FILE", value_name = "PATH")]
    read_tokens_file: Option<OsString>,
    /// Bearer tokens that may read the metrics and nothing else
    #[arg(long, env = METRICS_TOKENS, value_name = "TOKENS", hide_env_values = true)]
    metrics_tokens: Option<SecretString>,
    /// A file with `METRICS_TOKENS`
    #[arg(long, env = "METRICS_TOKENS_FILE", value_name = "PATH")]
    metrics_tokens_file: Option<OsString>,
}

impl AccessArgs {
    /// Who may use the API.
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Access {
        let full = self.source(Role::Full).required(errors);
        let limited = [Role::Read, Role::Metrics].map(|role| (role, self.source(role).optional(errors)));
        let limited = limited.into_iter().filter_map(|(role, list)| Some((role, list?)));
        if full.expose_secret().trim() == NONE {
            for (role, _) in limited {
                errors.add(
                    role.setting(),
                    format!("would restrict nothing, because {API_TOKENS} is none: remove one of them"),
                );
            }
            return Access::Anyone;
        }
        let mut tokens = BearerTokens::default();
        for (role, list) in [(Role::Full, full)].into_iter().chain(limited) {
            add(&mut tokens, role, &list, errors);
        }
        Access::Bearer(tokens)
    }

    fn source(&self, role: Role) -> SecretSource<'_> {
        let (value, file) = match role {
            Role::Full => (&self.api_tokens, &self.api_tokens_file),
            Role::Read => (&self.read_tokens, &self.read_tokens_file),
            Role::Metrics => (&self.metrics_tokens, &self.metrics_tokens_file),
        };
        SecretSource::new(role.setting(), value.as_ref(), file.as_deref())
    }
}

/// Adds a list of tokens. An invalid one is reported without its text.
fn add(tokens: &mut BearerTokens, role: Role, list: &SecretString, errors: &mut ConfigErrors) {
    let parts = secret::split(role.setting(), list, errors);
    // Safe to trim, because the value of a header never begins or ends with a space.
    let trimmed = || parts.iter().map(|token| token.expose_secret().trim());
    if trimmed().any(|token| token == NONE) {
        errors.add(role.setting(), format!("has the word none among its tokens; only {API_TOKENS} can be none, alone"));
    }
    let others: Vec<_> = trimmed().filter_map(|token| tokens.add(role, &SecretString::from(token)).err()).collect();
    for other in Role::ALL.into_iter().filter(|role| others.contains(role)) {
        let problem = format!("has a token that {} has, too: a token belongs in one of them", other.setting());
        errors.add(role.setting(), problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(full: &str, read: &str, metrics: &str) -> Result<Access, String> {
        let some = |text: &str| Some(SecretString::from(text));
        let args = AccessArgs {
            api_tokens: some(full),
            read_tokens: some(read),
            metrics_tokens: some(metrics),
            ..AccessArgs::default()
        };
        let mut errors = ConfigErrors::default();
        let access = args.read(&mut errors);
        errors.into_result(access).map_err(|errors| errors.to_string())
    }

    #[test]
    fn none_alone_disables_authentication_and_other_tokens_are_optional() {
        assert!(matches!(read("none", "", ""), Ok(Access::Anyone)));
        for (full, limited, metrics) in [("a", "", ""), ("a, a,b", "c", "d, e"), ("a", "", "b")] {
            assert!(matches!(read(full, limited, metrics), Ok(Access::Bearer(_))), "{full} {limited} {metrics}");
        }
    }

    #[test]
    fn a_token_in_two_settings_and_a_misplaced_none_are_reported_by_name_and_without_the_token() {
        for (full, limited, metrics, names) in [
            ("hush", "hush, other", "", &["READ_TOKENS: has a token that API_TOKENS has, too"][..]),
            ("a", "hush", "b, hush ", &["METRICS_TOKENS: has a token that READ_TOKENS has, too"]),
            ("hush", "x", "hush", &["METRICS_TOKENS: has a token that API_TOKENS has, too"]),
            ("hush,none", "", "", &["API_TOKENS: has the word none"]),
            ("a", "none", "none", &["READ_TOKENS: has the word none", "METRICS_TOKENS: has the word none"]),
            (
                "none",
                "hush",
                "hush",
                &["READ_TOKENS: would restrict nothing", "METRICS_TOKENS: would restrict nothing"],
            ),
            ("", "hush,", "hush", &["API_TOKENS: is required", "READ_TOKENS: has an empty entry"]),
        ] {
            let text = read(full, limited, metrics).unwrap_err();
            assert!(names.iter().all(|name| text.contains(name)) && !text.contains("hush"), "{text}");
        }
    }
}
