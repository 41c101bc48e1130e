//! `DATABASE_URL`.

use std::ffi::OsString;
use std::str::FromStr;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::errors::ConfigErrors;
use super::secret::SecretSource;

const NAME: &str = "DATABASE_URL";

/// The flags for Postgres.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseArgs {
    /// Postgres, as `postgres://user:password@host/database` (required)
    #[arg(long, env = NAME, value_name = "URL", hide_env_values = true)]
    database_url: Option<SecretString>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    database_url_file: Option<OsString>,
}

impl DatabaseArgs {
    /// The connection URL. It is an error if there is none, or it is not a Postgres URL.
    pub fn read(&self, errors: &mut ConfigErrors) -> SecretString {
        let source = SecretSource::new(NAME, self.database_url.as_ref(), self.database_url_file.as_deref());
        let url = source.required(errors);
        let text = url.expose_secret();
        if let Some(problem) = Some(text).filter(|text| !text.is_empty()).and_then(problem) {
            errors.add(NAME, problem);
        }
        url
    }
}

/// What is wrong with the URL. The parser's own message may quote the URL, which holds a password: it is not used.
fn problem(text: &str) -> Option<String> {
    const EXPECTED: &str = "must be a URL such as postgres://user:password@host/database";
    let Ok(url) = Url::parse(text) else { return Some(EXPECTED.to_owned()) };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Some(EXPECTED.to_owned());
    }
    let mut modes = url.query_pairs().filter(|(name, _)| matches!(&**name, "sslmode" | "ssl-mode"));
    if modes.any(|(_, mode)| PgSslMode::from_str(&mode).is_err()) {
        let modes = "disable, allow, prefer, require, verify-ca or verify-full";
        return Some(format!("has an unknown sslmode: it must be {modes}"));
    }
    PgConnectOptions::from_str(text).is_err().then(|| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_wrong_part_and_never_shows_the_url() {
        for (url, expected) in [
            ("postgres://u:hush@h/d", None),
            ("postgresql://u:hush@h/d?sslmode=verify-full", None),
            ("postgres:///d?host=/run/postgresql", None),
            ("postgres://u:hush@h/d?sslmode=requir", Some("unknown sslmode")),
            ("mysql://u:hush@h/d", Some("postgres://")),
            ("hush", Some("postgres://")),
            ("postgres://u:hush@h:port/d", Some("postgres://")),
        ] {
            let problem = problem(url);
            assert_eq!(problem.is_some(), expected.is_some(), "{url}: {problem:?}");
            let problem = problem.unwrap_or_default();
            assert!(problem.contains(expected.unwrap_or_default()) && !problem.contains("hush"), "{url}: {problem}");
        }
    }
}
