//! ISVUsage ↔ ISVRevenue: what was used and what is paid for it, by resource and plan. A row of revenue names no dimension,
//! and one transaction has a row for each state of its payout, so amounts decide and quantities only explain.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::difference::{Between, Class, Difference, Place, Why};
use super::moved::moved;
use super::sides::{MonthSum, Sides};
use super::usage::text;
use crate::analytics::model::calendar::Month;

/// Invoices are in whole units of these.
const WITHOUT_CENTS: [&str; 7] = ["CLP", "ISK", "JPY", "KRW", "PYG", "TWD", "VND"];

pub fn differences(sides: &Sides) -> Vec<Difference> {
    let Some(newest) = sides.fresh.revenue else { return Vec::new() };
    let mut found = Vec::new();
    for ((resource, plan), months) in &sides.money {
        let look = Look { sides, resource, plan, months };
        // A neighbour that is not posted yet would look as if it lacked something.
        let near = [sides.month.previous(), sides.month, sides.month.next()];
        let near: Vec<Month> = near.into_iter().filter(|month| month.first() <= newest).collect();
        let mut deltas: BTreeMap<Date, Decimal> =
            near.iter().map(|month| (month.first(), look.of(*month).revenue - look.of(*month).charge)).collect();
        let tolerance = near.iter().map(|month| look.tolerance(*month)).max().unwrap_or_default();
        let late = moved(&mut deltas, tolerance);
        let here = sides.month.first();
        let other = late.iter().find_map(|(from, to)| match here {
            here if here == *from => Some(*to),
            here if here == *to => Some(*from),
            _ => None,
        });
        let sum = look.of(sides.month);
        if sum.charge_rows == 0 && sum.revenue_rows == 0 {
            continue;
        }
        if let Some(other) = other {
            let mut one = look.amounts(Class::Late, Why::OtherMonth, sum.charge, sum.revenue);
            one.other_day = Some(other);
            found.push(one);
        } else {
            found.extend(look.unequal(&sum));
        }
        if !sum.rejected.is_zero() {
            let kept = sum.revenue - sum.rejected;
            found.push(look.amounts(Class::Rejected, Why::PayoutRejected, sum.revenue, kept));
        }
    }
    found
}

struct Look<'a> {
    sides: &'a Sides,
    resource: &'a str,
    plan: &'a str,
    months: &'a BTreeMap<Month, MonthSum>,
}

impl Look<'_> {
    fn of(&self, month: Month) -> MonthSum {
        self.months.get(&month).cloned().unwrap_or_default()
    }

    /// Of the usage: revenue names none.
    fn currency(&self) -> String {
        self.months.values().find_map(|sum| sum.currencies.first().cloned()).unwrap_or_default()
    }

    /// Half of the smallest coin for every row of revenue, and what usage is rounded by.
    fn tolerance(&self, month: Month) -> Decimal {
        let sum = self.of(month);
        let whole = WITHOUT_CENTS.contains(&self.currency().as_str());
        let half_coin = if whole { Decimal::new(5, 1) } else { Decimal::new(5, 3) };
        half_coin * Decimal::from(sum.revenue_rows.max(1)) + Decimal::new(1, 5) * Decimal::from(sum.charge_rows)
    }

    fn unequal(&self, sum: &MonthSum) -> Option<Difference> {
        let (used, paid) = (sum.charge, sum.revenue);
        let month = self.sides.month;
        let tolerance = self.tolerance(month);
        let young = !self.sides.fresh.settled_month(self.sides.fresh.revenue, month);
        if (used - paid).abs() <= tolerance {
            return None;
        }
        let close = |one: Decimal, other: Decimal| (one - other).abs() <= tolerance;
        let (class, why, absent) = if paid < used && young {
            (Class::NotYetPosted, Why::WithinLatency, None)
        } else if sum.revenue_rows == 0 {
            (Class::Missing, Why::Unknown, Some(Place::Revenue))
        } else if sum.charge_rows == 0 {
            (Class::Missing, Why::Unknown, Some(Place::Usage))
        } else if used > Decimal::ZERO && [2, 3, 4].iter().any(|times| close(paid, used * Decimal::from(*times))) {
            (Class::Duplicate, Why::CountedTwice, None)
        } else if sum.paid_for != sum.used && share(sum).is_some_and(|share| close(paid, share)) {
            (Class::Quantity, Why::OtherAmount, None)
        } else {
            (Class::Price, Why::OtherAmount, None)
        };
        let mut one = self.amounts(class, why, used, paid);
        one.absent = absent;
        Some(one)
    }

    fn amounts(&self, class: Class, why: Why, ours: Decimal, theirs: Decimal) -> Difference {
        Difference {
            id: String::new(),
            class,
            between: Between::UsageRevenue,
            why,
            absent: None,
            resource: self.resource.to_owned(),
            plan: self.plan.to_owned(),
            dimension: String::new(),
            day: None,
            other_day: None,
            hours: Vec::new(),
            ours: text(ours),
            theirs: text(theirs),
            amount: (ours - theirs).normalize(),
            currency: self.currency(),
        }
    }
}

/// What the quantity that is paid for would cost at what the used one costs.
fn share(sum: &MonthSum) -> Option<Decimal> {
    sum.charge.checked_mul(sum.paid_for.checked_div(sum.used)?)
}
