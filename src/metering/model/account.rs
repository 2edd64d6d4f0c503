//! The account of one billing period: what was counted, how much of it is included, and what became of the rest. Pure
//! arithmetic over cumulative totals, so that rounding never drifts and the order of arrival does not matter.
//!
//! The rule for a change of plan: a period's included units are granted once. The plans of a period are taken in order
//! of time; each includes its own quantity less what the plans before it have used as included. Who upgrades from
//! 1,000 to 5,000 after using 600 has 4,400 left; who downgrades after using 3,000 has none left.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::catalogue::{DimensionTerms, Included, Meter};
use super::cycle::Period;
use super::quantity::Quantity;

/// What a meter of a segment has counted, in the meter's own units, with its definition as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub meter: Meter,
    pub total: Quantity,
}

/// What became of a dimension's billable units. All cumulative.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
    pub terms: Option<DimensionTerms>,
    /// Put into usage events, less what came back from them.
    pub claimed: Quantity,
    /// Booked by Microsoft.
    pub accepted: Quantity,
    /// Written off, with a line in the loss ledger.
    pub lost: Quantity,
}

/// The part of a period under one segment of the terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentAccount {
    pub plan: String,
    pub trial: bool,
    /// By the name of the counter: `dimension:<id>` or `meter:<name>`.
    pub counters: BTreeMap<String, Counter>,
    pub dimensions: BTreeMap<String, Booked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodAccount {
    pub period: Period,
    /// By the number of the segment.
    pub segments: BTreeMap<usize, SegmentAccount>,
}

/// How a dimension's quantity under one segment divides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pub recorded: Quantity,
    pub included: Quantity,
    pub billable: Quantity,
}

impl SegmentAccount {
    /// The cumulative quantity of each dimension, rounded down once to millionths.
    pub fn quantities(&self) -> BTreeMap<&str, Quantity> {
        // Exact fractions: all counters of a dimension over their common denominator.
        let mut fractions: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
        for counter in self.counters.values() {
            let per = i128::from(counter.meter.per.max(1));
            let total = counter.total.0;
            for (index, tier) in counter.meter.tiers.iter().enumerate() {
                let from = tier.from.0 * per;
                let upto = counter.meter.tiers.get(index + 1).map(|next| next.from.0 * per);
                // A negative total (after corrections) belongs to the first tier.
                let above = if index == 0 { total } else { (total - from).max(0) };
                let part = upto.map_or(above, |upto| above.min(upto - from));
                let (sum, denominator) = fractions.entry(tier.dimension.as_str()).or_insert((0, 1));
                let common = *denominator / gcd(*denominator, per) * per;
                *sum = *sum * (common / *denominator) + part * (common / per);
                *denominator = common;
            }
        }
        fractions.into_iter().map(|(dimension, (sum, per))| (dimension, Quantity(sum.div_euclid(per)))).collect()
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl PeriodAccount {
    pub fn new(period: Period) -> Self {
        Self { period, segments: BTreeMap::new() }
    }

    /// Divides every dimension of every segment into included and billable.
    pub fn shares(&self) -> BTreeMap<(usize, String), Share> {
        let mut used: BTreeMap<&str, Quantity> = BTreeMap::new();
        let mut shares = BTreeMap::new();
        for (number, segment) in &self.segments {
            for (dimension, recorded) in segment.quantities() {
                let used = used.entry(dimension).or_default();
                let granted = segment.dimensions.get(dimension).and_then(|booked| booked.terms.as_ref());
                let granted = granted.map(|terms| terms.included).unwrap_or_default();
                let counted = recorded.at_least_zero();
                let included = match granted {
                    _ if segment.trial => counted,
                    Included::Unlimited => counted,
                    Included::Units(granted) => {
                        let free = counted.min((granted - *used).at_least_zero());
                        *used += free;
                        free
                    }
                };
                // More was taken back than was recorded: that is nothing to bill, and counts as included.
                let included = if recorded.0 < 0 { recorded } else { included };
                let share = Share { recorded, included, billable: recorded - included };
                shares.insert((*number, dimension.to_owned()), share);
            }
        }
        shares
    }

    /// Billable units that are in no usage event yet; negative when corrections came after Microsoft's booking.
    pub fn unclaimed(&self) -> BTreeMap<(usize, String), Quantity> {
        let shares = self.shares().into_iter();
        shares
            .map(|((segment, dimension), share)| {
                let claimed = self.booked(segment, &dimension).map_or(Quantity::ZERO, |booked| booked.claimed);
                ((segment, dimension), share.billable - claimed)
            })
            .collect()
    }

    pub fn booked(&self, segment: usize, dimension: &str) -> Option<&Booked> {
        self.segments.get(&segment)?.dimensions.get(dimension)
    }

    pub fn booked_mut(&mut self, segment: usize, dimension: &str) -> Option<&mut Booked> {
        self.segments.get_mut(&segment)?.dimensions.get_mut(dimension)
    }
}

/// The money of a quantity at a price, exact.
pub fn money(quantity: Quantity, price: Decimal) -> Decimal {
    quantity.decimal().checked_mul(price).unwrap_or(Decimal::MAX).normalize()
}
