//! Calls of AI services, with every answer told apart by what the caller must do (AI services contract 1.7). Host,
//! deployment and keys of ours never reach a customer.

pub mod batch;
pub mod speech;
pub mod vision;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::model::deployments::{Authorization, Deployment, Deployments, Provider};
use super::service::admission::KnownTerms;
use super::service::books::Books;
use super::service::budgets::Budgets;
use super::service::cooldown::Cooldowns;
use super::service::gate::Gate;
use super::service::stops::Stops;
use crate::foundation::managed_identity::ManagedIdentity;
use crate::foundation::outbound;
use crate::foundation::settings::AiKeys;

/// The largest answer that is read whole.
const LARGEST: usize = 64 * 1024 * 1024;
/// What customers are asked to wait at most: SDKs give up on longer waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The AI services, and what this process remembers of its calls.
#[derive(Debug)]
pub struct AiClient {
    http: reqwest::Client,
    /// Fetches what customers name; never a private address.
    pub fetcher: outbound::Fetcher,
    keys: AiKeys,
    identity: Arc<ManagedIdentity>,
    pub deployments: Deployments,
    pub cooldowns: Cooldowns,
    pub gate: Arc<Gate>,
    pub budgets: Budgets,
    pub books: Books,
    pub stops: Stops,
    pub terms: KnownTerms,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No answer, 408, 5xx or 429: another deployment may do it, or the same one later.
    #[error("the service is not available: {message}")]
    Passing { status: Option<StatusCode>, wait: Option<Duration>, message: String },
    /// 401, 403, 404: our configuration, not the customer's request.
    #[error("the deployment is not set up: {0}")]
    Misconfigured(String),
    /// The request itself is refused. The error object is for the customer.
    #[error("the service refuses the request: {status}")]
    Refused { status: StatusCode, error: Value },
    /// This deployment can not do it, though another one might; the text is for the customer.
    #[error("the deployment can not do this: {0}")]
    Unfit(String),
    /// 200, and not what was asked for.
    #[error("the answer can not be read: {0}")]
    Unreadable(String),
}

impl UpstreamError {
    pub fn passing(error: reqwest::Error) -> Self {
        Self::Passing { status: None, wait: None, message: error.without_url().to_string() }
    }

    pub fn unreadable(text: &str) -> Self {
        Self::Unreadable(text.to_owned())
    }
}

impl AiClient {
    pub fn new(
        keys: AiKeys,
        deployments: Deployments,
        identity: Arc<ManagedIdentity>,
        fetcher: outbound::Fetcher,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: outbound::patient_client()?,
            fetcher,
            keys,
            identity,
            deployments,
            cooldowns: Cooldowns::default(),
            gate: Arc::default(),
            budgets: Budgets::default(),
            books: Books::default(),
            stops: Stops::default(),
            terms: KnownTerms::default(),
        })
    }

    fn post(&self, address: String) -> reqwest::RequestBuilder {
        self.http.post(address)
    }

    /// Sends a request with exactly one key, and gives the answer whose status is a success; its body is still to come.
    pub async fn send(
        &self,
        deployment: &Deployment,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, UpstreamError> {
        let response = self.sent(deployment, request).await?;
        self.judged(deployment, response).await
    }

    async fn sent(
        &self,
        deployment: &Deployment,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, UpstreamError> {
        let azure = deployment.provider != Provider::Openai;
        let request = match deployment.authorization {
            Authorization::ApiKey if azure => request.header("ocp-apim-subscription-key", self.key(deployment)),
            Authorization::ApiKey => request.header("api-key", self.key(deployment)),
            Authorization::Bearer => request.bearer_auth(self.key(deployment)),
            Authorization::ManagedIdentity => {
                let resource = deployment.scope.trim_end_matches("/.default");
                let token = self.identity.token(resource).await;
                let token = token.map_err(|error| UpstreamError::Misconfigured(error.to_string()))?.secret;
                match &deployment.resource_id {
                    // The regional hosts of Speech (contract 2.1).
                    Some(id) => request.bearer_auth(format!("aad#{id}#{}", token.expose())),
                    None => request.bearer_auth(token.expose()),
                }
            }
        };
        request.send().await.map_err(UpstreamError::passing)
    }

    /// The answer, if its status is a success; else what that means.
    async fn judged(
        &self,
        deployment: &Deployment,
        response: reqwest::Response,
    ) -> Result<reqwest::Response, UpstreamError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = wait(response.headers());
        let text = response.text().await.map_err(UpstreamError::passing)?;
        let error = error_object(&serde_json::from_str(&text).unwrap_or_default());
        // Its code only: a message may quote what the customer sent, and this goes into the log.
        let message = code(&error["code"]).unwrap_or_else(|| "no explanation".to_owned());
        Err(match status.as_u16() {
            401 | 403 | 404 => UpstreamError::Misconfigured(format!("{status}: {message}")),
            300..=399 => UpstreamError::Misconfigured(format!("{status}: it leads elsewhere")),
            408 | 409 | 429 | 500..=599 => UpstreamError::Passing { status: Some(status), wait, message },
            _ if error.is_object() => UpstreamError::Refused { status, error: outward(&error, deployment) },
            _ => UpstreamError::Unreadable(format!("{status} without an error object")),
        })
    }

    fn key(&self, deployment: &Deployment) -> &str {
        let keys = &self.keys;
        let named = deployment.key.as_deref().and_then(|name| keys.named.iter().find(|(known, _)| known == name));
        let usual = match deployment.provider {
            Provider::Openai => &keys.openai,
            Provider::AzureSpeech | Provider::AzureSpeechShort => &keys.speech,
            Provider::AzureVision | Provider::AzureVisionV3 => &keys.vision,
        };
        named.map_or(usual, |(_, key)| key).expose()
    }

    /// A JSON request to an OpenAI service.
    pub async fn json(&self, deployment: &Deployment, body: &Value) -> Result<reqwest::Response, UpstreamError> {
        self.send(deployment, self.post(deployment.address()).json(body)).await
    }

    /// A form with a file to an OpenAI service.
    pub async fn form(
        &self,
        deployment: &Deployment,
        form: reqwest::multipart::Form,
    ) -> Result<reqwest::Response, UpstreamError> {
        self.send(deployment, self.post(deployment.address()).multipart(form)).await
    }
}

/// The whole body of an answer. One that breaks off was worked on all the same.
pub async fn whole(mut response: reqwest::Response) -> Result<Vec<u8>, UpstreamError> {
    let broke_off = |error: reqwest::Error| UpstreamError::Unreadable(error.without_url().to_string());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broke_off)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(UpstreamError::unreadable("it is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The whole body as a JSON object.
pub async fn object(response: reqwest::Response) -> Result<Value, UpstreamError> {
    let value: Value =
        serde_json::from_slice(&whole(response).await?).map_err(|_| UpstreamError::unreadable("it is no JSON"))?;
    if value.is_object() { Ok(value) } else { Err(UpstreamError::unreadable("it is no JSON object")) }
}

/// The header of an answer as text.
pub fn header(response: &reqwest::Response, name: http::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// `retry-after-ms`, else `retry-after` in seconds, clamped.
fn wait(headers: &http::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| *n >= 0.0);
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"))?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
}

/// A code, which some write as a number.
fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take(100).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The error of a body: OpenAI's and Azure's wrap it, Speech and older Vision do not (contract 0.2).
fn error_object(body: &Value) -> Value {
    match (&body["error"], &body["message"]) {
        (error, _) if error.is_object() => error.clone(),
        (_, message) if message.is_string() => body.clone(),
        _ => Value::Null,
    }
}

/// The four members that SDKs read, and the filter's results; nothing that names our side.
fn outward(error: &Value, deployment: &Deployment) -> Value {
    let inner = ["innererror", "inner_error", "innerError"]
        .into_iter()
        .map(|name| &error[name])
        .find(|inner| inner.is_object());
    let mut message = error["message"].as_str().unwrap_or_default().to_owned();
    let host = url::Url::parse(&deployment.endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    for ours in [Some(deployment.deployment.clone()), host].into_iter().flatten().filter(|text| !text.is_empty()) {
        message = message.replace(&ours, &deployment.model);
    }
    let mut shown = json!({
        "message": message, "type": error["type"].as_str().unwrap_or("invalid_request_error"),
        "param": error["param"].as_str(), "code": code(&error["code"]),
    });
    if let Some(inner) = inner {
        // What the filter found, and nothing else.
        let mut told = json!({ "code": inner["code"].as_str() });
        for name in ["content_filter_result", "content_filter_results"] {
            if inner[name].is_object() {
                told[name] = inner[name].clone();
            }
        }
        shown["innererror"] = told;
    }
    shown
}
