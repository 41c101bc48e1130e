//! Words as the statement takes them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;

use super::observation::Observation;
use crate::domain::ObjectKey;
use crate::domain::{EventType, SignedUrl};
use crate::domain::{Kind, Status};

/// The words as the statement takes them: a list a column.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) source: Vec<&'static str>,
    pub(super) event_type: Vec<Option<&'a str>>,
    pub(super) render_id: Vec<&'a str>,
    pub(super) kind: Vec<Option<&'static str>>,
    pub(super) status: Vec<Option<&'static str>>,
    pub(super) rank: Vec<i16>,
    pub(super) known: Vec<bool>,
    pub(super) told: Vec<Value>,
    pub(super) said_at: Vec<DateTime<Utc>>,
    pub(super) lag_ms: Vec<Option<i64>>,
    pub(super) body: Vec<Option<&'a [u8]>>,
    pub(super) kept: Vec<Option<i64>>,
    pub(super) files: Files<'a>,
}

#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) ord: Vec<i64>,
    pub(super) index: Vec<i32>,
    pub(super) url: Vec<Option<&'a str>>,
    pub(super) expires_at: Vec<Option<DateTime<Utc>>>,
    pub(super) key: Vec<String>,
    pub(super) host: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(words: &'a [Observation]) -> Self {
        let mut column = Self::default();
        for (word, ord) in words.iter().zip(1..) {
            column.source.push(word.source.as_str());
            column.event_type.push(word.event_type.as_ref().map(EventType::as_str));
            column.render_id.push(word.render_id.as_str());
            column.kind.push(word.kind.map(Kind::as_str));
            column.status.push(word.status.map(Status::as_str));
            column.rank.push(word.rank());
            column.known.push(word.known);
            column.told.push(word.told());
            column.said_at.push(word.said_at);
            column.lag_ms.push(word.lag_ms);
            column.body.push(word.body.as_deref());
            column.kept.push(word.kept);
            column.files.add(ord, word);
        }
        column
    }
}

impl<'a> Files<'a> {
    fn add(&mut self, ord: i64, word: &'a Observation) {
        let Some(kind) = word.kind else { return };
        for (entry, index) in word.files().iter().zip(0..) {
            let url = entry.url.as_ref().map(SignedUrl::expose);
            self.ord.push(ord);
            self.index.push(index);
            self.url.push(url.map(Url::as_str));
            self.expires_at.push(entry.expires_at);
            self.host.push(entry.url.as_ref().map(SignedUrl::host).unwrap_or_default());
            self.key.push(ObjectKey::new(kind, &word.render_id, index, url).to_string());
        }
    }
}
