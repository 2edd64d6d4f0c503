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
pub use totals::{Summary, Totals, summary, totals};

/// All differences of the month between ledger, bookings, usage and revenue, in a fixed order.
pub fn differences(sides: &Sides) -> Vec<Difference> {
    let mut found = usage::differences(sides);
    found.extend(revenue::differences(sides));
    sorted(found)
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
