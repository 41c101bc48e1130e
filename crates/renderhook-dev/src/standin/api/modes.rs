//! The modes of Magic Hour: each has a call that creates a project.

use renderhook::domain::Kind;

/// A mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// The path of its call, below `/v1/`.
    pub path: &'static str,
    /// The kind of its projects.
    pub kind: Kind,
    /// The type of its projects, as their details say it.
    pub project_type: &'static str,
}

/// Those of Magic Hour's description, then those that only its SDKs have: a newer description will have some of them, and an
/// earlier one had `ai-photo-editor`.
const MODES: [Mode; 32] = [
    video("ai-talking-photo", "TALKING_PHOTO"),
    video("ai-video-editor", "VIDEO_EDITOR"),
    video("animation", "ANIMATION"),
    video("audio-to-video", "AUDIO_TO_VIDEO"),
    video("auto-subtitle-generator", "AUTO_SUBTITLE"),
    video("character-replace", "CHARACTER_REPLACE"),
    video("face-swap", "FACE_SWAP"),
    video("image-to-video", "IMAGE_TO_VIDEO"),
    video("lip-sync", "LIP_SYNC"),
    video("text-to-video", "TEXT_TO_VIDEO"),
    video("video-to-video", "VIDEO_TO_VIDEO"),
    image("ai-clothes-changer", "CLOTHES_CHANGER"),
    image("ai-face-editor", "FACE_EDITOR"),
    image("ai-gif-generator", "AI_GIF"),
    image("ai-headshot-generator", "AI_HEADSHOT"),
    image("ai-image-editor", "AI_IMAGE_EDITOR"),
    image("ai-image-generator", "AI_IMAGE"),
    image("ai-image-upscaler", "IMAGE_UPSCALER"),
    image("ai-meme-generator", "AI_MEME"),
    image("ai-qr-code-generator", "QR_CODE"),
    image("body-swap", "BODY_SWAP"),
    image("face-swap-photo", "FACE_SWAP"),
    image("head-swap", "HEAD_SWAP"),
    image("image-background-remover", "BACKGROUND_REMOVER"),
    image("photo-colorizer", "PHOTO_COLORIZER"),
    audio("ai-voice-cloner", "VOICE_CLONER"),
    audio("ai-voice-generator", "VOICE_GENERATOR"),
    audio("ai-music-generator", "MUSIC_GENERATOR"),
    image("ai-photo-editor", "PHOTO_EDITOR"),
    video("ai-ugc-ad", "UGC_AD"),
    video("ai-video-translator", "VIDEO_TRANSLATOR"),
    video("ai-video-upscaler", "VIDEO_UPSCALER"),
];

impl Mode {
    /// All modes.
    pub const ALL: &'static [Self] = &MODES;

    /// The mode with this path.
    #[must_use]
    pub fn at(path: &str) -> Option<&'static Self> {
        MODES.iter().find(|mode| mode.path == path)
    }
}

const fn video(path: &'static str, project_type: &'static str) -> Mode {
    Mode { path, kind: Kind::Video, project_type }
}

const fn image(path: &'static str, project_type: &'static str) -> Mode {
    Mode { path, kind: Kind::Image, project_type }
}

const fn audio(path: &'static str, project_type: &'static str) -> Mode {
    Mode { path, kind: Kind::Audio, project_type }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;

    use super::super::description::{ApiDescription, ApiOperation};
    use super::*;

    /// The calls that create something else than a project.
    const OTHERS: [&str; 2] = ["/v1/files/upload-urls", "/v1/face-detection"];

    #[test]
    fn every_create_call_of_the_description_is_a_mode_and_few_modes_are_not_in_it() {
        let creates = |call: &&ApiOperation| call.method == Method::POST && !OTHERS.contains(&&*call.path);
        let described = ApiDescription::magic_hour().operations().iter().filter(creates);
        let described: BTreeSet<_> = described.map(|call| call.path.trim_start_matches("/v1/")).collect();
        let modes: BTreeSet<_> = MODES.iter().map(|mode| mode.path).collect();
        assert_eq!(modes.len(), MODES.len());
        assert_eq!(described.difference(&modes).count(), 0, "{described:?}");
        let only_in_sdks: Vec<_> = modes.difference(&described).copied().collect();
        let expected =
            ["ai-music-generator", "ai-photo-editor", "ai-ugc-ad", "ai-video-translator", "ai-video-upscaler"];
        assert_eq!(only_in_sdks, expected);
    }
}
