//! Writes the rows of renders. Decides nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::field_versions::FieldVersions;
use super::rule::{PollDue, StoredRender, Versioned};
use super::write::Decided;
use crate::domain::{ArchiveState, ExternalIdOrigin, Nullable, OutputField, OutputFields, RenderError, Status};

/// Writes new and changed renders. Returns `false` if another transaction has created one of the new ones.
pub(super) async fn renders(transaction: &mut PgConnection, decided: &[Decided<'_>]) -> sqlx::Result<bool> {
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (before, decision) in decided {
        match before {
            None => new.push(&decision.render),
            Some(before) if **before != decision.render => changed.push(&decision.render),
            Some(_) => {}
        }
    }
    Ok(insert(transaction, &new).await? && update(transaction, &changed).await?)
}

/// The columns of renders, as arrays.
struct Columns<'a> {
    ids: Vec<&'a str>,
    kinds: Vec<&'a str>,
    statuses: Vec<Option<&'a str>>,
    failures_confirmed: Vec<bool>,
    seen_event_types: Vec<String>,
    project_types: Vec<Option<&'a str>>,
    names: Vec<Option<&'a str>>,
    error_codes: Vec<Option<&'a str>>,
    error_messages: Vec<Option<&'a str>>,
    credits_charged: Vec<Option<i64>>,
    deleted: Vec<bool>,
    created_at: Vec<Option<DateTime<Utc>>>,
    field_versions: Vec<Json<FieldVersions>>,
    archives: Vec<&'a str>,
    files_total: Vec<i32>,
    files_stored: Vec<i32>,
    files_failed: Vec<i32>,
    outputs: OutputFields<Vec<Option<f64>>>,
    shortages_confirmed: Vec<bool>,
    external_ids: Vec<Option<&'a str>>,
    external_id_origins: Vec<Option<&'a str>>,
    polls_requested: Vec<bool>,
    polls_due_at: Vec<Option<DateTime<Utc>>>,
    poll_attempts: Vec<i32>,
    last_seen_at: Vec<DateTime<Utc>>,
    updated_at: Vec<DateTime<Utc>>,
}

impl<'a> Columns<'a> {
    fn of(renders: &[&'a StoredRender]) -> Self {
        /// One column.
        fn column<'a, T>(renders: &[&'a StoredRender], value: impl Fn(&'a StoredRender) -> T) -> Vec<T> {
            renders.iter().map(|render| value(render)).collect()
        }
        Self {
            ids: column(renders, |it| it.id.as_str()),
            kinds: column(renders, |it| it.kind.as_str()),
            statuses: column(renders, |it| it.status.map(Status::as_str)),
            failures_confirmed: column(renders, |it| it.failure_confirmed),
            seen_event_types: column(renders, |it| array_literal(&it.seen_event_types)),
            project_types: column(renders, |it| it.fields.project_type.as_ref().map(|it| it.value.as_str())),
            names: column(renders, name),
            error_codes: column(renders, |it| error(it)?.code.as_deref()),
            error_messages: column(renders, |it| error(it)?.message.as_deref()),
            credits_charged: column(renders, |it| it.fields.credits_charged.as_ref().map(|it| it.value)),
            deleted: column(renders, |it| it.fields.deleted.as_ref().is_some_and(|it| it.value)),
            created_at: column(renders, |it| it.fields.created_at.as_ref().map(|it| it.value)),
            field_versions: column(renders, |it| Json(FieldVersions::of(&it.fields))),
            archives: column(renders, |it| ArchiveState::of(it.status, it.files).as_str()),
            files_total: column(renders, |it| it.files.total),
            files_stored: column(renders, |it| it.files.stored),
            files_failed: column(renders, |it| it.files.failed),
            outputs: OutputFields::from_fn(|field| column(renders, |it| it.fields.measure(field))),
            shortages_confirmed: column(renders, |it| it.shortage_confirmed),
            external_ids: column(renders, |it| it.external_id.as_deref()),
            external_id_origins: column(renders, |it| it.external_id_origin.map(ExternalIdOrigin::as_str)),
            polls_requested: column(renders, |it| it.polling.requested),
            polls_due_at: column(renders, |it| match it.polling.due {
                PollDue::At(at) => Some(at),
                PollDue::AfterSilence | PollDue::Never => None,
            }),
            poll_attempts: column(renders, |it| it.polling.attempts),
            last_seen_at: column(renders, |it| it.polling.last_seen_at),
            updated_at: column(renders, |it| it.updated_at),
        }
    }
}

fn name(render: &StoredRender) -> Option<&str> {
    match &render.fields.name {
        Some(Versioned { value: Nullable::Value(name), .. }) => Some(name),
        _ => None,
    }
}

fn error(render: &StoredRender) -> Option<&RenderError> {
    match &render.fields.error {
        Some(Versioned { value: Nullable::Value(error), .. }) => Some(error),
        _ => None,
    }
}

/// An array literal in Postgres syntax, because `unnest` would flatten an array of arrays.
fn array_literal(items: &[String]) -> String {
    let quoted = items.iter().map(|item| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Returns `false` if one of them exists.
async fn insert(transaction: &mut PgConnection, renders: &[&StoredRender]) -> sqlx::Result<bool> {
    if renders.is_empty() {
        return Ok(true);
    }
    let columns = Columns::of(renders);
    let written = sqlx::query_file!(
        "src/intake/record/statements/insert_renders.sql",
        &columns.ids as _,
        &columns.kinds as _,
        &columns.statuses as _,
        &columns.failures_confirmed,
        &columns.seen_event_types,
        &columns.project_types as _,
        &columns.names as _,
        &columns.error_codes as _,
        &columns.error_messages as _,
        &columns.credits_charged as _,
        &columns.deleted,
        &columns.created_at as _,
        &columns.field_versions as _,
        &columns.archives as _,
        &columns.files_total,
        &columns.files_stored,
        &columns.files_failed,
        &columns.polls_requested,
        &columns.polls_due_at as _,
        &columns.poll_attempts,
        &renders.iter().map(|it| it.first_seen_at).collect::<Vec<_>>(),
        &columns.last_seen_at,
        &columns.updated_at,
        columns.outputs.get(OutputField::Width) as _,
        columns.outputs.get(OutputField::Height) as _,
        columns.outputs.get(OutputField::Fps) as _,
        columns.outputs.get(OutputField::StartSeconds) as _,
        columns.outputs.get(OutputField::EndSeconds) as _,
        columns.outputs.get(OutputField::ImageCount) as _,
        &columns.shortages_confirmed,
        &columns.external_ids as _,
        &columns.external_id_origins as _,
    );
    let written = written.execute(transaction).await?.rows_affected();
    Ok(usize::try_from(written).is_ok_and(|written| written == renders.len()))
}

/// Returns `false` if one of them does not exist.
async fn update(transaction: &mut PgConnection, renders: &[&StoredRender]) -> sqlx::Result<bool> {
    if renders.is_empty() {
        return Ok(true);
    }
    let columns = Columns::of(renders);
    let written = sqlx::query_file!(
        "src/intake/record/statements/update_renders.sql",
        &columns.ids as _,
        &columns.kinds as _,
        &columns.statuses as _,
        &columns.failures_confirmed,
        &columns.seen_event_types,
        &columns.project_types as _,
        &columns.names as _,
        &columns.error_codes as _,
        &columns.error_messages as _,
        &columns.credits_charged as _,
        &columns.deleted,
        &columns.created_at as _,
        &columns.field_versions as _,
        &columns.archives as _,
        &columns.files_total,
        &columns.files_stored,
        &columns.files_failed,
        &columns.polls_requested,
        &columns.polls_due_at as _,
        &columns.poll_attempts,
        &columns.last_seen_at,
        &columns.updated_at,
        &renders.iter().map(|it| it.not_found_at).collect::<Vec<_>>() as _,
        &renders.iter().map(|it| it.stalled_at).collect::<Vec<_>>() as _,
        &renders.iter().map(|it| it.polling.due == PollDue::Never).collect::<Vec<_>>(),
        columns.outputs.get(OutputField::Width) as _,
        columns.outputs.get(OutputField::Height) as _,
        columns.outputs.get(OutputField::Fps) as _,
        columns.outputs.get(OutputField::StartSeconds) as _,
        columns.outputs.get(OutputField::EndSeconds) as _,
        columns.outputs.get(OutputField::ImageCount) as _,
        &columns.shortages_confirmed,
        &columns.external_ids as _,
        &columns.external_id_origins as _,
    );
    let written = written.execute(transaction).await?.rows_affected();
    Ok(usize::try_from(written).is_ok_and(|written| written == renders.len()))
}
