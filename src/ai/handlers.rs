//! The triggers of the AI API, as OpenAI's SDKs call them.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::model::deployments::Kind;
use super::service::call;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json};
use crate::identity::ApiKey;

/// `POST /v1/chat/completions`.
pub async fn chat(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Chat).await
}

/// `POST /v1/embeddings`.
pub async fn embeddings(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    call::perform(app, request, key, Kind::Embeddings).await
}

fn shown(model: &str) -> Value {
    json!({ "id": model, "object": "model", "created": 0, "owned_by": "mediagenie" })
}

/// `GET /v1/models`.
pub async fn models(app: Arc<App>, _request: Request, _key: ApiKey) -> Result<Response, Problem> {
    let models: Vec<Value> = app.ai.iter().flat_map(|ai| ai.deployments.models()).map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "object": "list", "data": models })))
}

/// `GET /v1/models/{model}`.
pub async fn model(app: Arc<App>, request: Request, _key: ApiKey) -> Result<Response, Problem> {
    let wanted = request.param("model");
    let known = app.ai.iter().flat_map(|ai| ai.deployments.models()).any(|model| model == wanted);
    if known {
        return Ok(json(StatusCode::OK, &shown(wanted)));
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", "There is no such model.").field("model"))
}
