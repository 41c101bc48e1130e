//! Face detection: a task that finds one face, after a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::standin::files::{FileServer, media};
use crate::standin::renders::{Lifecycle, Stage};

/// The tasks. Cheap to clone: clones share their state.
#[derive(Debug, Clone)]
pub(in crate::standin) struct FaceDetections {
    duration: TimeDelta,
    started_at: Arc<Mutex<HashMap<String, DateTime<Utc>>>>,
}

impl FaceDetections {
    /// Tasks that take `duration`.
    pub(in crate::standin) fn new(duration: TimeDelta) -> Self {
        Self { duration, started_at: Arc::default() }
    }

    /// Starts a task, and returns the answer of the call that does it.
    pub(in crate::standin) fn start(&self, now: DateTime<Utc>) -> Value {
        let id = Uuid::new_v4().to_string();
        self.started_at().insert(id.clone(), now);
        json!({"id": id, "credits_charged": 0})
    }

    /// The answer of the details call at `at`; `None` for an unknown task.
    pub(in crate::standin) fn details(&self, id: &str, at: DateTime<Utc>, files: &FileServer) -> Option<Value> {
        let started_at = *self.started_at().get(id)?;
        let lifecycle = Lifecycle::lasting(self.duration, Stage::Complete);
        let stage = lifecycle.at(at - started_at)?;
        let mut faces = Vec::new();
        if *stage == Stage::Complete {
            let path = format!("api-assets/{id}/0-0.png");
            let url = files.put(&path, media::image(0), "image/png").ok()?;
            faces.push(json!({"path": path, "url": url}));
        }
        Some(json!({"id": id, "credits_charged": 0, "status": stage.status(), "faces": faces}))
    }

    fn started_at(&self) -> MutexGuard<'_, HashMap<String, DateTime<Utc>>> {
        self.started_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
