//! Checks the database, and whether webhooks are missing according to it.

use tokio::time::timeout;

use super::line::CHECK_TIMEOUT;
use super::line::Finding;
use crate::config::{ApiKeySetting, Dependencies};
use crate::runtime::{Clock, Database, DatabaseUrls, DirectUrl, Inspection, MIGRATIONS, Pooling, inspect_database};
use crate::upstream::MissingWebhooks;

pub(super) struct DatabaseFindings {
    pub(super) database: Finding,
    pub(super) durability: Finding,
    pub(super) webhooks: Finding,
}

pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> DatabaseFindings {
    let Some(urls) = &dependencies.database else {
        let invalid = || Finding::invalid("DATABASE_URL");
        return DatabaseFindings { database: invalid(), durability: invalid(), webhooks: invalid() };
    };
    match timeout(CHECK_TIMEOUT, inspect_database(urls)).await {
        Ok(Ok(inspection)) => DatabaseFindings {
            database: inspected(&inspection, urls),
            durability: durability(&inspection),
            webhooks: webhooks(dependencies, urls, &inspection, clock).await,
        },
        Ok(Err(error)) => without_database(Finding::fail(error.to_string())),
        Err(_elapsed) => without_database(Finding::no_answer()),
    }
}

fn without_database(database: Finding) -> DatabaseFindings {
    let skipped = || Finding::skip("not checked, because the database cannot be used");
    DatabaseFindings { database, durability: skipped(), webhooks: skipped() }
}

/// Whether committed data survives a crash of the server.
fn durability(inspection: &Inspection) -> Finding {
    match inspection.unsafe_settings.as_slice() {
        [] => Finding::ok("committed data survives a crash of the server"),
        settings => Finding::warn(format!(
            "a crash of the server may lose events that were answered with 200, because these settings are off: {}",
            settings.join(", ")
        )),
    }
}

/// Whether polls found renders that webhooks should have reported.
async fn webhooks(dependencies: &Dependencies, urls: &DatabaseUrls, inspection: &Inspection, clock: &Clock) -> Finding {
    if inspection.missing_migrations > 0 || inspection.unknown_migrations > 0 {
        return Finding::skip("not checked, because migrations are missing");
    }
    if matches!(dependencies.api_keys, ApiKeySetting::Unset) {
        return Finding::skip("cannot be checked without MAGIC_HOUR_API_KEY: only polls notice missing webhooks");
    }
    let Ok(database) = Database::new(urls) else { return Finding::invalid("DATABASE_URL") };
    match database.with_timeout(CHECK_TIMEOUT, MissingWebhooks::count(database.pool(), clock.now())).await {
        Ok(webhooks) if webhooks.any() => Finding::warn(webhooks.to_string()),
        Ok(webhooks) => Finding::ok(webhooks.to_string()),
        Err(_) => Finding::skip("not checked, because the database cannot be used"),
    }
}

fn inspected(inspection: &Inspection, urls: &DatabaseUrls) -> Finding {
    let Inspection { version, missing_migrations, unknown_migrations, .. } = inspection;
    let role_settings = missing_role_settings(inspection);
    let all = MIGRATIONS.iter().count();
    let listens_through_pooler = inspection.pooling == Pooling::Transaction && matches!(urls.direct, DirectUrl::Unset);
    if inspection.read_only {
        Finding::fail(format!("Postgres {version} is read-only: use the primary's address in DATABASE_URL"))
    } else if *unknown_migrations > 0 {
        let other = "are from another version, or failed halfway: run the version that applied them, or a newer one";
        Finding::fail(format!("Postgres {version} answers; {unknown_migrations} applied migrations {other}"))
    } else if *missing_migrations > 0 {
        let next = "`renderhook migrate` applies them, and so does `serve` at startup";
        Finding::warn(format!(
            "Postgres {version} answers; {missing_migrations} of {all} migrations are missing: {next}"
        ))
    } else if listens_through_pooler {
        let next = "set DATABASE_DIRECT_URL to Postgres itself, or to none";
        Finding::warn(format!("Postgres {version} answers through a pooler in transaction mode: {next}"))
    } else if !role_settings.is_empty() {
        let next =
            role_settings.iter().map(|setting| format!("ALTER ROLE … SET {setting}")).collect::<Vec<_>>().join("; ");
        Finding::warn(format!("Postgres {version} answers through a pooler, and the role lacks settings: {next}"))
    } else {
        Finding::ok(format!("Postgres {version} answers; all {all} migrations are applied"))
    }
}

/// What has to be set on the role because the pooler passes on no startup options.
fn missing_role_settings(inspection: &Inspection) -> Vec<&'static str> {
    let isolation =
        (inspection.isolation != "read committed").then_some("default_transaction_isolation = 'read committed'");
    let statement_timeout = (!inspection.has_statement_timeout).then_some("statement_timeout = '12s'");
    isolation.into_iter().chain(statement_timeout).collect()
}
