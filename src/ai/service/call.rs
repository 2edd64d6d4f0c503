//! Calls whose request is JSON: chat, responses, embeddings, images; whole, or as a stream.

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};
use serde_json::Value;

use super::admission::{Intent, Reserving, admit, client, with_limits};
use super::ask::{ask, unrecorded};
use super::meter::{self, Call};
use super::{captures, inline, relay};
use crate::ai::client::{self as service, AiClient, UpstreamError};
use crate::ai::model::deployments::{Deployment, Kind};
use crate::ai::model::request;
use crate::ai::model::stream::{ChatStream, Reading, ResponseStream};
use crate::ai::model::usage;
use crate::ai::model::used::{Basis, Part, Used};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, respond, with_header};
use crate::identity::ApiKey;

/// `POST /v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/images/generations`.
pub async fn perform(app: Arc<App>, request: Request, key: ApiKey, kind: Kind) -> Result<Response, Problem> {
    let body: Value = request.json()?;
    if !body.is_object() {
        return Err(Problem::bad_request("invalid_json", "The body is not a JSON object."));
    }
    let model = match &body["model"] {
        Value::String(model) => model.clone(),
        Value::Null => return Err(Problem::bad_request("missing_model", "The model is not named.").field("model")),
        _ => return Err(Problem::bad_request("invalid_value", "The model is named by text.").field("model")),
    };
    let stream = match &body["stream"] {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) if matches!(kind, Kind::Chat | Kind::Responses) => true,
        _ => {
            return Err(Problem::bad_request(
                "invalid_value",
                "stream is true or false, and for chat and responses only.",
            )
            .field("stream"));
        }
    };
    request::check(kind, &body).map_err(|(code, field, text)| Problem::bad_request(code, text).field(field))?;
    // A task of its own: who hangs up while the service works has used it all the same.
    let task = tokio::spawn(async move { begin(app, request, key, kind, model, stream, body).await });
    task.await.map_err(Problem::internal)?
}

async fn begin(
    app: Arc<App>,
    request: Request,
    key: ApiKey,
    kind: Kind,
    model: String,
    stream: bool,
    mut body: Value,
) -> Result<Response, Problem> {
    let asked = request::tokens(request::length(&body));
    let intent = Intent {
        request: request.id.as_str(),
        key: &key,
        model: &model,
        kind,
        tokens: asked.saturating_add(request::asked_output(kind, &body).unwrap_or(0)),
        worst: &|deployment| request::worst(kind, &body, deployment),
        reserving: Reserving::ForCall,
    };
    let (mut call, deployments) = admit(&app, &intent).await?;
    drop(request);
    let chats = matches!(kind, Kind::Chat | Kind::Responses);
    call.captured = (key.capture && chats).then(|| captures::readable(&body));
    inline::images(&app, &mut body).await?;
    if stream {
        streamed(app, call, deployments, body, asked).await
    } else {
        whole(app, call, deployments, body, asked).await
    }
}

async fn whole(
    app: Arc<App>,
    mut call: Call,
    deployments: Vec<Arc<Deployment>>,
    body: Value,
    asked: u64,
) -> Result<Response, Problem> {
    let ai = client(&app)?;
    let (kind, budgeted) = (call.kind, call.hold.is_budgeted());
    let mut copies = copies(body, deployments.len());
    let asking = ask(&app, &call, &deployments, |deployment| {
        let body = copies();
        async move {
            let answer = service::object(sent(ai, &deployment, kind, body, budgeted).await?).await?;
            let measured = measure(kind, &answer, asked);
            measured.map(|measured| (answer, measured)).ok_or_else(|| UpstreamError::unreadable("it is no answer"))
        }
    });
    let ((mut answer, (used, basis)), deployment) = match asking.await {
        Ok(answered) => answered,
        Err(unanswered) => return unanswered.into_response(),
    };
    meter::record(&app, &mut call, &deployment, &used, basis).await.map_err(|_| unrecorded())?;
    if kind != Kind::Image {
        answer["model"] = call.model.clone().into();
    }
    if basis == Basis::Estimated {
        // What is billed is shown, also where it is our own guess.
        answer["usage"] = usage::shown(kind, &used);
    }
    if call.captured.is_some() {
        captures::keep(&app, &call, &answer.to_string()).await;
    }
    Ok(with_limits(json(StatusCode::OK, &answer), &call.hold.inside))
}

/// Sends the body as the deployment wants it.
async fn sent(
    ai: &AiClient,
    deployment: &Deployment,
    kind: Kind,
    mut body: Value,
    budgeted: bool,
) -> Result<reqwest::Response, UpstreamError> {
    request::address_to(kind, &mut body, deployment, budgeted);
    ai.json(deployment, &body).await
}

/// The body again and again, so often; the last time itself, because it may be large.
fn copies(body: Value, mut times: usize) -> impl FnMut() -> Value {
    let mut body = Some(body);
    move || {
        times = times.saturating_sub(1);
        if times == 0 { body.take().unwrap_or_default() } else { body.clone().unwrap_or_default() }
    }
}

/// What a whole answer used; None for one that is no answer.
fn measure(kind: Kind, answer: &Value, asked: u64) -> Option<(Used, Basis)> {
    let content = match kind {
        Kind::Chat => &answer["choices"],
        Kind::Responses => &answer["output"],
        _ => &answer["data"],
    };
    let made = content.as_array()?.len() as u64;
    if kind == Kind::Responses && answer["status"] == "failed" {
        return None;
    }
    let told = usage::tokens(kind, &answer["usage"]);
    if kind == Kind::Image {
        return Some((told.unwrap_or_default().and(Part::Images, made), Basis::Measured));
    }
    let guess = || {
        let output = if kind == Kind::Embeddings { 0 } else { request::tokens(request::length(content)) };
        (Used::of(Part::Input, asked).and(Part::Output, output), Basis::Estimated)
    };
    Some(told.map_or_else(guess, |used| (used, Basis::Upstream)))
}

async fn streamed(
    app: Arc<App>,
    call: Call,
    deployments: Vec<Arc<Deployment>>,
    body: Value,
    asked: u64,
) -> Result<Response, Problem> {
    let ai = client(&app)?;
    let wants_usage = body["stream_options"]["include_usage"].as_bool().unwrap_or(false);
    let (kind, budgeted) = (call.kind, call.hold.is_budgeted());
    let mut copies = copies(body, deployments.len());
    let asking = ask(&app, &call, &deployments, |deployment| {
        let body = copies();
        async move {
            let response = sent(ai, &deployment, kind, body, budgeted).await?;
            let content = service::header(&response, header::CONTENT_TYPE);
            if content.starts_with("text/event-stream") {
                Ok(response)
            } else {
                Err(UpstreamError::Unreadable(format!("it is {content} and no stream")))
            }
        }
    });
    let (response, deployment) = match asking.await {
        Ok(answered) => answered,
        Err(unanswered) => return unanswered.into_response(),
    };
    let reading = match kind {
        Kind::Responses => Reading::Responses(ResponseStream::new(&call.model)),
        _ => Reading::Chat(ChatStream::new(&call.model, wants_usage)),
    };
    let mut answer = respond(StatusCode::OK, "text/event-stream; charset=utf-8", Vec::new());
    answer = with_limits(answer, &call.hold.inside);
    *answer.body_mut() = relay::start(app, call, deployment, response, reading, asked);
    let answer = with_header(answer, header::CACHE_CONTROL, "no-cache, no-transform");
    Ok(with_header(answer, HeaderName::from_static("x-accel-buffering"), "no"))
}
