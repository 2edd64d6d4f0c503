//! Microsoft's SaaS fulfillment and operations API, version 2018-08-31 (marketplace contract 1 and 2), as typed calls.
//! Strict in what is sent, lenient in what is read; every status is told apart by what the caller must do.

mod call;
mod tokens;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

pub use call::Caller;
pub use tokens::{AccessTokens, For};
pub use wire::{Resolved, Webhook};

use super::model::facts::{Facts, Plan};
use super::model::operation::{Action, RemoteOperation};
use super::model::subscription::Wish;
use crate::foundation::clock::Clock;
use crate::foundation::ids::{OperationId, SubscriptionId};
use crate::foundation::outbound::Patience;
use crate::foundation::settings::Marketplace;

const API_VERSION: &str = "2018-08-31";
/// Pages of subscriptions followed in one listing: a guard against a service that never ends, not a limit to reach.
const MOST_PAGES: usize = 2_000;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer, an answer that can not be read, 5xx or 429: it passes, and whether the call was done is not known.
    #[error("the marketplace can not be reached: {0}")]
    Unavailable(String),
    /// 429 or 503 with a `Retry-After` longer than the caller's patience.
    #[error("the marketplace asks us to wait {} s", wait.as_secs())]
    Throttled { wait: Duration },
    /// 401 or 403 also with a new token: our app is not the one in the offer's technical configuration.
    #[error("the marketplace refuses our credentials: {0}")]
    Denied(String),
    /// 404.
    #[error("the marketplace does not know it")]
    NotFound,
    /// 400: asked for something that can not be.
    #[error("the marketplace refuses: {0}")]
    Refused(String),
    /// 409: locked by another operation, or overtaken by a newer one.
    #[error("the marketplace is busy with it: {0}")]
    Conflict(String),
}

/// The answer of an accepted change or cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// None when Microsoft named none that can be read; the subscription then tells.
    pub operation: Option<OperationId>,
}

#[derive(Debug)]
pub struct MarketplaceClient {
    caller: Caller,
    base: String,
}

impl MarketplaceClient {
    pub fn new(http: reqwest::Client, settings: &Marketplace, authority: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            caller: Caller {
                tokens: AccessTokens::new(http.clone(), settings, authority, For::Marketplace, clock),
                http,
            },
            base: settings.api_url.clone(),
        }
    }

    pub fn tokens(&self) -> &AccessTokens {
        &self.caller.tokens
    }

    /// Resolve: what a purchase token stands for (1.1). `Refused` or `NotFound`: the token is expired or damaged.
    pub async fn resolve(&self, token: &str, patience: Patience) -> Result<Resolved, ApiError> {
        let address = self.address("saas/subscriptions/resolve");
        let answer = self
            .caller
            .call(patience, || {
                self.caller
                    .http
                    .post(&address)
                    .header("x-ms-marketplace-token", token)
                    .header(http::header::CONTENT_LENGTH, 0)
            })
            .await?;
        wire::resolved(&answer.body).ok_or_else(|| unreadable("resolve", &answer.body))
    }

    /// Activate (1.2). Success means "received"; the subscription shows Subscribed later.
    pub async fn activate(
        &self,
        id: SubscriptionId,
        plan: &str,
        quantity: Option<u64>,
        patience: Patience,
    ) -> Result<(), ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}/activate"));
        let mut body = json!({ "planId": plan });
        if let Some(quantity) = quantity {
            body["quantity"] = quantity.into();
        }
        self.caller.call(patience, || self.caller.http.post(&address).json(&body)).await.map(drop)
    }

    /// Get subscription (1.4).
    pub async fn subscription(&self, id: SubscriptionId, patience: Patience) -> Result<Facts, ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}"));
        let answer = self.caller.call(patience, || self.caller.http.get(&address)).await?;
        wire::facts(&answer.body).ok_or_else(|| unreadable("subscription", &answer.body))
    }

    /// List subscriptions (1.3), all pages. An entry that can not be read is passed over and counted.
    pub async fn subscriptions(&self) -> Result<(Vec<(SubscriptionId, Facts)>, usize), ApiError> {
        let mut address = self.address("saas/subscriptions");
        let (mut found, mut unread) = (Vec::new(), 0);
        for _ in 0..MOST_PAGES {
            let answer = self.caller.call(Patience::Long, || self.caller.http.get(&address)).await?;
            for entry in answer.body["subscriptions"].as_array().into_iter().flatten() {
                match wire::id(entry).zip(wire::facts(entry)) {
                    Some(pair) => found.push(pair),
                    None => unread += 1,
                }
            }
            match wire::next_page(&answer.body, &self.base)? {
                Some(token) => {
                    let query = form_urlencoded::Serializer::new(String::new())
                        .append_pair("continuationToken", &token)
                        .finish();
                    address = format!("{}&{query}", self.address("saas/subscriptions"));
                }
                None => return Ok((found, unread)),
            }
        }
        Err(ApiError::Unavailable("the list of subscriptions does not end".into()))
    }

    /// Plans that this customer may change to, the current one included (1.5).
    pub async fn plans(&self, id: SubscriptionId, patience: Patience) -> Result<Vec<Plan>, ApiError> {
        Ok(wire::plans_on_sale(&self.listed(id, patience).await?))
    }

    /// The same with those whose sale was stopped: a customer may still have one of them.
    pub async fn all_plans(&self, id: SubscriptionId, patience: Patience) -> Result<Vec<Plan>, ApiError> {
        Ok(wire::plans(&self.listed(id, patience).await?))
    }

    async fn listed(&self, id: SubscriptionId, patience: Patience) -> Result<Value, ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}/listAvailablePlans"));
        Ok(self.caller.call(patience, || self.caller.http.get(&address)).await?.body)
    }

    /// Asks for another plan, other seats, or the end (1.6, 1.7, 1.8). Done only when the operation has succeeded.
    /// Not repeated here: a second call would meet the first one's lock.
    pub async fn change(&self, id: SubscriptionId, wish: &Wish) -> Result<Accepted, ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}"));
        let request = || match wish {
            Wish::Plan { plan } => self.caller.http.patch(&address).json(&json!({ "planId": plan })),
            Wish::Quantity { quantity } => self.caller.http.patch(&address).json(&json!({ "quantity": quantity })),
            Wish::Cancel => self.caller.http.delete(&address),
        };
        let answer = self.caller.once(Patience::Long, &request).await?;
        let location =
            |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).and_then(wire::operation_in);
        Ok(Accepted { operation: location("operation-location").or_else(|| location("operation-id")) })
    }

    /// Get operation (2.2).
    pub async fn operation(
        &self,
        id: SubscriptionId,
        operation: OperationId,
        patience: Patience,
    ) -> Result<RemoteOperation, ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}/operations/{operation}"));
        match self.caller.call(patience, || self.caller.http.get(&address)).await {
            Ok(answer) => Ok(wire::operation(&answer.body)),
            // The real service is seen to answer 400 where the contract says 404.
            Err(ApiError::NotFound | ApiError::Refused(_)) => Ok(RemoteOperation::NotFound),
            Err(error) => Err(error),
        }
    }

    /// Operations that Microsoft still waits for (2.1).
    pub async fn open_operations(
        &self,
        id: SubscriptionId,
    ) -> Result<Vec<(OperationId, Action, Option<String>, Option<u64>)>, ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}/operations"));
        let answer = self.caller.call(Patience::Long, || self.caller.http.get(&address)).await?;
        Ok(wire::open_operations(&answer.body))
    }

    /// Our word on an operation (2.3). `Conflict` and `NotFound` mean that it is over anyway.
    pub async fn acknowledge(&self, id: SubscriptionId, operation: OperationId, accept: bool) -> Result<(), ApiError> {
        let address = self.address(&format!("saas/subscriptions/{id}/operations/{operation}"));
        let body = json!({ "status": if accept { "Success" } else { "Failure" } });
        self.caller
            .call(Patience::Short, || self.caller.http.request(Method::PATCH, &address).json(&body))
            .await
            .map(drop)
    }

    /// Any other call to the same service with the same token, such as metering: `path` without a slash before it and
    /// with its query but the version, `body` as JSON text. Repeated within the caller's patience, so only for what may
    /// come twice.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<String>,
        patience: Patience,
    ) -> Result<Value, ApiError> {
        let address = format!("{}{query}", self.address(path));
        let request = || {
            let request = self.caller.http.request(method.clone(), &address);
            match &body {
                Some(body) => request.header(http::header::CONTENT_TYPE, "application/json").body(body.clone()),
                None => request,
            }
        };
        Ok(self.caller.call(patience, request).await?.body)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}?api-version={API_VERSION}", self.base)
    }
}

fn unreadable(what: &str, body: &Value) -> ApiError {
    let keys: Vec<_> = body.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect();
    ApiError::Unavailable(format!("the answer to {what} lacks what it must have; it has {keys:?}"))
}
