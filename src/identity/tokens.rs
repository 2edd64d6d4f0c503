//! Short-lived tokens that a customer's program mints from its API key, for places where the key itself should not be: a
//! browser, a device. A token opens what its key opens, or less, and dies with the key. Signed with `JWT_SECRET` (HS256).

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::api_keys::{ApiKey, KeyError, Scope};
use crate::app::App;

pub const SHORTEST: i64 = 60;
pub const LONGEST: i64 = 60 * 60;
pub const USUAL: i64 = 15 * 60;
const AUDIENCE: &str = "mediagenie-ai";

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    /// The subscription.
    sub: String,
    /// The prefix of the key.
    key: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Scope>>,
}

/// A token that is genuine and still valid; its key has yet to be looked at.
#[derive(Debug)]
pub struct Token {
    pub key: String,
    scopes: Option<Vec<Scope>>,
}

impl Token {
    /// The key as far as this token may use it.
    pub fn narrow(&self, mut key: ApiKey) -> ApiKey {
        if let Some(wanted) = &self.scopes {
            key.scopes = Some(wanted.iter().copied().filter(|scope| key.may(*scope)).collect());
        }
        key
    }
}

/// A token for a key, of so many seconds, for these scopes or all that the key has. None: there is no `JWT_SECRET`.
pub fn mint(
    app: &App,
    key: &ApiKey,
    seconds: i64,
    scopes: Option<Vec<Scope>>,
) -> Option<Result<(String, Timestamp), jsonwebtoken::errors::Error>> {
    let secret = app.settings.jwt_secret.as_ref()?;
    let now = app.clock.now();
    let expires = now + SignedDuration::from_secs(seconds);
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        sub: key.subscription.to_string(),
        key: key.prefix.clone(),
        iat: now.as_second(),
        exp: expires.as_second(),
        scopes: scopes.or_else(|| key.scopes.clone()),
    };
    let signing = EncodingKey::from_secret(secret.expose().as_bytes());
    Some(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signing).map(|token| (token, expires)))
}

pub fn read(app: &App, text: &str) -> Result<Token, KeyError> {
    let secret = app.settings.jwt_secret.as_ref().ok_or(KeyError::Unknown)?;
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "sub"]);
    // By our own clock, below.
    rules.validate_exp = false;
    let claims = jsonwebtoken::decode::<Claims>(text, &DecodingKey::from_secret(secret.expose().as_bytes()), &rules);
    let claims = claims.map_err(|_| KeyError::Unknown)?.claims;
    if app.clock.now().as_second() >= claims.exp {
        return Err(KeyError::Expired);
    }
    Ok(Token { key: claims.key, scopes: claims.scopes })
}
