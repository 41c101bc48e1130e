//! What the schema itself promises, whatever program writes: its constraints, and its migrations on a database in use.

use std::collections::BTreeSet;

use futures::future::join_all;
use renderhook::runtime::MIGRATIONS;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::support::observations::{at, completed, connections, counts, record};

/// Statements that each break one constraint, by its name.
const REFUSED: [(&str, &str); 57] = [
    (
        "renders_id_length",
        "INSERT INTO renders (id, kind, first_seen_at, last_seen_at, updated_at) VALUES ('', 'video', now(), now(), now())",
    ),
    ("renders_id_length", "UPDATE renders SET id = repeat('x', 256) WHERE id = 'free'"),
    ("renders_id_length", "UPDATE renders SET id = repeat('я', 256) WHERE id = 'free'"),
    ("renders_kind_known", "UPDATE renders SET kind = 'model'"),
    ("renders_status_known", "UPDATE renders SET status = 'archived' WHERE id = 'free'"),
    ("renders_archive_known", "UPDATE renders SET archive = 'lost'"),
    ("renders_file_counts_consistent", "UPDATE renders SET files_stored = files_total + 1"),
    ("renders_metadata_is_object", "UPDATE renders SET metadata = 'null'"),
    ("renders_poll_attempts_not_negative", "UPDATE renders SET poll_attempts = -1"),
    ("renders_deletion_attempts_not_negative", "UPDATE renders SET deletion_attempts = -1"),
    ("renders_requested_poll_is_due", "UPDATE renders SET poll_requested = true, poll_due_at = NULL"),
    ("renders_deletion_known", "UPDATE renders SET deletion = 'perhaps'"),
    ("renders_external_id_origin_known", "UPDATE renders SET external_id_origin = 'rumour'"),
    ("transitions_source_known", "UPDATE transitions SET source = 'rumour'"),
    (
        "transitions_status_once",
        "INSERT INTO transitions (render_id, to_status, source, at) VALUES ('r', 'complete', 'poll', now())",
    ),
    ("transitions_changes_status", "UPDATE transitions SET from_status = 'complete'"),
    ("credits_source_known", "INSERT INTO credits (render_id, value, source, at) VALUES ('r', 1, 'rumour', now())"),
    ("deliveries_outcome_known", "UPDATE deliveries SET outcome = 'lost'"),
    ("deliveries_problem_matches_outcome", "UPDATE deliveries SET outcome = 'unreadable'"),
    ("deliveries_problem_matches_outcome", "UPDATE deliveries SET problem = 'none'"),
    ("downloads_index_not_negative", "UPDATE downloads SET index = -1"),
    ("downloads_state_known", "UPDATE downloads SET state = 'lost', due_at = NULL"),
    ("downloads_sha256_is_hex", "UPDATE downloads SET sha256 = repeat('A', 64)"),
    ("downloads_sha256_is_hex", "UPDATE downloads SET sha256 = repeat('a', 63)"),
    ("downloads_leased_while_downloading", "UPDATE downloads SET state = 'downloading'"),
    ("downloads_leased_while_downloading", "UPDATE downloads SET lease = gen_random_uuid()"),
    ("downloads_due_while_unsettled", "UPDATE downloads SET due_at = NULL"),
    ("downloads_due_while_unsettled", "UPDATE downloads SET state = 'failed', error_code = 'x', error_message = 'x'"),
    (
        "downloads_stored_has_object",
        "UPDATE downloads SET state = 'stored', due_at = NULL, stored_at = now(), size_bytes = 1",
    ),
    ("downloads_failed_has_error", "UPDATE downloads SET state = 'failed', due_at = NULL"),
    ("downloads_url_unless_failed", "UPDATE downloads SET url = NULL"),
    ("downloads_error_has_code_and_message", "UPDATE downloads SET error_code = 'x'"),
    ("downloads_bytes_done_not_negative", "UPDATE downloads SET bytes_done = -1"),
    (
        "checkpoints_bytes_not_negative",
        "INSERT INTO checkpoints (render_id, index, upload, bytes, hash_state, url_path, content_type, updated_at)
         VALUES ('r', 0, 'u', -1, '', '/', 'video/mp4', now())",
    ),
    (
        "checkpoints_render_id_index_fkey",
        "INSERT INTO checkpoints (render_id, index, upload, bytes, hash_state, url_path, content_type, updated_at)
         VALUES ('r', 1, 'u', 0, '', '/', 'video/mp4', now())",
    ),
    (
        "signing_keys_purpose_known",
        "INSERT INTO signing_keys (purpose, key, created_at) VALUES ('letters', repeat('k', 32)::bytea, now())",
    ),
    (
        "signing_keys_length",
        "INSERT INTO signing_keys (purpose, key, created_at) VALUES ('file_links', 'short', now())",
    ),
    ("notifications_type_known", "UPDATE notifications SET type = 'render.lost', to_status = NULL"),
    ("notifications_state_known", "UPDATE notifications SET state = 'lost', pending_since = now()"),
    ("notifications_moved_has_status", "UPDATE notifications SET to_status = NULL"),
    ("notifications_download_has_index", "UPDATE notifications SET download_index = 0"),
    ("notifications_posted_has_start", "UPDATE notifications SET pending_since = now()"),
    ("notifications_due_while_pending", "UPDATE notifications SET due_at = now()"),
    ("notifications_leased_while_pending", "UPDATE notifications SET lease = gen_random_uuid()"),
    ("notifications_delivered_at_given", "UPDATE notifications SET state = 'delivered', pending_since = now()"),
    (
        "sessions_secret_hash_length",
        "INSERT INTO sessions (secret_hash, token_fingerprint, role, created_at, expires_at)
         VALUES ('short', repeat('f', 32)::bytea, 'full', now(), now() + interval '1 h')",
    ),
    (
        "sessions_token_fingerprint_length",
        "INSERT INTO sessions (secret_hash, token_fingerprint, role, created_at, expires_at)
         VALUES (repeat('h', 32)::bytea, 'short', 'full', now(), now() + interval '1 h')",
    ),
    (
        "sessions_role_known",
        "INSERT INTO sessions (secret_hash, token_fingerprint, role, created_at, expires_at)
         VALUES (repeat('h', 32)::bytea, repeat('f', 32)::bytea, 'owner', now(), now() + interval '1 h')",
    ),
    (
        "sessions_expire_after_login",
        "INSERT INTO sessions (secret_hash, token_fingerprint, role, created_at, expires_at)
         VALUES (repeat('h', 32)::bytea, repeat('f', 32)::bytea, 'full', now(), now())",
    ),
    ("notify_health_single_row", "INSERT INTO notify_health (singleton) VALUES (false)"),
    ("notify_health_reported_while_failing", "UPDATE notify_health SET reported_at = now()"),
    ("feed_single_row", "INSERT INTO feed (singleton) VALUES (false)"),
    ("upstream_throttle_single_row", "INSERT INTO upstream_throttle (singleton) VALUES (false)"),
    ("renders_erased_after_request", "UPDATE renders SET erased_at = now()"),
    (
        "erasures_attempts_not_negative",
        "INSERT INTO erasures (render_id, upstream, attempts, due_at) VALUES ('r', false, -1, now())",
    ),
    (
        "upstream_accounts_failures_not_negative",
        "INSERT INTO upstream_accounts (account, failures) VALUES (repeat('a', 16), -1)",
    ),
    ("upstream_accounts_account_is_hex", "INSERT INTO upstream_accounts (account) VALUES ('mhk_key')"),
];

#[sqlx::test]
async fn every_constraint_rejects_invalid_rows(pool: PgPool) {
    record(&pool, &[completed("r", &["https://files.example/a.mp4"], None, at(1))]).await;
    sqlx::query("INSERT INTO renders (id, kind, first_seen_at, last_seen_at, updated_at) VALUES ('free', 'audio', now(), now(), now())")
        .execute(&pool)
        .await
        .unwrap();
    for (constraint, statement) in REFUSED {
        let refused = sqlx::query(statement).execute(&pool).await.unwrap_err().into_database_error();
        let name = refused.and_then(|error| error.constraint().map(str::to_owned));
        assert_eq!(name.as_deref(), Some(constraint), "{statement}");
    }
}

#[sqlx::test]
async fn every_constraint_is_tested(pool: PgPool) {
    let named: BTreeSet<String> = sqlx::query_scalar(
        "SELECT conname::text FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND conrelid <> '_sqlx_migrations'::regclass AND conislocal
             AND (contype <> 'p' OR conname = 'transitions_status_once')",
    )
    .fetch_all(&pool)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let tried: BTreeSet<String> = REFUSED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tried, named);
}

/// What is written once the migration with this number is applied, so that the next ones meet rows.
const WRITTEN: [(i64, &str); 4] = [
    (
        20_261_125_000_001,
        "INSERT INTO renders (id, kind, status, seen_event_types, first_seen_at, last_seen_at, updated_at) VALUES
             ('old', 'video', 'complete', '{video.completed}', now(), now(), now()),
             ('unknown', 'audio', NULL, '{}', now(), now(), now())",
    ),
    (
        20_261_125_000_002,
        "INSERT INTO transitions (render_id, to_status, source, event_type, at)
         VALUES ('old', 'complete', 'webhook', 'video.completed', now())",
    ),
    (
        20_261_125_000_003,
        "INSERT INTO deliveries (received_at, event_type, render_id, outcome, problem) VALUES
             (now(), 'video.completed', 'old', 'recorded', NULL), (now(), NULL, NULL, 'unreadable', 'no id')",
    ),
    (
        20_261_125_000_004,
        "INSERT INTO downloads (render_id, index, state, url, url_observed_at, key, due_at, updated_at)
         VALUES ('old', 0, 'pending', 'https://files.example/a.mp4', now(), 'video/old/0-a.mp4', now(), now());
         UPDATE renders SET files_total = 1, archive = 'pending' WHERE id = 'old'",
    ),
];

#[sqlx::test(migrations = false)]
async fn migrations_apply_to_a_database_in_use(pool: PgPool) {
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter() {
        applied.push(migration.clone());
        Migrator::with_migrations(applied.clone()).run(&pool).await.unwrap();
        for (_, rows) in WRITTEN.into_iter().filter(|(version, _)| *version == migration.version) {
            sqlx::raw_sql(rows).execute(&pool).await.unwrap();
        }
    }
    assert_eq!(counts(&pool).await, (2, 1, 2, 1));
    let again = completed("old", &["https://files.example/a.mp4"], None, at(1));
    let recorded = record(&pool, &[again, completed("unknown", &["https://files.example/b.mp3"], None, at(1))]).await;
    assert_eq!(recorded.iter().map(|it| it.transition.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(counts(&pool).await, (2, 2, 4, 2));
}

#[sqlx::test(migrations = false)]
async fn several_replicas_migrate_at_once(pool: PgPool) {
    let replicas: Vec<_> = (0..8).map(|_| connections(&pool, 1)).collect();
    for migrated in join_all(replicas.iter().map(|replica| MIGRATIONS.run(replica))).await {
        migrated.unwrap();
    }
    let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY 1")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(applied, MIGRATIONS.iter().map(|migration| migration.version).collect::<Vec<_>>());
}

#[sqlx::test(migrations = false)]
async fn an_edited_migration_is_rejected(pool: PgPool) {
    MIGRATIONS.run(&pool).await.unwrap();
    sqlx::query(
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = (SELECT min(version) FROM _sqlx_migrations)",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(matches!(MIGRATIONS.run(&pool).await, Err(sqlx::migrate::MigrateError::VersionMismatch(_))));
}
