//! What the service speaks with, asked all at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::Error;
use secrecy::SecretString;
use tokio::time::timeout;
use url::Url;

use super::verdict::Verdict::{Fail, Ok as Good, Skip, Warn};
use super::verdict::{Line, Verdict};
use crate::archive::{Store, StoreError};
use crate::config::Dependencies;
use crate::runtime::Clock;
use crate::runtime::database;
use crate::runtime::{Database, Inspection, MIGRATIONS};
use crate::upstream::client;
use crate::upstream::missing_webhooks;
use crate::upstream::{Greeting, UpstreamError};

/// How long a neighbour may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far a clock may be off before it is worth a word: more than a network and whole seconds explain.
const NOTABLE: TimeDelta = TimeDelta::seconds(5);

/// What is found of one neighbour.
type Found = (Verdict, String);

/// Looks at every neighbour. The lines come in the order of the list.
pub(super) async fn look(neighbours: &Dependencies, clock: &Clock) -> Vec<Line> {
    let ([database, webhooks], store, api) =
        tokio::join!(database(neighbours, clock), store(neighbours.store.as_ref()), api(neighbours, clock),);
    let [key, time] = api;
    let found = [("database", database), ("store", store), ("api key", key), ("clock", time), ("webhooks", webhooks)];
    found.into_iter().map(|(name, (verdict, text))| Line::new(verdict, name, text)).collect()
}

fn skipped(setting: &str) -> Found {
    (Skip, format!("not looked at, since {setting} needs attention"))
}

fn no_answer() -> Found {
    (Fail, format!("no answer within {} s", PATIENCE.as_secs()))
}

/// The database, and what it says of the webhooks.
async fn database(neighbours: &Dependencies, clock: &Clock) -> [Found; 2] {
    let Some(url) = &neighbours.database_url else { return [(); 2].map(|()| skipped("DATABASE_URL")) };
    match timeout(PATIENCE, database::inspect(url)).await {
        Ok(Ok(inspection)) => {
            let webhooks = match &neighbours.api_key {
                _ if inspection.missing > 0 || inspection.foreign > 0 => {
                    (Skip, "not looked at, since the database lacks migrations".to_owned())
                }
                Some(None) => (Skip, "without MAGIC_HOUR_API_KEY nobody finds out whether they are missing".to_owned()),
                _ => webhooks(url, clock).await,
            };
            [inspected(&inspection), webhooks]
        }
        Ok(Err(error)) => [(Fail, format!("check DATABASE_URL: {error}")), skipped("the database")],
        Err(_elapsed) => [no_answer(), skipped("the database")],
    }
}

/// Whether polls find what webhooks should have told.
async fn webhooks(url: &SecretString, clock: &Clock) -> Found {
    let Ok(database) = Database::new(url) else { return skipped("DATABASE_URL") };
    match database.within(PATIENCE, missing_webhooks::look(database.pool(), clock.now())).await {
        Ok(silence) if silence.is_told() => (Warn, silence.to_string()),
        Ok(silence) => (Good, silence.to_string()),
        Err(_) => skipped("the database"),
    }
}

fn inspected(inspection: &Inspection) -> Found {
    let Inspection { version, read_only, missing, foreign } = inspection;
    let all = MIGRATIONS.iter().count();
    if *read_only {
        (Fail, format!("Postgres {version} takes no writes here: name the primary in DATABASE_URL"))
    } else if *foreign > 0 {
        let other = "are not this version's, or broke off: run the version that applied them, or a newer one";
        (Fail, format!("Postgres {version} answers; {foreign} of the migrations in it {other}"))
    } else if *missing > 0 {
        let next = "`renderhook migrate` applies them, and so does `serve` at its start";
        (Warn, format!("Postgres {version} answers; {missing} of {all} migrations are missing: {next}"))
    } else {
        (Good, format!("Postgres {version} answers; all {all} migrations are applied"))
    }
}

async fn store(store: Option<&Store>) -> Found {
    let Some(store) = store else { return skipped("STORAGE_URL") };
    match timeout(PATIENCE, store.probe()).await {
        Ok(Ok(())) => (Good, "a probe object was written and deleted".to_owned()),
        Ok(Err(error)) => (Fail, format!("a probe object cannot be written and deleted: {}", cause(&error))),
        Err(_elapsed) => no_answer(),
    }
}

/// Why the store fails. What a bucket's server sends along is cut off: some repeat how the request was signed.
fn cause(error: &StoreError) -> String {
    let text = error.to_string();
    let told = text.split('<').next().unwrap_or_default().trim();
    match error {
        StoreError::Bucket(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
            format!("the bucket refuses the credentials or their rights: {told}")
        }
        StoreError::Bucket(Error::NotFound { .. }) => format!("there is no such bucket: {told}"),
        StoreError::Bucket(_) | StoreError::Folder(_) => told.to_owned(),
    }
}

/// The key, and the clock by the time that the API has, which it tells to strangers as well.
async fn api(neighbours: &Dependencies, clock: &Clock) -> [Found; 2] {
    let Some(url) = &neighbours.api_url else { return [(); 2].map(|()| skipped("MAGIC_HOUR_API_URL")) };
    let key = neighbours.api_key.as_ref();
    let asked = clock.now();
    let greeting = timeout(PATIENCE, client::greet(url, key.and_then(Option::as_ref))).await;
    let answered = clock.now();
    let date = greeting.as_ref().ok().and_then(|greeting| greeting.as_ref().ok()?.date);
    let time = match (date, neighbours.tolerance) {
        (_, None) => skipped("SIGNATURE_TOLERANCE"),
        (None, _) => (Warn, format!("cannot be compared: nothing at {} tells the time", place(url))),
        (Some(date), Some(tolerance)) => time(offset(asked, answered, date), tolerance),
    };
    let key = match (key, greeting) {
        (None, _) => skipped("MAGIC_HOUR_API_KEY"),
        (Some(None), _) => {
            (Good, "none is set: Magic Hour is never asked, and no expired URL of a file is renewed".to_owned())
        }
        (Some(Some(_)), Ok(Ok(Greeting { key: Ok(()), .. }))) => (Good, "Magic Hour takes it".to_owned()),
        (Some(Some(_)), Ok(Ok(Greeting { key: Err(trouble), .. }) | Err(trouble))) => (Fail, why(&trouble)),
        (Some(Some(_)), Err(_elapsed)) => no_answer(),
    };
    [key, time]
}

fn why(trouble: &UpstreamError) -> String {
    match trouble {
        UpstreamError::Refused(status) => {
            format!("what answers ({status}) does not answer like Magic Hour's API: is MAGIC_HOUR_API_URL right?")
        }
        trouble => trouble.to_string(),
    }
}

/// Where a URL leads, without its path.
fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// How far our clock is ahead of one that told `date`, a whole second, between `asked` and `answered`: as little as
/// that leaves possible.
fn offset(asked: DateTime<Utc>, answered: DateTime<Utc>, date: DateTime<Utc>) -> TimeDelta {
    let (least, most) = (asked - date - TimeDelta::seconds(1), answered - date);
    if least > TimeDelta::zero() { least } else { most.min(TimeDelta::zero()) }
}

fn time(offset: TimeDelta, tolerance: Duration) -> Found {
    let off = offset.abs().to_std().unwrap_or(Duration::MAX);
    let side = if offset > TimeDelta::zero() { "ahead of" } else { "behind" };
    let told = format!("{} {side} that of Magic Hour's API", humantime::format_duration(whole(off)));
    if off > tolerance {
        (
            Fail,
            format!("{told}: more than SIGNATURE_TOLERANCE, so that every event is refused; set this machine's clock"),
        )
    } else if offset.abs() > NOTABLE {
        (Warn, format!("{told}: set this machine's clock"))
    } else {
        (Good, "in step with that of Magic Hour's API".to_owned())
    }
}

fn whole(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_as_far_off_as_whole_seconds_and_the_way_of_the_answer_leave_no_doubt_of() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        for (asked, answered, date, expected) in [
            (0, 100, 0, 0),
            (900, 1100, 0, 0),
            (900, 1100, 1000, 0),
            (0, 9000, 4000, 0),
            (3500, 3600, 0, 2500),
            (0, 100, 3000, -2900),
        ] {
            let offset = offset(at(asked), at(answered), at(date));
            assert_eq!(offset, TimeDelta::milliseconds(expected), "{asked} {answered} {date}");
        }
    }

    #[test]
    fn a_clock_is_told_of_above_five_seconds_and_fails_above_the_tolerance() {
        let minutes = Duration::from_mins(5);
        for (seconds, tolerance, expected, words) in [
            (0, minutes, Good, "in step"),
            (-5, minutes, Good, "in step"),
            (6, minutes, Warn, "6s ahead of"),
            (-300, minutes, Warn, "5m behind"),
            (-301, minutes, Fail, "5m 1s behind"),
            (2, Duration::from_secs(1), Fail, "2s ahead of"),
            (0, Duration::ZERO, Good, "in step"),
        ] {
            let (verdict, text) = time(TimeDelta::seconds(seconds), tolerance);
            assert_eq!(verdict, expected, "{seconds}");
            assert!(text.contains(words), "{seconds}: {text}");
        }
    }
}
