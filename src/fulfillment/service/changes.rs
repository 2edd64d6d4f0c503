//! Plan, seats and cancellation, asked for in a portal. The wish is stored before Microsoft is called, and only one
//! can be under way; it holds when Microsoft's operation has succeeded, never before (marketplace contract 1.6-1.8).

use std::time::Duration;

use crate::app::App;
use crate::foundation::ids::{ChangeId, OperationId, SubscriptionId};
use crate::fulfillment::client::ApiError;
use crate::fulfillment::model::event::{Actor, Cause, EventKind};
use crate::fulfillment::model::facts::Plan;
use crate::fulfillment::model::operation::{Action, Asked, Operation, Source};
use crate::fulfillment::model::subscription::{Change, Refusal, Subscription, Wish};
use crate::fulfillment::repo::{self, Found};
use crate::store::StoreError;

use super::sync::{self, SyncError, client};

/// Longer than Microsoft may take to answer the call.
const MAKE_SURE_AFTER: Duration = Duration::from_secs(30);
const TRIES: usize = 6;

#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Microsoft said no, in its words.
    #[error("Microsoft refuses the change: {0}")]
    RefusedByMarketplace(String),
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Sync(error.into())
    }
}

/// Asks Microsoft for a change on behalf of `actor`, who has been authorised for this subscription. `plans` are those
/// that the person was shown. Returns when Microsoft has taken the wish, or when that is not known.
pub async fn request_change(
    app: &App,
    id: SubscriptionId,
    wish: Wish,
    plans: &[Plan],
    actor: Actor,
    cause: Cause,
) -> Result<(), ChangeError> {
    // The message is on its way before anything is written or asked for: whatever happens to this request, somebody
    // looks how it ended.
    sync::request(app, id, MAKE_SURE_AFTER).await.map_err(SyncError::from)?;
    let change = write_down(app, id, wish, plans, actor, &cause).await?;
    match client(app)?.change(id, &change.wish).await {
        Ok(accepted) => {
            if let Some(operation) = accepted.operation {
                link(app, id, &change, operation, &cause).await?;
            }
        }
        // Whether it was taken is not known. The wish stays, and the next look finds out.
        Err(error @ (ApiError::Unavailable(_) | ApiError::Throttled { .. })) => {
            tracing::warn!(subscription = %id, change = %change.id, %error, "the outcome of a change is not known yet")
        }
        Err(error) => {
            let reason = error.to_string();
            take_back(app, id, &change, &reason, &cause).await?;
            return Err(match error {
                ApiError::Denied(_) => SyncError::from(error).into(),
                _ => ChangeError::RefusedByMarketplace(reason),
            });
        }
    }
    Ok(sync::request(app, id, Duration::ZERO).await.map_err(SyncError::from)?)
}

/// Reads, edits and stores the row until nobody was quicker. `edit` gives what to log, or None to leave it alone.
async fn edit<E: From<StoreError>>(
    app: &App,
    id: SubscriptionId,
    cause: &Cause,
    operation: Option<&Operation>,
    mut edit: impl FnMut(&mut Subscription) -> Result<Option<(Actor, EventKind)>, E>,
) -> Result<(), E> {
    for _ in 0..TRIES {
        let Some(Found { mut value, etag }) = repo::subscription(app, id).await? else {
            return Err(StoreError::Precondition.into());
        };
        let Some((actor, kind)) = edit(&mut value)? else { return Ok(()) };
        let event = value.log(app.clock.now(), actor, cause.clone(), kind);
        let mut known = match operation {
            Some(operation) => repo::operation(app, id, operation.id).await?,
            None => None,
        };
        let operations: Vec<_> = match (operation, &mut known) {
            (Some(operation), None) => vec![repo::Change::New(operation)],
            // Its webhook or the comparison was quicker, and could not know that it is ours.
            (Some(_), Some(found)) if found.value.source == Source::Marketplace => {
                found.value.source = Source::Partner;
                vec![repo::Change::Update(&found.value, &found.etag)]
            }
            _ => Vec::new(),
        };
        match repo::save(app, id, Some((&value, Some(&etag))), &[event], &operations).await {
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            other => return Ok(other?),
        }
    }
    Err(StoreError::Precondition.into())
}

async fn write_down(
    app: &App,
    id: SubscriptionId,
    wish: Wish,
    plans: &[Plan],
    actor: Actor,
    cause: &Cause,
) -> Result<Change, ChangeError> {
    let now = app.clock.now();
    let change = Change { id: ChangeId::new(now, &*app.random), wish, actor, requested: now, operation: None };
    edit(app, id, cause, None, |row| {
        if let Some(refusal) = row.refuse(&change.wish, plans) {
            return Err(ChangeError::Refused(refusal));
        }
        row.change = Some(change.clone());
        Ok(Some((change.actor.clone(), EventKind::ChangeRequested { wish: change.wish.clone() })))
    })
    .await?;
    Ok(change)
}

/// Notes Microsoft's operation with the wish, and makes a row for it so that its webhook is recognised as ours.
async fn link(
    app: &App,
    id: SubscriptionId,
    change: &Change,
    operation: OperationId,
    cause: &Cause,
) -> Result<(), ChangeError> {
    let (action, plan, quantity) = match &change.wish {
        Wish::Plan { plan } => (Action::ChangePlan, Some(plan.clone()), None),
        Wish::Quantity { quantity } => (Action::ChangeQuantity, None, Some(*quantity)),
        Wish::Cancel => (Action::Unsubscribe, None, None),
    };
    let asked = Asked { action: action.clone(), plan, quantity };
    let row = Operation::new(operation, id, Source::Partner, asked, app.clock.now());
    edit(app, id, cause, Some(&row), |row| {
        Ok(match row.change.as_mut().filter(|current| current.id == change.id && current.operation.is_none()) {
            Some(current) => {
                current.operation = Some(operation);
                let kind = EventKind::Decided {
                    action: action.clone(),
                    operation,
                    accept: true,
                    reason: "Microsoft took the request".into(),
                };
                Some((Actor::Marketplace, kind))
            }
            None => None,
        })
    })
    .await
}

async fn take_back(
    app: &App,
    id: SubscriptionId,
    change: &Change,
    reason: &str,
    cause: &Cause,
) -> Result<(), ChangeError> {
    edit(app, id, cause, None, |row| {
        if row.change.as_ref().is_none_or(|current| current.id != change.id) {
            return Ok(None);
        }
        row.change = None;
        let kind = EventKind::ChangeRefused { wish: change.wish.clone(), reason: reason.to_owned() };
        Ok(Some((Actor::Marketplace, kind)))
    })
    .await
}
