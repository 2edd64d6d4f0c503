//! The triggers of the AI API, as OpenAI's SDKs call them.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::model::deployments::Kind;
use super::service::{admission, call, hearing, speaking, vision};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached};
use crate::identity::{ApiKey, Scope, api_keys, tokens};

/// `POST /v1/chat/completions`.
pub async fn chat(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Chat).await
}

/// `POST /v1/responses`.
pub async fn responses(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Responses).await
}

/// `POST /v1/embeddings`.
pub async fn embeddings(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Embeddings).await
}

/// `POST /v1/images/generations`.
pub async fn images(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Image).await
}

/// `POST /v1/audio/transcriptions`.
pub async fn transcriptions(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    hearing::hear(app, request, key, Kind::Transcription).await
}

/// `POST /v1/audio/translations`.
pub async fn translations(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    hearing::hear(app, request, key, Kind::Translation).await
}

/// `POST /v1/audio/speech`.
pub async fn speech(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    speaking::speak(app, request, key).await
}

/// `POST /v1/vision/analyze`.
pub async fn analyze(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    vision::analyze(app, request, key).await
}

fn shown(model: &str) -> Value {
    json!({ "id": model, "object": "model", "created": 0, "owned_by": "mediagenie" })
}

/// The models that a key may use.
fn usable<'a>(app: &'a App, key: &ApiKey) -> Vec<&'a str> {
    let all = app.ai.iter().flat_map(|ai| ai.deployments.all());
    let mut names: Vec<&str> =
        all.filter(|entry| key.may(admission::scope(entry.kind))).map(|entry| entry.model.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `GET /v1/models`.
pub async fn models(app: Arc<App>, _request: Request, key: ApiKey) -> Result<Response, Problem> {
    let models: Vec<Value> = usable(&app, &key).into_iter().map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "object": "list", "data": models })))
}

/// `GET /v1/models/{model}`.
pub async fn model(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    let wanted = request.param("model");
    if usable(&app, &key).contains(&wanted) {
        return Ok(json(StatusCode::OK, &shown(wanted)));
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", "There is no such model.").field("model"))
}

/// `POST /v1/tokens`: a short-lived token of the key, `{"expires_in": seconds, "scopes": [...]}`.
pub async fn mint(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    if api_keys::sent(&request).is_none_or(|text| !text.starts_with(api_keys::MARK)) {
        return Err(Problem::forbidden("key_needed", "A token is made from a key, not from another token."));
    }
    let body = if request.body.is_empty() { json!({}) } else { request.json()? };
    let seconds = if body["expires_in"].is_null() { Some(tokens::USUAL) } else { body["expires_in"].as_i64() };
    let seconds =
        seconds.filter(|seconds| (tokens::SHORTEST..=tokens::LONGEST).contains(seconds)).ok_or_else(|| {
            let title =
                format!("`expires_in` is a number of seconds from {} to {}.", tokens::SHORTEST, tokens::LONGEST);
            Problem::bad_request("invalid_value", title).field("expires_in")
        })?;
    let scopes = match &body["scopes"] {
        Value::Null => None,
        Value::Array(names) => Some(names.iter().map(|name| scope(name, &key)).collect::<Result<Vec<_>, _>>()?),
        _ => return Err(Problem::bad_request("invalid_value", "`scopes` is a list of names.").field("scopes")),
    };
    let minted = tokens::mint(&app, &key, seconds, scopes)
        .ok_or_else(|| Problem::not_found().remedy("The operator of this service has set no JWT_SECRET."))?;
    let (token, expires) = minted.map_err(Problem::internal)?;
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds, "expires_at": expires.as_second() });
    Ok(uncached(json(StatusCode::OK, &answer)))
}

fn scope(name: &Value, key: &ApiKey) -> Result<Scope, Problem> {
    let scope = name.as_str().and_then(Scope::read).filter(|scope| key.may(*scope));
    scope.ok_or_else(|| {
        let names: Vec<&str> =
            Scope::ALL.into_iter().filter(|scope| key.may(*scope)).map(|scope| scope.name()).collect();
        Problem::bad_request("invalid_value", format!("The key has the scopes {}.", names.join(", "))).field("scopes")
    })
}
