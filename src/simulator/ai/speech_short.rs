//! Short audio to text at Azure Speech: one utterance, of which the first minute is heard. Everything that was understood
//! is answered with 200, also that nothing was.

use serde_json::json;

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::measure::measure;
use super::pause;
use super::refusal::plain;
use super::transcript::{CONFIDENCE, Task, text, transcript};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

/// One minute; the rest is not heard.
const LONGEST: u64 = 60_000;

/// Times are told in these.
const TICKS_A_MILLISECOND: u64 = 10_000;

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    if !request.query("language").is_some_and(|language| language.contains('-')) {
        return Err(plain(400, "The language is missing or not supported."));
    }
    let detailed = match request.query("format") {
        None | Some("simple") => false,
        Some("detailed") => true,
        Some(_) => return Err(plain(400, "The format must be simple or detailed.")),
    };
    let audio = measure(request.body.clone()).await.filter(|audio| audio.is_plain_16_khz() || audio.is_ogg_opus());
    let audio = audio.ok_or_else(|| plain(400, "The audio is not WAV (PCM, 16 kHz, 16 bits, mono) or OGG (OPUS)."))?;
    let heard = audio.milliseconds.min(LONGEST);
    let running = Running::without_tokens(simulator, "speech-short", AiKind::Transcription);
    running.book(|call| call.audio_ms = heard);
    pause(simulator).await;
    let phrases = transcript(heard, Task::Transcribe);
    let asked_for = simulator.faults().take(|switches| &mut switches.ai_no_match_next);
    let (Some(first), Some(last), false, false) = (phrases.first(), phrases.last(), audio.silent, asked_for) else {
        let duration = heard * TICKS_A_MILLISECOND;
        return Ok(whole(running, &json!({ "RecognitionStatus": "NoMatch", "Offset": 0, "Duration": duration })));
    };
    let display = text(&phrases);
    let mut answer = json!({
        "RecognitionStatus": "Success", "DisplayText": display, "Offset": first.start * TICKS_A_MILLISECOND,
        "Duration": (last.end() - first.start) * TICKS_A_MILLISECOND,
    });
    if detailed {
        let bare = display.replace('.', "");
        answer["NBest"] = json!([{
            "Confidence": CONFIDENCE, "Lexical": bare.to_lowercase(), "ITN": bare, "MaskedITN": bare, "Display": display,
        }]);
    }
    Ok(whole(running, &answer))
}
