//! One call with our token to a service of Microsoft's: repeated within the caller's patience, with a new token when the first
//! is refused, and every status told apart by what the caller must do.

use std::time::Duration;

use backon::Retryable;
use http::StatusCode;
use serde_json::Value;

use super::{AccessTokens, ApiError, wire};
use crate::foundation::outbound::{Patience, retry_after};

/// Whoever calls with the tokens of one application for one service.
#[derive(Debug)]
pub struct Caller {
    pub http: reqwest::Client,
    pub tokens: AccessTokens,
}

#[derive(Debug)]
pub struct Answer {
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Caller {
    /// Sends until it is answered or patience ends.
    pub async fn call(
        &self,
        patience: Patience,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Answer, ApiError> {
        (|| self.once(patience, &request))
            .retry(patience.policy())
            .when(|failure: &Failure| {
                matches!(failure.error, ApiError::Unavailable(_))
                    && failure.wait.is_none_or(|wait| wait <= patience.longest_wait())
            })
            .adjust(|failure, pause| pause.map(|pause| failure.wait.unwrap_or(pause)))
            .await
            .map_err(|failure: Failure| match failure.wait {
                Some(wait) if wait > patience.longest_wait() => ApiError::Throttled { wait },
                _ => failure.error,
            })
    }

    /// Sends once, and a second time with a new token when the first was refused.
    pub async fn once(
        &self,
        patience: Patience,
        request: &impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Answer, Failure> {
        let mut token = self.tokens.current().await?;
        for last in [false, true] {
            let response = request()
                .timeout(patience.per_request())
                .bearer_auth(token.expose())
                .send()
                .await
                .map_err(|error| ApiError::Unavailable(error.without_url().to_string()))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let text = response.text().await.map_err(|error| ApiError::Unavailable(error.without_url().to_string()))?;
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && !last {
                token = self.tokens.renewed(&token).await?;
                continue;
            }
            return judge(status, headers, &text);
        }
        Err(ApiError::Denied("no answer".into()).into())
    }
}

/// An error with the wait that the service asked for.
pub struct Failure {
    error: ApiError,
    wait: Option<Duration>,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error, wait: None }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

fn judge(status: StatusCode, headers: http::HeaderMap, text: &str) -> Result<Answer, Failure> {
    if status.is_success() {
        // Empty where nothing is to say, also where the contract promises an object.
        let body = if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(text).map_err(|_| ApiError::Unavailable("an answer is not JSON".into()))?
        };
        return Ok(Answer { headers, body });
    }
    let message = wire::error_message(status, text);
    let error = match status.as_u16() {
        400 => ApiError::Refused(message),
        401 | 403 => ApiError::Denied(message),
        404 => ApiError::NotFound,
        409 => ApiError::Conflict(message),
        408 | 429 | 500..=599 => {
            return Err(Failure { wait: retry_after(&headers), error: ApiError::Unavailable(message) });
        }
        _ => ApiError::Refused(message),
    };
    Err(error.into())
}
