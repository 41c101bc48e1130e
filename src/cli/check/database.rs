//! The database, and what it says about the webhooks.

use secrecy::SecretString;
use tokio::time::timeout;

use super::dependencies::{PATIENCE, no_answer};
use super::line::Finding;
use crate::config::Dependencies;
use crate::runtime::{Clock, Database, Inspection, MIGRATIONS, database};
use crate::upstream::missing_webhooks;

pub(super) struct DatabaseFindings {
    pub(super) database: Finding,
    pub(super) webhooks: Finding,
}

pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> DatabaseFindings {
    let Some(url) = &dependencies.database_url else {
        return DatabaseFindings {
            database: Finding::invalid("DATABASE_URL"),
            webhooks: Finding::invalid("DATABASE_URL"),
        };
    };
    match timeout(PATIENCE, database::inspect(url)).await {
        Ok(Ok(inspection)) => DatabaseFindings {
            database: inspected(&inspection),
            webhooks: webhooks(dependencies, url, &inspection, clock).await,
        },
        Ok(Err(error)) => without_database(Finding::fail(format!("check DATABASE_URL: {error}"))),
        Err(_elapsed) => without_database(no_answer()),
    }
}

fn without_database(database: Finding) -> DatabaseFindings {
    DatabaseFindings { database, webhooks: Finding::skip("not checked, because the database cannot be used") }
}

/// Whether polls find what webhooks should have told.
async fn webhooks(dependencies: &Dependencies, url: &SecretString, inspection: &Inspection, clock: &Clock) -> Finding {
    if inspection.missing > 0 || inspection.foreign > 0 {
        return Finding::skip("not checked, because the database lacks migrations");
    }
    if let Some(None) = dependencies.api_key {
        return Finding::skip("without MAGIC_HOUR_API_KEY nothing notices missing webhooks");
    }
    let Ok(database) = Database::new(url) else { return Finding::invalid("DATABASE_URL") };
    match database.within(PATIENCE, missing_webhooks::look(database.pool(), clock.now())).await {
        Ok(silence) if silence.is_told() => Finding::warn(silence.to_string()),
        Ok(silence) => Finding::ok(silence.to_string()),
        Err(_) => Finding::skip("not checked, because the database cannot be used"),
    }
}

fn inspected(inspection: &Inspection) -> Finding {
    let Inspection { version, read_only, missing, foreign } = inspection;
    let all = MIGRATIONS.iter().count();
    if *read_only {
        Finding::fail(format!("Postgres {version} is read-only here: name the primary in DATABASE_URL"))
    } else if *foreign > 0 {
        let other = "are not this version's, or failed halfway: run the version that applied them, or a newer one";
        Finding::fail(format!("Postgres {version} answers; {foreign} of the migrations in it {other}"))
    } else if *missing > 0 {
        let next = "`renderhook migrate` applies them, and so does `serve` at startup";
        Finding::warn(format!("Postgres {version} answers; {missing} of {all} migrations are missing: {next}"))
    } else {
        Finding::ok(format!("Postgres {version} answers; all {all} migrations are applied"))
    }
}
