//! What happened to calls, added up: for the publisher's eyes. The ledger is the truth of what is billed; this is the
//! picture of what it cost, how long it took and how often it failed.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::used::{Part, Used};

/// Steps of the histogram: each is a half longer than the one before, from a millisecond to a quarter of an hour.
const STEPS: usize = 35;
const GROWTH: f64 = 1.5;

/// How long calls took, in steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies(BTreeMap<usize, u64>);

impl Latencies {
    pub fn add(&mut self, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        // From 0 to STEPS, whatever the clock says.
        let step = if ms <= 1.0 { 0 } else { (ms.ln() / GROWTH.ln()).ceil().min(STEPS as f64) as usize };
        *self.0.entry(step).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (step, count) in &other.0 {
            *self.0.entry(*step).or_default() += count;
        }
    }

    /// So many in a hundred took at most this long, to a step's precision; None without calls.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.0.values().sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut sum = 0;
        self.0.iter().find_map(|(step, count)| {
            sum += count;
            (sum >= wanted)
                .then(|| Duration::from_secs_f64(GROWTH.powi(i32::try_from(*step).unwrap_or(i32::MAX)) / 1000.0))
        })
    }
}

/// Calls of one customer on one model in one day, or any sum of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    pub served: u64,
    /// Let in, and not answered: refused by the service, broken off, or not recorded.
    pub failed: u64,
    pub used: BTreeMap<Part, u64>,
    /// By the publisher's price list of upstream costs.
    #[serde(with = "rust_decimal::serde::str")]
    pub cost: Decimal,
    /// Served calls whose cost is not known, because their deployment names no price list.
    pub uncosted: u64,
    /// By the list prices of the customers' plans, whatever is included.
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    pub currency: String,
    pub latencies: Latencies,
}

impl Tally {
    pub fn served(&mut self, used: &Used, cost: Option<Decimal>, price: Decimal, currency: &str, took: Duration) {
        self.served += 1;
        for (part, amount) in used.parts() {
            *self.used.entry(part).or_default() += amount;
        }
        match cost {
            Some(cost) => self.cost += cost,
            None => self.uncosted += 1,
        }
        self.price += price;
        currency.clone_into(&mut self.currency);
        self.latencies.add(took);
    }

    pub fn merge(&mut self, other: &Self) {
        self.served += other.served;
        self.failed += other.failed;
        for (part, amount) in &other.used {
            *self.used.entry(*part).or_default() += amount;
        }
        self.cost += other.cost;
        self.uncosted += other.uncosted;
        self.price += other.price;
        if self.currency.is_empty() {
            self.currency.clone_from(&other.currency);
        }
        self.latencies.merge(&other.latencies);
    }

    pub fn margin(&self) -> Decimal {
        self.price - self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_step() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        for ms in 1..=1000 {
            latencies.add(Duration::from_millis(ms));
        }
        latencies.add(Duration::from_secs(100_000));
        for (percent, exact) in [(50, 500.0), (95, 950.0), (99, 990.0)] {
            let found = latencies.percentile(percent).unwrap().as_secs_f64() * 1000.0;
            assert!((exact..=exact * GROWTH).contains(&found), "p{percent}: {found}");
        }
        assert!(latencies.percentile(100).unwrap() > Duration::from_secs(600));
    }

    #[test]
    fn sums_of_parts_are_the_sum() {
        let used = Used::of(Part::Input, 10).and(Part::Output, 5);
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.served(&used, Some(Decimal::ONE), Decimal::TEN, "USD", Duration::from_millis(3));
        two.served(&used, None, Decimal::TEN, "USD", Duration::from_millis(9));
        two.failed += 1;
        one.merge(&two);
        assert_eq!((one.served, one.failed, one.uncosted, one.used[&Part::Input]), (2, 1, 1, 20));
        assert_eq!(one.margin(), Decimal::from(19));
    }
}
