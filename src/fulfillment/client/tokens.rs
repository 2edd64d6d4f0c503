//! Our own access token for a service of Microsoft's: client credentials, kept until five minutes before its end, renewed by
//! one caller for all, and once more when Microsoft refuses it (marketplace contract 4.1).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use super::ApiError;
use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;
use crate::foundation::settings::Marketplace;

/// What a token is for.
#[derive(Debug, Clone)]
pub enum For {
    /// Fulfillment and metering.
    Marketplace,
    /// A resource by its address, asked for at Entra's first endpoint (analytics contract 2).
    Resource(String),
}

/// Microsoft's marketplace as a resource; the same id calls our webhook.
const MARKETPLACE_SCOPE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default";
const EARLY: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Clone)]
struct Held {
    token: Secret,
    fetched: Timestamp,
    expires: Timestamp,
}

#[derive(Debug)]
pub struct AccessTokens {
    http: reqwest::Client,
    address: String,
    wanted: (&'static str, String),
    client_id: String,
    client_secret: Secret,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

impl AccessTokens {
    pub fn new(
        http: reqwest::Client,
        settings: &Marketplace,
        authority: &str,
        wanted: For,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (path, wanted) = match wanted {
            For::Marketplace => ("oauth2/v2.0/token", ("scope", MARKETPLACE_SCOPE.to_owned())),
            For::Resource(resource) => ("oauth2/token", ("resource", resource)),
        };
        Self {
            http,
            address: format!("{authority}/{}/{path}", settings.tenant_id),
            wanted,
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            clock,
            held: Mutex::default(),
        }
    }

    /// A token that holds for a while. Callers at the same time share one request.
    pub async fn current(&self) -> Result<Secret, ApiError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(held) = held.as_ref().filter(|held| held.expires - EARLY > now && held.fetched <= now) {
            return Ok(held.token.clone());
        }
        let new = self.fetch(now).await?;
        Ok(held.insert(new).token.clone())
    }

    /// Another token than the one that was refused.
    pub async fn renewed(&self, refused: &Secret) -> Result<Secret, ApiError> {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.token.expose() == refused.expose()) {
            *held = None;
        }
        drop(held);
        self.current().await
    }

    /// When the held token was fetched and when it ends, for the readiness probe.
    pub async fn age(&self) -> Option<(Timestamp, Timestamp)> {
        self.held.lock().await.as_ref().map(|held| (held.fetched, held.expires))
    }

    async fn fetch(&self, now: Timestamp) -> Result<Held, ApiError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose())
            .append_pair(self.wanted.0, &self.wanted.1)
            .finish();
        let unavailable =
            |error: reqwest::Error| ApiError::Unavailable(format!("no token from Entra: {}", error.without_url()));
        let request = self
            .http
            .post(&self.address)
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let body: Value = response.json().await.map_err(unavailable)?;
        if status.is_client_error() && status != http::StatusCode::TOO_MANY_REQUESTS {
            let said = body["error_description"].as_str().or_else(|| body["error"].as_str()).unwrap_or_default();
            let said: String = said.chars().take(200).collect();
            return Err(ApiError::Denied(format!(
                "Entra gives no token for MARKETPLACE_CLIENT_ID ({said}); check MARKETPLACE_CLIENT_SECRET and its end date"
            )));
        }
        let token = body["access_token"].as_str().filter(|_| status.is_success());
        let Some(token) = token else {
            return Err(ApiError::Unavailable(format!("Entra answered {} to our token request", status.as_u16())));
        };
        // A number from version 2, a text from version 1.
        let seconds = body["expires_in"].as_i64().or_else(|| body["expires_in"].as_str()?.parse().ok()).unwrap_or(3600);
        Ok(Held {
            token: Secret::new(token),
            fetched: now,
            expires: now + SignedDuration::from_secs(seconds.clamp(0, 86_400)),
        })
    }
}
