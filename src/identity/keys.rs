//! Entra's discovery documents and signing keys, by tenant: fetched when first needed, kept, renewed in time, and
//! fetched again when a token names a key that we do not have (keys rotate), but not more often than every ten
//! seconds, or anybody could make us call Entra (marketplace contract 3.4).

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, RwLock};

use crate::foundation::clock::Clock;
use crate::foundation::outbound::base_address;

/// Keys older than this are renewed when next used; an outage of Entra is survived for [`STALE`].
const FRESH: SignedDuration = SignedDuration::from_hours(12);
const STALE: SignedDuration = SignedDuration::from_hours(72);
const BETWEEN_FETCHES: SignedDuration = SignedDuration::from_secs(10);

/// The keys could not be fetched, so a token can neither be trusted nor be called false.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Entra's signing keys can not be fetched: {0}")]
pub struct KeysError(String);

/// What a discovery document names.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoints {
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
}

/// One tenant's discovery document with its keys.
#[derive(Debug)]
pub struct KeySet {
    pub endpoints: Endpoints,
    /// The JSON Web Key Set as it came.
    pub keys: Value,
    by_id: HashMap<String, jsonwebtoken::DecodingKey>,
    pub fetched: Timestamp,
}

impl KeySet {
    pub fn key(&self, id: &str) -> Option<&jsonwebtoken::DecodingKey> {
        self.by_id.get(id)
    }
}

/// When it was made, and how it ended.
type Attempt = (Timestamp, Result<(), KeysError>);

#[derive(Debug)]
pub struct SigningKeys {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    authority: String,
    known: RwLock<HashMap<String, Arc<KeySet>>>,
    /// When each tenant's keys were last asked for; held while asking, so that callers share one request.
    attempts: Mutex<HashMap<String, Attempt>>,
}

impl SigningKeys {
    /// `authority` is Entra's sign-in address without a trailing slash.
    pub fn new(http: reqwest::Client, clock: Arc<dyn Clock>, authority: &str) -> Self {
        Self { http, clock, authority: authority.to_owned(), known: RwLock::default(), attempts: Mutex::default() }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The key set of a tenant (or `common`), as fresh as can be had.
    pub async fn tenant(&self, tenant: &str) -> Result<Arc<KeySet>, KeysError> {
        let known = self.known.read().await.get(tenant).cloned();
        let age = |set: &KeySet| self.clock.now().duration_since(set.fetched);
        match known {
            Some(set) if age(&set) < FRESH => Ok(set),
            // While somebody else is asking, the keys at hand will do.
            Some(set) if age(&set) < STALE && self.attempts.try_lock().is_err() => Ok(set),
            Some(set) if age(&set) < STALE => Ok(self.fetch(tenant).await.unwrap_or(set)),
            _ => self.fetch(tenant).await,
        }
    }

    /// The key set of a tenant that has the key `id`. `Ok(None)`: Entra does not publish such a key.
    pub async fn with_key(&self, tenant: &str, id: &str) -> Result<Option<Arc<KeySet>>, KeysError> {
        let set = self.tenant(tenant).await?;
        if set.key(id).is_some() {
            return Ok(Some(set));
        }
        let set = self.fetch(tenant).await?;
        Ok(set.key(id).is_some().then_some(set))
    }

    /// When a tenant's keys were fetched, for the readiness probe.
    pub async fn fetched(&self, tenant: &str) -> Option<Timestamp> {
        self.known.read().await.get(tenant).map(|set| set.fetched)
    }

    /// Fetches, unless that was just done: then its outcome stands.
    async fn fetch(&self, tenant: &str) -> Result<Arc<KeySet>, KeysError> {
        let mut attempts = self.attempts.lock().await;
        let now = self.clock.now();
        if let Some((at, outcome)) = attempts.get(tenant)
            && now.duration_since(*at).abs() < BETWEEN_FETCHES
        {
            outcome.clone()?;
            if let Some(set) = self.known.read().await.get(tenant) {
                return Ok(Arc::clone(set));
            }
        }
        let fetched = self.ask(tenant, now).await.map(Arc::new);
        attempts.insert(tenant.to_owned(), (self.clock.now(), fetched.as_ref().map(drop).map_err(Clone::clone)));
        let set = fetched?;
        self.known.write().await.insert(tenant.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    async fn ask(&self, tenant: &str, now: Timestamp) -> Result<KeySet, KeysError> {
        let discovery = format!("{}/{tenant}/v2.0/.well-known/openid-configuration", self.authority);
        let endpoints: Endpoints = serde_json::from_value(self.get(&discovery).await?)
            .map_err(|error| KeysError(format!("{discovery}: {error}")))?;
        for address in [&endpoints.authorization_endpoint, &endpoints.token_endpoint, &endpoints.jwks_uri] {
            base_address(address).map_err(|error| KeysError(format!("{discovery} names an address that {error}")))?;
        }
        let keys = self.get(&endpoints.jwks_uri).await?;
        let mut by_id = HashMap::new();
        for key in keys["keys"].as_array().into_iter().flatten() {
            // Keys of kinds that we do not use are passed over.
            let Ok(jwk) = serde_json::from_value::<jsonwebtoken::jwk::Jwk>(key.clone()) else { continue };
            if let (Some(id), Ok(decoding)) = (&jwk.common.key_id, jsonwebtoken::DecodingKey::from_jwk(&jwk)) {
                by_id.insert(id.clone(), decoding);
            }
        }
        Ok(KeySet { endpoints, keys, by_id, fetched: now })
    }

    async fn get(&self, address: &str) -> Result<Value, KeysError> {
        let wrong = |error: &dyn std::fmt::Display| KeysError(format!("{address}: {error}"));
        let response = self.http.get(address).send().await.map_err(|error| wrong(&error))?;
        if !response.status().is_success() {
            return Err(wrong(&format!("status {}", response.status().as_u16())));
        }
        response.json().await.map_err(|error| wrong(&error))
    }
}
