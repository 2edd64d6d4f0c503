//! What the publisher may ask of the marketplace: activation, changes, cancellation, and words on operations. Each
//! verb answers with the status code that the contract names (marketplace contract, sections 1.2, 1.6 to 1.8, 2).

use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue;
use super::model::{Action, OperationStatus, Source, Status};
use super::state::Turn;

/// The largest number of seats that the marketplace takes (observed).
const MOST_SEATS: u32 = 1_000_000;

/// A refusal: status code and message.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub u16, pub &'static str);

type Outcome<T> = Result<T, Refused>;

impl Turn<'_> {
    /// Activate. Observed: the plan in the body is required, and not compared with the one bought.
    pub fn activate(&mut self, id: Uuid, body: &Value) -> Outcome<()> {
        self.settle(id);
        if body.get("planId").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refused(400, "planId is missing"));
        }
        let (now, delay) = (self.now, SignedDuration::from_secs(self.faults.get().activation_delay_seconds));
        let subscription =
            self.state.subscriptions.get_mut(&id).ok_or(Refused(404, "The subscription was not found"))?;
        match subscription.status {
            Status::PendingFulfillmentStart => {
                if subscription.activates_at.is_none() {
                    subscription.activates_at = Some(now.saturating_add(delay).unwrap_or(now));
                    subscription.activation_fails = self.faults.take(|switches| &mut switches.activation_fails_next);
                }
                self.settle(id);
                Ok(())
            }
            Status::Subscribed => Ok(()),
            Status::Suspended => Err(Refused(400, "The subscription is suspended")),
            Status::Unsubscribed => Err(Refused(404, "The subscription was unsubscribed")),
        }
    }

    /// Change plan or quantity; answers the operation's id.
    pub fn change(&mut self, id: Uuid, body: &Value) -> Outcome<Uuid> {
        self.settle(id);
        let subscription = self.state.subscriptions.get(&id).ok_or(Refused(404, "The subscription was not found"))?;
        let action = match (body.get("planId"), body.get("quantity")) {
            (Some(_), Some(_)) => return Err(Refused(400, "Send either planId or quantity, not both")),
            (Some(Value::String(plan)), None) if !plan.is_empty() => Action::ChangePlan(plan.clone()),
            (None, Some(quantity)) => {
                let quantity = quantity.as_u64().and_then(|quantity| u32::try_from(quantity).ok());
                Action::ChangeQuantity(quantity.ok_or(Refused(400, "quantity is not a valid number"))?)
            }
            _ => return Err(Refused(400, "planId or quantity is required")),
        };
        if subscription.status != Status::Subscribed {
            return Err(Refused(400, "Only a subscribed subscription can be updated"));
        }
        if !subscription.allowed().contains(&"Update") {
            return Err(Refused(400, "Update is not in allowedCustomerOperations"));
        }
        if subscription.open_operation().is_some() {
            return Err(Refused(400, "subscription is locked due to pending operations"));
        }
        match &action {
            Action::ChangePlan(plan) if catalogue::plan(plan).is_none() => {
                return Err(Refused(400, "The plan does not exist or is not available to this customer"));
            }
            Action::ChangePlan(plan) if *plan == subscription.plan_id => {
                return Err(Refused(400, "The subscription has this plan already"));
            }
            Action::ChangeQuantity(quantity) => {
                let limits = catalogue::plan(&subscription.plan_id).map(|plan| plan.seats);
                match limits {
                    Some(None) => return Err(Refused(400, "The plan is not priced per seat")),
                    Some(Some((least, most))) if !(least..=most).contains(quantity) => {
                        return Err(Refused(400, "quantity is outside the limits of the plan"));
                    }
                    _ if *quantity == 0 || *quantity > MOST_SEATS => {
                        return Err(Refused(400, "quantity is outside the limits"));
                    }
                    _ if subscription.quantity == Some(*quantity) => {
                        return Err(Refused(400, "The subscription has this quantity already"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(self.begin(id, action, Source::Partner, OperationStatus::InProgress, self.now))
    }

    /// Cancel; the effect is immediate. Answers the operation's id.
    pub fn cancel(&mut self, id: Uuid) -> Outcome<Uuid> {
        self.settle(id);
        let subscription = self.state.subscriptions.get(&id).ok_or(Refused(404, "The subscription was not found"))?;
        if subscription.status == Status::Unsubscribed {
            return Err(Refused(404, "The subscription was unsubscribed"));
        }
        if !subscription.allowed().contains(&"Delete") {
            return Err(Refused(400, "Delete is not in allowedCustomerOperations"));
        }
        // A reinstatement is refused by cancelling, so it does not lock.
        if subscription.open_operation().is_some_and(|operation| operation.action != Action::Reinstate) {
            return Err(Refused(409, "subscription is locked due to pending operations"));
        }
        Ok(self.end(id, Source::Partner, self.now))
    }

    /// Outstanding operations. Nothing pending is an empty object; an unknown subscription an empty list (observed).
    pub fn outstanding(&mut self, id: Uuid) -> Value {
        self.settle(id);
        let visible_after = self.faults.get().operation_visible_after;
        let Some(subscription) = self.state.subscriptions.get(&id) else { return json!({ "operations": [] }) };
        let open: Vec<Value> = subscription
            .operations
            .iter()
            .filter(|operation| operation.is_open() && operation.seen >= visible_after)
            .map(|operation| subscription.operation_view(operation))
            .collect();
        if open.is_empty() { json!({}) } else { json!({ "operations": open }) }
    }

    /// One operation. A change that the publisher asked for is in effect as soon as it is looked at.
    pub fn look_at_operation(&mut self, id: Uuid, operation_id: Uuid) -> Option<Value> {
        self.settle(id);
        let visible_after = self.faults.get().operation_visible_after;
        let subscription = self.state.subscriptions.get_mut(&id)?;
        let operation = subscription.operation_mut(operation_id)?;
        if operation.seen < visible_after {
            operation.seen += 1;
            return None;
        }
        if operation.source == Source::Partner {
            subscription.accept(operation_id);
        }
        let operation = subscription.operation(operation_id)?;
        Some(subscription.operation_view(operation))
    }

    /// The publisher's word on an operation.
    pub fn word_on_operation(&mut self, id: Uuid, operation_id: Uuid, body: &Value) -> Outcome<()> {
        self.settle(id);
        let faults = self.faults.get();
        let unknown = Refused(if faults.unknown_operation_is_404 { 404 } else { 400 }, "The operation was not found");
        let Some(subscription) = self.state.subscriptions.get_mut(&id) else { return Err(unknown) };
        let Some(operation) = subscription.operation(operation_id).cloned() else { return Err(unknown) };
        let Some(word) = body.get("status").and_then(Value::as_str) else {
            return Err(Refused(400, "status is missing"));
        };
        if operation.source == Source::Partner {
            // Observed: a word on one's own operation is always a server error.
            return Err(Refused(500, "An internal error occurred"));
        }
        if !operation.is_open() {
            return Err(Refused(409, "A newer update has been fulfilled already"));
        }
        match word {
            // Microsoft takes no word on anything but changes; it answers 200 all the same.
            _ if !operation.action.is_change() => {}
            "Success" => subscription.accept(operation_id),
            "Failure" if faults.ignore_failure_patch => {}
            "Failure" => {
                subscription.refuse(operation_id, "The publisher refused the change.");
                if faults.revert_refused_changes {
                    self.revert(id, &operation.action);
                }
            }
            // Observed: nonsense is acknowledged and changes nothing.
            _ => {}
        }
        Ok(())
    }
}
