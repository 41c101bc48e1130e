//! `DELETE_AFTER_STORE`: a project is deleted at Magic Hour once every one of its files is stored and proven.
//!
//! It cannot be undone, so it is done last and carefully: every object is read back from the store and hashed, and only
//! if all of them are what was stored is the project deleted, once. Guaranteed: a project whose files are not all
//! proven is never deleted; one that Magic Hour does not know any more counts as deleted; a template's is left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tracing::{error, info, warn};

use crate::archive::{Store, StoreError};
use crate::domain::ObjectKey;
use crate::domain::{Kind, RenderId};
use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND, Database};
use crate::upstream::client::MagicHour;
use crate::upstream::error::{Scope, UpstreamError};
use crate::upstream::throttle;

/// How often renders to delete are looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How long reading back and deleting may take before another process takes it over, and how long to wait after trouble.
const CLAIM: Duration = Duration::from_mins(30);

/// Deletes projects.
#[derive(Debug)]
pub struct Deleter {
    /// Where it stands which are to be deleted.
    pub database: Database,
    /// Who deletes them.
    pub magic_hour: MagicHour,
    /// Where their files have to be.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
}

struct Taken {
    id: RenderId,
    kind: Kind,
    files: Vec<(ObjectKey, String)>,
}

/// Takes a render that is complete, all of whose files were stored while the setting was on.
async fn take(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Option<Taken>> {
    let row = sqlx::query!(
        r#"UPDATE renders AS r
           SET deletion_due_at = $2
           WHERE id = (
               SELECT id FROM renders
               WHERE status = 'complete' AND deletion IS NULL AND coalesce(deletion_due_at <= $1, true)
                   AND NOT EXISTS (SELECT FROM upstream_throttle WHERE paused_until > $1 AND paused_until <= $3)
                   AND id IN (SELECT render_id FROM downloads WHERE delete_wanted)
                   AND NOT EXISTS (SELECT FROM downloads WHERE render_id = id AND NOT delete_wanted)
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id, kind,
               (SELECT array_agg(key ORDER BY index) FROM downloads WHERE render_id = r.id) AS "keys!",
               (SELECT array_agg(sha256 ORDER BY index) FROM downloads WHERE render_id = r.id) AS "hashes!""#,
        now,
        now + CLAIM,
        now + throttle::LONGEST + throttle::CLOCKS,
    );
    let Some(row) = row.fetch_optional(pool).await? else { return Ok(None) };
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
    Ok(Some(Taken {
        id: row.id.parse().map_err(|error| decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| decode(Box::new(error)))?,
        files: row.keys.into_iter().map(ObjectKey::from_row).zip(row.hashes).collect(),
    }))
}

/// Puts a render back that the API's trouble kept from being deleted: it is up again when the pause is over.
async fn put_back(pool: &PgPool, id: &RenderId, now: DateTime<Utc>) -> sqlx::Result<()> {
    let put_back = sqlx::query!("UPDATE renders SET deletion_due_at = $2 WHERE id = $1", id.as_str(), now);
    // OK that the row may be gone: then there is nothing to delete.
    put_back.execute(pool).await.map(drop)
}

async fn settle(pool: &PgPool, id: &RenderId, deletion: &str) -> sqlx::Result<()> {
    // Settled, nobody looks at it again: it leaves the index of those that wait as well.
    let settled = sqlx::query!(
        "WITH settled AS (UPDATE renders SET deletion = $2, deletion_due_at = NULL WHERE id = $1 RETURNING id)
         UPDATE downloads SET delete_wanted = false FROM settled WHERE render_id = settled.id",
        id.as_str(),
        deletion,
    );
    settled.execute(pool).await.map(drop)
}

impl Deleter {
    /// Works until it is time to stop.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            let pause = match shutdown.deadline().run_until_cancelled(self.step()).await {
                Some(true) => continue,
                Some(false) => LOOK,
                None => return,
            };
            tokio::select! {
                () = shutdown.stopping() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether there was something to do, and it could be done.
    async fn step(&self) -> bool {
        let pool = self.database.pool();
        let Ok(Some(taken)) = self.database.within(BACKGROUND, take(pool, self.clock.now())).await else {
            return false;
        };
        let id = &taken.id;
        match self.is_proven(&taken).await {
            Ok(true) => {}
            Ok(false) => {
                error!(event = %LogEvent::StoreFailed, render.id = %id, "a stored file is not what was stored: its project is not deleted");
                return self.database.within(BACKGROUND, settle(pool, id, "unproven")).await.is_ok();
            }
            Err(error) => {
                warn!(event = %LogEvent::StoreFailed, render.id = %id, error = %error, "a stored file cannot be read back: its project is not deleted yet");
                return false;
            }
        }
        let asked_at = self.clock.now();
        let deletion = match self.magic_hour.delete(taken.kind, id).await {
            Ok(()) | Err(UpstreamError::NotFound) => "deleted",
            Err(UpstreamError::Template) => "refused",
            Err(error) if error.scope() != Scope::Render => {
                let now = self.clock.now();
                // What is not put back is tried again when the claim runs out.
                let _ = self.database.within(BACKGROUND, put_back(pool, id, now)).await;
                throttle::pause(&self.database, asked_at, now, &error).await;
                return false;
            }
            Err(error) => {
                warn!(event = %LogEvent::PollRefused, render.id = %id, error = %error, "the project is not deleted yet");
                return false;
            }
        };
        throttle::well(&self.database).await;
        info!(event = %LogEvent::PollAnswered, render.id = %id, render.kind = %taken.kind, deletion, "asked to delete the project, all of whose files are stored and proven");
        self.database.within(BACKGROUND, settle(pool, id, deletion)).await.is_ok()
    }

    async fn is_proven(&self, taken: &Taken) -> Result<bool, StoreError> {
        for (key, sha256) in &taken.files {
            let mut bytes = self.store.read(key, None).await?;
            let mut hash = Sha256::new();
            while let Some(chunk) = bytes.try_next().await? {
                hash.update(&chunk);
            }
            if hex::encode(hash.finalize()) != *sha256 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
