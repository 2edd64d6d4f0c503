//! Whole files to text at Azure Speech, at once. Refusals are flat: code, message and inner error.

use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::form::Form;
use super::measure::{Audio, measure};
use super::pause;
use super::refusal::flat;
use super::transcript::{CONFIDENCE, Phrase, Task, text, transcript};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

/// Of all of speech to text.
pub const VERSIONS: &[&str] = &["2024-11-15", "2025-10-15"];

/// Two hours.
const LONGEST: u64 = 2 * 3_600_000;

const MOST_SPEAKERS: u64 = 35;

/// What may be done about swear words.
pub const PROFANITY: &[&str] = &["None", "Masked", "Removed", "Tags"];

/// What the caller wants. Members that change nothing here are read so that their form is checked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Definition {
    locales: Vec<String>,
    diarization: Option<Diarization>,
    #[serde(rename = "profanityFilterMode")]
    profanity: Option<String>,
    phrase_list: Option<PhraseList>,
    channels: Vec<usize>,
    enhanced_mode: Option<EnhancedMode>,
    audio_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Diarization {
    enabled: bool,
    max_speakers: Option<u64>,
}

impl Diarization {
    /// Who speaks, from 1; nobody when it is not asked for.
    pub fn speakers(&self, channels: &[usize]) -> Result<Option<u64>, Reply> {
        if !self.enabled {
            return Ok(None);
        }
        if !channels.is_empty() {
            return Err(refused("InvalidChannels", "channels and diarization exclude each other."));
        }
        let most = self.max_speakers.unwrap_or(2);
        if (2..=MOST_SPEAKERS).contains(&most) {
            return Ok(Some(most));
        }
        Err(refused("InvalidDiarization", "maxSpeakers must be from 2 to 35."))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PhraseList {
    phrases: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EnhancedMode {
    enabled: bool,
    task: Option<String>,
    target_language: Option<String>,
}

impl Definition {
    fn task(&self) -> Result<Task, Reply> {
        match self.enhanced_mode.as_ref().filter(|mode| mode.enabled) {
            None => Ok(Task::Transcribe),
            Some(mode) => match (mode.task.as_deref(), &mode.target_language) {
                (None | Some("transcribe"), _) => Ok(Task::Transcribe),
                (Some("translate"), Some(_)) => Ok(Task::Translate),
                _ => Err(refused("InvalidEnhancedMode", "The task is unknown, or has no targetLanguage.")),
            },
        }
    }

    /// The locale of the answer: a translation's is its target, otherwise the first one; without any it is found out.
    fn locale(&self, task: Task) -> &str {
        let target = self.enhanced_mode.as_ref().and_then(|mode| mode.target_language.as_deref());
        match (task, target) {
            (Task::Translate, Some(target)) => target,
            _ => self.locales.first().map_or("en-US", String::as_str),
        }
    }

    /// Who speaks, from 1; nobody without diarization.
    fn speakers(&self) -> Result<Option<u64>, Reply> {
        self.diarization.as_ref().map_or(Ok(None), |diarization| diarization.speakers(&self.channels))
    }

    fn check(&self, audio: &Audio) -> Result<(), Reply> {
        if let Some(mode) = &self.profanity
            && !PROFANITY.contains(&mode.as_str())
        {
            return Err(refused("InvalidProfanityFilterMode", "profanityFilterMode is unknown."));
        }
        if !self.locales.iter().all(|locale| locale.contains('-')) {
            return Err(refused("InvalidLocale", "A locale is not supported."));
        }
        if self.phrase_list.as_ref().is_some_and(|list| list.phrases.iter().any(String::is_empty)) {
            return Err(refused("InvalidPhraseList", "A phrase is empty."));
        }
        if self.channels.iter().any(|channel| *channel >= audio.channels) {
            return Err(refused("InvalidChannels", "The audio has no such channel."));
        }
        Ok(())
    }
}

pub fn refused(inner: &str, message: &str) -> Reply {
    flat(400, "InvalidRequest", message, Some(inner))
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    if !request.query("api-version").is_some_and(|version| VERSIONS.contains(&version)) {
        return Err(refused("InvalidApiVersion", "The api-version is missing or not supported."));
    }
    let form = Form::read(request).await.ok_or_else(|| refused("InvalidForm", "The body is not a form of parts."))?;
    let definition: Definition = match form.bytes("definition") {
        None => Definition::default(),
        Some(sent) => serde_json::from_slice(&sent)
            .map_err(|error| refused("InvalidDefinition", &format!("The definition can not be read: {error}")))?,
    };
    if definition.audio_url.is_some() {
        return Err(refused("InvalidAudioUrl", "The simulator fetches nothing."));
    }
    let (task, speakers) = (definition.task()?, definition.speakers()?);
    let sent = form.bytes("audio").ok_or_else(|| refused("MissingAudio", "The part audio is missing."))?;
    let audio = measure(sent).await;
    let audio = audio.ok_or_else(|| refused("InvalidAudioFormat", "The audio is broken, or of an unknown format."))?;
    definition.check(&audio)?;
    if audio.milliseconds >= LONGEST {
        let message = "The audio is too long.";
        return Err(flat(422, "UnprocessableEntity", message, Some("AudioLengthLimitExceeded")));
    }
    let kind = match task {
        Task::Transcribe => AiKind::Transcription,
        Task::Translate => AiKind::Translation,
    };
    let running = Running::without_tokens(simulator, "speech-fast", kind);
    running.book(|call| call.audio_ms = audio.milliseconds);
    pause(simulator).await;
    let said = transcript(audio.milliseconds, task);
    Ok(whole(running, &shown(&said, &audio, &definition, definition.locale(task), speakers)))
}

/// Without channels they are mixed; with channels each says the same.
fn shown(said: &[Phrase], audio: &Audio, definition: &Definition, locale: &str, speakers: Option<u64>) -> Value {
    let text = text(said);
    let channels: Vec<Option<usize>> = match definition.channels.as_slice() {
        [] => vec![None],
        channels => channels.iter().map(|channel| Some(*channel)).collect(),
    };
    let in_channel = |channel: Option<usize>, mut value: Value| {
        if let Some(channel) = channel {
            value["channel"] = channel.into();
        }
        value
    };
    let combined: Vec<Value> = channels.iter().map(|channel| in_channel(*channel, json!({ "text": text }))).collect();
    // As the service does it: by time, the channels next to each other.
    let phrases = (0_u64..).zip(said).flat_map(|(index, phrase)| {
        let mut shown = json!({
            "offsetMilliseconds": phrase.start, "durationMilliseconds": phrase.length, "text": phrase.text(),
            "words": words(phrase), "locale": locale, "confidence": CONFIDENCE,
        });
        if let Some(speakers) = speakers {
            shown["speaker"] = (index % speakers + 1).into();
        }
        channels.iter().map(move |channel| in_channel(*channel, shown.clone())).collect::<Vec<_>>()
    });
    json!({
        "durationMilliseconds": audio.milliseconds, "combinedPhrases": combined,
        "phrases": phrases.collect::<Vec<_>>(),
    })
}

fn words(phrase: &Phrase) -> Value {
    let one = |word: &super::transcript::Word| json!({ "text": word.text, "offsetMilliseconds": word.start, "durationMilliseconds": word.length });
    phrase.words.iter().map(one).collect()
}
