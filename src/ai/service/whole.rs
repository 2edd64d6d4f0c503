//! Listening, speaking and looking for callers within the product who have the whole of it: media jobs. Each records what
//! it used under the name that the caller gives, once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::Value;

use super::admission;
use super::ask::Unanswered;
use super::hearing::{self, Listening, Transcribed};
use super::meter::Call;
use super::speaking;
use super::vision::{self, Source};
pub use crate::ai::model::audio::{Audio, LARGEST_BATCH, Pieces, Sound, Stored};
pub use crate::ai::model::deployments::FileLimits;
use crate::ai::model::deployments::Kind;
use crate::ai::model::used::{Part, Used};
use crate::ai::model::vision as images;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::outbound::FetchError;
use crate::foundation::problem::Problem;
use crate::identity::ApiKey;

/// A gigabyte at four megabytes a second.
const DOWNLOAD: Duration = Duration::from_secs(270);

pub const LARGEST_IMAGE: usize = images::LARGEST;

/// Whether a key may call a model now: asked before something is put in a queue. Gives the currency of its prices.
pub async fn may_call(app: &Arc<App>, key: &ApiKey, model: &str, kind: Kind) -> Result<String, Problem> {
    Ok(admission::allowed(app, key, model, kind).await?.0.currency.clone())
}

/// What files a subscription may have that is served now.
pub async fn file_limits(app: &App, subscription: SubscriptionId) -> Result<FileLimits, Problem> {
    let plan = admission::served(app, subscription).await?;
    Ok(app.ai.as_ref().map(|ai| ai.deployments.files.of(&plan)).unwrap_or_default())
}

/// The meter on which stored bytes count, for each hour.
pub fn storage_meter(app: &App) -> Option<&str> {
    app.ai.as_ref()?.deployments.storage.as_deref()
}

pub fn check_format(format: &str) -> Result<(), Problem> {
    hearing::format(format).map(drop)
}

/// `body` is OpenAI's request.
pub fn check_speech(body: Value) -> Result<(), Problem> {
    speaking::speech(body).map(drop)
}

pub fn check_features(features: &str) -> Result<(), Problem> {
    vision::features(features.split(',')).map(drop)
}

/// Something that was done and is recorded, and what it costs at list price, whatever is included.
#[derive(Debug)]
pub struct Done<T> {
    pub value: T,
    pub price: Decimal,
}

impl<T> Done<T> {
    pub fn new(call: &Call, used: &Used, value: T) -> Self {
        Self { value, price: call.price(used) }
    }
}

/// How a recording becomes a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By one call.
    Call,
    /// Handed over, see [`super::batches`].
    Batch,
}

/// The way that a model has for a recording.
pub fn way(app: &App, model: &str, audio: &Audio) -> Result<Way, Problem> {
    let deployments = &admission::client(app)?.deployments;
    let takes = |kind| {
        let all = deployments.of(model, kind);
        all.iter().any(|deployment| deployment.takes(audio.sound.length(), audio.duration_ms))
    };
    if takes(Kind::Transcription) {
        return Ok(Way::Call);
    }
    if takes(Kind::BatchTranscription) {
        return Ok(Way::Batch);
    }
    let title = "The recording is too large or too long for this model.";
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "recording_too_long", title).remedy("Split it."))
}

/// Reads a recording to its end.
pub async fn measure(sound: Sound, name: String) -> Result<Audio, Problem> {
    hearing::measured(move || Audio::measure(sound, &name)).await
}

/// A transcript, and how its file ends.
#[derive(Debug)]
pub struct Transcript {
    pub text: String,
    pub extension: &'static str,
}

/// `fields` are those of OpenAI's form.
pub async fn transcript(
    app: &Arc<App>,
    call: &str,
    key: &ApiKey,
    model: &str,
    audio: Audio,
    fields: Vec<(String, String)>,
) -> Result<Done<Transcript>, Unanswered> {
    let format = hearing::format(hearing::field(&fields, "response_format"))?;
    let listening = Listening { kind: Kind::Transcription, model: model.to_owned(), format, audio, fields };
    let Transcribed { text, ms, call } = hearing::transcribe(app, call, key, &listening).await?;
    Ok(Done::new(&call, &Used::of(Part::AudioMs, ms), Transcript { text, extension: format.extension() }))
}

/// `body` is OpenAI's request.
pub async fn speech(
    app: &Arc<App>,
    call: &str,
    key: &ApiKey,
    model: &str,
    body: Value,
) -> Result<Done<Bytes>, Unanswered> {
    let (audio, used, call) = speaking::speak_whole(app, call, key, model, &speaking::speech(body)?).await?;
    Ok(Done::new(&call, &used, audio))
}

/// `features` with commas.
pub async fn features(
    app: &Arc<App>,
    call: &str,
    key: &ApiKey,
    model: &str,
    image: Bytes,
    features: &str,
    language: &str,
) -> Result<Done<Value>, Unanswered> {
    let features = vision::features(features.split(','))?;
    let (found, call) = vision::find(app, call, key, model, Source::Bytes(image), &features, language).await?;
    Ok(Done::new(&call, &vision::used(&features), found))
}

/// What is at an address that a customer names, piece by piece.
pub async fn open(
    app: &App,
    address: &str,
    largest: u64,
) -> Result<BoxStream<'static, Result<Bytes, Problem>>, Problem> {
    let pieces = app.fetcher.open(address, largest, DOWNLOAD).await.map_err(unfetched)?;
    Ok(pieces.map(|piece| piece.map_err(unfetched)).boxed())
}

/// Whether an address may be fetched at all, as far as that can be seen without asking for it.
pub fn check_address(app: &App, address: &str) -> Result<(), Problem> {
    app.fetcher.check(address).map(drop).map_err(unfetched)
}

fn unfetched(error: FetchError) -> Problem {
    let text = error.to_string();
    match error {
        FetchError::Failed(_) => Problem::new(StatusCode::BAD_GATEWAY, "source_unavailable", text),
        FetchError::Status(status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Problem::new(StatusCode::BAD_GATEWAY, "source_unavailable", text)
        }
        _ => Problem::bad_request("invalid_url", text),
    }
}

/// What is at an address that a customer names.
pub async fn fetch(app: &App, address: &str, largest: usize) -> Result<Bytes, Problem> {
    app.fetcher.fetch(address, largest).await.map_err(unfetched)
}
