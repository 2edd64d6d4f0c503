//! Our row about a subscription: Microsoft's facts, and what we were asked to do and have not finished. Intentions
//! are written before they are acted on, so a crash leaves a row from which the work goes on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Actor, Cause, Event, EventKind};
use super::facts::{Facts, Plan, Status};
use crate::foundation::ids::{ChangeId, OperationId, SubscriptionId};

/// What somebody asks us to ask Microsoft for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wish {
    Plan { plan: String },
    Quantity { quantity: u64 },
    Cancel,
}

/// A wish on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub id: ChangeId,
    pub wish: Wish,
    pub actor: Actor,
    pub requested: Timestamp,
    /// Microsoft's operation, once it accepted. None: the call was not made, or its answer was lost.
    pub operation: Option<OperationId>,
}

/// An activation on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    pub actor: Actor,
    pub requested: Timestamp,
    /// The last time we called Microsoft, and how often.
    pub tried: Option<Timestamp>,
    pub tries: u32,
    /// Microsoft accepted the call; that is not yet Subscribed (marketplace contract 1.2).
    pub accepted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub facts: Facts,
    pub first_seen: Timestamp,
    /// When the facts were last read from Microsoft.
    pub checked: Timestamp,
    pub activation: Option<Activation>,
    pub change: Option<Change>,
    /// A message is on its way that looks again at this time.
    pub next_check: Option<Timestamp>,
    /// A status that Microsoft named after the end, and that was not believed.
    #[serde(default)]
    pub contradiction: Option<Status>,
    /// When the plan, or whether it is a trial, was last seen to change. None: never.
    #[serde(default)]
    pub plan_since: Option<Timestamp>,
    /// When it was seen to have ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// How many timeline entries there are.
    pub events: u64,
}

impl Subscription {
    /// One that was seen for the first time, with nothing asked of us yet.
    pub fn new(id: SubscriptionId, facts: Facts, now: Timestamp) -> Self {
        Self {
            id,
            facts,
            first_seen: now,
            checked: now,
            activation: None,
            change: None,
            next_check: None,
            contradiction: None,
            plan_since: None,
            ended: None,
            events: 0,
        }
    }

    /// Appends an entry to the timeline; the caller stores it in the same batch as the row.
    pub fn log(&mut self, at: Timestamp, actor: Actor, cause: Cause, kind: EventKind) -> Event {
        self.events += 1;
        Event { number: self.events, at, actor, cause, kind }
    }

    /// Why a wish can not be asked for now, if so. `plans` are those the customer may choose.
    pub fn refuse(&self, wish: &Wish, plans: &[Plan]) -> Option<Refusal> {
        if self.change.is_some() {
            return Some(Refusal::ChangeUnderWay);
        }
        if self.activation.is_some() && self.facts.status.is_pending() {
            return Some(Refusal::NotActive);
        }
        match wish {
            Wish::Cancel if self.facts.status == Status::Unsubscribed => Some(Refusal::NotActive),
            Wish::Cancel if !self.facts.may_delete => Some(Refusal::NotAllowed),
            Wish::Cancel => None,
            _ if self.facts.status != Status::Subscribed => Some(Refusal::NotActive),
            _ if !self.facts.may_update => Some(Refusal::NotAllowed),
            Wish::Plan { plan } if *plan == self.facts.plan_id => Some(Refusal::SameValue),
            Wish::Plan { plan } if !plans.iter().any(|offered| offered.id == *plan) => Some(Refusal::UnknownPlan),
            Wish::Plan { .. } => None,
            Wish::Quantity { quantity } => {
                refuse_quantity(*quantity, self.facts.quantity, plans.iter().find(|plan| plan.id == self.facts.plan_id))
            }
        }
    }
}

/// Microsoft's own upper limit for seats.
pub const MOST_SEATS: u64 = 1_000_000;

fn refuse_quantity(wanted: u64, current: Option<u64>, plan: Option<&Plan>) -> Option<Refusal> {
    let Some(current) = current else { return Some(Refusal::NotPerSeat) };
    let least = plan.and_then(|plan| plan.min_quantity).unwrap_or(1).max(1);
    let most = plan.and_then(|plan| plan.max_quantity).filter(|most| *most > 0).unwrap_or(MOST_SEATS);
    if wanted == current {
        Some(Refusal::SameValue)
    } else if wanted < least || wanted > most {
        Some(Refusal::QuantityOutside { least, most })
    } else {
        None
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("another change is still under way")]
    ChangeUnderWay,
    #[error("the subscription is not active")]
    NotActive,
    #[error(
        "this subscription was bought through a reseller or is managed elsewhere; changes are made where it was bought"
    )]
    NotAllowed,
    #[error("that is what the subscription has already")]
    SameValue,
    #[error("this plan is not available to the subscription")]
    UnknownPlan,
    #[error("this plan is not priced by seat")]
    NotPerSeat,
    #[error("the number of seats must lie between {least} and {most}")]
    QuantityOutside { least: u64, most: u64 },
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::fulfillment::model::samples::{facts, plan};

    fn row(status: Status) -> Subscription {
        Subscription::new(SubscriptionId(Uuid::from_u128(1)), facts(status), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn wishes_are_refused_for_a_reason_or_not_at_all() {
        let plans = [plan("team", Some(10)), plan("gold", Some(10))];
        let to = |id: &str| Wish::Plan { plan: id.into() };
        let seats = |quantity| Wish::Quantity { quantity };
        let active = row(Status::Subscribed);
        let mut reseller = row(Status::Subscribed);
        (reseller.facts.may_update, reseller.facts.may_delete) = (false, false);
        let mut flat = row(Status::Subscribed);
        flat.facts.quantity = None;
        let outside = Refusal::QuantityOutside { least: 2, most: 10 };
        for (what, row, wish, refusal) in [
            ("an offered plan", &active, to("gold"), None),
            ("the same plan", &active, to("team"), Some(Refusal::SameValue)),
            ("an unknown plan", &active, to("lead"), Some(Refusal::UnknownPlan)),
            ("more seats", &active, seats(10), None),
            ("the same seats", &active, seats(5), Some(Refusal::SameValue)),
            ("too few seats", &active, seats(1), Some(outside.clone())),
            ("no seats", &active, seats(0), Some(outside.clone())),
            ("too many seats", &active, seats(11), Some(outside)),
            ("seats on a flat plan", &flat, seats(3), Some(Refusal::NotPerSeat)),
            ("a change through a reseller", &reseller, to("gold"), Some(Refusal::NotAllowed)),
            ("a cancellation through a reseller", &reseller, Wish::Cancel, Some(Refusal::NotAllowed)),
            ("a change while suspended", &row(Status::Suspended), to("gold"), Some(Refusal::NotActive)),
            ("a cancellation while suspended", &row(Status::Suspended), Wish::Cancel, None),
            ("a cancellation after the end", &row(Status::Unsubscribed), Wish::Cancel, Some(Refusal::NotActive)),
        ] {
            assert_eq!(row.refuse(&wish, &plans), refusal, "{what}");
        }
    }

    #[test]
    fn only_one_change_can_be_under_way() {
        let mut busy = row(Status::Subscribed);
        busy.change = Some(Change {
            id: ChangeId::new(Timestamp::UNIX_EPOCH, &crate::foundation::rng::SeededRandom::new(1)),
            wish: Wish::Cancel,
            actor: Actor::System,
            requested: Timestamp::UNIX_EPOCH,
            operation: None,
        });
        assert_eq!(busy.refuse(&Wish::Quantity { quantity: 6 }, &[]), Some(Refusal::ChangeUnderWay));
    }
}
