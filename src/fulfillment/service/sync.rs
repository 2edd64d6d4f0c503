//! One subscription brought in step with Microsoft: read both sides, advance, store, then act. It may run twice at the
//! same time and be killed anywhere: what is stored is conditional, and what is done outside may be repeated.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::outbound::Patience;
use crate::fulfillment::client::{ApiError, MarketplaceClient};
use crate::fulfillment::model::advance::{Seen, Step, advance};
use crate::fulfillment::model::event::{Actor, Cause, EventKind};
use crate::fulfillment::model::facts::Plan;
use crate::fulfillment::model::operation::{Operation, Outcome};
use crate::fulfillment::model::subscription::Subscription;
use crate::fulfillment::repo::{self, Change, Found, LogEntry, Open};
use crate::queue::QueueError;
use crate::store::StoreError;

/// The queue of subscriptions to look at.
pub const QUEUE: &str = "subscription-sync";

/// The queue of subscriptions whose plan or status has changed, for the capabilities above this one.
pub const CHANGED_QUEUE: &str = "subscription-changed";
/// The row is stored by then, or the message finds nothing new and the next timer does.
const AFTER_STORING: Duration = Duration::from_secs(1);

/// A message of [`QUEUE`] or [`CHANGED_QUEUE`]: which one, never what.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    pub subscription: SubscriptionId,
}

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the marketplace is switched off (MARKETPLACE_MODE=false)")]
    Off,
}

/// Operations looked at in one step; the rest waits for the next. Keeps a batch under the store's limit.
const MOST_OPERATIONS: usize = 12;
/// Tries against other writers before the message has to come again.
const TRIES: usize = 6;
/// Steps in one call: an activation is followed by a look.
const STEPS: usize = 3;

pub fn client(app: &App) -> Result<&MarketplaceClient, SyncError> {
    app.marketplace.as_ref().ok_or(SyncError::Off)
}

/// Asks for a look at the subscription, soon or after `delay`.
pub async fn request(app: &App, id: SubscriptionId, delay: Duration) -> Result<(), QueueError> {
    let text = serde_json::to_string(&Message { subscription: id }).unwrap_or_default();
    app.queues.send(QUEUE, &text, delay).await
}

/// Brings a subscription in step. None: neither we nor Microsoft know it.
pub async fn sync(
    app: &App,
    id: SubscriptionId,
    cause: &Cause,
    patience: Patience,
) -> Result<Option<Subscription>, SyncError> {
    if *cause == Cause::Queue
        && let Some(row) = nothing_left(app, id).await?
    {
        return Ok(Some(row));
    }
    let mut row = None;
    for _ in 0..STEPS {
        let step = step(app, id, cause, patience).await?;
        row = step.row;
        acknowledge(app, &step.operations).await?;
        let Some(current) = &row else { break };
        if !step.activate {
            break;
        }
        if !activate(app, current, patience).await? {
            break;
        }
    }
    Ok(row)
}

/// The row, when no operation, change or activation is open: an earlier look has done what this message was sent for.
async fn nothing_left(app: &App, id: SubscriptionId) -> Result<Option<Subscription>, SyncError> {
    let Some(row) = repo::subscription(app, id).await?.map(|found| found.value) else { return Ok(None) };
    let busy = row.change.is_some() || row.activation.is_some() || repo::has_open_operations(app, id).await?;
    Ok((!busy).then_some(row))
}

/// Reads, advances and stores; tries again when somebody else was quicker.
async fn step(app: &App, id: SubscriptionId, cause: &Cause, patience: Patience) -> Result<Step, SyncError> {
    let mut last = StoreError::Precondition;
    for _ in 0..TRIES {
        let row = repo::subscription(app, id).await?;
        let scheduled = row.as_ref().and_then(|found| found.value.next_check);
        let (open, left_over) = repo::open_operations(app, id, MOST_OPERATIONS).await?;
        log_arrivals(app, &open).await?;
        let mut step = advance(look(app, id, row.as_ref(), &open, patience).await?, cause, app.clock.now());
        if left_over {
            step.look_again = Some(app.clock.now() + SignedDuration::from_secs(1));
        }
        // Before the row says so: a message without its row does no harm, a row without its message would wait for the
        // hourly comparison.
        let next_check = schedule(app, id, scheduled, step.look_again).await?;
        if let Some(row) = &mut step.row {
            row.next_check = next_check;
        }
        let known = row.as_ref().map(|found| &found.etag);
        if known.is_none()
            && let Some(row) = &step.row
        {
            // Before the row itself: a subscription that exists is found in every list.
            repo::index(app, row).await?;
        }
        if let (Some(before), Some(after)) = (&row, &step.row)
            && concerns_others(&before.value, after)
        {
            let text = serde_json::to_string(&Message { subscription: id }).unwrap_or_default();
            app.queues.send(CHANGED_QUEUE, &text, AFTER_STORING).await?;
        }
        let operations: Vec<_> =
            step.operations.iter().zip(&open).map(|(operation, open)| change(operation, open)).collect();
        match repo::save(app, id, step.row.as_ref().map(|row| (row, known)), &step.events, &operations).await {
            Ok(()) => {
                if let (Some(before), Some(after)) = (&row, &step.row)
                    && repo::index_differs(&before.value, after)
                {
                    repo::index(app, after).await?;
                }
                return Ok(step);
            }
            Err(error @ (StoreError::Precondition | StoreError::AlreadyExists)) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// Whether more than this capability has to know of a change.
fn concerns_others(before: &Subscription, after: &Subscription) -> bool {
    before.facts.status != after.facts.status
        || before.plan_since != after.plan_since
        || before.facts.quantity != after.facts.quantity
}

fn change<'a>(operation: &'a Operation, open: &'a Open) -> Change<'a> {
    if operation.settled.is_some() { Change::Settle(operation, open) } else { Change::Keep(operation, open) }
}

/// Enters webhooks that nobody has looked at yet into the staff's log.
async fn log_arrivals(app: &App, open: &[Open]) -> Result<(), StoreError> {
    for Open { value, .. } in open.iter().filter(|open| open.value.looks == 0 && open.value.body.is_some()) {
        log_arrival(app, value).await?;
    }
    Ok(())
}

/// Enters a webhook into the staff's log. Repeating it changes nothing.
pub async fn log_arrival(app: &App, operation: &Operation) -> Result<(), StoreError> {
    let Operation { id, subscription_id, action, received, .. } = operation;
    let entry =
        LogEntry { received: *received, subscription: *subscription_id, operation: *id, action: action.clone() };
    repo::log_webhook(app, &entry).await
}

/// Makes sure that a message for the next look is on its way, and gives the time that the row may rely on. A message
/// that is due within a second counts as arrived: it may be this very one, a little early.
async fn schedule(
    app: &App,
    id: SubscriptionId,
    scheduled: Option<Timestamp>,
    wanted: Option<Timestamp>,
) -> Result<Option<Timestamp>, SyncError> {
    let Some(at) = wanted else { return Ok(None) };
    let now = app.clock.now();
    let under_way = |known: &Timestamp| *known > now + SignedDuration::from_secs(1) && *known <= at;
    if let Some(known) = scheduled.filter(under_way) {
        return Ok(Some(known));
    }
    let wait = at.duration_since(now).max(SignedDuration::ZERO);
    request(app, id, Duration::try_from(wait).unwrap_or_default()).await?;
    Ok(Some(at))
}

/// Microsoft's view of the subscription and of its open operations. Operations are read first: what they brought
/// about is then in the subscription.
async fn look(
    app: &App,
    id: SubscriptionId,
    row: Option<&Found<Subscription>>,
    open: &[Open],
    patience: Patience,
) -> Result<Seen, SyncError> {
    let client = client(app)?;
    let remote = join_all(open.iter().map(|found| client.operation(id, found.value.id, patience))).await;
    let mut operations = Vec::with_capacity(open.len());
    for (found, remote) in open.iter().zip(remote) {
        operations.push((found.value.clone(), remote?));
    }
    let facts = match client.subscription(id, patience).await {
        Ok(mut facts) => {
            if let Some(found) = row {
                facts.keep_erased(&found.value.facts);
            }
            Some(facts)
        }
        Err(ApiError::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let undecided = open.iter().any(|open| open.value.is_undecided());
    let plans = if undecided { fresh_plans(app, id).await } else { Vec::new() };
    let settled_change = settled_change(app, row.map(|found| &found.value), open).await?;
    Ok(Seen { id, row: row.map(|found| found.value.clone()), facts, operations, plans, settled_change })
}

/// The plans as Microsoft lists them now; none when they can not be had. A change must never be refused because of a
/// list that has grown old.
pub async fn fresh_plans(app: &App, id: SubscriptionId) -> Vec<Plan> {
    let Ok(client) = client(app) else { return Vec::new() };
    match client.plans(id, Patience::Short).await {
        Ok(plans) => plans,
        Err(error) => {
            tracing::info!(subscription = %id, %error, "the plans can not be listed; Microsoft's own checks have to do");
            Vec::new()
        }
    }
}

/// How the operation of the change under way ended, when it ended before the change knew of it.
async fn settled_change(app: &App, row: Option<&Subscription>, open: &[Open]) -> Result<Option<Outcome>, StoreError> {
    let Some(id) = row.and_then(|row| row.change.as_ref()?.operation) else { return Ok(None) };
    if open.iter().any(|open| open.value.id == id) {
        return Ok(None);
    }
    let found = repo::operation(app, row.map_or(SubscriptionId(id.0), |row| row.id), id).await?;
    Ok(found.and_then(|found| found.value.settled).map(|(outcome, _)| outcome))
}

/// Sends our word on changes that wait for it, and notes that it was taken. A failure here is no failure of the look:
/// silence counts as consent at Microsoft, and the next look tries again.
async fn acknowledge(app: &App, operations: &[Operation]) -> Result<(), SyncError> {
    for operation in operations {
        let Some(accept) = operation.owes_acknowledgement() else { continue };
        match client(app)?.acknowledge(operation.subscription_id, operation.id, accept).await {
            Ok(()) | Err(ApiError::Conflict(_) | ApiError::NotFound | ApiError::Refused(_)) => {
                note_acknowledged(app, operation, accept).await?
            }
            Err(error) => {
                tracing::warn!(operation = %operation.id, %error, "the acknowledgement did not arrive; it is repeated with the next look")
            }
        }
    }
    Ok(())
}

async fn note_acknowledged(app: &App, operation: &Operation, accept: bool) -> Result<(), SyncError> {
    for _ in 0..TRIES {
        let (Some(mut row), Some(mut found)) = (
            repo::subscription(app, operation.subscription_id).await?,
            repo::operation(app, operation.subscription_id, operation.id).await?,
        ) else {
            return Ok(());
        };
        if found.value.acknowledged {
            return Ok(());
        }
        found.value.acknowledged = true;
        let kind = EventKind::Acknowledged { operation: operation.id, accept };
        let event = row.value.log(app.clock.now(), Actor::System, operation.cause(), kind);
        let operations = [Change::Update(&found.value, &found.etag)];
        match repo::save(app, operation.subscription_id, Some((&row.value, Some(&row.etag))), &[event], &operations)
            .await
        {
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// Calls Activate and notes the answer. `true`: look again at once.
async fn activate(app: &App, row: &Subscription, patience: Patience) -> Result<bool, SyncError> {
    let refused = match client(app)?.activate(row.id, &row.facts.plan_id, row.facts.quantity, patience).await {
        Ok(()) => None,
        Err(ApiError::Refused(reason)) => Some(reason),
        Err(ApiError::NotFound) => Some("the marketplace says that it is over".to_owned()),
        // Not known whether it was taken: the next look tells, and tries again when it is due.
        Err(error) => return Err(error.into()),
    };
    for _ in 0..TRIES {
        let Some(mut found) = repo::subscription(app, row.id).await? else { return Ok(false) };
        let Some(activation) = found.value.activation.as_mut() else { return Ok(true) };
        let kind = match &refused {
            None => {
                activation.accepted = true;
                EventKind::ActivationAccepted
            }
            Some(reason) => {
                found.value.activation = None;
                EventKind::ActivationRefused { reason: reason.clone() }
            }
        };
        let event = found.value.log(app.clock.now(), Actor::Marketplace, Cause::Landing, kind);
        match repo::save(app, row.id, Some((&found.value, Some(&found.etag))), &[event], &[]).await {
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            other => {
                other?;
                return Ok(true);
            }
        }
    }
    Ok(true)
}
