//! The check of the token that Microsoft's marketplace service sends with a webhook (marketplace contract 3.4).
//!
//! "Proven false" and "could not be checked" are different ends: the first is refused for good, the second must be
//! answered so that Microsoft comes again.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::keys::{KeysError, SigningKeys};
use crate::foundation::settings::Marketplace;

/// Microsoft's marketplace service, proven by its token. Only [`marketplace_caller`] makes one.
#[derive(Debug, Clone)]
pub struct MarketplaceCaller {
    /// The caller's application id: `appid` of a version 1 token, `azp` of a version 2 token.
    pub application: String,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("there is no bearer token")]
    Missing,
    /// Proven false. The text is for our log, not for the caller.
    #[error("the token is refused: {0}")]
    Refused(&'static str),
    #[error("the token can not be checked")]
    CannotCheck(#[from] KeysError),
}

/// Entra tokens are about 1.5 kB; far longer ones are rubbish and not worth decoding.
const LONGEST: usize = 8 * 1024;
/// How far Microsoft's clock and ours may differ, in seconds.
const SKEW: i64 = 60;

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    tid: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    appid: Option<String>,
    azp: Option<String>,
}

/// Checks the bearer token of a request against the app in the offer's technical configuration.
pub async fn marketplace_caller(
    token: Option<&str>,
    settings: &Marketplace,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<MarketplaceCaller, TokenError> {
    let token = token.ok_or(TokenError::Missing)?;
    if token.len() > LONGEST {
        return Err(TokenError::Refused("longer than 8 KiB"));
    }
    let head = decode_header(token).map_err(|_| TokenError::Refused("not a JWT"))?;
    if head.alg != Algorithm::RS256 {
        return Err(TokenError::Refused("not signed with RS256"));
    }
    let id = head.kid.ok_or(TokenError::Refused("names no key"))?;
    let tenant = settings.tenant_id.to_string();
    let Some(set) = keys.with_key(&tenant, &id).await? else {
        return Err(TokenError::Refused("signed with an unknown key"));
    };
    let Some(key) = set.key(&id) else { return Err(TokenError::Refused("signed with an unknown key")) };
    // The library asks the machine for the time; ours comes from the clock, so times are compared below.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = decode::<Claims>(token, key, &validation)
        .map_err(|error| {
            TokenError::Refused(match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => "wrong signature",
                _ => "signature or claims unreadable",
            })
        })?
        .claims;
    let application = check(claims, settings, keys.authority(), now).map_err(TokenError::Refused)?;
    Ok(MarketplaceCaller { application })
}

fn check(claims: Claims, settings: &Marketplace, authority: &str, now: Timestamp) -> Result<String, &'static str> {
    let tenant = settings.tenant_id.to_string();
    // Which version of token comes is a matter of the app's manifest; both issuers are right. The version 1 issuer of
    // the global cloud has a host of its own.
    let issuers = [
        format!("https://sts.windows.net/{tenant}/"),
        format!("https://sts.chinacloudapi.cn/{tenant}/"),
        format!("{authority}/{tenant}/v2.0"),
        format!("{authority}/{tenant}/"),
    ];
    if !issuers.contains(&claims.iss) {
        return Err("wrong issuer");
    }
    if !claims.tid.eq_ignore_ascii_case(&tenant) {
        return Err("wrong tenant");
    }
    let audience = claims.aud.strip_prefix("api://").unwrap_or(&claims.aud).to_ascii_lowercase();
    if !bool::from(audience.as_bytes().ct_eq(settings.client_id.as_bytes())) {
        return Err("wrong audience");
    }
    let caller = claims.appid.or(claims.azp).unwrap_or_default().to_ascii_lowercase();
    if !settings.caller_ids.contains(&caller) {
        return Err("not from the marketplace service");
    }
    let now = now.as_second();
    if claims.exp + SKEW < now {
        return Err("expired");
    }
    if claims.nbf - SKEW > now {
        return Err("not yet valid");
    }
    Ok(caller)
}
