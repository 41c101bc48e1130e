//! Create calls: every mode, what they refuse, and how a render's name says how it ends.

use chrono::TimeDelta;
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{ApiDescription, Mode, Settings, StandIn};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::Url;

use crate::support::{answered, call, get, key, receiver, send, settings};

/// A stand-in whose renders take no time.
async fn instant() -> StandIn {
    StandIn::start(Settings { render_time: TimeDelta::zero(), ..settings(Clock::system()) }).await.unwrap()
}

/// The example of the description, or of an SDK where the description does not have the mode.
fn example(mode: &Mode) -> Value {
    let call = ApiDescription::magic_hour().operation(&Method::POST, &format!("/v1/{}", mode.path));
    let described = call.map(|call| call.request.as_ref().unwrap().example().unwrap());
    described.unwrap_or_else(|| json!({"name": "An SDK's", "end_seconds": 5, "style": {"prompt": "A dog"}}))
}

#[tokio::test]
async fn every_mode_creates_a_render_whose_files_can_be_fetched_and_which_can_be_deleted() {
    let magic_hour = instant().await;
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    let mut all_details = Vec::new();
    for mode in Mode::ALL {
        let (status, created) = send(&magic_hour, Method::POST, mode.path, Some(&example(mode))).await;
        assert_eq!(status, 200, "{}: {created}", mode.path);
        let cost = match mode.kind {
            Kind::Video => Some("estimated_frame_cost"),
            Kind::Image => Some("frame_cost"),
            Kind::Audio => None,
        };
        assert!(cost.is_none_or(|field| created[field] == created["credits_charged"]), "{}: {created}", mode.path);
        let details = format!("{}-projects/{}", mode.kind, created["id"].as_str().unwrap());
        let (_, project) = get(&magic_hour, &details).await;
        assert_eq!((&project["status"], &project["type"]), (&json!("complete"), &json!(mode.project_type)));
        assert_eq!(project["credits_charged"], created["credits_charged"]);
        assert_eq!(project["name"], example(mode)["name"]);
        let file = project["downloads"][0]["url"].as_str().unwrap();
        assert_eq!(reqwest::get(file).await.unwrap().status(), 200);
        all_details.push(details);
    }
    magic_hour.call_log.wait_for_webhooks(2 * Mode::ALL.len()).await;
    assert_eq!(received.lock().unwrap().len(), 2 * Mode::ALL.len(), "each is accepted at once");
    for details in all_details {
        assert_eq!(call(&magic_hour, Method::DELETE, &details).await.0, 204);
    }
}

#[tokio::test]
async fn as_many_images_as_asked_for_come_each_with_a_name_and_bytes_of_its_own() {
    let magic_hour = instant().await;
    let body = json!({"image_count": 3, "style": {"prompt": "A dog"}});
    let (_, created) = send(&magic_hour, Method::POST, "ai-image-generator", Some(&body)).await;
    assert_eq!(created["credits_charged"], 15);
    let (_, project) = get(&magic_hour, &format!("image-projects/{}", created["id"].as_str().unwrap())).await;
    assert_eq!(project["image_count"], 3);
    let mut files = Vec::new();
    for (number, download) in (0..).zip(project["downloads"].as_array().unwrap()) {
        let url = Url::parse(download["url"].as_str().unwrap()).unwrap();
        assert!(url.path().ends_with(&format!("/output-{number}.png")), "{url}");
        files.push(reqwest::get(url).await.unwrap().bytes().await.unwrap());
    }
    assert_eq!(files.len(), 3);
    assert!(files[0] != files[1] && files[1] != files[2]);
}

#[tokio::test]
async fn a_body_that_is_not_as_described_gets_400_and_one_that_cannot_be_rendered_422() {
    let magic_hour = instant().await;
    let swap = |assets: Value| json!({"start_seconds": 0, "end_seconds": 5, "assets": assets});
    let table = [
        ("text-to-video", json!([]), 400, "the body is not an object"),
        ("text-to-video", json!({"end_seconds": 5}), 400, "`style` is missing"),
        ("text-to-video", json!({"end_seconds": 61, "style": {"prompt": ""}}), 400, "`end_seconds` is greater than 60"),
        ("text-to-video", json!({"end_seconds": 5, "style": {"prompt": ""}}), 400, "`style.prompt` is shorter than 1"),
        ("face-swap", swap(json!({"video_source": "disk"})), 400, "`assets.video_source` must be one of"),
        ("face-swap", swap(json!({"video_source": "youtube"})), 422, "`assets.youtube_url` is required"),
        ("ai-music-generator", json!("a song"), 400, "the body is not an object"),
        ("model", json!({}), 404, "Not Found"),
    ];
    for (path, body, status, message) in table {
        let (answered, answer) = send(&magic_hour, Method::POST, path, Some(&body)).await;
        assert_eq!(answered, status, "{path} {body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{path} {body}: {answer}");
    }
    let missing = (400, json!({"message": "Missing request body"}));
    assert_eq!(call(&magic_hour, Method::POST, "lip-sync").await, missing);
    let post = Client::new().post(format!("{}/v1/lip-sync", magic_hour.base)).bearer_auth(key(&magic_hour));
    let (status, answer) = answered(&Method::POST, "lip-sync", post.body("{").send().await.unwrap()).await;
    assert_eq!(status, 400, "{answer}");
    let calls = magic_hour.call_log.calls();
    assert!(calls.iter().all(|call| call.created.is_none()), "nothing was created");
}

#[tokio::test]
async fn the_name_of_a_render_may_say_that_it_fails_is_canceled_or_is_not_reported() {
    let magic_hour = instant().await;
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    let table = [
        ("order #silent #fail", "error", json!("no_source_face")),
        ("order #fail:text_too_long", "error", json!("text_too_long")),
        ("#cancel", "canceled", Value::Null),
    ];
    for (name, status, code) in table {
        let body = json!({"name": name, "style": {"prompt": "Hello", "voice_name": "Morgan Freeman"}});
        let (_, created) = send(&magic_hour, Method::POST, "ai-voice-generator", Some(&body)).await;
        let (_, project) = get(&magic_hour, &format!("audio-projects/{}", created["id"].as_str().unwrap())).await;
        assert_eq!((&project["status"], &project["error"]["code"]), (&json!(status), &code));
        assert_eq!(project["credits_charged"], 0, "it is refunded");
    }
    // Two that have started, and one that has failed.
    magic_hour.call_log.wait_for_webhooks(3).await;
    let received = received.lock().unwrap();
    let failed = received.iter().filter(|(_, body)| body.windows(13).any(|text| text == b"audio.errored"));
    assert_eq!(failed.count(), 1);
    assert!(received.iter().all(|(_, body)| !body.windows(7).any(|text| text == b"#silent")));
}

#[tokio::test]
async fn urls_begin_with_the_host_of_the_request_and_in_webhooks_with_the_public_url() {
    let public_url = Some("http://standin.example:9000".to_owned());
    let settings = Settings { render_time: TimeDelta::zero(), public_url, ..settings(Clock::system()) };
    let magic_hour = StandIn::start(settings).await.unwrap();
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    let body = json!({"image_count": 1, "style": {"prompt": "A dog"}});
    let (_, created) = send(&magic_hour, Method::POST, "ai-image-generator", Some(&body)).await;
    let details = format!("image-projects/{}", created["id"].as_str().unwrap());
    let request = Client::new().get(format!("{}/v1/{details}", magic_hour.base)).bearer_auth(key(&magic_hour));
    let answer = request.header("host", "elsewhere:1").send().await.unwrap();
    let (_, project) = answered(&Method::GET, &details, answer).await;
    let file = project["downloads"][0]["url"].as_str().unwrap();
    let path = file.strip_prefix("http://elsewhere:1/").unwrap();
    assert_eq!(reqwest::get(magic_hour.base.join("/").unwrap().join(path).unwrap()).await.unwrap().status(), 200);
    magic_hour.call_log.wait_for_webhooks(2).await;
    let received = received.lock().unwrap();
    let bodies = received.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap());
    let urls: Vec<_> =
        bodies.filter_map(|body| Some(body["payload"]["downloads"][0]["url"].as_str()?.to_owned())).collect();
    assert_eq!(urls.len(), 1);
    assert!(urls[0].starts_with("http://standin.example:9000/files/"), "{urls:?}");
}
