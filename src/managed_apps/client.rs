//! Azure Resource Manager: whether an application is there, and which applications the publisher can see.
//!
//! Asked with the managed identity, which must stand in the authorizations of the plan (marketplace contract 6.3).
//! UNVERIFIED: that Resource Graph lists customers' applications for an identity that the plan authorises; where it does
//! not, only applications of which at least one notification came are known.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::Retryable as _;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::heard::Plan;
use super::model::wire;
use crate::foundation::clock::Clock;
use crate::foundation::managed_identity::{ManagedIdentity, Token};
use crate::foundation::outbound::{Patience, retry_after};
use crate::foundation::settings::Settings;

const API_VERSION: &str = "2021-07-01";
const GRAPH_VERSION: &str = "2022-10-01";
const QUERY: &str = "resources | where type =~ 'microsoft.solutions/applications' | project id, name, type, location, kind, plan, properties | order by id asc";
const SILENT: SignedDuration = SignedDuration::from_secs(30);
const PAGE: usize = 1_000;
/// Nobody sells this many; a service that always answers "more" must not hold us.
const MOST_PAGES: usize = 100;
/// What of a refusal is kept for people.
const LONGEST_SAID: usize = 300;

/// An application's resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    /// `provisioningState`
    pub state: String,
    pub region: Option<String>,
    pub usage_id: Option<Uuid>,
    pub plan: Option<Plan>,
    pub definition: Option<String>,
}

/// Azure's answer about one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Found(Found),
    Gone,
    /// We may not read it, or our identity is not what it should be.
    Denied(String),
}

/// Azure did not answer; asking again later helps.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Azure Resource Manager did not answer: {said}")]
pub struct Unavailable {
    pub said: String,
    pub wait: Option<Duration>,
}

#[derive(Debug)]
pub struct ArmClient {
    http: reqwest::Client,
    base: String,
    /// What the token is for.
    audience: String,
    identity: Arc<ManagedIdentity>,
    clock: Arc<dyn Clock>,
    /// Until when nobody waits for an identity that did not answer.
    without_identity: Mutex<Option<Timestamp>>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    id: String,
    location: Option<String>,
    plan: Option<Plan>,
    #[serde(default)]
    properties: Value,
}

impl From<Resource> for Found {
    fn from(resource: Resource) -> Self {
        let text = |name: &str| resource.properties.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            state: text("provisioningState").unwrap_or_default(),
            usage_id: wire::usage_id(&resource.properties["billingDetails"]),
            definition: text("applicationDefinitionId").filter(|id| !id.is_empty()),
            id: resource.id,
            region: resource.location.filter(|location| !location.is_empty()),
            plan: resource.plan.filter(|plan| !plan.name.is_empty()),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    data: Vec<Resource>,
    #[serde(rename = "$skipToken")]
    skip_token: Option<String>,
}

/// The code of Azure's error, and its words.
fn refusal(status: StatusCode, body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    let said = format!("{status} {}: {}", text("code"), text("message"));
    (text("code"), said.chars().take(LONGEST_SAID).collect())
}

/// Whether a 404 is about the application. A subscription that is not found is one that we may not see; no code, or one about
/// the request, comes from an address that is not Azure's: it must not end every application at once.
fn says_gone(code: &str) -> bool {
    let ours = ["SubscriptionNotFound", "InvalidResourceType", "InvalidResourceNamespace", "NoRegisteredProviderFound"];
    !code.is_empty() && !ours.contains(&code)
}

impl ArmClient {
    pub fn new(
        http: reqwest::Client,
        settings: &Settings,
        identity: Arc<ManagedIdentity>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let audience = format!("{}/", settings.cloud.arm_url());
        Self {
            http,
            base: settings.managed_apps.arm_url.clone(),
            audience,
            identity,
            clock,
            without_identity: Mutex::default(),
        }
    }

    /// For the test of our own address.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The application at an address of Azure.
    pub async fn application(&self, uri: &str) -> Result<Answer, Unavailable> {
        let address = format!("{}{uri}?api-version={API_VERSION}", self.base);
        let (status, body) = self.ask(|http| http.get(&address)).await?;
        let (code, said) = refusal(status, &body);
        match status {
            StatusCode::OK => match serde_json::from_slice::<Resource>(&body) {
                Ok(resource) => Ok(Answer::Found(resource.into())),
                Err(error) => Err(Unavailable { said: format!("the resource can not be read: {error}"), wait: None }),
            },
            StatusCode::NOT_FOUND if says_gone(&code) => Ok(Answer::Gone),
            _ => Ok(Answer::Denied(said)),
        }
    }

    /// Every application that our identity can see.
    pub async fn applications(&self) -> Result<Vec<Found>, Unavailable> {
        let address = format!("{}/providers/Microsoft.ResourceGraph/resources?api-version={GRAPH_VERSION}", self.base);
        let (mut found, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let options = json!({ "$top": PAGE, "$skipToken": token, "resultFormat": "objectArray" });
            let body = json!({ "query": QUERY, "options": options });
            let (status, answer) = self.ask(|http| http.post(&address).json(&body)).await?;
            if status != StatusCode::OK {
                return Err(Unavailable { said: refusal(status, &answer).1, wait: None });
            }
            let page: Listed = serde_json::from_slice(&answer)
                .map_err(|error| Unavailable { said: format!("the list can not be read: {error}"), wait: None })?;
            found.extend(page.data.into_iter().map(Found::from));
            token = page.skip_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Where no identity answers, a whole fleet must not wait for it one by one.
    async fn token(&self) -> Result<Token, Unavailable> {
        let now = self.clock.now();
        let until = *self.without_identity.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| now < until) {
            return Err(Unavailable { said: "the managed identity did not answer moments ago".into(), wait: None });
        }
        let token = self.identity.token(&self.audience).await;
        let silent = token.is_err().then(|| now + SILENT);
        *self.without_identity.lock().unwrap_or_else(PoisonError::into_inner) = silent;
        token.map_err(|error| Unavailable { said: error.to_string(), wait: None })
    }

    /// Asks until there is an answer that says something.
    async fn ask(
        &self,
        request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), Unavailable> {
        let token = self.token().await?;
        let once = || async {
            let unavailable = |error: reqwest::Error| Unavailable { said: error.without_url().to_string(), wait: None };
            let sent = request(&self.http).bearer_auth(token.secret.expose()).send().await.map_err(unavailable)?;
            let status = sent.status();
            let wait = retry_after(sent.headers());
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(Unavailable { said: status.to_string(), wait });
            }
            Ok((status, sent.bytes().await.map_err(unavailable)?.to_vec()))
        };
        // Who asks us to wait is not asked again at once.
        once.retry(Patience::Short.policy()).when(|error: &Unavailable| error.wait.is_none()).await
    }
}
