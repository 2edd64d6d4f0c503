//! ISVOfferRetention: of the customers of virtual machines who began, how many still used them so many days later. Rows are
//! told for each day on which there was usage.

use std::collections::{BTreeMap, BTreeSet};

use csv::StringRecord;
use jiff::ToSpan as _;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::{cells, number};
use crate::analytics::model::value;

pub const COLUMNS: [&str; 5] = ["FirstUsageDate", "ProductId", "CustomerId", "CustomerCurrencyCode", "Offset"];

#[derive(Debug, Default)]
pub struct Retention {
    /// Who, by the first day; with every offset that was told.
    told: BTreeMap<(String, Option<Date>), BTreeSet<u32>>,
}

/// A day since the first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    pub day: u32,
    /// Those who began long enough ago to be counted.
    pub began: u64,
    pub used: u64,
}

impl Retention {
    pub fn push(&mut self, row: &StringRecord) {
        let [first, product, customer, currency, offset] = cells(row);
        let Ok(offset) = u32::try_from(number(offset)) else { return };
        let who = format!("{product} {customer} {currency}").to_lowercase();
        self.told.entry((who, value::date(first))).or_default().insert(offset);
    }

    pub fn customers(&self) -> usize {
        self.told.len()
    }

    /// `known`: the last day of which usage is told.
    pub fn offsets(&self, known: Date) -> Vec<Offset> {
        let last = self.told.values().filter_map(|days| days.last()).max().copied();
        let Some(last) = last else { return Vec::new() };
        let reached = |first: Option<Date>, day: u32| {
            first.is_none_or(|first| first.checked_add(i64::from(day).days()).is_ok_and(|reached| reached <= known))
        };
        (0..=last)
            .map(|day| {
                let there = || self.told.iter().filter(|((_, first), _)| reached(*first, day));
                let used = there().filter(|(_, days)| days.contains(&day)).count() as u64;
                Offset { day, began: there().count() as u64, used }
            })
            .filter(|offset| offset.began > 0)
            .collect()
    }
}

impl Offset {
    pub fn share(&self) -> Option<Decimal> {
        super::percent(Decimal::from(self.used), Decimal::from(self.began))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn who_began_too_lately_is_not_counted_as_lost() {
        let mut retention = Retention::default();
        for (first, customer, offset) in
            [("2026-02-01", "a", "0"), ("2026-02-01", "a", "2"), ("2026-02-02", "b", "0"), ("2026-02-02", "b", "1")]
        {
            retention.push(&[first, "vm", customer, "EUR", offset].to_vec().into());
        }
        let counts: Vec<_> =
            retention.offsets(date(2026, 2, 3)).into_iter().map(|day| (day.day, day.began, day.used)).collect();
        assert_eq!(counts, [(0, 2, 2), (1, 2, 1), (2, 1, 1)]);
    }
}
