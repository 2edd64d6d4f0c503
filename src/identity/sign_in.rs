//! Sign-in with Entra: OpenID Connect authorization code flow with PKCE and nonce, any tenant and personal accounts
//! (marketplace contract 4.3). The library does the protocol; ours is the multi-tenant issuer rule that it can not
//! know: the issuer must be the one of the token's own `tid`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointNotSet, EndpointSet, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    Scope, StandardErrorResponse, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::access::User;
use super::keys::{KeySet, KeysError, SigningKeys};
use crate::foundation::ids::{ObjectId, TenantId};
use crate::foundation::rng::Random;
use crate::foundation::settings::SignIn;

/// How long a person may take at Microsoft's sign-in page.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// What we must remember while the person is away at Entra. Kept under the hash of `state`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pending {
    pub nonce: String,
    pub verifier: String,
    /// A path of ours.
    pub return_to: String,
    /// Also in the browser's cookie, so that nobody can be signed in with somebody else's answer.
    pub browser: String,
    pub expires: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("Entra did not exchange the code: {0}")]
    Exchange(String),
    #[error("the identity token is refused: {0}")]
    Token(String),
    #[error("the sign-in settings are not usable: {0}")]
    Settings(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EntraClaims {
    tid: TenantId,
    oid: ObjectId,
    #[serde(default)]
    roles: Vec<String>,
}

impl AdditionalClaims for EntraClaims {}

type Fields = IdTokenFields<
    EntraClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type EntraClient = Client<
    EntraClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

#[derive(Debug)]
pub struct SignInClient {
    http: reqwest::Client,
    settings: SignIn,
    redirect: String,
    keys: Arc<SigningKeys>,
}

/// Any work or school tenant and personal accounts.
const TENANT: &str = "common";

impl SignInClient {
    /// `redirect` is the absolute address of our callback.
    pub fn new(http: reqwest::Client, settings: SignIn, redirect: String, keys: Arc<SigningKeys>) -> Self {
        Self { http, settings, redirect, keys }
    }

    fn client(&self, set: &KeySet) -> Result<EntraClient, SignInError> {
        let wrong = |error: url::ParseError| SignInError::Settings(error.to_string());
        let keys: CoreJsonWebKeySet =
            serde_json::from_value(set.keys.clone()).map_err(|error| SignInError::Settings(error.to_string()))?;
        let issuer = IssuerUrl::new(self.keys.authority().to_owned()).map_err(wrong)?;
        Ok(Client::new(ClientId::new(self.settings.client_id.clone()), issuer, keys)
            .set_client_secret(ClientSecret::new(self.settings.client_secret.expose().to_owned()))
            .set_auth_type(openidconnect::AuthType::RequestBody)
            .set_redirect_uri(RedirectUrl::new(self.redirect.clone()).map_err(wrong)?)
            .set_auth_uri(AuthUrl::new(set.endpoints.authorization_endpoint.clone()).map_err(wrong)?)
            .set_token_uri(TokenUrl::new(set.endpoints.token_endpoint.clone()).map_err(wrong)?))
    }

    /// The address at Entra, the `state` that will come back, and what to remember until then.
    pub async fn begin(
        &self,
        return_to: String,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(String, String, Pending), SignInError> {
        let set = self.keys.tenant(TENANT).await?;
        let verifier = PkceCodeVerifier::new(random.token());
        let (state, nonce) = (random.token(), random.token());
        let (address, _, _) = self
            .client(&set)?
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                {
                    let state = state.clone();
                    move || CsrfToken::new(state.clone())
                },
                {
                    let nonce = nonce.clone();
                    move || Nonce::new(nonce.clone())
                },
            )
            .add_scopes([Scope::new("profile".into()), Scope::new("email".into())])
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_prompt(CoreAuthPrompt::SelectAccount)
            .url();
        let pending = Pending {
            nonce,
            verifier: verifier.into_secret(),
            return_to,
            browser: random.token(),
            expires: now + PATIENCE,
        };
        Ok((address.into(), state, pending))
    }

    /// Exchanges the code and checks the identity token: signature, audience, times, nonce, and the issuer by tenant.
    pub async fn finish(&self, code: String, pending: &Pending, now: Timestamp) -> Result<User, SignInError> {
        let set = self.keys.tenant(TENANT).await?;
        let client = self.client(&set)?;
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()))
            .request_async(&self.http)
            .await
            .map_err(|error| SignInError::Exchange(error.to_string()))?;
        let token = answer.extra_fields().id_token().ok_or_else(|| SignInError::Token("there is none".into()))?;
        // A rotated key is fetched before the signature is judged.
        let key_id =
            jsonwebtoken::decode_header(token.to_string()).ok().and_then(|header| header.kid).unwrap_or_default();
        let set = self
            .keys
            .with_key(TENANT, &key_id)
            .await?
            .ok_or_else(|| SignInError::Token("signed with an unknown key".into()))?;
        let client = self.client(&set)?;
        let time = chrono::DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default();
        let verifier = client.id_token_verifier().require_issuer_match(false).set_time_fn(move || time);
        let claims = token
            .claims(&verifier, &Nonce::new(pending.nonce.clone()))
            .map_err(|error| SignInError::Token(error.to_string()))?;
        let entra = claims.additional_claims();
        let expected = format!("{}/{}/v2.0", self.keys.authority(), entra.tid);
        if claims.issuer().as_str() != expected {
            return Err(SignInError::Token("its issuer is not its tenant's".into()));
        }
        let name = claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()).unwrap_or_default();
        let email = claims
            .email()
            .map(|email| email.to_string())
            .or_else(|| claims.preferred_username().map(|name| name.to_string()))
            .unwrap_or_default();
        Ok(User { tenant_id: entra.tid, object_id: entra.oid, name, email, roles: entra.roles.clone() })
    }
}

/// A path on this site to go to after signing in; anything else becomes the portal.
pub fn local_path(wanted: &str) -> String {
    let local = wanted.starts_with('/') && !wanted.starts_with("//") && !wanted.contains(['\\', '\r', '\n', '\t']);
    if local { wanted.to_owned() } else { "/portal".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_gone_back_to() {
        assert_eq!(local_path("/marketplace/landing?visit=vis_1"), "/marketplace/landing?visit=vis_1");
        for bad in ["//evil.example", "https://evil.example", "/\\evil.example", "", "evil", "/a\r\nb", "\t/x"] {
            assert_eq!(local_path(bad), "/portal", "{bad}");
        }
    }
}
