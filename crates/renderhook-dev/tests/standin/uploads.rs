//! Uploads and face detection.

use chrono::TimeDelta;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Settings, StandIn};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{ManualClock, get, send, settings};

async fn post(magic_hour: &StandIn, path: &str, body: Value) -> (u16, Value) {
    send(magic_hour, Method::POST, path, Some(&body)).await
}

async fn put(url: &str, bytes: Vec<u8>) -> u16 {
    Client::new().put(url).body(bytes).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_file_is_put_to_its_url_before_a_create_call_may_name_it() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    let items = json!({"items": [{"type": "image", "extension": "png"}, {"type": "audio", "extension": "mp3"}]});
    let (status, announced) = post(&magic_hour, "files/upload-urls", items).await;
    assert_eq!((status, announced["items"].as_array().unwrap().len()), (200, 2));
    let item = &announced["items"][0];
    let (url, path) = (item["upload_url"].as_str().unwrap(), &item["file_path"]);
    assert!(path.as_str().unwrap().starts_with("api-assets/"), "SDKs know uploaded files by that");

    let upscale = json!({"scale_factor": 2, "assets": {"image_file_path": path}});
    let (status, refused) = post(&magic_hour, "ai-image-upscaler", upscale.clone()).await;
    assert_eq!(status, 422, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("was not uploaded"), "{refused}");

    assert_eq!(put(&url.replace("X-Goog-Expires=1", "X-Goog-Expires=9"), Vec::new()).await, 403);
    assert_eq!(put(url, vec![0; 3 << 20]).await, 200, "more than a request's body may have elsewhere");
    assert_eq!(post(&magic_hour, "ai-image-upscaler", upscale).await.0, 200);
    let calls = magic_hour.call_log.calls();
    let uploads = calls.iter().filter(|call| call.path.starts_with("/uploads/api-assets/"));
    assert_eq!(uploads.map(|call| call.status.unwrap().as_u16()).collect::<Vec<_>>(), [403, 200]);
    // Others' files, and files that were uploaded before, are believed.
    let elsewhere = json!({"scale_factor": 2, "assets": {"image_file_path": "api-assets/id/1234.png"}});
    assert_eq!(post(&magic_hour, "ai-image-upscaler", elsewhere).await.0, 200);
}

#[tokio::test]
async fn an_upload_url_expires_and_is_given_for_documented_extensions_only() {
    let clock = ManualClock::new();
    let magic_hour = StandIn::start(settings(clock.clock())).await.unwrap();
    let announce = |extension| json!({"items": [{"type": "audio", "extension": extension}]});
    for (extension, expected) in [("mp3", 200), ("mp4", 422), ("MP3", 400)] {
        let (status, answer) = post(&magic_hour, "files/upload-urls", announce(extension)).await;
        assert_eq!(status, expected, "{extension}: {answer}");
    }
    assert_eq!(post(&magic_hour, "files/upload-urls", json!({"items": []})).await.0, 400);
    let (_, announced) = post(&magic_hour, "files/upload-urls", announce("wav")).await;
    clock.advance(24 * 60 * 60);
    assert_eq!(put(announced["items"][0]["upload_url"].as_str().unwrap(), Vec::new()).await, 403);
}

#[tokio::test]
async fn face_detection_finds_a_face_after_a_while() {
    let clock = ManualClock::new();
    let settings = Settings { render_time: TimeDelta::seconds(4), ..settings(clock.clock()) };
    let magic_hour = StandIn::start(settings).await.unwrap();
    let body = json!({"assets": {"target_file_path": "api-assets/id/1234.png"}, "confidence_score": 0.5});
    let (status, task) = post(&magic_hour, "face-detection", body).await;
    assert_eq!(status, 200);
    let details = format!("face-detection/{}", task["id"].as_str().unwrap());
    for (seconds, status, faces) in [(0, "queued", 0), (1, "rendering", 0), (3, "complete", 1)] {
        clock.advance(seconds);
        let (_, task) = get(&magic_hour, &details).await;
        assert_eq!((&task["status"], task["faces"].as_array().unwrap().len()), (&json!(status), faces));
    }
    let (_, task) = get(&magic_hour, &details).await;
    let face = task["faces"][0]["url"].as_str().unwrap();
    assert_eq!(reqwest::get(face).await.unwrap().status(), 200);
    assert_eq!(get(&magic_hour, "face-detection/unknown").await.0, 404);
    let invalid = json!({"assets": {"target_file_path": "a"}, "confidence_score": 0.51});
    assert_eq!(post(&magic_hour, "face-detection", invalid).await.0, 400);
}
