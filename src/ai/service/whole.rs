//! Listening, speaking and looking for callers within the product who have the whole of it: media jobs. Each records what
//! it used under the name that the caller gives, once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::admission;
use super::ask::Unanswered;
use super::hearing::{self, Listening};
use super::vision::{self, Source};
use super::{inline, speaking};
use crate::ai::model::audio::{Audio, LARGEST};
use crate::ai::model::deployments::Kind;
use crate::ai::model::transcript::Format;
use crate::ai::model::vision as images;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::identity::ApiKey;

pub const LARGEST_AUDIO: usize = LARGEST;
pub const LARGEST_IMAGE: usize = images::LARGEST;

/// Whether a key may call a model now: asked before something is put in a queue.
pub async fn may_call(app: &Arc<App>, key: &ApiKey, model: &str, kind: Kind) -> Result<(), Problem> {
    admission::allowed(app, key, model, kind).await.map(drop)
}

pub fn check_format(format: &str) -> Result<(), Problem> {
    hearing::format(format).map(drop)
}

pub fn check_features(features: &str) -> Result<(), Problem> {
    vision::features(features.split(',')).map(drop)
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
    file: (Bytes, String),
    fields: Vec<(String, String)>,
) -> Result<Transcript, Unanswered> {
    let format = hearing::format(hearing::field(&fields, "response_format"))?;
    let (bytes, name) = file;
    let audio: Audio = hearing::probe(bytes, name).await?;
    let listening = Listening { kind: Kind::Transcription, model: model.to_owned(), format, audio, fields };
    let text = hearing::transcribe(app, call, key, &listening).await?.text;
    let extension = match format {
        Format::Text => "txt",
        Format::Srt => "srt",
        Format::Vtt => "vtt",
        Format::Json | Format::VerboseJson | Format::DiarizedJson => "json",
    };
    Ok(Transcript { text, extension })
}

/// `body` is OpenAI's request.
pub async fn speech(app: &Arc<App>, call: &str, key: &ApiKey, model: &str, body: Value) -> Result<Bytes, Unanswered> {
    speaking::speak_whole(app, call, key, model, &speaking::speech(body)?).await
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
) -> Result<Value, Unanswered> {
    let features = vision::features(features.split(','))?;
    let found = vision::find(app, call, key, model, Source::Bytes(image), &features, language).await?;
    Ok(found.0)
}

/// What is at an address that a customer names.
pub async fn fetch(app: &App, address: &str, largest: usize) -> Result<Bytes, Problem> {
    inline::fetch(app, address, largest).await
}
