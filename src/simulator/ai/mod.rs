//! Simulated AI services in the shape of Azure OpenAI: chat completions (whole and streamed), embeddings, models.
//!
//! This room owns the doors: both families of addresses, who is let in, which faults strike, and the headers that every
//! answer wears. What a request means and what is answered is in `chat` and `embeddings`; the words in `wording`, their
//! way over the wire in `stream`, the shape of refusals in `refusal`, and the truth of what was really produced in
//! `calls`. Nothing here thinks: answers and counts follow from the request alone, so that a caller can compute them.
//!
//! The behaviour follows `ai services`, section 1, with the oddities that were observed on the real service.

mod calls;
mod chat;
mod embeddings;
mod refusal;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_faults;
mod wording;

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{Method, Response};
use jiff::civil::Date;
use serde::Serialize;
use serde_json::{Value, json};

use super::Simulator;
use super::http::{Answer, Body, Reply, Request, html, json_reply, with_header};
use refusal::{failed, invalid, numbered, unknown_deployment, wrong_operation};

pub use calls::{AiCall, AiKind, Books};

/// All addresses of these services begin with it.
pub const PREFIX: &str = "/openai/";

/// Opens the simulated services only.
const KEY: &str = "simulated-ai-key-for-demo-and-tests";

/// Since this version, the dated family knows `stream_options`.
const FIRST_WITH_STREAM_OPTIONS: Date = Date::constant(2024, 9, 1);

/// The values by which a product reaches the simulated AI services.
#[derive(Debug, Clone, Serialize)]
pub struct AiConfig {
    /// Of the v1 family: the model is named in the body.
    pub base_url: String,
    /// Of the dated family: `/deployments/{name}/...?api-version=...` follows.
    pub dated_base_url: String,
    pub api_key: String,
    pub chat_model: String,
    pub embedding_model: String,
}

/// The two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V1,
    Dated,
}

/// The paths.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    Chat(Family),
    Embeddings(Family),
    Models,
}

pub const ROUTES: &[(&str, Door)] = &[
    ("/openai/v1/chat/completions", Door::Chat(Family::V1)),
    ("/openai/v1/embeddings", Door::Embeddings(Family::V1)),
    ("/openai/v1/models", Door::Models),
    ("/openai/deployments/{deployment}/chat/completions", Door::Chat(Family::Dated)),
    ("/openai/deployments/{deployment}/embeddings", Door::Embeddings(Family::Dated)),
];

/// What a deployment is a deployment of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Chat,
    Reasoning,
    Embedding,
}

const MODELS: &[(&str, Model)] =
    &[("sim-chat", Model::Chat), ("sim-reason", Model::Reasoning), ("sim-embed", Model::Embedding)];

impl Model {
    /// Deployments bear the model's name, or the name and something behind a dash, as `sim-chat-west`: so a product
    /// can be given several of a kind.
    fn of(deployment: &str) -> Option<Self> {
        let fits =
            |name: &str| deployment.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        MODELS.iter().find(|(name, _)| fits(name)).map(|(_, model)| *model)
    }

    /// The version behind the deployments. Answers name it, and never the deployment.
    fn version(self) -> &'static str {
        match self {
            Model::Chat => "simulated-chat-2026-01-01",
            Model::Reasoning => "simulated-reasoning-2026-01-01",
            Model::Embedding => "simulated-embedding-2026-01-01",
        }
    }
}

impl Simulator {
    /// The values by which a product reaches the simulated AI services.
    pub fn ai_config(&self) -> AiConfig {
        AiConfig {
            base_url: format!("{}/openai/v1", self.base_url()),
            dated_base_url: format!("{}/openai", self.base_url()),
            api_key: KEY.to_owned(),
            chat_model: "sim-chat".to_owned(),
            embedding_model: "sim-embed".to_owned(),
        }
    }
}

pub async fn answer(simulator: &Simulator, door: Door, request: &Request) -> Answer {
    let post = request.method == Method::POST;
    let label = match door {
        Door::Chat(_) if post => Some("ai.chat"),
        Door::Embeddings(_) if post => Some("ai.embeddings"),
        Door::Models if request.method == Method::GET => Some("ai.models"),
        _ => None,
    };
    let answer = match label {
        Some(label) => {
            simulator.count(label);
            serve(simulator, door, request).await.unwrap_or_else(|refusal| refusal.map(Body::Whole))
        }
        None => numbered(405, "This method is not allowed here.").map(Body::Whole),
    };
    dressed(simulator, answer)
}

async fn serve(simulator: &Simulator, door: Door, request: &Request) -> Result<Answer, Reply> {
    if let Some(reply) = fault(simulator, door) {
        pause(simulator).await;
        return Err(reply);
    }
    let family = match door {
        Door::Chat(family) | Door::Embeddings(family) => family,
        Door::Models => Family::V1,
    };
    let_in(family, request)?;
    let version = version(family, request)?;
    match door {
        Door::Chat(_) => {
            let knows_stream_options = version.is_none_or(|version| version >= FIRST_WITH_STREAM_OPTIONS);
            chat::answer(simulator, family, knows_stream_options, request).await
        }
        Door::Embeddings(_) => embeddings::answer(simulator, family, request).await,
        Door::Models => Ok(models(simulator).map(Body::Whole)),
    }
}

/// Faults that are counted down strike work only, so that a look at the models in between does not use them up.
fn fault(simulator: &Simulator, door: Door) -> Option<Reply> {
    let switches = simulator.faults().get();
    if switches.ai_down {
        return Some(numbered(503, "The simulated AI services are down, as was asked for."));
    }
    if matches!(door, Door::Models) {
        return None;
    }
    if simulator.faults().take(|switches| &mut switches.ai_fail_next) {
        return Some(failed(switches.ai_fail_status, switches.ai_retry_after_ms));
    }
    let page = "<html><head><title>Gateway</title></head><body><h1>Simulated gateway page</h1></body></html>";
    simulator.faults().take(|switches| &mut switches.ai_html_next).then(|| html(200, page.to_owned()))
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

/// Which deployment is asked for, and that it can do what is asked.
fn deployment(family: Family, request: &Request, body: &Value, kind: AiKind) -> Result<(String, Model), Reply> {
    let name = match family {
        Family::Dated => request.param("deployment"),
        Family::V1 => body.get("model").and_then(Value::as_str).unwrap_or_default(),
    };
    if name.is_empty() {
        return Err(invalid("you must provide a model parameter", "model".into()));
    }
    let model = Model::of(name).ok_or_else(unknown_deployment)?;
    if (model == Model::Embedding) != (kind == AiKind::Embedding) {
        return Err(wrong_operation(name));
    }
    Ok((name.to_owned(), model))
}

fn models(simulator: &Simulator) -> Reply {
    let created = simulator.base_now().as_second();
    let data: Vec<Value> = MODELS
        .iter()
        .map(|(id, model)| {
            json!({
                "id": id, "object": "model", "created": created, "owned_by": "simulator", "status": "succeeded",
                "capabilities": {
                    "chat_completion": *model != Model::Embedding, "embeddings": *model == Model::Embedding,
                },
            })
        })
        .collect();
    json_reply(200, &json!({ "object": "list", "data": data }))
}

/// The wait before the first byte that was asked for.
async fn pause(simulator: &Simulator) {
    let delay = simulator.faults().get().ai_delay_ms;
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
}

/// What every answer wears: ids for support, and what is left of the limits.
fn dressed<B>(simulator: &Simulator, mut answer: Response<B>) -> Response<B> {
    const REQUESTS: u64 = 1_000;
    const TOKENS: u64 = 1_000_000;
    let (calls, tokens) = simulator.ai_totals();
    let exhausted = answer.status() == 429;
    let left = |limit: u64, used: u64| if exhausted { 0 } else { limit - used % limit };
    for (name, value) in [
        ("apim-request-id", simulator.new_id().to_string()),
        ("x-request-id", simulator.new_id().to_string()),
        ("x-ms-region", "Simulated".to_owned()),
        ("x-ratelimit-limit-requests", REQUESTS.to_string()),
        ("x-ratelimit-limit-tokens", TOKENS.to_string()),
        ("x-ratelimit-remaining-requests", left(REQUESTS, calls).to_string()),
        ("x-ratelimit-remaining-tokens", left(TOKENS, tokens).to_string()),
    ] {
        answer = with_header(answer, HeaderName::from_static(name), &value);
    }
    answer
}
