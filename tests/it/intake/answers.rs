//! The table of answers of `POST /webhook`, row by row.

use chrono::{DateTime, Utc};
use renderhook::domain::{Kind, Status};
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Answer, Project, SignedRequest};
use reqwest::Response;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{SECRET, signed_at, video};
use crate::support::rows::{count, deliveries, last_delivery};
use crate::support::{App, Options};

/// The service's current time, with a quarter of a second.
const NOW: i64 = 1_800_000_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 250_000_000).unwrap()
}

/// Starts a service whose clock shows [`NOW`] and that downloads nothing.
async fn start(pool: &PgPool, flags: &[&str]) -> App {
    let flags = [&["--download-concurrency=0"], flags].concat();
    App::start_with(pool, Options { clock: Some(Clock::from_fn(now)), ..Options::flags(&flags) }).await
}

/// Signs a body two seconds before [`NOW`].
fn on_its_way(body: &[u8]) -> SignedRequest {
    signed_at(NOW - 2, body)
}

fn message(answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{json}");
    json["message"].as_str().unwrap().to_owned()
}

async fn send_event(app: &App, event_type: &str, id: &str, status: &str) -> (Answer, String) {
    let mut project = Project::new(Kind::Video, id, now());
    project.status = Some(status.to_owned());
    let answer = app.deliver(&on_its_way(&project.event(event_type))).await;
    (answer, last_delivery(&app.pool).await.outcome)
}

#[sqlx::test]
async fn the_status_of_an_event_is_the_higher_of_its_type_and_payload(pool: PgPool) {
    use Status::{Canceled, Complete, Error, Rendering};
    let app = start(&pool, &[]).await;
    // In the order of `Status::ALL`: draft, queued, rendering, error, canceled, complete.
    let table = [
        ("started", [Rendering, Rendering, Rendering, Error, Canceled, Complete]),
        ("completed", [Complete; 6]),
        ("errored", [Error, Error, Error, Error, Error, Complete]),
    ];
    for kind in Kind::ALL {
        for (action, expected) in table {
            for (reported, expected) in Status::ALL.into_iter().zip(expected) {
                let id = format!("{kind}-{action}-{reported}");
                let mut project = Project::new(kind, &id, now());
                project.status = Some(reported.to_string());
                let event_type = format!("{kind}.{action}");
                let body = project.event(&event_type);
                let answer = app.deliver(&on_its_way(&body)).await;
                assert_eq!((answer.status.as_u16(), message(&answer)), (200, "recorded".to_owned()), "{id}");

                let render = app.render(&id).await;
                assert_eq!(render["kind"], kind.as_str(), "{id}");
                assert_eq!(render["status"], expected.as_str(), "{id}");
                assert_eq!(
                    render["transitions"],
                    json!([{
                        "from": null, "to": expected.as_str(), "source": "webhook", "event": event_type,
                        "at": "2027-01-15T08:00:00.250Z", "lag_ms": 2250
                    }]),
                    "{id}"
                );
                let row = last_delivery(&pool).await;
                assert_eq!((row.outcome.as_str(), row.lag_ms, row.problem), ("recorded", Some(2250), None), "{id}");
                assert_eq!((row.event_type, row.render_id, row.body), (Some(event_type), Some(id), body));
            }
        }
    }
    assert_eq!(count(&pool, "deliveries").await, 54);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn unknown_types_and_statuses_are_stored_and_get_200(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let table = [
        // Of an unknown kind, only the delivery is stored.
        ("model.completed", "complete", "unknown", None),
        ("video", "complete", "unknown", None),
        ("", "complete", "unknown", None),
        // Of a known kind, everything readable counts.
        ("video.canceled", "canceled", "recorded", Some(json!("canceled"))),
        ("video.queued", "queued", "recorded", Some(json!("queued"))),
        ("video.upscaled", "upscaled", "unknown", Some(json!(null))),
        ("video.started", "archived", "recorded", Some(json!("rendering"))),
    ];
    for (event_type, status, outcome, expected) in table {
        let id = format!("unknown-{event_type}");
        let (answer, stored) = send_event(&app, event_type, &id, status).await;
        assert_eq!((answer.status.as_u16(), stored.as_str()), (200, outcome), "{event_type}: {}", answer.body);
        let found = app.get(&format!("/renders/{id}")).await;
        assert_eq!(found.status(), if expected.is_some() { 200 } else { 404 }, "{event_type}");
        if let Some(expected) = expected {
            assert_eq!(found.json::<Value>().await.unwrap()["status"], expected, "{event_type}");
        }
    }
    // An unknown status of a known render changes nothing.
    send_event(&app, "video.completed", "finished", "complete").await;
    let (answer, outcome) = send_event(&app, "video.archived", "finished", "archived").await;
    assert_eq!((answer.status.as_u16(), outcome.as_str()), (200, "unknown"));
    assert_eq!(app.render("finished").await["status"], "complete");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_duplicate_changes_nothing_and_a_late_event_changes_no_status(pool: PgPool) {
    let app = start(&pool, &[]).await;
    send_event(&app, "video.completed", "one", "complete").await;
    let before = app.render("one").await;

    let (duplicate, outcome) = send_event(&app, "video.completed", "one", "complete").await;
    assert_eq!((duplicate.status.as_u16(), outcome.as_str()), (200, "duplicate"));
    assert_eq!(app.render("one").await, before);

    let (late, outcome) = send_event(&app, "video.started", "one", "rendering").await;
    assert_eq!((late.status.as_u16(), outcome.as_str()), (200, "late"));
    assert_eq!(app.render("one").await, before);
    assert_eq!(count(&pool, "deliveries").await, 3);
    assert_eq!(count(&pool, "transitions").await, 1);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_first_of_error_and_canceled_stays_and_complete_replaces_both(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let path = |render: &Value| {
        let moves = render["transitions"].as_array().unwrap().iter();
        moves.map(|one| format!("{}>{}", one["from"], one["to"])).collect::<Vec<_>>().join(" ").replace('"', "")
    };
    send_event(&app, "video.errored", "failed", "error").await;
    send_event(&app, "video.canceled", "failed", "canceled").await;
    assert_eq!(path(&app.render("failed").await), "null>error");

    send_event(&app, "video.started", "canceled", "rendering").await;
    send_event(&app, "video.canceled", "canceled", "canceled").await;
    send_event(&app, "video.errored", "canceled", "error").await;
    assert_eq!(path(&app.render("canceled").await), "null>rendering rendering>canceled");
    send_event(&app, "video.completed", "canceled", "complete").await;
    let render = app.render("canceled").await;
    assert_eq!(path(&render), "null>rendering rendering>canceled canceled>complete");
    assert_eq!(render["error"], Value::Null);
    app.stop().await.unwrap();
}

/// Posts a body with these values of the two headers.
async fn post_with(app: &App, body: Vec<u8>, signatures: &[&str], timestamps: &[&str]) -> Response {
    let mut request = app.client.post(app.at("/webhook")).body(body);
    for signature in signatures {
        request = request.header("magic-hour-event-signature", *signature);
    }
    for timestamp in timestamps {
        request = request.header("magic-hour-event-timestamp", *timestamp);
    }
    request.send().await.unwrap()
}

#[sqlx::test]
async fn requests_without_a_valid_signature_are_rejected_and_not_stored(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let body = video("forged", "complete").event("video.completed");
    let good = on_its_way(&body);
    let (signature, timestamp) = (good.signature.as_str(), good.timestamp.as_str());
    let other = SignedRequest::sign(&SecretString::from("another"), timestamp, body.clone()).signature;
    let unprefixed = SignedRequest::sign(&SecretString::from("test_secret"), timestamp, body.clone()).signature;
    let fraction = format!("{timestamp}.0");
    let fractional = SignedRequest::sign(&SecretString::from(SECRET), fraction.clone(), body.clone()).signature;
    let table: [(&str, &[&str], &[&str]); 14] = [
        ("signature is missing", &[], &[timestamp]),
        ("signature is missing", &[], &[]),
        ("timestamp is missing", &[signature], &[]),
        ("signature was sent more than once", &[signature, signature], &[timestamp]),
        ("timestamp was sent more than once", &[signature], &[timestamp, timestamp]),
        ("signature is not 64 hex digits", &[""], &[timestamp]),
        ("signature is not 64 hex digits", &[&signature[..62]], &[timestamp]),
        ("signature is not 64 hex digits", &[&format!("{signature}00")], &[timestamp]),
        ("signature is not 64 hex digits", &[&format!("sha256={signature}")], &[timestamp]),
        ("timestamp is not Unix seconds", &[signature], &["soon"]),
        ("timestamp is not Unix seconds", &[&fractional], &[&fraction]),
        ("matches none of the secrets", &[signature], &["1800000001"]),
        ("matches none of the secrets", &[&other], &[timestamp]),
        ("matches none of the secrets", &[&unprefixed], &[timestamp]),
    ];
    for (sentence, signatures, timestamps) in table {
        let answer = post_with(&app, body.clone(), signatures, timestamps).await;
        assert_eq!(answer.status(), 401, "{sentence}");
        let body: Value = answer.json().await.unwrap();
        assert!(body["message"].as_str().unwrap().contains(sentence), "{sentence}: {body}");
    }
    let tampered = SignedRequest { body: [&body[..], b" "].concat().into(), ..good.clone() };
    assert_eq!(app.deliver(&tampered).await.status, 401);
    for table in ["deliveries", "renders", "transitions", "downloads"] {
        assert_eq!(count(&pool, table).await, 0, "{table}");
    }
    assert_eq!(app.deliver(&good).await.status, 200);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn every_configured_secret_is_accepted_and_spaces_around_commas_are_ignored(pool: PgPool) {
    let app = start(&pool, &["--magic-hour-webhook-secret=whsec_old, whsec_new,ключ"]).await;
    let table = [("whsec_old", 200), ("whsec_new", 200), ("ключ", 200), (" whsec_new", 401), ("", 401)];
    for (secret, status) in table {
        let body = video(&format!("of-{status}"), "rendering").event("video.started");
        let answer = app.deliver(&SignedRequest::sign(&SecretString::from(secret), NOW.to_string(), body)).await;
        assert_eq!(answer.status.as_u16(), status, "{secret:?}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_uppercase_signature_and_a_timestamp_with_leading_zeros_are_accepted(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let body = video("odd", "rendering").event("video.started");
    let mut delivery = SignedRequest::sign(&SecretString::from(SECRET), format!("000{NOW}"), body);
    delivery.signature.make_ascii_uppercase();
    assert_eq!(app.deliver(&delivery).await.status, 200);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_delivery_outside_the_tolerance_is_stored_but_not_trusted(pool: PgPool) {
    let app = start(&pool, &["--signature-tolerance=60s"]).await;
    let table = [
        (NOW - 60, 200, "recorded", Some(60_250)),
        (NOW + 60, 200, "recorded", Some(-59_750)),
        (NOW - 61, 401, "stale", Some(61_250)),
        (NOW + 61, 401, "stale", Some(-60_750)),
        (0, 401, "stale", Some(1_800_000_000_250)),
        // Milliseconds instead of seconds, and the largest number that is read.
        (NOW * 1000, 401, "stale", Some(-1_798_199_999_999_750)),
        (i64::MAX, 401, "stale", None),
    ];
    for (seconds, status, outcome, lag_ms) in table {
        let id = format!("at-{seconds}");
        let body = video(&id, "complete").event("video.completed");
        let answer = app.deliver(&signed_at(seconds, &body)).await;
        assert_eq!(answer.status.as_u16(), status, "{seconds}");
        let row = last_delivery(&pool).await;
        assert_eq!((row.outcome.as_str(), row.lag_ms), (outcome, lag_ms), "{seconds}");
        assert_eq!((row.body, row.render_id.as_deref()), (body, Some(id.as_str())), "{seconds}");
        // The render is created, but its payload is not trusted.
        let render = app.render(&id).await;
        assert_eq!(!render["status"].is_null(), status == 200, "{seconds}");
        assert_eq!(render["name"], Value::Null, "{seconds}");
    }
    // A stale delivery is stored even if it is unreadable.
    assert_eq!(app.deliver(&signed_at(0, b"\xff\0")).await.status, 401);
    assert_eq!(last_delivery(&pool).await.body, b"\xff\0");
    assert_eq!(count(&pool, "transitions").await, 2);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_authentic_body_that_is_not_an_event_gets_400_and_is_stored(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let table: [(&[u8], &str); 5] = [
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (br#"{"payload":{"id":"x"}}"#, "no `type`"),
        (br#"{"type":"video.started","payload":{"id":7}}"#, "no `payload.id`"),
        (br#"{"type":"video.started"}"#, "no `payload.id`"),
    ];
    for (body, sentence) in table {
        let answer = app.deliver(&on_its_way(body)).await;
        assert_eq!(answer.status, 400);
        assert!(message(&answer).contains(sentence), "{}", answer.body);
        let row = last_delivery(&pool).await;
        assert_eq!((row.outcome.as_str(), &row.body[..], row.lag_ms), ("unreadable", body, Some(2250)));
        assert!(row.problem.unwrap().contains(sentence));
    }
    assert_eq!((deliveries(&pool).await.len(), count(&pool, "renders").await), (5, 0));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_body_above_the_limit_gets_413_and_one_at_the_limit_is_accepted(pool: PgPool) {
    let app = start(&pool, &["--max-body-bytes=1000"]).await;
    let body = video("full", "rendering").event("video.started");
    let of_length = |length: usize| [&body[..], &b" ".repeat(length - body.len())].concat();
    assert_eq!(app.deliver(&on_its_way(&of_length(1001))).await.status, 413);
    assert_eq!(count(&pool, "deliveries").await, 0);
    assert_eq!(app.deliver(&on_its_way(&of_length(1000))).await.status, 200);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn what_is_quarantined_is_stored_after_a_conflict_with_another_transaction(pool: PgPool) {
    // Like an insert that meets the ATTACH of its day's partition: every other one fails, and succeeds when it is repeated.
    const CONFLICTS: &str = "CREATE SEQUENCE attempts;
        CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('attempts') % 2 = 1 THEN RAISE EXCEPTION 'a conflict' USING ERRCODE = '40001'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER conflict BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION conflict();";
    sqlx::raw_sql(CONFLICTS).execute(&pool).await.unwrap();
    let app = start(&pool, &[]).await;
    let stale = signed_at(0, &video("stale", "rendering").event("video.started"));
    assert_eq!(app.deliver(&stale).await.status, 401);
    assert_eq!(app.deliver(&on_its_way(b"no event")).await.status, 400);
    assert_eq!(count(&pool, "deliveries").await, 2);
    app.stop().await.unwrap();
}
