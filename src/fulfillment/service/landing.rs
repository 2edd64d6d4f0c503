//! The buyer's first visit and every later one: the purchase token is kept on our side while the person signs in,
//! resolved for them, and only for people of the tenants that bought or use it (marketplace contract 1.1, 8.1).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::foundation::ids::{SubscriptionId, VisitId};
use crate::foundation::outbound::Patience;
use crate::fulfillment::client::{ApiError, Resolved};
use crate::fulfillment::model::event::{Actor, Cause, EventKind};
use crate::fulfillment::model::facts::{Facts, Status};
use crate::fulfillment::model::subscription::{Activation, Subscription};
use crate::fulfillment::repo;
use crate::identity::Customer;
use crate::store::expiry::{self, KEY};
use crate::store::{self, StoreError, Table};

use super::sync::{self, SyncError, client};

const VISITS: Table = Table("Visits");
/// As long as Microsoft's token.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Real tokens have a few hundred characters.
const LONGEST_TOKEN: usize = 6 * 1024;
const MAKE_SURE_AFTER: Duration = Duration::from_secs(10);
const TRIES: usize = 6;

/// A purchase token on its way through sign-in.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    token: String,
    expires: Timestamp,
}

/// What the landing page shows.
#[derive(Debug, Clone)]
pub struct Visit {
    pub subscription: Subscription,
}

#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// Unknown, damaged or expired: only a new click at Microsoft helps.
    #[error("the purchase token can not be used")]
    BadToken,
    /// The person belongs to neither tenant. Nothing was stored.
    #[error("the signed-in person belongs neither to the purchaser nor to the beneficiary")]
    WrongTenant,
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<StoreError> for VisitError {
    fn from(error: StoreError) -> Self {
        Self::Sync(error.into())
    }
}

/// Keeps the token (decoded once from the address) and gives the id under which it waits.
pub async fn start_visit(app: &App, token: &str) -> Result<VisitId, VisitError> {
    client(app)?;
    // Some tools turn the plus signs of the token into blanks; it never has blanks of its own.
    let token = token.trim().replace(' ', "+");
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(VisitError::BadToken);
    }
    let id = VisitId::new(app.clock.now(), &*app.random);
    let stored = Stored { token, expires: app.clock.now() + LIFE };
    expiry::insert(&*app.rows, VISITS, id.as_str(), store::encode(&stored)?, stored.expires).await?;
    Ok(id)
}

/// Resolves the visit's token for a person, and stores the subscription if the person may see it.
pub async fn open_visit(app: &App, id: &VisitId, customer: &Customer) -> Result<Visit, VisitError> {
    let stored = store::load::<Stored>(&*app.rows, VISITS, id.as_str(), KEY).await?;
    let Some((stored, _)) = stored.filter(|(stored, _)| stored.expires > app.clock.now()) else {
        return Err(VisitError::BadToken);
    };
    let resolved = resolve(app, &stored.token).await?;
    if !resolved.facts.belongs_to(customer.user().tenant_id, customer.user().object_id) {
        return Err(VisitError::WrongTenant);
    }
    let subscription =
        sync::sync(app, resolved.id, &Cause::Landing, Patience::Short).await?.ok_or(VisitError::BadToken)?;
    Ok(Visit { subscription })
}

async fn resolve(app: &App, token: &str) -> Result<Resolved, VisitError> {
    let client = client(app)?;
    match client.resolve(token, Patience::Short).await {
        Ok(resolved) => Ok(resolved),
        Err(ApiError::Refused(_) | ApiError::NotFound) => {
            // A token that was encoded twice on its way still carries percent signs, which no real one has.
            let again = percent_decode_str(token).decode_utf8_lossy();
            if again == token || !again.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(VisitError::BadToken);
            }
            match client.resolve(&again, Patience::Short).await {
                Err(ApiError::Refused(_) | ApiError::NotFound) => Err(VisitError::BadToken),
                other => Ok(other.map_err(SyncError::from)?),
            }
        }
        Err(error) => Err(SyncError::from(error).into()),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    #[error("there is no such subscription for this person")]
    NotFound,
    /// Suspended or unsubscribed.
    #[error("the subscription is {0} and can not be activated")]
    WrongState(Status),
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<StoreError> for ActivateError {
    fn from(error: StoreError) -> Self {
        Self::Sync(error.into())
    }
}

/// Activates a subscription for a person who has confirmed it. The wish is stored first; what a crash or an outage
/// leaves undone is done by the queue. Twice at the same time, or again later, is the same as once.
pub async fn activate(app: &App, id: SubscriptionId, customer: &Customer) -> Result<Facts, ActivateError> {
    let user = customer.user();
    for _ in 0..TRIES {
        let found = repo::subscription(app, id).await?;
        let Some(mut found) = found.filter(|found| found.value.facts.belongs_to(user.tenant_id, user.object_id)) else {
            return Err(ActivateError::NotFound);
        };
        match found.value.facts.status {
            Status::Subscribed => return Ok(found.value.facts),
            status if !status.is_pending() => return Err(ActivateError::WrongState(status)),
            _ => {}
        }
        if found.value.activation.is_none() {
            // On its way before anything is written: it makes sure of the end, whatever happens to this request.
            sync::request(app, id, MAKE_SURE_AFTER).await.map_err(SyncError::from)?;
            let now = app.clock.now();
            let actor =
                Actor::Customer { tenant_id: user.tenant_id, object_id: user.object_id, name: user.name.clone() };
            found.value.activation =
                Some(Activation { actor: actor.clone(), requested: now, tried: None, tries: 0, accepted: false });
            let kind = EventKind::ActivationRequested { plan: found.value.facts.plan_id.clone() };
            let event = found.value.log(now, actor, Cause::Landing, kind);
            match repo::save(app, id, Some((&found.value, Some(&found.etag))), &[event], &[]).await {
                Ok(()) => {}
                Err(StoreError::Precondition | StoreError::AlreadyExists) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        return match sync::sync(app, id, &Cause::Landing, Patience::Short).await {
            Ok(Some(row)) => Ok(row.facts),
            Ok(None) => Err(ActivateError::NotFound),
            // It is written down and will be done; the next page shows how far it is.
            Err(SyncError::Api(ApiError::Unavailable(_) | ApiError::Throttled { .. } | ApiError::Conflict(_))) => {
                Ok(found.value.facts)
            }
            Err(error) => Err(error.into()),
        };
    }
    Err(StoreError::Precondition.into())
}
