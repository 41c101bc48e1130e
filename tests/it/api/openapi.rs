//! The OpenAPI document describes every route, and every answer matches it.

use std::collections::BTreeSet;

use renderhook::domain::NotificationType;
use renderhook_dev::standin::Project;
use reqwest::{Method, Response};
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::process::renderhook;
use crate::support::receiver::Receiver;
use crate::support::{App, Options};

fn document() -> Value {
    serde_json::to_value(renderhook::api::openapi_document()).unwrap()
}

/// The operations in the document, such as `GET /renders/{id}`.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&String, &Value)| {
        let methods: Vec<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        methods.into_iter().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

#[sqlx::test]
async fn the_command_and_the_service_return_the_same_document(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let answer = app.client.get(app.at("openapi.json")).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
    let returned: Value = answer.json().await.unwrap();
    assert_eq!(returned["info"]["version"], env!("CARGO_PKG_VERSION"));
    let printed = renderhook(&["openapi"]).output().await.unwrap();
    assert!(printed.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), returned);
    assert_eq!(returned, document());
    app.stop().await.unwrap();
}

#[test]
fn every_reference_in_the_document_resolves() {
    fn references(value: &Value) -> Vec<&str> {
        match value {
            Value::Object(fields) => {
                let own = fields.get("$ref").and_then(Value::as_str);
                own.into_iter().chain(fields.values().flat_map(references)).collect()
            }
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => vec![],
        }
    }
    let document = document();
    let references = references(&document);
    assert!(!references.is_empty());
    for reference in references {
        let found = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(found.is_some(), "{reference}");
    }
}

#[test]
fn a_file_is_described_as_bytes() {
    let answers = &document()["paths"]["/renders/{id}/downloads/{index}"]["get"]["responses"];
    for status in ["200", "206"] {
        let schema = &answers[status]["content"]["application/octet-stream"]["schema"];
        assert_eq!((&schema["type"], &schema["format"]), (&json!("string"), &json!("binary")), "{status}: {schema}");
    }
}

#[test]
fn the_docs_have_a_section_for_every_operation() {
    let page = include_str!("../../../docs/http-api.md");
    let titles = page.lines().filter_map(|line| line.strip_prefix("## `"));
    let titles = titles.flat_map(|title| title.split('`').filter(|words| words.contains(" /")));
    assert_eq!(titles.map(str::to_owned).collect::<BTreeSet<_>>(), operations(&document()));
}

#[sqlx::test]
async fn every_operation_exists_and_requires_a_token_as_documented(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let document = document();
    for operation in operations(&document) {
        let (method, path) = operation.split_once(' ').unwrap();
        let described = &document["paths"][path][method.to_lowercase()];
        let url = app.at(&path.replace("{id}", "clx").replace("{index}", "0"));
        let request = app.client.request(method.parse().unwrap(), url.clone());
        let status = request.send().await.unwrap().status().as_u16();
        assert!(described["responses"].get(status.to_string()).is_some(), "{operation} answers {status}");
        let open = described["security"] == json!([{}]);
        assert_eq!(status == 401, !open || path == "/webhook", "{operation}");

        let other = app.client.request(Method::PATCH, url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(other.status(), 405, "{path} is there");
    }
    app.stop().await.unwrap();
}

/// Checks an answer against the document: the status is described, and the body matches the schema without extra fields.
async fn checked_body(document: &Value, operation: &str, answer: Response) -> Value {
    let (method, path) = operation.split_once(' ').unwrap();
    let status = answer.status().as_u16();
    let described = &document["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
    let schema = &described["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{operation} answers {status}, which is not described");
    let body: Value = answer.json().await.unwrap();
    if let Err(problem) = matches_schema(document, schema, &body) {
        panic!("{operation} answers {status}: {problem} in {body}");
    }
    body
}

/// A schema without references, and with the parts of `allOf` merged.
fn resolved(document: &Value, schema: &Value) -> Result<Map<String, Value>, String> {
    let schema = schema.as_object().ok_or("no schema")?;
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#')).ok_or("no pointer")?;
        return resolved(document, document.pointer(pointer).ok_or_else(|| format!("{pointer} is not there"))?);
    }
    let mut merged = schema.clone();
    for part in merged.remove("allOf").iter().filter_map(Value::as_array).flatten() {
        for (keyword, rule) in resolved(document, part)? {
            match (merged.get_mut(&keyword), rule) {
                (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
                (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
                (_, rule) => drop(merged.insert(keyword, rule)),
            }
        }
    }
    Ok(merged)
}

/// Checks a value against a schema. Supports the keywords of JSON Schema that the document uses, and fails for others.
fn matches_schema(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolved(document, schema)?;
    for (keyword, rule) in &schema {
        match keyword.as_str() {
            "description" | "properties" | "required" | "example" | "examples" | "propertyNames" => {}
            "type" => has_type(rule, value)?,
            "enum" => {
                rule.as_array().ok_or("no list")?.contains(value).then_some(()).ok_or(format!("{value} of {rule}"))?;
            }
            "oneOf" => {
                let rules = rule.as_array().ok_or("no list")?;
                let fitting = rules.iter().filter(|rule| matches_schema(document, rule, value).is_ok()).count();
                (fitting == 1).then_some(()).ok_or_else(|| format!("{value} fits {fitting} of {rule}"))?;
            }
            "additionalProperties" if rule == &json!({}) || rule == &json!(true) => {}
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| matches_schema(document, rule, item))?;
            }
            "format" => has_format(rule, value)?,
            other => return Err(format!("the test does not know {other}")),
        }
    }
    match (schema.get("properties"), value) {
        (Some(properties), Value::Object(fields)) => fields_match(document, &schema, properties, fields),
        _ => Ok(()),
    }
}

fn fields_match(
    document: &Value,
    schema: &Map<String, Value>,
    properties: &Value,
    fields: &Map<String, Value>,
) -> Result<(), String> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return Err(format!("{missing} is missing"));
    }
    fields.iter().try_for_each(|(name, value)| {
        let rule = properties.get(name).ok_or_else(|| format!("{name} is not described"))?;
        matches_schema(document, rule, value).map_err(|problem| format!("{name}: {problem}"))
    })
}

fn has_type(types: &Value, value: &Value) -> Result<(), String> {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allows = |name: &str| types == name || types.as_array().is_some_and(|types| types.contains(&name.into()));
    let returned = allows(name) || (name == "integer" && allows("number"));
    returned.then_some(()).ok_or_else(|| format!("{value} is no {types}"))
}

fn has_format(format: &Value, value: &Value) -> Result<(), String> {
    let right = match (format.as_str(), value) {
        (_, Value::Null) => true,
        (Some("date-time"), Value::String(text)) => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        (Some("int32"), number) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (Some("int64"), number) => number.is_i64(),
        (Some("double"), number) => number.is_number(),
        _ => false,
    };
    right.then_some(()).ok_or_else(|| format!("{value} is not written as {format}"))
}

#[sqlx::test]
async fn every_notification_matches_the_document(pool: PgPool) {
    let document = document();
    let webhooks = document["webhooks"].as_object().unwrap();
    let postable = NotificationType::ALL.into_iter().filter(|it| it.can_be_posted()).map(NotificationType::as_str);
    assert_eq!(webhooks.keys().map(String::as_str).collect::<BTreeSet<_>>(), postable.collect());

    let receiver = Receiver::start().await;
    let flags = receiver.flags().into_iter().chain(["--notify-events=render.moved,render.failed".to_owned()]);
    let app = App::start_with(&pool, Options { flags: flags.collect(), ..Options::default() }).await;
    app.send("video.errored", &failed("failed")).await;
    for received in receiver.wait_for(2).await {
        let described = &webhooks[received.kind()]["post"];
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        matches_schema(&document, schema, &received.body).unwrap();
        let names: Vec<_> = described["parameters"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    }
    app.stop().await.unwrap();
}

fn failed(id: &str) -> Project {
    Project { error_code: Some("no_source_face".to_owned()), ..video(id, "error") }
}

/// A service with a render that has a stored and a failed file, and one that failed.
async fn start_with_renders(pool: &PgPool) -> App {
    let app = App::start_with(pool, Options::flags(&["--download-max-attempts=1"])).await;
    let mut project = video("whole", "complete");
    project.downloads = vec![app.files.put("a.mp4", b"1".to_vec(), "video/mp4").unwrap(), app.at("nothing")];
    app.send("video.started", &video("whole", "rendering")).await;
    app.send("video.completed", &project).await;
    app.send("video.errored", &failed("failed")).await;
    app.archived("whole", "partial").await;
    app
}

#[sqlx::test]
async fn every_answer_matches_the_document(pool: PgPool) {
    let app = start_with_renders(&pool).await;
    let document = document();
    let hold = async |operation: &str, answer: Response| checked_body(&document, operation, answer).await;
    let ask = |method: Method, path: &str| app.client.request(method, app.at(path)).bearer_auth(TOKEN);

    for id in ["whole?wait=30s", "failed"] {
        hold("GET /renders/{id}", app.get(&format!("/renders/{id}")).await).await;
    }
    let announced = r#"{"kind": "image", "external_id": "order-17", "metadata": {"a": [1]}}"#;
    for expected in [201, 200] {
        let answer = ask(Method::PUT, "renders/announced").body(announced).send().await.unwrap();
        assert_eq!(answer.status(), expected);
        hold("PUT /renders/{id}", answer).await;
    }
    let page = hold("GET /renders", app.get("/renders?limit=2").await).await;
    assert!(page["next_cursor"].is_string());
    assert_eq!(hold("GET /renders", app.get("/renders").await).await["renders"].as_array().unwrap().len(), 3);
    let retried = ask(Method::POST, "renders/whole/retry").send().await.unwrap();
    assert_eq!(hold("POST /renders/{id}/retry", retried).await["downloads"], json!([1]));
    let page = hold("GET /deliveries", app.get("/deliveries?limit=2").await).await;
    assert!(page["next_cursor"].is_string());
    let newest = format!("/deliveries/{}", page["deliveries"][0]["id"]);
    hold("GET /deliveries/{id}", app.get(&newest).await).await;
    hold("GET /renders/{id}/downloads/{index}/link", app.get("/renders/whole/downloads/0/link").await).await;
    hold("GET /livez", app.get("/livez").await).await;
    hold("GET /readyz", app.get("/readyz").await).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn every_refusal_matches_the_document(pool: PgPool) {
    let app = start_with_renders(&pool).await;
    let document = document();
    for (method, operation, path, status) in [
        (Method::GET, "GET /renders", "renders?limit=0", 400),
        (Method::GET, "GET /renders/{id}", "renders/whole?wait=1", 400),
        (Method::GET, "GET /renders/{id}", "renders/nobody", 404),
        (Method::PUT, "PUT /renders/{id}", "renders/nobody", 400),
        (Method::DELETE, "DELETE /renders/{id}", "renders/nobody", 404),
        (Method::POST, "POST /renders/{id}/retry", "renders/nobody/retry", 404),
        (Method::GET, "GET /renders/{id}/downloads/{index}", "renders/nobody/downloads/0", 404),
        (Method::GET, "GET /renders/{id}/downloads/{index}/link", "renders/whole/downloads/1/link", 409),
        (Method::GET, "GET /renders/{id}/downloads/{index}", "renders/whole/downloads/1", 409),
        (Method::POST, "POST /webhook", "webhook", 401),
    ] {
        let answer = app.client.request(method, app.at(path)).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        checked_body(&document, operation, answer).await;
    }
    app.stop().await.unwrap();
}
