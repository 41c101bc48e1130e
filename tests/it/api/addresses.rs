//! `API_LISTEN_ADDR`: a second address for everything but the webhook.

use futures::future::join_all;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use url::Url;

use crate::support::app::{TOKEN, signed, video};
use crate::support::process::{Service, database_url, serve};
use crate::support::raw::begin_delivery;
use crate::support::{App, Options, until};

const HEALTH: [&str; 2] = ["GET /livez", "GET /readyz"];

async fn start(pool: &PgPool, mut options: Options) -> (App, Url) {
    options.flags.push("--api-listen-addr=127.0.0.1:0".to_owned());
    let app = App::start_with(pool, options).await;
    let api = app.api_base.clone().unwrap();
    (app, api)
}

/// Every operation of the document, such as `GET /renders/{id}`.
fn operations() -> Vec<String> {
    let document = serde_json::to_value(renderhook::api::openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|it| it.to_uppercase()).collect::<Vec<_>>();
    paths.flat_map(|(path, item)| methods(item).into_iter().map(move |method| format!("{method} {path}"))).collect()
}

#[sqlx::test]
async fn the_public_address_serves_the_webhook_and_health_checks_and_the_other_one_the_rest(pool: PgPool) {
    let (app, api) = start(&pool, Options::flags(&["--download-concurrency=0"])).await;
    for operation in operations() {
        let (method, path) = operation.split_once(' ').unwrap();
        // A render that exists would be 404 nowhere.
        let path = path.replace("{id}", "1").replace("{index}", "0");
        let ask = async |base: &Url| {
            let request = app.client.request(method.parse().unwrap(), base.join(&path).unwrap());
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.text().await.unwrap().contains("this path does not exist"))
        };
        let (public, api) = (ask(&app.base).await, ask(&api).await);
        let (on_public, on_api) = (public != (404, true), api != (404, true));
        let is_health = HEALTH.contains(&operation.as_str());
        assert_eq!((on_public, on_api), (is_health || path == "/webhook", path != "/webhook"), "{operation}");
        assert!(!is_health || (public.0, api.0) == (200, 200), "{operation}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_file_is_read_at_the_second_address_with_a_token_or_a_link(pool: PgPool) {
    let (app, api) = start(&pool, Options::default()).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("a.mp4", b"bytes".to_vec(), "video/mp4").unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    let get = async |path: &str, token: Option<&str>| {
        let request = app.client.get(api.join(path).unwrap());
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    until("the file to be stored", || async {
        get("renders/clx", Some(TOKEN)).await.1.contains(r#""archive":"stored""#).then_some(())
    })
    .await;
    let (_, link) = get("renders/clx/downloads/0/link", Some(TOKEN)).await;
    let link: Value = serde_json::from_str(&link).unwrap();
    assert_eq!(get(link["url"].as_str().unwrap(), None).await, (200, "bytes".to_owned()));
    assert_eq!(get("renders/clx/downloads/0", None).await.0, 401);
    assert_eq!(app.client.get(app.at(link["url"].as_str().unwrap())).send().await.unwrap().status(), 404);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_second_address_answers_while_every_connection_of_the_first_is_busy(pool: PgPool) {
    let mut options = Options::flags(&["--download-concurrency=0"]);
    (options.http_limits.connections, options.http_limits.reserved_connections) = (12, 1);
    options.http_limits.body_timeout = std::time::Duration::from_mins(1);
    let (app, api) = start(&pool, options).await;
    // A third of the 12 of the API come on top.
    let busy = join_all((0..4).map(|_| begin_delivery(&app))).await;
    let public = app.client.get(app.at("renders")).send().await.unwrap();
    assert_eq!(public.status(), 503, "only the reserved connection is left");
    let answer = app.client.get(api.join("renders").unwrap()).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    app.shutdown.stop();
    drop(busy);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_stop_drains_both_addresses(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    command.env("API_LISTEN_ADDR", "127.0.0.1:0");
    let service = Service::start(command).await;
    let started = &service.log.events("service.started")[0];
    let api = Url::parse(&format!("http://{}/", started["api.address"].as_str().unwrap())).unwrap();
    assert_ne!(api, service.base);
    let delivery = signed(&video("one", "rendering").event("video.started"));
    assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
    // Answered at the stop, not cut off.
    let url = api.join("renders/one?wait=60s").unwrap();
    let waiting = tokio::spawn(service.client.get(url).bearer_auth(TOKEN).send());
    let mut stream = service.client.get(api.join("events").unwrap()).bearer_auth(TOKEN);
    stream = stream.header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    service.stop().await;
    assert!(stream.text().await.unwrap().contains("event: end"), "the stream ends in order");
    // It may have come too late to be accepted.
    if let Ok(answer) = waiting.await.unwrap() {
        assert_eq!(answer.status(), 200);
    }
}
