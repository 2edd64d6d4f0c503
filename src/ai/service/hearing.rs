//! From speech to text in OpenAI's formats, whoever listens.

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header};
use reqwest::multipart::Form;
use serde_json::{Value, json};

use super::admission::{Intent, Reserving, admit, client, with_limits};
use super::ask::{Unanswered, ask, unrecorded};
use super::meter::{self, Call};
pub use crate::ai::client::speech::Hearing;
use crate::ai::client::speech::file;
use crate::ai::client::{self as service, AiClient, UpstreamError};
use crate::ai::model::audio::{Audio, AudioError};
use crate::ai::model::deployments::{Deployment, Kind, PathStyle, Provider};
use crate::ai::model::stream::data;
use crate::ai::model::transcript::{Format, Transcript, Wanted};
use crate::ai::model::usage;
use crate::ai::model::used::{Basis, Part, Used};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, respond};
use crate::identity::ApiKey;

/// Our own measure of a file and the service's word differ by more than this: somebody should look.
const ODD_MS: u64 = 2_000;

/// A form with a file, as OpenAI's SDKs send it.
#[derive(Debug, Default)]
struct Upload {
    file: Option<(Bytes, String)>,
    /// All other fields, in their order.
    fields: Vec<(String, String)>,
}

/// The first field of a name; empty when there is none.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

impl Upload {
    fn get(&self, name: &str) -> &str {
        field(&self.fields, name)
    }

    async fn read(request: &Request) -> Result<Self, Problem> {
        let wrong = |text: String| Problem::bad_request("invalid_form", text);
        let boundary = multer::parse_boundary(request.header(header::CONTENT_TYPE).unwrap_or_default())
            .map_err(|_| wrong("The body must be multipart/form-data, with a file.".to_owned()))?;
        let body = request.body.clone();
        let once = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
        let mut parts = multer::Multipart::new(once, boundary);
        let mut upload = Self::default();
        let unread = |error: multer::Error| wrong(format!("The form can not be read: {error}."));
        while let Some(part) = parts.next_field().await.map_err(unread)? {
            let name = part.name().unwrap_or_default().to_owned();
            if name == "file" {
                let file_name = part.file_name().unwrap_or_default().to_owned();
                upload.file = Some((part.bytes().await.map_err(unread)?, file_name));
            } else {
                let text = part.text().await.map_err(unread)?;
                upload.fields.push((name, text));
            }
        }
        Ok(upload)
    }
}

/// The format of a transcript by its name.
pub fn format(name: &str) -> Result<Format, Problem> {
    Format::read(name).ok_or_else(|| {
        Problem::bad_request("invalid_value", format!("The format must be one of {}.", Format::NAMES))
            .field("response_format")
    })
}

/// Reads a file of audio, or says what is wrong with it.
async fn probe(bytes: Bytes, name: String) -> Result<Audio, Problem> {
    measured(move || Audio::read(bytes, &name)).await
}

/// Measures a file of audio elsewhere than on the runtime.
pub async fn measured(read: impl FnOnce() -> Result<Audio, AudioError> + Send + 'static) -> Result<Audio, Problem> {
    // Broken files can make the reader of containers panic; that is a broken file and no more.
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or(Err(AudioError::Unreadable)).map_err(|error| {
        let problem = Problem::bad_request("invalid_audio", error.to_string()).field("file");
        if error == AudioError::TooLarge { problem.status(StatusCode::PAYLOAD_TOO_LARGE) } else { problem }
    })
}

/// `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
pub async fn hear(app: Arc<App>, request: Request, key: ApiKey, kind: Kind) -> Result<Response, Problem> {
    let upload = Upload::read(&request).await?;
    let missing = |field| Problem::bad_request("missing_field", format!("`{field}` is missing.")).field(field);
    let model = upload.get("model").to_owned();
    if model.is_empty() {
        return Err(missing("model"));
    }
    let (bytes, name) = upload.file.clone().ok_or_else(|| missing("file"))?;
    let format = format(upload.get("response_format"))?;
    let temperature = upload.get("temperature");
    if !temperature.is_empty() && !temperature.parse().is_ok_and(|number: f64| (0.0..=1.0).contains(&number)) {
        let text = "The temperature is a number from 0 to 1.";
        return Err(Problem::bad_request("invalid_value", text).field("temperature"));
    }
    let audio = probe(bytes, name).await?;
    let streamed = upload.get("stream") == "true" && format.is_json();
    let listening = Listening { kind, model, format, audio, fields: upload.fields };
    let task = tokio::spawn(async move {
        let Transcribed { text, ms, call } = match transcribe(&app, request.id.as_str(), &key, &listening).await {
            Ok(transcribed) => transcribed,
            Err(unanswered) => return unanswered.into_response(),
        };
        let response = if streamed {
            respond(StatusCode::OK, "text/event-stream; charset=utf-8", events(&text, ms))
        } else {
            respond(StatusCode::OK, format.content_type(), text)
        };
        Ok(with_limits(response, &call.hold.inside))
    });
    task.await.map_err(Problem::internal)?
}

/// What was heard, in the customer's format, and how long it was by the service's word.
struct Heard {
    text: String,
    told_ms: Option<u64>,
}

/// Audio to be listened to, and how.
#[derive(Debug)]
pub struct Listening {
    pub kind: Kind,
    pub model: String,
    pub format: Format,
    pub audio: Audio,
    /// The fields of OpenAI's form.
    pub fields: Vec<(String, String)>,
}

/// A transcript that is recorded.
#[derive(Debug)]
pub struct Transcribed {
    pub text: String,
    pub ms: u64,
    pub call: Call,
}

/// Listens, and records what that used under `request`.
pub async fn transcribe(
    app: &Arc<App>,
    request: &str,
    key: &ApiKey,
    listening: &Listening,
) -> Result<Transcribed, Unanswered> {
    let Listening { kind, model, audio, .. } = listening;
    let worst = Used::of(Part::AudioMs, most(audio.duration_ms));
    let intent = Intent {
        request,
        key,
        model,
        kind: *kind,
        tokens: 0,
        worst: &|_| worst.clone(),
        reserving: Reserving::ForCall,
    };
    let (mut call, deployments) = admit(app, &intent).await?;
    let ai = client(app)?;
    let asking = ask(app, &call, &deployments, |deployment| async move { heard(ai, &deployment, listening).await });
    let (heard, deployment) = asking.await?;
    let (ms, basis) = billed(heard.told_ms, audio.duration_ms);
    let told = heard.told_ms.filter(|ms| *ms > 0).unwrap_or(ms);
    if told.abs_diff(audio.duration_ms) > ODD_MS {
        tracing::warn!(request = %call.request, told, measured = audio.duration_ms, "the length of audio is in doubt");
    }
    let used = Used::of(Part::AudioMs, ms);
    meter::record(app, &mut call, &deployment, &used, basis).await.map_err(|_| unrecorded())?;
    Ok(Transcribed { text: heard.text, ms, call })
}

/// The most that is billed for audio: services round up to whole seconds, and some say a little more than is there.
pub fn most(measured_ms: u64) -> u64 {
    measured_ms + ODD_MS
}

/// What is billed: the service's own word, but a zero for audio that plays is no word. More than was reserved and can be
/// seen in the file is nobody's debt.
pub fn billed(told_ms: Option<u64>, measured_ms: u64) -> (u64, Basis) {
    match told_ms.filter(|ms| *ms > 0) {
        Some(ms) => (ms.min(most(measured_ms)), Basis::Upstream),
        None => (measured_ms, Basis::Measured),
    }
}

async fn heard(ai: &AiClient, deployment: &Deployment, listening: &Listening) -> Result<Heard, UpstreamError> {
    let Listening { kind, audio, fields, .. } = listening;
    if !deployment.takes(audio.sound.length(), audio.duration_ms) {
        return Err(UpstreamError::Unfit("The recording is too large or too long for this model.".to_owned()));
    }
    if deployment.provider == Provider::Openai {
        return passed_on(ai, deployment, listening).await;
    }
    let (format, hearing) = hearing(*kind, fields).map_err(|problem| UpstreamError::Unfit(problem.title))?;
    let mut transcript = match deployment.provider {
        Provider::AzureSpeechShort => ai.hear_short(deployment, audio, &hearing).await?,
        _ => ai.hear(deployment, audio, &hearing).await?,
    };
    let told_ms = Some(transcript.duration_ms);
    transcript.duration_ms = if transcript.duration_ms == 0 { audio.duration_ms } else { transcript.duration_ms };
    Ok(Heard { text: rendered(&transcript, *kind, format, fields), told_ms })
}

/// How the fields of OpenAI's form want audio to be heard, and in which format it is told.
pub fn hearing(kind: Kind, fields: &[(String, String)]) -> Result<(Format, Hearing), Problem> {
    let format = format(field(fields, "response_format"))?;
    let hearing = Hearing {
        language: field(fields, "language").to_owned(),
        prompt: field(fields, "prompt").to_owned(),
        speakers: format == Format::DiarizedJson,
        translate: kind == Kind::Translation,
        words: wants_words(fields),
    };
    Ok((format, hearing))
}

/// A transcript as those fields want it.
pub fn rendered(transcript: &Transcript, kind: Kind, format: Format, fields: &[(String, String)]) -> String {
    let words = wants_words(fields);
    transcript.render(Wanted {
        format,
        task: if kind == Kind::Translation { "translate" } else { "transcribe" },
        words,
        segments: !words || granularity(fields, "segment"),
    })
}

fn granularity(fields: &[(String, String)], value: &str) -> bool {
    fields.iter().any(|(name, text)| name == "timestamp_granularities[]" && text == value)
}

fn wants_words(fields: &[(String, String)]) -> bool {
    granularity(fields, "word")
}

/// The form as it came, to a service that speaks as OpenAI does.
async fn passed_on(ai: &AiClient, deployment: &Deployment, listening: &Listening) -> Result<Heard, UpstreamError> {
    let Listening { format, audio, fields, .. } = listening;
    let mut form = Form::new().part("file", file(audio)?);
    if deployment.path == PathStyle::V1 {
        form = form.text("model", deployment.deployment.clone());
    }
    for (name, value) in fields {
        if name != "model" && name != "stream" {
            form = form.text(name.clone(), value.clone());
        }
    }
    let response = ai.form(deployment, form).await.map_err(|error| match error {
        // A model that has no such format; another one of the same name may have it.
        UpstreamError::Refused { error, .. } if error["param"] == "response_format" => {
            UpstreamError::Unfit(error["message"].as_str().unwrap_or("This model has no such format.").to_owned())
        }
        other => other,
    })?;
    if !format.is_json() {
        let text = String::from_utf8(service::whole(response).await?)
            .map_err(|_| UpstreamError::unreadable("it is no text"))?;
        // Proxies answer with their own pages, too.
        return if text.trim_start().starts_with('<') {
            Err(UpstreamError::unreadable("it is a page"))
        } else {
            Ok(Heard { text, told_ms: None })
        };
    }
    let mut answer = service::object(response).await?;
    if !answer["text"].is_string() {
        return Err(UpstreamError::unreadable("it has no text"));
    }
    let told_ms = usage::audio_ms(&answer);
    if answer["usage"].is_null() {
        let seconds = told_ms.unwrap_or(audio.duration_ms).div_ceil(1000);
        answer["usage"] = json!({ "type": "duration", "seconds": seconds });
    }
    Ok(Heard { text: answer.to_string(), told_ms })
}

/// A whole transcript as the events that a streaming SDK reads: the text at once, then the end.
fn events(text: &str, ms: u64) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let text = answer["text"].as_str().unwrap_or_default();
    let delta = json!({ "type": "transcript.text.delta", "delta": text });
    let usage = json!({ "type": "duration", "seconds": ms.div_ceil(1000) });
    let done = json!({ "type": "transcript.text.done", "text": text, "usage": usage });
    format!("{}{}{}", data(&delta.to_string()), data(&done.to_string()), data("[DONE]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_service_bills_more_than_is_reserved() {
        assert_eq!(billed(None, 100), (100, Basis::Measured));
        assert_eq!(billed(Some(0), 100), (100, Basis::Measured));
        for (told, ms) in [(90, 90), (1_000, 1_000), (7_200_000, 2_100)] {
            assert_eq!(billed(Some(told), 100), (ms, Basis::Upstream));
            assert!(ms <= most(100));
        }
    }
}
