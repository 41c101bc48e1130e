//! Locks and reads renders and downloads. Decides nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::field_versions::{FieldVersions, VersionedField};
use super::observation::Observation;
use super::rule::{
    Download, Field, Fields, FileSource, MAX_STORED_REPETITIONS, PollDue, Polling, StoredRender, Version, Versioned,
};
use crate::domain::{FileCounts, Measure, Nullable, OutputField, OutputFields, RenderError};

/// A field that may be null. Without a version, it was never observed.
fn nullable<T>(version: Option<Version>, value: Option<T>) -> Field<Nullable<T>> {
    version.map(|version| Versioned { version, value: value.map_or(Nullable::Null, Nullable::Value) })
}

fn field<T>(version: Option<Version>, value: Option<T>) -> Field<T> {
    version.zip(value).map(|(version, value)| Versioned { version, value })
}

fn error(code: Option<String>, message: Option<String>) -> Option<RenderError> {
    (code.is_some() || message.is_some()).then_some(RenderError { code, message })
}

/// The columns about the output, in the order of [`OutputField::ALL`].
type OutputColumns = (Option<i32>, Option<i32>, Option<f64>, Option<f64>, Option<f64>, Option<i32>);

fn output(versions: &FieldVersions, columns: OutputColumns) -> OutputFields<Field<Nullable<Measure>>> {
    let (width, height, fps, start_seconds, end_seconds, image_count) = columns;
    OutputFields::from_fn(|field| {
        let value = match field {
            OutputField::Width => width.map(f64::from),
            OutputField::Height => height.map(f64::from),
            OutputField::Fps => fps,
            OutputField::StartSeconds => start_seconds,
            OutputField::EndSeconds => end_seconds,
            OutputField::ImageCount => image_count.map(f64::from),
        };
        nullable(versions.get(VersionedField::Output(field)), value.and_then(Measure::new))
    })
}

fn poll_due(never: Option<bool>, at: Option<DateTime<Utc>>) -> PollDue {
    match (never, at) {
        (Some(true), _) => PollDue::Never,
        (_, Some(at)) => PollDue::At(at),
        (_, None) => PollDue::AfterSilence,
    }
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// Locks and reads those of these renders that exist.
pub(super) async fn lock(transaction: &mut PgConnection, ids: &[&str]) -> sqlx::Result<HashMap<String, StoredRender>> {
    let rows = sqlx::query_file!("src/intake/record/statements/lock_renders.sql", ids as _);
    let mut renders = HashMap::new();
    for row in rows.fetch_all(transaction).await? {
        let versions = FieldVersions::from_column(&row.field_versions).map_err(decode)?;
        let columns = (row.width, row.height, row.fps, row.start_seconds, row.end_seconds, row.image_count);
        let fields = Fields {
            name: nullable(versions.get(VersionedField::Name), row.name),
            project_type: field(versions.get(VersionedField::ProjectType), row.project_type),
            error: nullable(versions.get(VersionedField::Error), error(row.error_code, row.error_message)),
            credits_charged: field(versions.get(VersionedField::CreditsCharged), row.credits_charged),
            deleted: field(versions.get(VersionedField::Deleted), Some(row.deleted)),
            created_at: field(versions.get(VersionedField::CreatedAt), row.created_at),
            output: output(&versions, columns),
            unknown: versions.unknown,
        };
        let kind = row.kind.parse().map_err(decode)?;
        let (total, stored, failed) = (row.files_total, row.files_stored, row.files_failed);
        let files = FileCounts { total, stored, failed, missing: 0 }.with_announced(kind, row.image_count);
        let due = poll_due(row.never_poll, row.poll_due_at);
        let (requested, attempts, last_seen_at) = (row.poll_requested, row.poll_attempts, row.last_seen_at);
        let render = StoredRender {
            id: row.id.parse().map_err(decode)?,
            kind,
            status: row.status.map(|status| status.parse()).transpose().map_err(decode)?,
            failure_confirmed: row.failure_confirmed,
            seen_event_types: row.seen_event_types,
            fields,
            files,
            shortage_confirmed: row.shortage_confirmed,
            erased: row.erased,
            external_id: row.external_id,
            external_id_origin: row.external_id_origin.map(|origin| origin.parse()).transpose().map_err(decode)?,
            polling: Polling { requested, due, attempts, last_seen_at },
            first_seen_at: row.first_seen_at,
            updated_at: row.updated_at,
            not_found_at: row.not_found_at,
            stalled_at: row.stalled_at,
        };
        renders.insert(row.id, render);
    }
    Ok(renders)
}

/// Locks and reads those of these downloads that exist, by render and index.
pub(super) async fn lock_downloads(
    transaction: &mut PgConnection,
    named: HashSet<(&str, i32)>,
) -> sqlx::Result<HashMap<String, BTreeMap<i32, Download>>> {
    let (ids, indexes): (Vec<_>, Vec<_>) = named.into_iter().unzip();
    let rows = sqlx::query_file!("src/intake/record/statements/lock_downloads.sql", ids as _, &indexes);
    let mut downloads: HashMap<String, BTreeMap<i32, Download>> = HashMap::new();
    for row in rows.fetch_all(transaction).await? {
        let source =
            FileSource { url: row.url, host: row.host, expires_at: row.expires_at, observed_at: row.url_observed_at };
        let download = Download {
            state: row.state.parse().map_err(decode)?,
            source,
            key: row.key,
            attempts: row.attempts,
            first_attempt_at: row.first_attempt_at,
            due_at: row.due_at,
            lease: row.lease,
            error: row.error_code.zip(row.error_message),
            updated_at: row.updated_at,
        };
        downloads.entry(row.render_id).or_default().insert(row.index, download);
    }
    Ok(downloads)
}

/// How many times each of these requests was stored since `since`, up to [`MAX_STORED_REPETITIONS`].
pub(super) async fn stored_repetitions(
    transaction: &mut PgConnection,
    requests: &[&Observation],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<i32>> {
    let counts = sqlx::query_scalar!(
        r#"SELECT stored.count::int AS "count!"
           FROM unnest($1::text[], $2::timestamptz[], $3::bytea[]) WITH ORDINALITY AS request (render_id, sent_at, body, ord)
           CROSS JOIN LATERAL (
               SELECT count(*) FROM (
                   SELECT FROM deliveries AS d
                   WHERE d.render_id = request.render_id AND d.received_at >= $4
                       AND d.sent_at = request.sent_at AND d.body = request.body
                   LIMIT $5
               ) AS same
           ) AS stored
           ORDER BY request.ord"#,
        &requests.iter().map(|it| it.render_id.as_str()).collect::<Vec<_>>() as _,
        &requests.iter().map(|it| it.observed_at).collect::<Vec<_>>(),
        &requests.iter().map(|it| it.body.as_deref().unwrap_or_default()).collect::<Vec<_>>() as _,
        since,
        i64::from(MAX_STORED_REPETITIONS),
    );
    counts.fetch_all(transaction).await
}
