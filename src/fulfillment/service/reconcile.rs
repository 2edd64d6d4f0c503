//! The hourly comparison of everything Microsoft lists with everything we hold: the only way to learn of a webhook
//! that never came (marketplace contract 1.3). It changes nothing itself: what differs is brought in step by
//! [`super::sync`], which writes into the timeline that the comparison found it.

use futures_util::stream::{self, StreamExt};

use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::outbound::Patience;
use crate::fulfillment::model::event::Cause;
use crate::fulfillment::model::facts::{Facts, Status};
use crate::fulfillment::model::operation::{Action, Asked, Operation, Source};
use crate::fulfillment::model::subscription::{Change, Wish};
use crate::fulfillment::repo;

use super::sync::{SyncError, client, sync};

/// Subscriptions looked at together.
const PARALLEL: usize = 8;

/// What the comparison found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    pub listed: usize,
    /// Brought in step because facts differed, an operation was unknown, or work was left over.
    pub repaired: usize,
    pub failed: usize,
    /// Entries of Microsoft's list that could not be read.
    pub unread: usize,
}

pub async fn reconcile(app: &App) -> Result<Reconciled, SyncError> {
    let (listed, unread) = client(app)?.subscriptions().await?;
    let mut report = Reconciled { listed: listed.len(), unread, ..Reconciled::default() };
    let mut results = stream::iter(listed)
        .map(|(id, facts)| async move { (id, one(app, id, &facts).await) })
        .buffer_unordered(PARALLEL);
    while let Some((id, result)) = results.next().await {
        match result {
            Ok(repaired) => report.repaired += usize::from(repaired),
            Err(error) => {
                report.failed += 1;
                tracing::warn!(subscription = %id, %error, "could not be compared; the next hour tries again");
            }
        }
    }
    Ok(report)
}

/// Compares one; `true`: it needed a step.
async fn one(app: &App, id: SubscriptionId, facts: &Facts) -> Result<bool, SyncError> {
    let row = repo::subscription(app, id).await?;
    if facts.status == Status::Unsubscribed && row.is_none() && !repo::has_open_operations(app, id).await? {
        // Long over before we ever saw it: Microsoft lists these for ever.
        return Ok(false);
    }
    let found = if facts.status == Status::Unsubscribed {
        false
    } else {
        adopt_open_operations(app, id, row.as_ref().and_then(|row| row.value.change.as_ref())).await?
    };
    let open = repo::has_open_operations(app, id).await?;
    let in_step = row.as_ref().is_some_and(|row| {
        let ours = &row.value;
        let ended = ours.facts.status == Status::Unsubscribed && facts.status == Status::Unsubscribed;
        (ended || ours.facts == *facts) && ours.change.is_none() && ours.activation.is_none()
    });
    if in_step && !open && !found {
        if let Some(row) = row
            && !repo::index_is_current(app, &row.value).await?
        {
            repo::index(app, &row.value).await?;
            return Ok(true);
        }
        return Ok(false);
    }
    sync(app, id, &Cause::Reconcile, Patience::Long).await?;
    Ok(true)
}

/// Stores operations that Microsoft waits for and that no webhook told us of. `true`: there were some.
async fn adopt_open_operations(app: &App, id: SubscriptionId, change: Option<&Change>) -> Result<bool, SyncError> {
    let mut found = false;
    for (operation, action, plan, quantity) in client(app)?.open_operations(id).await? {
        // One that somebody asked us for, and whose id we have not written down yet, must not be acknowledged.
        let ours = change.is_some_and(|change| match &change.wish {
            Wish::Plan { plan: wanted } => action == Action::ChangePlan && plan.as_ref() == Some(wanted),
            Wish::Quantity { quantity: wanted } => action == Action::ChangeQuantity && quantity == Some(*wanted),
            Wish::Cancel => action == Action::Unsubscribe,
        });
        let source = if ours { Source::Partner } else { Source::Marketplace };
        let row = Operation::new(operation, id, source, Asked { action, plan, quantity }, app.clock.now());
        found |= repo::insert_operation(app, &row).await?;
    }
    Ok(found)
}
