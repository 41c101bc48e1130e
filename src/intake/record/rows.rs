//! The rows that a batch writes, as composite types of Postgres: the fields are those of the type, in its order. A table
//! then takes one parameter instead of one per column, which is both quicker and harder to confuse.

use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use uuid::Uuid;

use super::Recorded;
use super::field_versions::FieldVersions;
use super::observation::{Observation, Source};
use super::rule::{CreditChange, Download, PollDue, StoredRender, Transition, Versioned};
use crate::domain::{ArchiveState, EventType, ExternalIdOrigin, Nullable, OutputField, RenderError, Status};
use crate::runtime::composite_type;

/// A row of `renders`.
#[derive(Encode)]
#[expect(clippy::struct_excessive_bools, reason = "the table has these columns")]
pub(super) struct WrittenRender<'a> {
    id: &'a str,
    kind: &'a str,
    status: Option<&'a str>,
    failure_confirmed: bool,
    seen_event_types: &'a [String],
    project_type: Option<&'a str>,
    name: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
    credits_charged: Option<i64>,
    deleted: bool,
    created_at: Option<DateTime<Utc>>,
    field_versions: Vec<i64>,
    archive: &'a str,
    files_total: i32,
    files_stored: i32,
    files_failed: i32,
    poll_requested: bool,
    poll_due_at: Option<PollDueColumn>,
    poll_attempts: i32,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    not_found_at: Option<DateTime<Utc>>,
    stalled_at: Option<DateTime<Utc>>,
    width: Option<i32>,
    height: Option<i32>,
    fps: Option<f64>,
    start_seconds: Option<f64>,
    end_seconds: Option<f64>,
    image_count: Option<i32>,
    shortage_confirmed: bool,
    external_id: Option<&'a str>,
    external_id_origin: Option<&'a str>,
}

/// A row of `downloads`.
#[derive(Encode)]
pub(super) struct WrittenDownload<'a> {
    render_id: &'a str,
    index: i32,
    state: &'a str,
    url: Option<&'a str>,
    host: &'a str,
    expires_at: Option<DateTime<Utc>>,
    url_observed_at: DateTime<Utc>,
    key: &'a str,
    attempts: i32,
    first_attempt_at: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    lease: Option<Uuid>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
    updated_at: DateTime<Utc>,
}

/// A row of `transitions`.
#[derive(Encode)]
pub(super) struct WrittenTransition<'a> {
    render_id: &'a str,
    from_status: Option<&'a str>,
    to_status: &'a str,
    source: &'a str,
    event_type: Option<&'a str>,
    lag_ms: Option<i64>,
}

/// A row of `credits`.
#[derive(Encode)]
pub(super) struct WrittenCredits<'a> {
    render_id: &'a str,
    value: i64,
    status: Option<&'a str>,
    source: &'a str,
}

/// A row of `deliveries`.
#[derive(Encode)]
pub(super) struct WrittenDelivery<'a> {
    sent_at: DateTime<Utc>,
    lag_ms: Option<i64>,
    body: Option<&'a [u8]>,
    event_type: Option<&'a str>,
    render_id: &'a str,
    outcome: &'a str,
}

composite_type!(WrittenRender<'_>, "written_render");
composite_type!(WrittenDownload<'_>, "written_download");
composite_type!(WrittenTransition<'_>, "written_transition");
composite_type!(WrittenCredits<'_>, "written_credits");
composite_type!(WrittenDelivery<'_>, "written_delivery");

impl<'a> WrittenRender<'a> {
    pub(super) fn of(render: &'a StoredRender) -> Self {
        let (fields, files, polling) = (&render.fields, render.files, &render.polling);
        let error = known(fields.error.as_ref());
        Self {
            id: render.id.as_str(),
            kind: render.kind.as_str(),
            status: render.status.map(Status::as_str),
            failure_confirmed: render.failure_confirmed,
            seen_event_types: &render.seen_event_types,
            project_type: fields.project_type.as_ref().map(|it| it.value.as_str()),
            name: known(fields.name.as_ref()).map(String::as_str),
            error_code: error.and_then(|error: &RenderError| error.code.as_deref()),
            error_message: error.and_then(|error| error.message.as_deref()),
            credits_charged: fields.credits_charged.as_ref().map(|it| it.value),
            deleted: fields.deleted.as_ref().is_some_and(|it| it.value),
            created_at: fields.created_at.as_ref().map(|it| it.value),
            field_versions: FieldVersions::of(fields).into_column(),
            archive: ArchiveState::of(render.status, files).as_str(),
            files_total: files.total,
            files_stored: files.stored,
            files_failed: files.failed,
            poll_requested: polling.requested,
            poll_due_at: PollDueColumn::of(polling.due),
            poll_attempts: polling.attempts,
            first_seen_at: render.first_seen_at,
            last_seen_at: polling.last_seen_at,
            updated_at: render.updated_at,
            not_found_at: render.not_found_at,
            stalled_at: render.stalled_at,
            width: fields.integer(OutputField::Width),
            height: fields.integer(OutputField::Height),
            fps: fields.measure(OutputField::Fps),
            start_seconds: fields.measure(OutputField::StartSeconds),
            end_seconds: fields.measure(OutputField::EndSeconds),
            image_count: fields.integer(OutputField::ImageCount),
            shortage_confirmed: render.shortage_confirmed,
            external_id: render.external_id.as_deref(),
            external_id_origin: render.external_id_origin.map(ExternalIdOrigin::as_str),
        }
    }
}

/// The value of a field that is neither unknown nor null.
fn known<T>(field: Option<&Versioned<Nullable<T>>>) -> Option<&T> {
    match &field?.value {
        Nullable::Value(value) => Some(value),
        Nullable::Null => None,
    }
}

impl<'a> WrittenDownload<'a> {
    pub(super) fn of(render_id: &'a str, index: i32, download: &'a Download) -> Self {
        let error = download.error.as_ref();
        Self {
            render_id,
            index,
            state: download.state.as_str(),
            url: download.source.url.as_deref(),
            host: &download.source.host,
            expires_at: download.source.expires_at,
            url_observed_at: download.source.observed_at,
            key: &download.key,
            attempts: download.attempts,
            first_attempt_at: download.first_attempt_at,
            due_at: download.due_at,
            lease: download.lease,
            error_code: error.map(|(code, _)| code.as_str()),
            error_message: error.map(|(_, message)| message.as_str()),
            updated_at: download.updated_at,
        }
    }
}

impl<'a> WrittenTransition<'a> {
    pub(super) fn of(render_id: &'a str, transition: &'a Transition) -> Self {
        Self {
            render_id,
            from_status: transition.change.from.map(Status::as_str),
            to_status: transition.change.to.as_str(),
            source: transition.source.as_str(),
            event_type: transition.event_type.as_deref(),
            lag_ms: transition.lag_ms,
        }
    }
}

impl<'a> WrittenCredits<'a> {
    pub(super) fn of(render_id: &'a str, change: &CreditChange) -> Self {
        let status = change.status.map(Status::as_str);
        Self { render_id, value: change.value, status, source: change.source.as_str() }
    }
}

impl<'a> WrittenDelivery<'a> {
    /// The row of a delivery that is stored with its event; `None` for a poll, a replay, and what is not to be stored.
    pub(super) fn of(observation: &'a Observation, recorded: &Recorded) -> Option<Self> {
        let is_new = observation.source == Source::Webhook && observation.replayed_delivery.is_none();
        (is_new && recorded.store_delivery).then(|| Self {
            sent_at: observation.observed_at,
            lag_ms: observation.lag_ms,
            body: observation.body.as_deref(),
            event_type: observation.event_type.as_ref().map(EventType::as_str),
            render_id: observation.render_id.as_str(),
            outcome: recorded.outcome.as_str(),
        })
    }
}

/// The column `poll_due_at`, unless it is NULL.
enum PollDueColumn {
    At(DateTime<Utc>),
    /// `infinity`.
    Never,
}

impl PollDueColumn {
    const fn of(due: PollDue) -> Option<Self> {
        match due {
            PollDue::AfterSilence => None,
            PollDue::At(at) => Some(Self::At(at)),
            PollDue::Never => Some(Self::Never),
        }
    }
}

impl Type<Postgres> for PollDueColumn {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for PollDueColumn {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::At(at) => at.encode_by_ref(buffer),
            Self::Never => i64::MAX.encode_by_ref(buffer),
        }
    }
}
