//! Why a connection to Postgres failed, and what to do about it.

use std::fmt;
use std::io;

use sqlx::postgres::PgConnectOptions;

use super::CONNECT_TIMEOUT;

/// The address that a connection uses: host and port, or a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address(String);

impl Address {
    fn new(options: &PgConnectOptions) -> Self {
        let port = options.get_port();
        match options.get_socket() {
            Some(folder) => Self(format!("{}/.s.PGSQL.{port}", folder.display())),
            None if options.get_host().starts_with('/') => Self(format!("{}/.s.PGSQL.{port}", options.get_host())),
            None => Self(format!("{}:{port}", options.get_host())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the database cannot be used: the address, the cause, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the database at {address}: {cause}")]
pub struct ConnectError {
    address: Address,
    cause: ConnectFailure,
}

impl ConnectError {
    pub(super) fn new(options: &PgConnectOptions, cause: ConnectFailure) -> Self {
        Self { address: Address::new(options), cause }
    }

    /// Whether it may go away without intervention, for example while the database is still starting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.cause.is_transient()
    }

    /// The cause.
    #[must_use]
    pub fn cause(&self) -> &ConnectFailure {
        &self.cause
    }
}

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// Nothing listens at the address.
    #[error("nothing listens there: start Postgres, or correct the URL")]
    Refused,
    /// The host name does not resolve, or the host is unreachable.
    #[error("the host cannot be reached ({0}): check its name in the URL, and the network")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s: is a firewall in between, or is it overloaded?", CONNECT_TIMEOUT.as_secs())]
    NoAnswer,
    /// The connection broke.
    #[error("the connection broke ({0})")]
    Broken(String),
    /// No TLS connection can be made.
    #[error("cannot connect with TLS ({0}): check sslmode in the URL, and the server's certificate")]
    Tls(String),
    /// The server is starting, stopping, or out of connections.
    #[error("it accepts no connections now ({0})")]
    Busy(String),
    /// The password is wrong, or the role does not exist.
    #[error("{0}: correct the role and password in the URL")]
    Credentials(String),
    /// The database does not exist.
    #[error("{0}: create it, or correct its name in the URL")]
    NoDatabase(String),
    /// The role lacks the privilege to connect.
    #[error("{0}: grant role {1} the CONNECT privilege")]
    Forbidden(String, String),
    /// The server or pooler rejects the connection's startup options.
    #[error("{0}")]
    Protocol(String),
    /// A pooler confuses the prepared statements of different clients.
    #[error(
        "this is a pooler in transaction mode without support for prepared statements: use its session mode, PgBouncer \
         1.21 or newer with max_prepared_statements above 0, or a direct connection"
    )]
    Pooler,
    /// The database's encoding is not UTF-8.
    #[error(
        "its encoding is {0}, which cannot represent all text: create one with ENCODING 'UTF8' (and TEMPLATE template0)"
    )]
    Encoding(String),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl ConnectFailure {
    pub(super) fn new(error: &sqlx::Error, options: &PgConnectOptions) -> Self {
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
                    Self::Broken(error.to_string())
                }
                _ => Self::Unreachable(error.to_string()),
            },
            sqlx::Error::Tls(error) => Self::Tls(error.to_string()),
            sqlx::Error::Database(refusal) => {
                let message = refusal.message().to_owned();
                match refusal.code().as_deref().unwrap_or_default() {
                    "28P01" | "28000" => Self::Credentials(message),
                    "3D000" => Self::NoDatabase(message),
                    "42501" => Self::Forbidden(message, options.get_username().to_owned()),
                    "08P01" => Self::Protocol(message),
                    code if is_unavailable(code) => Self::Busy(message),
                    _ => Self::Other(message),
                }
            }
            sqlx::Error::Protocol(message) => Self::Broken(message.clone()),
            error => Self::Other(error.to_string()),
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            // Poolers report temporary and permanent problems with the same code.
            Self::Refused
            | Self::Unreachable(_)
            | Self::NoAnswer
            | Self::Broken(_)
            | Self::Busy(_)
            | Self::Protocol(_) => true,
            Self::Tls(_)
            | Self::Credentials(_)
            | Self::NoDatabase(_)
            | Self::Forbidden(..)
            | Self::Pooler
            | Self::Encoding(_)
            | Self::Other(_) => false,
        }
    }
}

/// Whether an SQLSTATE means that Postgres cannot run statements now: connection exception, insufficient resources,
/// shutting down or starting up, or read-only after a failover.
pub(super) fn is_unavailable(code: &str) -> bool {
    ["08", "53", "57P", "25006"].iter().any(|class| code.starts_with(class))
}
