//! What the publisher's own systems hear of a subscription.

use serde_json::json;

use crate::app::App;
use crate::callbacks::{self, EventKind as Told, Owner};
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::fulfillment::model::event::EventKind;
use crate::fulfillment::repo;

/// Timeline entries among which the last change of a fact is looked for.
const RECENT: usize = 30;

/// Announces the last change of a subscription's status, plan or seats, as it stands now; once however often it is called.
pub async fn announce_change(app: &App, id: SubscriptionId) -> Result<(), Problem> {
    let Some(row) = repo::subscription(app, id).await?.map(|found| found.value) else { return Ok(()) };
    let (entries, _) = repo::events(app, id, None, RECENT).await?;
    let change = entries.iter().find(|entry| {
        let kind = &entry.kind;
        matches!(
            kind,
            EventKind::StatusChanged { .. } | EventKind::PlanChanged { .. } | EventKind::QuantityChanged { .. }
        )
    });
    let Some(change) = change else { return Ok(()) };
    let data = json!({
        "subscription": id, "status": row.facts.status.as_str(), "plan": row.facts.plan_id, "quantity": row.facts.quantity,
        "change": change.kind, "at": change.at,
    });
    let subject = format!("{id}:{}", change.number);
    callbacks::announce(app, &Owner::Publisher, Told::SubscriptionChanged, &subject, change.at, data).await
}
