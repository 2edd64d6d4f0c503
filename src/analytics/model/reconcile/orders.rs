//! Our subscriptions ↔ ISVOrder, by the asset: the subscription's own id (analytics contract 9.1).

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::difference::{Between, Class, Difference, Place, Why};
use super::sides::{Fresh, LATENCY};
use crate::analytics::model::calendar::{Month, day_of};
use crate::fulfillment::model::facts::Status;

/// A row of ISVOrder of a SaaS offer.
#[derive(Debug, Clone, Default)]
pub struct Order {
    pub asset: String,
    pub plan: String,
    pub status: String,
    pub quantity: Option<u64>,
    pub term_end: Option<Date>,
    pub purchased: Option<Date>,
    /// What is newer: the version, then the time of the event.
    pub newer: (Decimal, String),
}

/// A subscription of ours.
#[derive(Debug, Clone)]
pub struct Held {
    pub id: String,
    pub plan: String,
    pub quantity: Option<u64>,
    pub status: Status,
    pub term_end: Option<Date>,
    pub first_seen: Timestamp,
    /// Bought from the preview.
    pub test: bool,
}

/// The newest state of every order.
#[derive(Debug, Default)]
pub struct Orders(BTreeMap<String, Order>);

impl Orders {
    pub fn add(&mut self, mut order: Order) {
        order.asset = order.asset.trim().to_lowercase();
        let known = self.0.get(&order.asset);
        if !order.asset.is_empty() && known.is_none_or(|known| known.newer <= order.newer) {
            self.0.insert(order.asset.clone(), order);
        }
    }

    /// Compares what was there by the end of a month, as it is now.
    pub fn differences(&self, held: &[Held], month: Month, fresh: &Fresh) -> Vec<Difference> {
        if fresh.orders.is_none() {
            return Vec::new();
        }
        let known: BTreeMap<&str, &Held> = held.iter().map(|held| (held.id.as_str(), held)).collect();
        let mut found = Vec::new();
        for held in held.iter().filter(|held| held.first_seen < month.end()) {
            match self.0.get(&held.id) {
                Some(order) => found.extend(unequal(held, order)),
                None if held.test || held.status != Status::Subscribed && held.status != Status::Suspended => {}
                None => {
                    let mut one = difference(&held.id, &held.plan, Class::Missing, Why::Unknown);
                    (one.absent, one.ours) = (Some(Place::Orders), held.status.to_string());
                    found.push(if fresh.settled(fresh.orders, day_of(held.first_seen)) { one } else { young(one) });
                }
            }
        }
        for order in self.0.values().filter(|order| !known.contains_key(order.asset.as_str())) {
            let before = order.purchased.is_none_or(|day| day <= month.last());
            if before && is_active(&order.status) {
                let mut one = difference(&order.asset, &order.plan, Class::Missing, Why::Unknown);
                (one.absent, one.theirs) = (Some(Place::Subscriptions), order.status.clone());
                found.push(one);
            }
        }
        found
    }
}

/// A difference of something that changed a moment ago is only young.
#[must_use]
pub fn lately(one: Difference, changed: Option<Timestamp>, now: Timestamp) -> Difference {
    if changed.is_some_and(|changed| now.duration_since(changed) < LATENCY) { young(one) } else { one }
}

fn young(mut one: Difference) -> Difference {
    (one.class, one.why, one.absent) = (Class::NotYetPosted, Why::WithinLatency, None);
    one
}

fn is_active(status: &str) -> bool {
    ["active", "warning"].iter().any(|word| word.eq_ignore_ascii_case(status.trim()))
}

fn unequal(held: &Held, order: &Order) -> Vec<Difference> {
    let runs = match held.status {
        Status::Subscribed | Status::Suspended => true,
        Status::Unsubscribed => false,
        // Nothing is ordered before it is activated, and an unknown word says nothing.
        Status::NotStarted | Status::PendingFulfillmentStart | Status::Unknown => return Vec::new(),
    };
    let mut found = Vec::new();
    let mut differs = |class, why, ours: String, theirs: String| {
        let mut one = difference(&held.id, &held.plan, class, why);
        (one.ours, one.theirs) = (ours, theirs);
        found.push(one);
    };
    if runs != is_active(&order.status) {
        differs(Class::Status, Why::OtherStatus, held.status.to_string(), order.status.clone());
        return found;
    }
    if !runs {
        return found;
    }
    if !order.plan.is_empty() && !held.plan.eq_ignore_ascii_case(&order.plan) {
        differs(Class::Plan, Why::OtherPlan, held.plan.clone(), order.plan.clone());
    }
    if let (Some(ours), Some(theirs)) = (held.quantity, order.quantity)
        && ours != theirs
    {
        differs(Class::Quantity, Why::OtherSeats, ours.to_string(), theirs.to_string());
    }
    if let (Some(ours), Some(theirs)) = (held.term_end, order.term_end)
        && ours != theirs
    {
        differs(Class::Term, Why::OtherTerm, ours.to_string(), theirs.to_string());
    }
    found
}

fn difference(resource: &str, plan: &str, class: Class, why: Why) -> Difference {
    Difference {
        id: String::new(),
        class,
        between: Between::SubscriptionsOrders,
        why,
        absent: None,
        resource: resource.to_owned(),
        plan: plan.to_owned(),
        dimension: String::new(),
        day: None,
        other_day: None,
        hours: Vec::new(),
        ours: String::new(),
        theirs: String::new(),
        amount: Decimal::ZERO,
        currency: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: &str, status: Status) -> Held {
        Held {
            id: id.into(),
            plan: "team".into(),
            quantity: Some(5),
            status,
            term_end: Some(Date::constant(2026, 4, 1)),
            first_seen: "2026-03-02T09:00:00Z".parse().unwrap(),
            test: false,
        }
    }

    fn order(asset: &str, version: i64) -> Order {
        Order {
            asset: asset.to_uppercase(),
            plan: "Team".into(),
            status: "active".into(),
            quantity: Some(5),
            term_end: Some(Date::constant(2026, 4, 1)),
            purchased: Some(Date::constant(2026, 3, 2)),
            newer: (version.into(), String::new()),
        }
    }

    #[test]
    fn an_order_is_compared_in_its_newest_state_and_every_aspect_is_a_difference_of_its_own() {
        let mut orders = Orders::default();
        orders.add(Order { plan: "gold".into(), ..order("same", 1) });
        for asset in ["same", "plan", "ended", "gone"] {
            orders.add(order(asset, 2));
        }
        orders.add(Order { plan: "gold".into(), quantity: Some(7), ..order("plan", 3) });
        orders.add(Order { status: "cancelled".into(), ..order("ended", 3) });
        orders.add(Order { status: "Canceled".into(), ..order("long-over", 1) });
        let ours = [
            held("same", Status::Subscribed),
            held("plan", Status::Subscribed),
            held("ended", Status::Subscribed),
            held("new", Status::Subscribed),
            held("pending", Status::PendingFulfillmentStart),
            Held { test: true, ..held("test", Status::Subscribed) },
        ];
        let fresh = |now: &str| Fresh {
            now: now.parse().unwrap(),
            usage: None,
            revenue: None,
            orders: Some(Date::constant(2026, 3, 30)),
        };
        let month = "2026-03".parse().unwrap();
        let found = |now| -> Vec<(String, Class)> {
            let found = orders.differences(&ours, month, &fresh(now));
            found.into_iter().map(|one| (one.resource, one.class)).collect()
        };
        let expected = [
            ("plan", Class::Plan),
            ("plan", Class::Quantity),
            ("ended", Class::Status),
            ("new", Class::Missing),
            ("gone", Class::Missing),
        ];
        assert_eq!(found("2026-04-01T00:00:00Z"), expected.map(|(id, class)| (id.to_owned(), class)));
        assert_eq!(found("2026-03-03T00:00:00Z")[3], ("new".to_owned(), Class::NotYetPosted));
        let none = Fresh { orders: None, ..fresh("2026-04-01T00:00:00Z") };
        assert!(orders.differences(&ours, month, &none).is_empty());
    }
}
