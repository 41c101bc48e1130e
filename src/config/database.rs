//! `DATABASE_URL` and `DATABASE_DIRECT_URL`.

use std::ffi::OsString;
use std::str::FromStr;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::errors::ConfigErrors;
use super::secret::SecretSource;
use crate::runtime::{DatabaseUrls, DirectUrl};

const NAME: &str = "DATABASE_URL";
const DIRECT_NAME: &str = "DATABASE_DIRECT_URL";

/// The flags for the database.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseArgs {
    /// Postgres, or a pooler in front of it, as `postgres://user:password@host/database` (required)
    #[arg(id = "database_url", long = "database-url", env = NAME, value_name = "URL", hide_env_values = true)]
    url: Option<SecretString>,
    /// A file with `DATABASE_URL`
    #[arg(id = "database_url_file", long = "database-url-file", env = "DATABASE_URL_FILE", value_name = "PATH")]
    url_file: Option<OsString>,
    /// Postgres itself, for migrations and LISTEN, if `DATABASE_URL` is a pooler in transaction mode; none: no LISTEN (default: `DATABASE_URL`)
    #[arg(id = "database_direct_url", long = "database-direct-url", env = DIRECT_NAME, value_name = "URL", hide_env_values = true)]
    direct_url: Option<SecretString>,
    /// A file with `DATABASE_DIRECT_URL`
    #[arg(
        id = "database_direct_url_file",
        long = "database-direct-url-file",
        env = "DATABASE_DIRECT_URL_FILE",
        value_name = "PATH"
    )]
    direct_url_file: Option<OsString>,
}

impl DatabaseArgs {
    /// The connection URLs. It is an error if `DATABASE_URL` is missing or a URL is invalid.
    pub fn read(&self, errors: &mut ConfigErrors) -> DatabaseUrls {
        let source = SecretSource::new(NAME, self.url.as_ref(), self.url_file.as_deref());
        let url = source.required(errors);
        check(NAME, &url, errors);
        DatabaseUrls { url, direct: self.direct(errors) }
    }

    fn direct(&self, errors: &mut ConfigErrors) -> DirectUrl {
        let (value, file) = (self.direct_url.as_ref(), self.direct_url_file.as_deref());
        match SecretSource::new(DIRECT_NAME, value, file).optional(errors) {
            None => DirectUrl::Unset,
            Some(url) if url.expose_secret().trim() == "none" => DirectUrl::Disabled,
            Some(url) => {
                check(DIRECT_NAME, &url, errors);
                DirectUrl::Url(url)
            }
        }
    }
}

fn check(name: &'static str, url: &SecretString, errors: &mut ConfigErrors) {
    let text = url.expose_secret();
    if let Some(problem) = Some(text).filter(|text| !text.is_empty()).and_then(problem) {
        errors.add(name, problem);
    }
}

/// What is wrong with the URL, if anything. The parser's own message is not used, because it may quote the password.
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
    fn a_problem_names_the_invalid_part_and_never_shows_the_url() {
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
