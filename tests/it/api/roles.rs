//! Which token may call which route.

use std::collections::BTreeMap;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::TOKEN;
use crate::support::{App, Options};

const READER: &str = "reader";
const SCRAPER: &str = "scraper";
/// The columns of the table in `docs/security.md`.
const CALLERS: [Option<&str>; 4] = [Some(TOKEN), Some(READER), Some(SCRAPER), None];

/// The rows of the table in `docs/security.md`: what each caller gets, by the route.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let page = include_str!("../../../docs/security.md");
    let header = "| route | `API_TOKENS` | `READ_TOKENS` | `METRICS_TOKENS` | no token |";
    let rows = page.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_matches('`'), cells[1..].to_vec())).collect()
}

/// The operations in the document, such as `GET /renders/{id}`, and their `security`.
fn operations() -> BTreeMap<String, Value> {
    let document = serde_json::to_value(renderhook::api::openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let of_path = |(path, item): (String, Value)| {
        let operations = item.as_object().unwrap().clone().into_iter();
        operations.map(move |(method, it)| (format!("{} {path}", method.to_uppercase()), it["security"].clone()))
    };
    paths.into_iter().flat_map(of_path).collect()
}

async fn start(pool: &PgPool, flags: &[&str]) -> App {
    let (reader, scraper) = (format!("--read-tokens={READER}"), format!("--metrics-tokens={SCRAPER}"));
    let tokens = [reader.as_str(), scraper.as_str(), "--download-concurrency=0"];
    App::start_with(pool, Options::flags(&[&tokens, flags].concat())).await
}

async fn call(app: &App, operation: &str, token: Option<&str>) -> Response {
    let (method, path) = operation.split_once(' ').unwrap();
    let url = app.at(&path.replace("{id}", "1").replace("{index}", "0"));
    let request = app.client.request(method.parse().unwrap(), url);
    token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth).send().await.unwrap()
}

#[sqlx::test]
async fn every_route_admits_the_tokens_that_the_docs_name(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let (documented, operations) = (documented(), operations());
    assert_eq!(
        documented.keys().map(ToString::to_string).collect::<Vec<_>>(),
        operations.into_keys().collect::<Vec<_>>()
    );
    for (operation, cells) in documented {
        for (cell, token) in cells.iter().zip(CALLERS) {
            let answer = call(&app, operation, token).await;
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            let names_settings = |settings: &[&str]| settings.iter().all(|setting| text.contains(setting));
            let sufficient = ["API_TOKENS", "READ_TOKENS", "METRICS_TOKENS"].iter().zip(&cells);
            let sufficient: Vec<_> = sufficient.filter(|(_, cell)| **cell == "yes").map(|(name, _)| *name).collect();
            match *cell {
                "yes" => assert!(![401, 403].contains(&status), "{operation} {token:?}: {status} {text}"),
                "401" | "401, but a link works" => {
                    assert!(status == 401 && names_settings(&sufficient), "{operation} {token:?}: {status} {text}");
                }
                "403" => {
                    assert!(status == 403 && names_settings(&sufficient), "{operation} {token:?}: {status} {text}");
                }
                "a signature" => assert!(status == 401 && text.contains("signature"), "{operation}: {status} {text}"),
                other => panic!("{operation}: the table says {other}"),
            }
        }
    }
    app.stop().await.unwrap();
}

#[test]
fn the_openapi_document_says_what_each_route_needs() {
    for (operation, cells) in documented() {
        let security = &operations()[operation];
        let needed = match cells[..] {
            ["yes", "yes", "yes", "yes"] | ["a signature", ..] => json!([{}]),
            ["yes", "yes", "403", "401"] => json!([{"token": []}, {"read_token": []}]),
            ["yes", "yes", "403", "401, but a link works"] => json!([{"token": []}, {"read_token": []}, {}]),
            ["yes", "403", "403", "401"] => json!([{"token": []}]),
            ["yes", "403", "yes", "401"] => json!([{"token": []}, {"metrics_token": []}]),
            _ => panic!("{operation}: {cells:?}"),
        };
        assert_eq!(security, &needed, "{operation}");
    }
}

#[sqlx::test]
async fn a_read_token_may_send_head_and_no_other_method(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let status = async |method: Method, path: &str| {
        app.client.request(method, app.at(path)).bearer_auth(READER).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Method::HEAD, "/renders").await, 200);
    assert_eq!(status(Method::PUT, "/renders/1").await, 403);
    assert_eq!(app.get("/renders/1").await.status(), 404, "nothing was announced");
    assert_eq!(status(Method::DELETE, "/renders/1").await, 403);
    assert_eq!(status(Method::PATCH, "/renders/1").await, 405);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_authentication_everyone_may_do_everything(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--api-tokens=none", "--download-concurrency=0"])).await;
    for operation in operations().into_keys().filter(|operation| operation != "POST /webhook") {
        for token in [None, Some("any")] {
            let status = call(&app, &operation, token).await.status().as_u16();
            assert!(![401, 403].contains(&status), "{operation} {token:?}: {status}");
        }
    }
    app.stop().await.unwrap();
}
