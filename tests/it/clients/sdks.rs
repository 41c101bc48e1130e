//! Magic Hour's own SDKs create, poll, download and delete against the stand-in.

use std::process::{Output, Stdio};

use axum::http::Method;
use chrono::TimeDelta;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{ApiDescription, Mode, Settings, StandIn};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;

use super::programs::{Language, are_installed, copy, folder, interpreter};

/// Modes that the SDK for Python does not have any longer.
const NOT_IN_PYTHON: [&str; 1] = ["ai-photo-editor"];

/// The arguments of a mode's create function: the example of the description, or of the SDK where the description does not
/// have the mode.
fn arguments(mode: &Mode) -> Value {
    let call = ApiDescription::magic_hour().operation(&Method::POST, &format!("/v1/{}", mode.path));
    match (call, mode.path) {
        (Some(call), _) => call.request.as_ref().unwrap().example().unwrap(),
        (None, "ai-music-generator") => json!({"duration": 120, "style": {"prompt": "Dreamy", "instrumental": true}}),
        (None, "ai-ugc-ad") => {
            json!({"end_seconds": 4, "script": "Meet it", "assets": {"image_file_path": "api-assets/id/1.png"}})
        }
        (None, "ai-video-translator") => {
            json!({"end_seconds": 5, "target_language": "Spanish", "assets": {"video_file_path": "api-assets/id/1.mp4"}})
        }
        (None, "ai-video-upscaler") => {
            json!({"end_seconds": 5, "resolution": "1080p", "assets": {"video_file_path": "api-assets/id/1.mp4"}})
        }
        (None, path) => panic!("{path} is in no description: give its arguments here"),
    }
}

/// Runs a script with the SDK against a stand-in whose renders take no time, and writes `input` to it.
async fn run(language: Language, script: &str, input: &Value) -> (Output, StandIn) {
    let settings = Settings::new(Clock::system(), SecretString::from("whsec_unused"));
    let magic_hour = StandIn::start(Settings { render_time: TimeDelta::zero(), ..settings }).await.unwrap();
    let folder = folder();
    let mut command = interpreter(language);
    command.arg(copy(script, &folder)).current_dir(&folder);
    command.env("MAGIC_HOUR_URL", magic_hour.base.as_str()).env("MAGIC_HOUR_KEY", magic_hour.api_key.expose_secret());
    command.env("MAGIC_HOUR_POLL_INTERVAL", "0.01");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
    (child.wait_with_output().await.unwrap(), magic_hour)
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn every_create_function_of_the_python_sdk_creates_a_render_that_it_downloads_and_deletes() {
    if !are_installed() {
        return;
    }
    let modes: Vec<_> = Mode::ALL.iter().filter(|mode| !NOT_IN_PYTHON.contains(&mode.path)).collect();
    let call = |mode: &&Mode| json!({"kind": mode.kind, "arguments": arguments(mode)});
    let calls: Map<_, _> = modes.iter().map(|mode| (mode.path.replace('-', "_"), call(mode))).collect();
    let (output, magic_hour) = run(Language::Python, "tests/clients/magic_hour_sdk.py", &calls.into()).await;
    assert_success(&output);
    let calls = magic_hour.call_log.calls();
    for mode in modes {
        let path = format!("/v1/{}", mode.path);
        let created = calls.iter().any(|call| call.path == path && call.created.is_some());
        assert!(created, "{path} was not called");
    }
}

#[tokio::test]
async fn the_node_sdk_creates_downloads_and_deletes_a_render_of_each_kind() {
    if !are_installed() {
        return;
    }
    let (output, magic_hour) = run(Language::Node, "tests/clients/magic_hour_sdk.mjs", &Value::Null).await;
    assert_success(&output);
    let calls = magic_hour.call_log.calls();
    let deleted = calls.iter().filter(|call| call.method == Method::DELETE).count();
    assert_eq!((deleted, calls.iter().filter(|call| call.created.is_some()).count()), (3, 4));
}
