//! Audio to text at Azure OpenAI. A model of the Whisper kind writes all formats and says nothing of usage; a newer one
//! writes JSON only and counts tokens: one for every 100 ms begun, one for every four characters.

use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::{whole, whole_text};
use super::form::Form;
use super::measure::measure;
use super::models::{Ability, Model, deployment};
use super::refusal::{coded, invalid, unknown_deployment};
use super::transcript::{CONFIDENCE, Phrase, Task, text, transcript};
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request, json_reply};

const LARGEST_FILE: usize = 25 << 20;

/// Milliseconds.
const SHORTEST: u64 = 100;

/// The names' endings count, whatever the bytes are.
const ENDINGS: &[&str] = &["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
    Srt,
    Vtt,
    Verbose,
}

/// A request that was understood, and its audio.
struct Order {
    deployment: String,
    model: Model,
    task: Task,
    format: Format,
    language: String,
    segments: bool,
    words: bool,
    prompt_tokens: u64,
    milliseconds: u64,
}

pub async fn answer(simulator: &Simulator, family: Family, task: Task, request: &Request) -> Result<Answer, Reply> {
    let form = Form::read(request).await;
    let form = form.ok_or_else(|| invalid("The body is not a form of several parts.", Value::Null))?;
    let order = read(simulator, family, task, request, &form).await?;
    let kind = match task {
        Task::Transcribe => AiKind::Transcription,
        Task::Translate => AiKind::Translation,
    };
    let phrases = transcript(order.milliseconds, task);
    let text = text(&phrases);
    let counts = order.model == Model::Transcribe;
    let heard = order.milliseconds.div_ceil(100);
    let input = if counts { heard + order.prompt_tokens } else { 0 };
    let running = Running::begin(simulator, &order.deployment, kind, false, &Value::Null, input);
    running.book(|call| call.audio_ms = order.milliseconds);
    pause(simulator).await;
    if counts {
        let output = (text.chars().count() as u64).div_ceil(4);
        running.produced(output);
        let mut answer = json!({ "text": text });
        if !simulator.faults().take(|switches| &mut switches.ai_no_usage_next) {
            answer["usage"] = json!({
                "type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
                "input_token_details": { "text_tokens": order.prompt_tokens, "audio_tokens": heard },
            });
        }
        return Ok(whole(running, &answer));
    }
    const PLAIN: &str = "text/plain; charset=utf-8";
    Ok(match order.format {
        Format::Json => whole(running, &json!({ "text": text })),
        Format::Verbose => whole(running, &verbose(&order, &phrases, &text)),
        Format::Text => whole_text(running, PLAIN, format!("{text}\n")),
        Format::Srt => whole_text(running, PLAIN, srt(&phrases)),
        Format::Vtt => whole_text(running, PLAIN, vtt(&phrases)),
    })
}

async fn read(
    simulator: &Simulator,
    family: Family,
    task: Task,
    request: &Request,
    form: &Form,
) -> Result<Order, Reply> {
    let ability = match task {
        Task::Transcribe => Ability::Transcription,
        Task::Translate => Ability::Translation,
    };
    let (deployment, model) = deployment(family, request, form.text("model"), ability)?;
    if family == Family::V1 && model == Model::Whisper && simulator.faults().get().ai_no_whisper_on_v1 {
        return Err(unknown_deployment());
    }
    let format = match form.text("response_format") {
        None | Some("json") => Format::Json,
        Some(_) if model == Model::Transcribe => {
            let message = "response_format is not compatible with this model. Use json instead.";
            return Err(coded(400, "unsupported_value".into(), message, "response_format".into()));
        }
        Some("text") => Format::Text,
        Some("srt") => Format::Srt,
        Some("vtt") => Format::Vtt,
        Some("verbose_json") => Format::Verbose,
        Some(_) => return Err(invalid("response_format has no accepted value.", "response_format".into())),
    };
    if form.text("stream") == Some("true") && model == Model::Transcribe {
        return Err(invalid("The simulator does not stream transcripts.", "stream".into()));
    }
    let words = form.lists("timestamp_granularities", "word");
    if words && format != Format::Verbose {
        let message = "timestamp_granularities is only allowed with response_format verbose_json.";
        return Err(invalid(message, "timestamp_granularities".into()));
    }
    let language = match (form.text("language"), task) {
        (Some(language), Task::Transcribe) => language.to_owned(),
        _ => "english".to_owned(),
    };
    let prompt_tokens = form.text("prompt").map_or(0, |prompt| (prompt.chars().count() as u64).div_ceil(4));
    Ok(Order {
        deployment,
        model,
        task,
        format,
        language,
        segments: !words || form.lists("timestamp_granularities", "segment"),
        words,
        prompt_tokens,
        milliseconds: milliseconds(form).await?,
    })
}

/// The length of the file.
async fn milliseconds(form: &Form) -> Result<u64, Reply> {
    let file = form.bytes("file").ok_or_else(|| invalid("you must provide a file", "file".into()))?;
    if file.len() > LARGEST_FILE {
        let message = format!("413: Maximum content size limit ({LARGEST_FILE}) exceeded ({} bytes read)", file.len());
        let error = json!({ "message": message, "type": "server_error", "param": null, "code": null });
        return Err(json_reply(413, &json!({ "error": error })));
    }
    let ending = form.file_name("file").rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    if !ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
        let message = format!("Invalid file format. Supported formats: {ENDINGS:?}");
        return Err(invalid(&message, Value::Null));
    }
    let audio = measure(file).await.ok_or_else(|| {
        coded(400, "invalid_value".into(), "Audio file might be corrupted or unsupported", "file".into())
    })?;
    if audio.milliseconds < SHORTEST {
        let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
        return Err(coded(400, "audio_too_short".into(), message, "file".into()));
    }
    Ok(audio.milliseconds)
}

/// Audio is not longer than a day.
fn seconds(milliseconds: u64) -> f64 {
    f64::from(u32::try_from(milliseconds).unwrap_or(u32::MAX)) / 1_000.0
}

fn verbose(order: &Order, phrases: &[Phrase], text: &str) -> Value {
    let task = match order.task {
        Task::Transcribe => "transcribe",
        Task::Translate => "translate",
    };
    let mut answer = json!({
        "task": task, "language": order.language, "duration": seconds(order.milliseconds), "text": text,
    });
    if order.segments {
        let segment = |(id, phrase): (usize, &Phrase)| {
            json!({
                "id": id, "seek": 0, "start": seconds(phrase.start), "end": seconds(phrase.end()),
                "text": format!(" {}", phrase.text()), "tokens": (0..phrase.words.len()).collect::<Vec<_>>(),
                "temperature": 0.0, "avg_logprob": CONFIDENCE.ln(), "compression_ratio": 1.0, "no_speech_prob": 0.01,
            })
        };
        answer["segments"] = phrases.iter().enumerate().map(segment).collect();
    }
    if order.words {
        let words = phrases.iter().flat_map(|phrase| &phrase.words).map(|word| {
            let bare = word.text.trim_end_matches('.');
            json!({ "word": bare, "start": seconds(word.start), "end": seconds(word.start + word.length) })
        });
        answer["words"] = words.collect();
    }
    answer
}

/// A time as subtitles show it.
fn clock(milliseconds: u64, mark: char) -> String {
    let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
    let (minutes, hours) = (seconds / 60 % 60, seconds / 3_600);
    format!("{hours:02}:{minutes:02}:{:02}{mark}{rest:03}", seconds % 60)
}

fn srt(phrases: &[Phrase]) -> String {
    let one = |(index, phrase): (usize, &Phrase)| {
        let (from, to) = (clock(phrase.start, ','), clock(phrase.end(), ','));
        format!("{}\n{from} --> {to}\n{}\n\n", index + 1, phrase.text())
    };
    phrases.iter().enumerate().map(one).collect()
}

fn vtt(phrases: &[Phrase]) -> String {
    let one = |phrase: &Phrase| {
        format!("{} --> {}\n{}\n\n", clock(phrase.start, '.'), clock(phrase.end(), '.'), phrase.text())
    };
    format!("WEBVTT\n\n{}", phrases.iter().map(one).collect::<String>())
}
