//! Subscriptions as pages show them.

use serde_json::{Value, json};

use crate::fulfillment::model::facts::{Plan, Status};
use crate::fulfillment::model::subscription::{Subscription, Wish};

/// A subscription for a template: facts as texts and what is under way. `plans` give the plan its name.
pub fn subscription_view(row: &Subscription, plans: &[Plan]) -> Value {
    let facts = &row.facts;
    let status = facts.status;
    let activating = row.activation.is_some() && status.is_pending();
    json!({
        "id": row.id,
        "name": if facts.name.is_empty() { facts.offer() } else { &facts.name },
        "offer": facts.offer(),
        "is_preview": facts.offer() != facts.offer_id,
        "plan": facts.plan_id,
        "plan_name": plans.iter().find(|plan| plan.id == facts.plan_id).map_or(&facts.plan_id, |plan| &plan.name),
        "quantity": facts.quantity,
        "status": status.as_str(),
        "status_key": if activating { "activating" } else { status_key(status) },
        "activating": activating,
        "pending": status.is_pending(),
        "active": status == Status::Subscribed,
        "ended": status == Status::Unsubscribed,
        "may_update": facts.may_update && status == Status::Subscribed,
        "may_delete": facts.may_delete && matches!(status, Status::Subscribed | Status::Suspended),
        "purchaser": facts.purchaser,
        "beneficiary": facts.beneficiary,
        "term": facts.term,
        "auto_renew": facts.auto_renew,
        "is_free_trial": facts.is_free_trial,
        "is_test": facts.is_test,
        "first_seen": row.first_seen,
        "checked": row.checked,
        "change": row.change.as_ref().map(|change| json!({
            "wish": wish_key(&change.wish), "value": wish_value(&change.wish), "requested": change.requested,
        })),
        "events": row.events,
    })
}

fn status_key(status: Status) -> &'static str {
    match status {
        Status::NotStarted | Status::PendingFulfillmentStart => "pending",
        Status::Subscribed => "active",
        Status::Suspended => "suspended",
        Status::Unsubscribed => "ended",
        Status::Unknown => "unknown",
    }
}

fn wish_key(wish: &Wish) -> &'static str {
    match wish {
        Wish::Plan { .. } => "plan",
        Wish::Quantity { .. } => "quantity",
        Wish::Cancel => "cancel",
    }
}

fn wish_value(wish: &Wish) -> String {
    match wish {
        Wish::Plan { plan } => plan.clone(),
        Wish::Quantity { quantity } => quantity.to_string(),
        Wish::Cancel => String::new(),
    }
}

/// Plans for a comparison table, the current one marked.
pub fn plan_rows(plans: &[Plan], current: &str) -> Vec<Value> {
    plans
        .iter()
        .map(|plan| {
            let mut row = json!(plan);
            row["current"] = (plan.id == current).into();
            row
        })
        .collect()
}
