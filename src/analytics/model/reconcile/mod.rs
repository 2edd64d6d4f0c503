//! The three-way reconciliation of a month: our ledger, what Microsoft has booked, what its datasets say was used and paid;
//! and our subscriptions against its orders. Every side is compared with the one before it, so that what went wrong once is
//! found once.

mod difference;
mod moved;
pub mod orders;
mod revenue;
mod sides;
#[cfg(test)]
mod tests;
mod totals;
mod usage;

pub use difference::{Between, Class, Difference, HourLine, Mark, Place, Why};
pub use sides::{Booked, Event, EventState, Fresh, LATENCY, MARGIN_DAYS, RevenueRow, Sides, UsageRow};
pub use totals::{Summary, Totals, summary};

use std::collections::BTreeMap;

use sides::{Group, GroupKey};

/// Compares a resource of which everything is known, and lets go of it: the events of all resources would be too many.
pub fn settle(sides: &mut Sides, resource: &str) {
    let resource = resource.trim().to_lowercase();
    let range = GroupKey::first(&resource)..GroupKey::behind(&resource);
    let keys: Vec<GroupKey> = sides.groups.range(range).map(|(key, _)| key.clone()).collect();
    let of_resource = keys.into_iter().filter_map(|key| sides.groups.remove_entry(&key)).collect();
    compare(sides, of_resource);
}

/// The same of all resources that are there.
pub fn settle_rest(sides: &mut Sides) {
    let rest = std::mem::take(&mut sides.groups);
    compare(sides, rest);
}

fn compare(sides: &mut Sides, groups: BTreeMap<GroupKey, Group>) {
    let (mut found, mut totals) = (std::mem::take(&mut sides.found), std::mem::take(&mut sides.totals));
    for (key, group) in &groups {
        usage::differences(sides, key, group, &mut found);
        totals.enter(group, sides.month);
    }
    (sides.found, sides.totals) = (found, totals);
}

/// What the month comes to, and all differences between ledger, bookings, usage and revenue, in a fixed order.
pub fn differences(mut sides: Sides) -> (Totals, Vec<Difference>) {
    settle_rest(&mut sides);
    let (mut found, mut totals) = (std::mem::take(&mut sides.found), std::mem::take(&mut sides.totals));
    found.extend(revenue::differences(&sides));
    totals.enter_money(&sides);
    (totals, sorted(found))
}

/// By side, resource and time; each with its name.
pub fn sorted(found: Vec<Difference>) -> Vec<Difference> {
    let mut found: Vec<Difference> = found.into_iter().map(Difference::named).collect();
    found.sort_by(|a, b| {
        let key = |one: &Difference| (one.between, one.day, one.class);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.resource, &a.plan, &a.dimension, &a.id).cmp(&(&b.resource, &b.plan, &b.dimension, &b.id)))
    });
    found
}
