//! Simulated AI services: Azure OpenAI (chat, answers, embeddings, audio, pictures, models), Azure Speech and Azure AI
//! Vision, all on one host.
//!
//! This file owns the way in: who is let in, which faults strike, and the headers that every answer wears. The addresses
//! are in `doors`. What a request means and what is answered is in a file for each door: `chat`, `responses`, `embeddings`,
//! `transcriptions`, `spoken`, `pictures`; `speech_fast`, `speech_short`, `speech_synthesis`; `speech_batch` and
//! `synthesis_batch`, which share `batches` and `batch_content`; `vision`, `vision_old`, `vision_read`. The words are in `wording` and `transcript`, sound and sight in `sound`, `measure`, `ssml` and `look`,
//! the way over the wire in `delivery`, the shape of refusals in `refusal`, and the truth of what was really produced in
//! `calls`. Nothing here thinks: answers and counts follow from the request alone, so that a caller can compute them.
//!
//! The behaviour follows `ai services`, sections 1 to 3, with the oddities that were observed on the real services.

mod batch_content;
mod batches;
mod calls;
mod chat;
mod config;
mod delivery;
mod doors;
mod embeddings;
mod form;
mod look;
mod measure;
mod models;
mod pictures;
mod refusal;
mod responses;
mod responses_stream;
mod sound;
mod speech_batch;
mod speech_batch_input;
mod speech_batch_order;
mod speech_batch_result;
mod speech_fast;
mod speech_short;
mod speech_synthesis;
mod spoken;
mod ssml;
mod stream;
mod synthesis_batch;
mod synthesis_batch_order;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_batches;
#[cfg(test)]
mod tests_of_faults;
#[cfg(test)]
mod tests_of_sight;
#[cfg(test)]
mod tests_of_sound;
mod transcript;
mod transcriptions;
mod vision;
mod vision_old;
mod vision_read;
mod wording;

use std::time::Duration;

use http::Response;
use http::header::{AUTHORIZATION, HeaderName};
use jiff::civil::Date;
use serde_json::Value;

use super::Simulator;
use super::http::{Answer, Body, Reply, Request, html, with_header};
use doors::{Family, Service};
use refusal::{failed, invalid, numbered};

pub use calls::{AiCall, AiKind, Books};
pub use config::AiConfig;
pub use doors::{Door, ROUTES, owns};

/// Each opens its simulated service only.
const KEY: &str = "simulated-ai-key-for-demo-and-tests";
const SPEECH_KEY: &str = "simulated-speech-key-for-demo-and-tests";
const VISION_KEY: &str = "simulated-vision-key-for-demo-and-tests";

/// Since this version, the dated family knows `stream_options`.
const FIRST_WITH_STREAM_OPTIONS: Date = Date::constant(2024, 9, 1);

impl Simulator {
    /// The values by which a product reaches the simulated AI services.
    pub fn ai_config(&self) -> AiConfig {
        AiConfig {
            base_url: format!("{}/openai/v1", self.base_url()),
            dated_base_url: format!("{}/openai", self.base_url()),
            api_key: KEY.to_owned(),
            chat_model: "sim-chat".to_owned(),
            embedding_model: "sim-embed".to_owned(),
            whisper_model: "sim-whisper".to_owned(),
            transcribe_model: "sim-transcribe".to_owned(),
            speech_model: "sim-tts".to_owned(),
            image_model: "sim-image".to_owned(),
            azure_url: self.base_url().to_owned(),
            speech_key: SPEECH_KEY.to_owned(),
            vision_key: VISION_KEY.to_owned(),
        }
    }
}

pub async fn answer(simulator: &Simulator, door: Door, request: &Request) -> Answer {
    let answer = if door.takes(&request.method) {
        simulator.count(door.label(&request.method));
        serve(simulator, door, request).await.unwrap_or_else(|refusal| refusal.map(Body::Whole))
    } else {
        numbered(405, "This method is not allowed here.").map(Body::Whole)
    };
    dressed(simulator, door.service(), answer)
}

async fn serve(simulator: &Simulator, door: Door, request: &Request) -> Result<Answer, Reply> {
    if let Some(reply) = fault(simulator, door) {
        pause(simulator).await;
        return Err(reply);
    }
    let version = match door.service() {
        Service::OpenAi(family) => {
            let_in(family, request)?;
            version(family, request)?
        }
        Service::Speech => subscribed(request, SPEECH_KEY).map(|()| None)?,
        Service::Vision => subscribed(request, VISION_KEY).map(|()| None)?,
        Service::Storage => None,
    };
    if let Some(batch) = door.batch() {
        batches::admit(simulator, batch, door.shape())?;
    }
    match door {
        Door::Chat(family) => {
            let knows_stream_options = version.is_none_or(|version| version >= FIRST_WITH_STREAM_OPTIONS);
            chat::answer(simulator, family, knows_stream_options, request).await
        }
        Door::Embeddings(family) => embeddings::answer(simulator, family, request).await,
        Door::Audio(family, task) => transcriptions::answer(simulator, family, task, request).await,
        Door::Spoken(family) => spoken::answer(simulator, family, request).await,
        Door::Pictures(family) => pictures::answer(simulator, family, request).await,
        Door::Responses => responses::answer(simulator, request).await,
        Door::Models => Ok(models::list(simulator).map(Body::Whole)),
        Door::FastSpeech => speech_fast::answer(simulator, request).await,
        Door::ShortSpeech => speech_short::answer(simulator, request).await,
        Door::Synthesis => speech_synthesis::answer(simulator, request).await,
        Door::Voices => Ok(speech_synthesis::voices().map(Body::Whole)),
        Door::BatchSubmit => speech_batch::submit(simulator, request).await,
        Door::Batches => speech_batch::list(simulator, request).await,
        Door::Batch => speech_batch::one(simulator, request).await,
        Door::BatchFiles => speech_batch::files(simulator, request).await,
        Door::BatchSynthesis => synthesis_batch::one(simulator, request).await,
        Door::BatchSyntheses => Ok(synthesis_batch::list(simulator, request)?.map(Body::Whole)),
        Door::BatchResult => batch_content::answer(simulator, request),
        Door::Vision => vision::answer(simulator, request).await,
        Door::OldVision => vision_old::answer(simulator, request).await,
        Door::Read => vision_read::answer(simulator, request).await,
        Door::ReadResult => Ok(vision_read::result(simulator, request).map(Body::Whole)),
    }
}

/// Faults that are counted down strike work only, so that a look at the models in between does not use them up.
fn fault(simulator: &Simulator, door: Door) -> Option<Reply> {
    let switches = simulator.faults().get();
    if switches.ai_down {
        return Some(door.shape().numbered(503, "The simulated AI services are down, as was asked for."));
    }
    if door.looks_up() {
        return None;
    }
    if simulator.faults().take(|switches| &mut switches.ai_fail_next) {
        return Some(failed(door.shape(), switches.ai_fail_status, switches.ai_retry_after_ms));
    }
    let page = "<html><head><title>Gateway</title></head><body><h1>Simulated gateway page</h1></body></html>";
    simulator.faults().take(|switches| &mut switches.ai_html_next).then(|| html(200, page.to_owned()))
}

/// The key of Azure Speech or Azure AI Vision, in the one header for it.
fn subscribed(request: &Request, key: &str) -> Result<(), Reply> {
    let sent = request.header("ocp-apim-subscription-key");
    let others = [request.header("api-key"), request.header(AUTHORIZATION.as_str())];
    if sent == Some(key) && others.iter().all(Option::is_none) {
        return Ok(());
    }
    Err(numbered(401, "Access denied due to invalid subscription key or wrong API endpoint."))
}

/// Exactly one key in exactly one header. A product that forwards its customer's own header next to its key is caught.
fn let_in(family: Family, request: &Request) -> Result<(), Reply> {
    let (key, bearer) = (request.header("api-key"), request.header(AUTHORIZATION.as_str()));
    let refused = || numbered(401, "Access denied: the key is missing, wrong, or in the wrong header.");
    let sent = match (key, bearer) {
        (Some(_), Some(_)) => return Err(invalid("api-key and Authorization exclude each other.", Value::Null)),
        (Some(key), None) => key,
        // Only the v1 family takes a key in this header.
        (None, Some(bearer)) if family == Family::V1 => {
            let (scheme, key) = bearer.split_once(' ').ok_or_else(refused)?;
            if scheme.eq_ignore_ascii_case("bearer") { key } else { return Err(refused()) }
        }
        (None, _) => return Err(refused()),
    };
    if sent == KEY { Ok(()) } else { Err(refused()) }
}

/// The version's date. The dated family must have one; the v1 family has none.
fn version(family: Family, request: &Request) -> Result<Option<Date>, Reply> {
    let sent = request.query("api-version");
    match (family, sent) {
        (Family::V1, None | Some("v1" | "preview")) => Ok(None),
        (Family::V1, Some(_)) => Err(invalid("API version not supported", "api-version".into())),
        (Family::Dated, sent) => {
            let date =
                sent.map(|text| text.strip_suffix("-preview").unwrap_or(text)).and_then(|text| text.parse().ok());
            date.map(Some).ok_or_else(|| numbered(404, "Resource not found"))
        }
    }
}

/// The wait before the first byte that was asked for.
async fn pause(simulator: &Simulator) {
    let delay = simulator.faults().get().ai_delay_ms;
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
}

/// What every answer wears: ids for support, and at Azure OpenAI what is left of the limits.
fn dressed<B>(simulator: &Simulator, service: Service, mut answer: Response<B>) -> Response<B> {
    const REQUESTS: u64 = 1_000;
    const TOKENS: u64 = 1_000_000;
    let (calls, tokens) = simulator.ai_totals();
    let exhausted = answer.status() == 429;
    let left = |limit: u64, used: u64| if exhausted { 0 } else { limit - used % limit };
    for (name, value) in [
        ("apim-request-id", simulator.new_id().to_string()),
        ("x-request-id", simulator.new_id().to_string()),
        ("x-ms-region", "Simulated".to_owned()),
    ] {
        answer = with_header(answer, HeaderName::from_static(name), &value);
    }
    if !matches!(service, Service::OpenAi(_)) {
        return answer;
    }
    for (name, value) in [
        ("x-ratelimit-limit-requests", REQUESTS.to_string()),
        ("x-ratelimit-limit-tokens", TOKENS.to_string()),
        ("x-ratelimit-remaining-requests", left(REQUESTS, calls).to_string()),
        ("x-ratelimit-remaining-tokens", left(TOKENS, tokens).to_string()),
    ] {
        answer = with_header(answer, HeaderName::from_static(name), &value);
    }
    answer
}
