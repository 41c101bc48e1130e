//! A create call: from its body to a render.

use std::time::Duration;

use axum::http::Method;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use renderhook::domain::Kind;
use serde_json::Value;
use uuid::Uuid;

use super::description::ApiDescription;
use super::modes::Mode;
use super::name_directives::NameDirectives;
use crate::standin::renders::{Lifecycle, OutputFile, RenderPlan, VideoFacts};

/// What a second of video costs: a credit for each of its frames, as Magic Hour once counted.
const CREDITS_PER_SECOND: u128 = 30;
const CREDITS_PER_IMAGE: u128 = 5;
const CREDITS_OF_AUDIO: u128 = 2;

/// Why a body that is as described cannot be rendered.
pub(super) fn problem(body: &Value) -> Option<String> {
    let seconds = |field: &str| body[field].as_f64();
    if let (Some(start), Some(end)) = (seconds("start_seconds"), seconds("end_seconds"))
        && end <= start
    {
        return Some(format!("`end_seconds` must be greater than `start_seconds`: {end} is not greater than {start}"));
    }
    let assets = &body["assets"];
    let needs = |source: &str, value: &str, field: &str| {
        let is_missing = assets[source] == value && assets[field].as_str().is_none_or(str::is_empty);
        is_missing.then(|| format!("`assets.{field}` is required if `assets.{source}` is `{value}`"))
    };
    needs("video_source", "file", "video_file_path")
        .or_else(|| needs("video_source", "youtube", "youtube_url"))
        .or_else(|| needs("audio_source", "file", "audio_file_path"))
        .or_else(|| needs("audio_source", "youtube", "youtube_url"))
        .or_else(|| needs("face_swap_mode", "individual-faces", "face_mappings").filter(|_| no_mappings(assets)))
}

fn no_mappings(assets: &Value) -> bool {
    assets["face_mappings"].as_array().is_none_or(Vec::is_empty)
}

/// Every text among the assets.
pub(super) fn asset_paths(body: &Value) -> Vec<&str> {
    fn collect<'a>(value: &'a Value, paths: &mut Vec<&'a str>) {
        match value {
            Value::String(path) => paths.push(path),
            Value::Array(values) => values.iter().for_each(|value| collect(value, paths)),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, paths)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut paths = Vec::new();
    collect(&body["assets"], &mut paths);
    paths
}

/// The render that a create call starts at `now`. It takes `render_time`, unless its name says otherwise.
pub(in crate::standin) fn plan_render(
    mode: &Mode,
    body: &Value,
    now: DateTime<Utc>,
    render_time: TimeDelta,
) -> RenderPlan {
    let uuid = Uuid::new_v4();
    let name = body["name"].as_str().map(str::to_owned).or_else(|| default_name(mode, now));
    let directives = NameDirectives::read(name.as_deref().unwrap_or_default());
    let is_silent = directives.is_silent;
    let lifecycle = Lifecycle::lasting(directives.render_time.unwrap_or(render_time), directives.end);
    // As short as Magic Hour's.
    let mut plan = RenderPlan::new(mode.kind, format!("c{}", &uuid.simple().to_string()[..24]), lifecycle);
    plan.project_type = mode.project_type;
    plan.name = name;
    plan.is_silent = is_silent;
    plan.video = video_facts(body);
    plan.files = files(mode.kind, body, uuid.as_u64_pair().0);
    plan.image_count = (mode.kind == Kind::Image).then_some(plan.files.len());
    plan.estimated_credits = credits(mode.kind, &plan);
    plan.final_credits = plan.estimated_credits;
    plan
}

/// The documented default, such as `Face Swap - dateTime`.
fn default_name(mode: &Mode, now: DateTime<Utc>) -> Option<String> {
    let call = ApiDescription::magic_hour().operation(&Method::POST, &format!("/v1/{}", mode.path))?;
    let name = call.request.as_ref()?.default_of("name")?.as_str()?;
    Some(name.replace("dateTime", &now.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

fn video_facts(body: &Value) -> VideoFacts {
    let usual = VideoFacts::default();
    let number = |field: &str, otherwise: f64| body[field].as_f64().unwrap_or(otherwise);
    VideoFacts {
        width: body["width"].as_i64().unwrap_or(usual.width),
        height: body["height"].as_i64().unwrap_or(usual.height),
        fps: number("fps", usual.fps),
        start_seconds: number("start_seconds", usual.start_seconds),
        end_seconds: number("end_seconds", usual.end_seconds),
    }
}

/// As many as are asked for, each with a name and bytes of its own.
fn files(kind: Kind, body: &Value, seed: u64) -> Vec<OutputFile> {
    let file = match kind {
        Kind::Video => OutputFile::video(seed),
        Kind::Audio => OutputFile { name: "output.wav".to_owned(), ..OutputFile::audio(seed) },
        Kind::Image if body["output_format"] == "mp4" => OutputFile::video(seed),
        Kind::Image => OutputFile { name: "output.png".to_owned(), ..OutputFile::image(seed) },
    };
    let count = body["image_count"].as_f64().filter(|_| kind == Kind::Image).unwrap_or(1.0);
    if count <= 1.0 {
        return vec![file];
    }
    let image = |number: u32| OutputFile {
        name: format!("output-{number}.png"),
        ..OutputFile::image(seed.wrapping_add(number.into()))
    };
    // At most 16, by the schemas.
    (0..16).take_while(|number| f64::from(*number) < count).map(image).collect()
}

fn credits(kind: Kind, plan: &RenderPlan) -> i64 {
    let credits = match kind {
        Kind::Video => {
            let length = Duration::try_from_secs_f64(plan.video.end_seconds - plan.video.start_seconds);
            (length.unwrap_or_default().as_millis() * CREDITS_PER_SECOND).div_ceil(1000)
        }
        Kind::Image => plan.files.iter().map(|_| CREDITS_PER_IMAGE).sum(),
        Kind::Audio => CREDITS_OF_AUDIO,
    };
    credits.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::standin::renders::Stage;

    fn plan_of(path: &str, body: &Value) -> RenderPlan {
        plan_render(Mode::at(path).unwrap(), body, DateTime::UNIX_EPOCH, TimeDelta::seconds(8))
    }

    #[test]
    fn what_cannot_be_rendered_is_said() {
        let table = [
            (json!({"start_seconds": 5, "end_seconds": 5}), Some("`end_seconds`")),
            (json!({"end_seconds": 5}), None),
            (json!({"assets": {"video_source": "file"}}), Some("`assets.video_file_path`")),
            (json!({"assets": {"video_source": "file", "video_file_path": "a"}}), None),
            (json!({"assets": {"video_source": "youtube", "video_file_path": "a"}}), Some("`assets.youtube_url`")),
            (json!({"assets": {"audio_source": "none"}}), None),
            (json!({"assets": {"audio_source": "file"}}), Some("`assets.audio_file_path`")),
            (json!({"assets": {"face_swap_mode": "individual-faces"}}), Some("`assets.face_mappings`")),
            (json!({"assets": {"face_swap_mode": "individual-faces", "face_mappings": [{}]}}), None),
        ];
        for (body, start) in table {
            let problem = problem(&body);
            assert_eq!(problem.is_some(), start.is_some(), "{body}: {problem:?}");
            assert!(problem.is_none_or(|problem| problem.starts_with(start.unwrap_or_default())), "{body}");
        }
    }

    #[test]
    fn a_render_is_what_its_call_asks_for() {
        let table = [
            ("text-to-video", json!({"end_seconds": 5}), "TEXT_TO_VIDEO", 150, vec!["output.mp4"]),
            ("animation", json!({"start_seconds": 1.0, "end_seconds": 1.5}), "ANIMATION", 15, vec!["output.mp4"]),
            ("ai-image-generator", json!({"image_count": 1}), "AI_IMAGE", 5, vec!["output.png"]),
            ("ai-image-editor", json!({"image_count": 2}), "AI_IMAGE_EDITOR", 10, vec!["output-0.png", "output-1.png"]),
            ("ai-gif-generator", json!({"output_format": "mp4"}), "AI_GIF", 5, vec!["output.mp4"]),
            ("ai-voice-cloner", json!({}), "VOICE_CLONER", 2, vec!["output.wav"]),
        ];
        for (path, body, project_type, credits, names) in table {
            let plan = plan_of(path, &body);
            assert_eq!((plan.project_type, plan.estimated_credits), (project_type, credits));
            assert_eq!(plan.files.iter().map(|file| &*file.name).collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn its_name_may_say_how_it_ends() {
        let end = |name: &str, seconds| {
            let plan = plan_of("lip-sync", &json!({"name": name, "end_seconds": 1}));
            plan.lifecycle.at(TimeDelta::seconds(seconds)).cloned().unwrap()
        };
        assert_eq!(plan_of("lip-sync", &json!({})).name.as_deref(), Some("Lip Sync - 1970-01-01T00:00:00Z"));
        assert_eq!(plan_of("ai-meme-generator", &json!({})).name, None);
        assert_eq!(end("order-17", 7), Stage::Rendering);
        assert_eq!(end("order-17", 8), Stage::Complete);
        assert_eq!(end("order-17 #fail:text_too_long", 8), Stage::error("text_too_long"));
        assert_eq!(end("order-17 #cancel #time:20s", 8), Stage::Rendering);
        assert_eq!(end("order-17 #cancel #time:20s", 20), Stage::Canceled);
    }

    #[test]
    fn every_text_among_the_assets_is_a_path() {
        let body = json!({"name": "a", "assets": {"b": "b", "c": ["d"], "e": [{"f": "g"}]}});
        assert_eq!(asset_paths(&body), ["b", "d", "g"]);
    }
}
