//! Calls of AI services, with every answer told apart by what the caller must do (AI services contract 1.7). Host,
//! deployment and keys of ours never reach a customer.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::model::deployments::{Authorization, Deployment, Deployments};
use super::service::cooldown::Cooldowns;
use crate::foundation::outbound;
use crate::foundation::secret::Secret;

/// The largest answer that is read whole.
const LARGEST: usize = 32 * 1024 * 1024;
/// What customers are asked to wait at most: SDKs give up on longer waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct AiClient {
    http: reqwest::Client,
    key: Secret,
    pub deployments: Deployments,
    pub cooldowns: Cooldowns,
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
    /// 200, and not what was asked for.
    #[error("the answer can not be read: {0}")]
    Unreadable(String),
}

impl AiClient {
    pub fn new(key: Secret, deployments: Deployments) -> Result<Self, reqwest::Error> {
        Ok(Self { http: outbound::patient_client()?, key, deployments, cooldowns: Cooldowns::default() })
    }

    /// Sends a request and gives the answer whose status is a success; the body is still to come.
    pub async fn send(&self, deployment: &Deployment, body: &Value) -> Result<reqwest::Response, UpstreamError> {
        let passing = |error: reqwest::Error| UpstreamError::Passing {
            status: None,
            wait: None,
            message: error.without_url().to_string(),
        };
        let request = self.http.post(deployment.address()).json(body);
        let request = match deployment.authorization {
            Authorization::ApiKey => request.header("api-key", self.key.expose()),
            Authorization::Bearer => request.bearer_auth(self.key.expose()),
        };
        let response = request.send().await.map_err(passing)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = wait(response.headers());
        let text = response.text().await.map_err(passing)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or("no explanation").chars().take(300).collect();
        Err(match status.as_u16() {
            401 | 403 | 404 => UpstreamError::Misconfigured(format!("{status}: {message}")),
            408 | 429 | 500..=599 => UpstreamError::Passing { status: Some(status), wait, message },
            _ if body["error"].is_object() => UpstreamError::Refused { status, error: outward(&body["error"]) },
            _ => UpstreamError::Unreadable(format!("{status} without an error object")),
        })
    }

    /// The whole body as JSON.
    pub async fn whole(&self, response: reqwest::Response) -> Result<Value, UpstreamError> {
        let unreadable = |text: &str| UpstreamError::Unreadable(text.to_owned());
        let mut response = response;
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= LARGEST => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => return Err(unreadable("it is too large")),
                Ok(None) => break,
                Err(error) => {
                    let message = error.without_url().to_string();
                    return Err(UpstreamError::Passing { status: None, wait: None, message });
                }
            }
        }
        serde_json::from_slice(&bytes).map_err(|_| unreadable("it is no JSON"))
    }
}

/// `retry-after-ms`, else `retry-after` in seconds, clamped.
fn wait(headers: &http::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| *n >= 0.0);
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"))?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
}

/// The four members that SDKs read, and the filter's results; nothing that names our side.
fn outward(error: &Value) -> Value {
    let inner = ["innererror", "inner_error"].into_iter().map(|name| &error[name]).find(|inner| inner.is_object());
    let mut shown = serde_json::json!({
        "message": error["message"], "type": error["type"].as_str().unwrap_or("invalid_request_error"),
        "param": error["param"], "code": error["code"],
    });
    if let Some(inner) = inner {
        shown["innererror"] = inner.clone();
    }
    shown
}
