//! One call: who may, which deployment, whole or as a stream.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use super::meter::{self, Basis, Call};
use super::relay;
use crate::ai::client::{AiClient, UpstreamError};
use crate::ai::model::deployments::{Deployment, Kind, PathStyle};
use crate::ai::model::stream::ChatStream;
use crate::ai::model::usage::Tokens;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, respond, with_header};
use crate::fulfillment::model::facts::Status;
use crate::identity::ApiKey;
use crate::metering::model::resource::Resource;
use crate::{fulfillment, metering};

/// About so many characters are a token, where nobody counted.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// The subscription must be one that is served now.
async fn served(app: &App, key: &ApiKey) -> Result<(), Problem> {
    let row = fulfillment::find(app, key.subscription).await?;
    match row.map(|row| row.facts.status) {
        Some(Status::Subscribed) => Ok(()),
        Some(Status::Suspended) => Err(Problem::forbidden(
            "subscription_suspended",
            "The subscription of this key is suspended; usually a payment has failed.",
        )
        .remedy("The purchaser settles it in the Azure portal; the key works again by itself.")),
        _ => Err(Problem::forbidden("subscription_ended", "The subscription of this key is not active.")
            .remedy("Use a key of an active subscription.")),
    }
}

fn client(app: &App) -> Result<&AiClient, Problem> {
    app.ai.as_ref().ok_or_else(|| {
        Problem::not_found().remedy("The operator of this service has named no deployments (AI_DEPLOYMENTS_FILE).")
    })
}

/// `POST /v1/chat/completions` and `POST /v1/embeddings`.
pub async fn perform(app: Arc<App>, request: Request, key: ApiKey, kind: Kind) -> Result<Response, Problem> {
    let mut body: Value = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::bad_request("invalid_json", format!("The body is not JSON: {error}.")))?;
    let Some(fields) = body.as_object_mut() else {
        return Err(Problem::bad_request("invalid_json", "The body is not a JSON object."));
    };
    let Some(model) = fields.get("model").and_then(Value::as_str).map(str::to_owned) else {
        return Err(Problem::bad_request("missing_model", "The model is not named.").field("model"));
    };
    let stream = match fields.get("stream") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) if kind == Kind::Chat => true,
        Some(_) => {
            return Err(
                Problem::bad_request("invalid_value", "stream is true or false, and for chat only.").field("stream")
            );
        }
    };
    served(&app, &key).await?;
    let deployments: Vec<Deployment> = client(&app)?.deployments.of(&model, kind).into_iter().cloned().collect();
    let Some(first) = deployments.first() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", "There is no such model for this address.")
            .remedy("GET /v1/models lists the models.")
            .field("model"));
    };
    let names: Vec<&str> = first.meters.all().collect();
    metering::admits(&app, &Resource::Subscription(key.subscription), &names)
        .await
        .map_err(|error| {
            Problem::unavailable("metering_unavailable", "The call could not be metered at the moment.")
                .caused_by(error)
        })?
        .map_err(|refusal| {
            Problem::forbidden("model_not_in_plan", "The plan of this subscription does not include this model.")
                .remedy(refusal.message)
                .field("model")
        })?;
    let call = Call {
        request: request.id.clone(),
        subscription: key.subscription,
        key: key.prefix,
        model,
        meters: first.meters.clone(),
        began: app.clock.now(),
    };
    // A task of its own: who hangs up while the service works has used it all the same.
    let task = tokio::spawn(async move {
        if stream {
            streamed(app, call, deployments, body).await
        } else {
            whole(app, call, deployments, body, kind).await
        }
    });
    task.await.map_err(Problem::internal)?
}

/// Asks one deployment after the other until one answers.
async fn ask(app: &App, deployments: &[Deployment], body: &mut Value) -> Result<reqwest::Response, Response> {
    let Ok(client) = client(app) else { return Err(failed(None)) };
    let mut wait: Option<Duration> = None;
    for deployment in client.cooldowns.order(deployments, app.clock.now()) {
        if deployment.path == PathStyle::V1 {
            body["model"] = deployment.deployment.clone().into();
        } else if let Some(fields) = body.as_object_mut() {
            fields.remove("model");
        }
        if body["stream"] == true {
            ask_for_usage(body, deployment);
        }
        match client.send(deployment, body).await {
            Ok(response) => {
                client.cooldowns.note(deployment, None, app.clock.now());
                return Ok(response);
            }
            Err(UpstreamError::Refused { status, error }) => return Err(json(status, &json!({ "error": error }))),
            Err(error) => {
                client.cooldowns.note(deployment, Some(&error), app.clock.now());
                tracing::warn!(model = deployment.model, deployment = deployment.deployment, %error, "a deployment did not answer");
                if let UpstreamError::Passing { wait: Some(asked), .. } = error {
                    wait = Some(wait.map_or(asked, |known| known.min(asked)));
                }
            }
        }
    }
    Err(failed(wait))
}

/// Without usage there is nothing exact to bill by; the customer sees it only if asked for.
fn ask_for_usage(body: &mut Value, deployment: &Deployment) {
    let Some(fields) = body.as_object_mut() else { return };
    if !deployment.stream_usage {
        fields.remove("stream_options");
        return;
    }
    let options = fields.entry("stream_options").or_insert_with(|| json!({}));
    if !options.is_object() {
        *options = json!({});
    }
    options["include_usage"] = true.into();
}

/// No deployment could answer.
fn failed(wait: Option<Duration>) -> Response {
    let (status, code, kind) = match wait {
        Some(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error"),
        None => (StatusCode::BAD_GATEWAY, "upstream_unavailable", "server_error"),
    };
    let error = json!({ "message": "The model is not available at the moment; try again.", "type": kind, "param": null, "code": code });
    let mut response = json(status, &json!({ "error": error }));
    if let Some(wait) = wait {
        response = with_header(response, HeaderName::from_static("retry-after-ms"), &wait.as_millis().to_string());
        response = with_header(response, header::RETRY_AFTER, &wait.as_secs_f64().ceil().to_string());
    }
    response
}

fn broken() -> Response {
    let error = json!({ "message": "The model's answer could not be read; nothing is billed.", "type": "server_error", "param": null, "code": "upstream_invalid" });
    json(StatusCode::BAD_GATEWAY, &json!({ "error": error }))
}

/// The answer was made and can not be billed: the customer does not get it.
fn unrecorded() -> Response {
    let error = json!({ "message": "The usage of this call could not be recorded; nothing is billed.", "type": "server_error", "param": null, "code": "metering_unavailable" });
    json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }))
}

async fn whole(
    app: Arc<App>,
    call: Call,
    deployments: Vec<Deployment>,
    mut body: Value,
    kind: Kind,
) -> Result<Response, Problem> {
    let asked = length(&body);
    let response = match ask(&app, &deployments, &mut body).await {
        Ok(response) => response,
        Err(answer) => return Ok(answer),
    };
    let mut answer = match client(&app)?.whole(response).await {
        Ok(answer) if answer.is_object() => answer,
        Ok(_) => return Ok(broken()),
        Err(error) => {
            tracing::warn!(request = %call.request, model = call.model, %error, "an answer was lost");
            return Ok(broken());
        }
    };
    let told = Tokens::read(&answer["usage"]);
    let (tokens, basis) = match told {
        Some(tokens) => (tokens, Basis::Upstream),
        None => {
            let output = if kind == Kind::Chat { length(&answer["choices"]) } else { 0 };
            (estimate(asked, output), Basis::Estimated)
        }
    };
    if meter::record(&app, &call, tokens, basis).await.is_err() {
        return Ok(unrecorded());
    }
    answer["model"] = call.model.into();
    Ok(json(StatusCode::OK, &answer))
}

fn estimate(asked: u64, answered: u64) -> Tokens {
    Tokens {
        input: asked.div_ceil(CHARACTERS_PER_TOKEN),
        cached_input: 0,
        output: answered.div_ceil(CHARACTERS_PER_TOKEN),
    }
}

/// Characters of all texts in a value.
fn length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(length).sum(),
        Value::Object(fields) => fields.values().map(length).sum(),
        _ => 0,
    }
}

async fn streamed(
    app: Arc<App>,
    call: Call,
    deployments: Vec<Deployment>,
    mut body: Value,
) -> Result<Response, Problem> {
    let wants_usage = body["stream_options"]["include_usage"].as_bool().unwrap_or(false);
    let asked = length(&body["messages"]);
    let response = match ask(&app, &deployments, &mut body).await {
        Ok(response) => response,
        Err(answer) => return Ok(answer),
    };
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        tracing::warn!(request = %call.request, model = call.model, kind, "the service sent no stream");
        return Ok(broken());
    }
    let state = ChatStream::new(&call.model, wants_usage);
    let stream = relay::start(app, call, response, state, asked.div_ceil(CHARACTERS_PER_TOKEN));
    let mut answer = respond(StatusCode::OK, "text/event-stream; charset=utf-8", Vec::new());
    *answer.body_mut() = stream;
    let answer = with_header(answer, header::CACHE_CONTROL, "no-cache, no-transform");
    Ok(with_header(answer, HeaderName::from_static("x-accel-buffering"), "no"))
}
