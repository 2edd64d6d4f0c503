//! Tokens for client credentials (OAuth 2.0), one for each destination: kept until shortly before their end, and replaced
//! once when they are refused.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::DeliveryError;
use super::answer::{Answer, Caller, is_code};
use crate::foundation::secret::Secret;

const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// Salesforce does not say how long; its shortest sessions have a quarter of an hour.
const UNSAID: i64 = 900;

#[derive(Debug)]
struct Held {
    token: Secret,
    fetched: Timestamp,
    until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) caller: Caller,
    /// Where they come from.
    pub(super) address: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    /// None where the system has none.
    pub(super) scope: Option<String>,
    held: Mutex<Option<Held>>,
}

impl Tokens {
    pub(super) fn new(
        caller: Caller,
        address: String,
        client_id: String,
        client_secret: Secret,
        scope: Option<String>,
    ) -> Self {
        Self { caller, address, client_id, client_secret, scope, held: Mutex::default() }
    }

    /// A call with a token; once more with another one where the answer says that the first is no good.
    pub(super) async fn call(
        &self,
        request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
        stale: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, DeliveryError> {
        let token = self.current().await?;
        let send =
            async |token: &Secret| self.caller.send(request(&self.caller.http).bearer_auth(token.expose())).await;
        let answer = send(&token).await?;
        if !stale(&answer) {
            return Ok(answer);
        }
        send(&self.renewed(&token).await?).await
    }

    /// Callers at the same time share one request.
    async fn current(&self) -> Result<Secret, DeliveryError> {
        let mut held = self.held.lock().await;
        let now = self.caller.clock.now();
        if let Some(held) = held.as_ref().filter(|held| held.until > now && held.fetched <= now) {
            return Ok(held.token.clone());
        }
        let new = self.fetch(now).await?;
        Ok(held.insert(new).token.clone())
    }

    async fn renewed(&self, refused: &Secret) -> Result<Secret, DeliveryError> {
        let mut held = self.held.lock().await;
        held.take_if(|held| held.token.expose() == refused.expose());
        drop(held);
        self.current().await
    }

    async fn fetch(&self, now: Timestamp) -> Result<Held, DeliveryError> {
        let form = self.form();
        let request = self.caller.http.post(&self.address);
        let request = request
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(http::header::ACCEPT, "application/json")
            .body(form);
        let answer = self.caller.send(request).await?;
        let token = answer.body["access_token"].as_str().filter(|_| answer.status.is_success());
        let Some(token) = token else { return Err(self.no_token(&answer)) };
        // A number from most, a text from some.
        let seconds = &answer.body["expires_in"];
        let seconds = seconds.as_i64().or_else(|| seconds.as_str()?.parse().ok()).unwrap_or(UNSAID);
        let life = SignedDuration::from_secs(seconds.clamp(0, 86_400));
        Ok(Held { token: Secret::new(token), fetched: now, until: now + life - EARLY.min(life / 2) })
    }

    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", &self.client_id);
        form.append_pair("client_secret", self.client_secret.expose());
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        form.finish()
    }

    fn no_token(&self, answer: &Answer) -> DeliveryError {
        let (system, status) = (self.caller.system, answer.status);
        let code = answer.body["error"].as_str().filter(|code| is_code(code)).unwrap_or("no code");
        let said = format!("{system} gives no token: {} ({code})", status.as_u16());
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return DeliveryError::Later { said, after: self.caller.wait(answer) };
        }
        DeliveryError::Refused { said: format!("{said}; check client_id, the key in LEAD_KEYS and its end date") }
    }
}
