//! Text to audio at Azure OpenAI: 60 ms for every character, divided by the speed.

use bytes::Bytes;
use serde_json::Value;

use super::calls::{AiKind, Running};
use super::delivery::in_pieces;
use super::models::{Ability, deployment};
use super::refusal::{coded, invalid};
use super::sound::Sound;
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

const MOST_CHARACTERS: u64 = 4_096;

/// What a character takes.
pub const MILLISECONDS_EACH: u64 = 60;

const VOICES: &[&str] =
    &["alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse"];

pub async fn answer(simulator: &Simulator, family: Family, request: &Request) -> Result<Answer, Reply> {
    let body = request.json();
    let (name, _) = deployment(family, request, body["model"].as_str(), Ability::Speech)?;
    let input = body["input"].as_str().filter(|input| !input.is_empty());
    let input = input.ok_or_else(|| invalid("input must be text that is not empty.", "input".into()))?;
    let characters = input.chars().count() as u64;
    if characters > MOST_CHARACTERS {
        let message = "String should have at most 4096 characters";
        return Err(coded(400, "string_above_max_length".into(), message, "input".into()));
    }
    if !body["voice"].as_str().is_some_and(|voice| VOICES.contains(&voice)) {
        return Err(invalid(&format!("voice must be one of {VOICES:?}."), "voice".into()));
    }
    let sound = match body.get("response_format").filter(|format| !format.is_null()).map(Value::as_str) {
        None | Some(Some("mp3")) => Sound::Mp3 { rate: 24_000, bits: 160_000 },
        Some(Some("opus")) => Sound::Opus,
        Some(Some("aac")) => Sound::Aac,
        Some(Some("flac")) => Sound::Flac,
        Some(Some("wav")) => Sound::Wav { rate: 24_000 },
        Some(Some("pcm")) => Sound::Pcm { rate: 24_000 },
        Some(_) => return Err(invalid("response_format has no accepted value.", "response_format".into())),
    };
    if body.get("stream_format").is_some_and(|format| format != "audio") {
        return Err(invalid("The simulator speaks in audio only.", "stream_format".into()));
    }
    let speed = match body.get("speed").filter(|speed| !speed.is_null()) {
        None => 1.0,
        Some(speed) => speed
            .as_f64()
            .filter(|speed| (0.25..=4.0).contains(speed))
            .ok_or_else(|| invalid("speed must be from 0.25 to 4.", "speed".into()))?,
    };
    let milliseconds = length(characters, speed);
    let running = Running::without_tokens(simulator, &name, AiKind::Speech);
    running.book(|call| (call.characters, call.audio_ms) = (characters, milliseconds));
    pause(simulator).await;
    Ok(in_pieces(running, sound.mime(), Bytes::from(sound.make(milliseconds))))
}

/// Rounded to the millisecond. The speed is from 0.25 to 4, and the text short.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small and positive"
)]
fn length(characters: u64, speed: f64) -> u64 {
    ((characters * MILLISECONDS_EACH) as f64 / speed).round() as u64
}
