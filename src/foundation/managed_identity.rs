//! Tokens of the machine's own identity: from the Functions or App Service endpoint where there is one, else from the
//! virtual machine's metadata address (marketplace contract 5.6 names both forms). Kept until five minutes before
//! their end.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::clock::Clock;
use super::secret::Secret;
use super::settings::IdentityEndpoint;

const METADATA_ADDRESS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// A token is renewed this long before it ends.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub enum ManagedIdentityError {
    #[error("the managed identity's endpoint could not be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the managed identity's endpoint answered {0}; check that an identity is assigned to this app")]
    Refused(http::StatusCode),
}

#[derive(Debug, Clone)]
pub struct Token {
    pub secret: Secret,
    pub expires: Timestamp,
}

#[derive(Debug)]
pub struct ManagedIdentity {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    endpoint: IdentityEndpoint,
    client_id: Option<String>,
    tokens: Mutex<HashMap<String, Token>>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds since 1970, as a string in both forms.
    expires_on: serde_json::Value,
}

impl ManagedIdentity {
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        endpoint: IdentityEndpoint,
        client_id: Option<String>,
    ) -> Self {
        Self { http, clock, endpoint, client_id, tokens: Mutex::default() }
    }

    /// A token for `resource`, e.g. `https://storage.azure.com/`. Callers at the same time share one request.
    pub async fn token(&self, resource: &str) -> Result<Token, ManagedIdentityError> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.now();
        if let Some(token) = tokens.get(resource).filter(|token| token.expires - EARLY > now) {
            return Ok(token.clone());
        }
        let mut request = match &self.endpoint.url {
            Some(url) => self
                .http
                .get(url)
                .query(&[("api-version", "2019-08-01")])
                .header("X-IDENTITY-HEADER", self.endpoint.header.expose()),
            None => self.http.get(METADATA_ADDRESS).query(&[("api-version", "2018-02-01")]).header("Metadata", "true"),
        };
        request = request.query(&[("resource", resource)]);
        if let Some(client_id) = &self.client_id {
            request = request.query(&[("client_id", client_id)]);
        }
        let response = request.send().await.map_err(ManagedIdentityError::Unreachable)?;
        if !response.status().is_success() {
            return Err(ManagedIdentityError::Refused(response.status()));
        }
        let answer: Answer = response.json().await.map_err(ManagedIdentityError::Unreachable)?;
        let seconds = answer.expires_on.as_i64().or_else(|| answer.expires_on.as_str()?.parse().ok());
        let expires =
            seconds.and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(now + SignedDuration::from_mins(10));
        let token = Token { secret: Secret::new(answer.access_token), expires };
        tokens.insert(resource.to_owned(), token.clone());
        Ok(token)
    }
}
