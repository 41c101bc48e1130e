//! The rows of sessions.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::api::{Role, TokenFingerprint};

/// A session that has not expired.
pub(in crate::ui) struct SessionRow {
    pub(in crate::ui) token_fingerprint: Vec<u8>,
    pub(in crate::ui) role: String,
}

/// The name of a role in the database; `None` for one that cannot log in.
pub(in crate::ui) const fn role_name(role: Role) -> Option<&'static str> {
    match role {
        Role::Full => Some("full"),
        Role::Read => Some("read"),
        Role::Metrics => None,
    }
}

/// A session to begin.
pub(in crate::ui) struct NewSession {
    pub(in crate::ui) secret_hash: [u8; 32],
    pub(in crate::ui) token: TokenFingerprint,
    pub(in crate::ui) role: &'static str,
    pub(in crate::ui) expires_at: DateTime<Utc>,
}

pub(in crate::ui) async fn begin_session(pool: &PgPool, new: &NewSession, now: DateTime<Utc>) -> sqlx::Result<()> {
    let inserted = sqlx::query!(
        "INSERT INTO sessions (secret_hash, token_fingerprint, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &new.secret_hash[..],
        &new.token.as_bytes()[..],
        new.role,
        now,
        new.expires_at,
    );
    inserted.execute(pool).await.map(drop)
}

pub(in crate::ui) async fn session(
    pool: &PgPool,
    secret_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<SessionRow>> {
    let found = sqlx::query_as!(
        SessionRow,
        "SELECT token_fingerprint, role FROM sessions WHERE secret_hash = $1 AND expires_at > $2",
        &secret_hash[..],
        now,
    );
    found.fetch_optional(pool).await
}

/// Ends a session. One that has ended already is no error.
pub(in crate::ui) async fn end_session(pool: &PgPool, secret_hash: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE secret_hash = $1", &secret_hash[..]).execute(pool).await.map(drop)
}

pub(in crate::ui) async fn remove_expired(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", now).execute(pool).await.map(drop)
}
