//! The page, and the calls of its buttons.

use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Lifecycle, RenderPlan, StandIn};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::{get, receiver, settings};

/// Posts a form as a browser does, without following the redirect.
async fn post(magic_hour: &StandIn, path: &str, form: &str) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let url = magic_hour.base.join(path).unwrap();
    client.post(url).body(form.to_owned()).send().await.unwrap()
}

async fn page(magic_hour: &StandIn, path: &str) -> String {
    reqwest::get(magic_hour.base.join(path).unwrap()).await.unwrap().text().await.unwrap()
}

async fn queued(ids: &[&str]) -> StandIn {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    for id in ids {
        magic_hour.start_render(RenderPlan::new(Kind::Video, *id, Lifecycle::queued())).unwrap();
    }
    magic_hour
}

#[tokio::test]
async fn a_button_ends_a_render_once() {
    let magic_hour = queued(&["one", "two", "three", "four"]).await;
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    let table = [
        ("one", "complete", "", "complete", Value::Null),
        ("two", "cancel", "", "canceled", Value::Null),
        ("three", "fail", "", "error", json!("no_source_face")),
        ("four", "fail", "code=text_too_long", "error", json!("text_too_long")),
    ];
    for (id, action, form, status, code) in table {
        let path = format!("/standin/renders/{id}/{action}");
        let answer = post(&magic_hour, &path, form).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, "/"));
        let (_, project) = get(&magic_hour, &format!("video-projects/{id}")).await;
        assert_eq!((&project["status"], &project["error"]["code"]), (&json!(status), &code));
        assert_eq!(post(&magic_hour, &path, form).await.status(), 409, "it has ended");
    }
    for path in ["/standin/renders/unknown/cancel", "/standin/renders/one/explode"] {
        assert_eq!(post(&magic_hour, path, "").await.status(), 404);
    }
    magic_hour.call_log.wait_for_webhooks(3).await;
    assert_eq!(received.lock().unwrap().len(), 3, "nothing tells of the canceled one");
}

#[tokio::test]
async fn faults_are_posted_and_cleared() {
    let magic_hour = queued(&["one"]).await;
    let status = async || get(&magic_hour, "video-projects/one").await.0;
    assert_eq!(post(&magic_hour, "/standin/faults", "status=503&count=2").await.status(), 303);
    assert_eq!([status().await, status().await, status().await], [503, 503, 200]);
    assert_eq!(post(&magic_hour, "/standin/faults", "status=429&retry_after=7&count=9").await.status(), 303);
    assert_eq!(status().await, 429);
    assert_eq!(post(&magic_hour, "/standin/faults/clear", "").await.status(), 303);
    assert_eq!(status().await, 200);
    for form in ["", "status=200", "status=teapot", "status=503&count=0", "status=503&retry_after=soon"] {
        assert_eq!(post(&magic_hour, "/standin/faults", form).await.status(), 400, "{form}");
    }
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn the_page_and_the_log_show_renders_calls_and_webhooks_with_their_answers() {
    let magic_hour = queued(&["one"]).await;
    let (url, _received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url.clone()));
    assert_eq!(post(&magic_hour, "/standin/renders/one/fail", "").await.status(), 303);
    magic_hour.call_log.wait_for_webhooks(1).await;
    get(&magic_hour, "video-projects/unknown").await;
    let html = page(&magic_hour, "/").await;
    for shown in ["error: no_source_face", "video.errored", "/v1/video-projects/unknown", "404 Not Found", url.as_str()]
    {
        assert!(html.contains(shown), "{shown} is not in {html}");
    }
    assert!(!html.contains("<script") && !html.contains("http-equiv"), "{html}");
    assert!(page(&magic_hour, "/?reload").await.contains("http-equiv=\"refresh\""));

    let log: Value = serde_json::from_str(&page(&magic_hour, "/standin/log").await).unwrap();
    assert_eq!(log["renders"][0]["status"], "error");
    assert_eq!(log["calls"][0]["path"], "/v1/video-projects/unknown");
    assert_eq!((&log["webhooks"][0]["type"], &log["webhooks"][0]["status"]), (&json!("video.errored"), &json!(200)));
}

#[tokio::test]
async fn the_page_starts_renders() {
    let magic_hour = queued(&[]).await;
    assert_eq!(post(&magic_hour, "/standin/renders", "").await.status(), 303);
    let log: Value = serde_json::from_str(&page(&magic_hour, "/standin/log").await).unwrap();
    assert_eq!(log["renders"].as_array().unwrap().len(), 3);
}
