//! Azure Speech: fast transcription (AI services contract 2.3), short audio (2.2), text to speech (2.5).

use http::header::{CONTENT_TYPE, HeaderName};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{AiClient, UpstreamError, object};
use crate::ai::model::audio::{Audio, Sound};
use crate::ai::model::deployments::Deployment;
use crate::ai::model::transcript::{Phrase, Transcript, Word, locale};

const FAST_VERSION: &str = "2025-10-15";
/// Longer audio is cut off there without a word.
const SHORT_MS: u64 = 60_000;
/// Ticks of a hundred nanoseconds in a millisecond.
const TICKS: u64 = 10_000;

/// How audio is to be heard.
#[derive(Debug, Clone, Default)]
pub struct Hearing {
    /// Two letters or a locale; empty: the service finds out.
    pub language: String,
    /// Words to expect.
    pub prompt: String,
    pub speakers: bool,
    /// Into English.
    pub translate: bool,
    /// When each word was said.
    pub words: bool,
}

impl AiClient {
    /// Transcribes a whole file.
    pub async fn hear(
        &self,
        deployment: &Deployment,
        audio: &Audio,
        hearing: &Hearing,
    ) -> Result<Transcript, UpstreamError> {
        let mut definition = json!({ "profanityFilterMode": "None" });
        if !hearing.language.is_empty() {
            definition["locales"] = json!([locale(&hearing.language)]);
        }
        if hearing.speakers {
            definition["diarization"] = json!({ "enabled": true, "maxSpeakers": 8 });
        }
        let phrases: Vec<&str> = hearing
            .prompt
            .split([',', '\n', ';'])
            .map(str::trim)
            .filter(|phrase| !phrase.is_empty())
            .take(100)
            .collect();
        if !phrases.is_empty() {
            definition["phraseList"] = json!({ "phrases": phrases });
        }
        if hearing.translate {
            definition["enhancedMode"] = json!({ "enabled": true, "task": "translate", "targetLanguage": "en-US" });
        }
        let form = Form::new()
            .part("audio", file(audio)?)
            .part("definition", typed(Part::text(definition.to_string()), "application/json")?);
        let version = deployment.api_version.as_deref().unwrap_or(FAST_VERSION);
        let address = format!("{}/speechtotext/transcriptions:transcribe?api-version={version}", deployment.endpoint);
        let answer = object(self.send(deployment, self.post(address).multipart(form)).await?).await?;
        if !answer["phrases"].is_array() && !answer["combinedPhrases"].is_array() {
            return Err(UpstreamError::unreadable("it has no phrases"));
        }
        Ok(fast(&answer))
    }

    /// Transcribes at most a minute.
    pub async fn hear_short(
        &self,
        deployment: &Deployment,
        audio: &Audio,
        hearing: &Hearing,
    ) -> Result<Transcript, UpstreamError> {
        let unfit = |text: &str| UpstreamError::Unfit(text.to_owned());
        let (Some(content_type), Sound::Whole(bytes), ..=SHORT_MS) = (audio.short, &audio.sound, audio.duration_ms)
        else {
            return Err(unfit("This model takes at most 60 s of WAV (16 kHz, 16 bits, mono) or OGG with Opus."));
        };
        if hearing.speakers {
            return Err(unfit("This model does not tell speakers apart."));
        }
        let language = locale(if hearing.language.is_empty() { "en" } else { &hearing.language });
        let path = "speech/recognition/conversation/cognitiveservices/v1";
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("language", &language)
            .append_pair("format", "detailed")
            .append_pair("profanity", "raw")
            .finish();
        let request = self
            .post(format!("{}/{path}?{query}", deployment.endpoint))
            .header(CONTENT_TYPE, content_type)
            .body(bytes.clone());
        let answer = object(self.send(deployment, request).await?).await?;
        match answer["RecognitionStatus"].as_str() {
            Some("Success") => Ok(short(&answer, language, audio.duration_ms)),
            // It was listened to, and there was nothing to understand.
            Some("NoMatch" | "InitialSilenceTimeout" | "BabbleTimeout") => {
                Ok(Transcript { language, phrases: Vec::new(), duration_ms: audio.duration_ms })
            }
            Some("Error") => Err(UpstreamError::Passing {
                status: None,
                wait: None,
                message: "the service could not recognise the audio".to_owned(),
            }),
            _ => Err(UpstreamError::unreadable("it has no RecognitionStatus")),
        }
    }

    /// Speaks markup; the audio comes as it is made.
    pub async fn speak(
        &self,
        deployment: &Deployment,
        ssml: String,
        output_format: &'static str,
    ) -> Result<reqwest::Response, UpstreamError> {
        let request = self
            .post(format!("{}/cognitiveservices/v1", deployment.endpoint))
            .header(CONTENT_TYPE, "application/ssml+xml")
            .header(HeaderName::from_static("x-microsoft-outputformat"), output_format)
            .body(ssml);
        self.send(deployment, request).await
    }
}

fn typed(part: Part, content_type: &str) -> Result<Part, UpstreamError> {
    part.mime_str(content_type).map_err(UpstreamError::passing)
}

/// The file as a part of a form.
pub fn file(audio: &Audio) -> Result<Part, UpstreamError> {
    let body = match &audio.sound {
        Sound::Whole(bytes) => reqwest::Body::from(bytes.clone()),
        Sound::Stored(stored) => reqwest::Body::wrap_stream(stored.pieces()),
    };
    let part = Part::stream_with_length(body, audio.sound.length()).file_name(audio.name.clone());
    typed(part, audio.content_type)
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn fast(answer: &Value) -> Transcript {
    let span = |value: &Value| {
        let from = number(&value["offsetMilliseconds"]);
        (from, from + number(&value["durationMilliseconds"]))
    };
    let word = |value: &Value| {
        let (from_ms, to_ms) = span(value);
        Word { text: text(&value["text"]), from_ms, to_ms }
    };
    let phrase = |value: &Value| {
        let (from_ms, to_ms) = span(value);
        Phrase {
            text: text(&value["text"]),
            from_ms,
            to_ms,
            speaker: value["speaker"].as_u64(),
            confidence: value["confidence"].as_f64(),
            words: value["words"].as_array().into_iter().flatten().map(word).collect(),
        }
    };
    let mut phrases: Vec<Phrase> = answer["phrases"].as_array().into_iter().flatten().map(phrase).collect();
    // Several channels come interleaved.
    phrases.sort_by_key(|phrase| phrase.from_ms);
    let language = text(&answer["phrases"][0]["locale"]);
    Transcript { language, phrases, duration_ms: number(&answer["durationMilliseconds"]) }
}

fn short(answer: &Value, language: String, duration_ms: u64) -> Transcript {
    let best = &answer["NBest"][0];
    let display = best["Display"].as_str().or_else(|| answer["DisplayText"].as_str()).unwrap_or_default();
    let from_ms = number(&answer["Offset"]) / TICKS;
    let phrase = Phrase {
        text: display.to_owned(),
        from_ms,
        to_ms: from_ms + number(&answer["Duration"]) / TICKS,
        speaker: None,
        confidence: best["Confidence"].as_f64(),
        words: Vec::new(),
    };
    Transcript { language, phrases: vec![phrase], duration_ms }
}
