//! ISVUsage: quantities by unit and dimension, and what Microsoft expects to charge by currency.

use std::collections::BTreeMap;

use csv::StringRecord;
use rust_decimal::Decimal;

use super::{Pivot, Step, cells, number};

pub const COLUMNS: [&str; 11] = [
    "UsageDate",
    "MeterDimension",
    "UsageUnit",
    "VMSize",
    "MeteredUsage",
    "RawUsage",
    "NormalizedUsage",
    "CustomerCurrencyCC",
    "EstimatedExtendedChargeCC",
    "PayoutCurrencyPC",
    "EstimatedExtendedChargePC",
];

#[derive(Debug)]
pub struct Usage {
    step: Step,
    /// By unit in small letters, with its first spelling: lines of dates, columns of dimensions.
    pub metered: BTreeMap<String, (String, Pivot)>,
    /// Hours of virtual machines by size, as they ran, and multiplied by their cores: two measures of one thing.
    pub raw: Pivot,
    pub normalized: Pivot,
    /// Columns of currencies: what customers pay, and the same as it is paid out.
    pub charges: Pivot,
    pub payouts: Pivot,
}

impl Usage {
    pub fn by(step: Step) -> Self {
        let (raw, normalized, charges, payouts) = Default::default();
        Self { step, metered: BTreeMap::new(), raw, normalized, charges, payouts }
    }

    pub fn push(&mut self, row: &StringRecord) {
        let [date, dimension, unit, size, metered, raw, normalized, currency, charge, payout_currency, payout] =
            cells(row);
        let line = self.step.of(date);
        let metered = number(metered);
        if !metered.is_zero() {
            let new = || (unit.to_owned(), Pivot::default());
            self.metered.entry(unit.to_lowercase()).or_insert_with(new).1.add(line, dimension, metered);
        }
        for (pivot, column, cell) in [
            (&mut self.raw, size, raw),
            (&mut self.normalized, size, normalized),
            (&mut self.charges, currency, charge),
            (&mut self.payouts, payout_currency, payout),
        ] {
            let amount = number(cell);
            // A row of a meter has zeros for machines; a free one is no charge in any currency.
            if amount != Decimal::ZERO {
                pivot.add(line, column, amount);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_currencies_stay_apart() {
        let mut usage = Usage::by(Step::Month);
        for row in [
            ["2026-02-01", "speech", "Minute", "", "10.5", "0", "0", "EUR", "1.10", "USD", "1.20"],
            ["2026-02-28", "speech", "minute", "", "1", "0", "0", "JPY", "30", "USD", "0.20"],
            ["2026-02-28", "images", "image", "", "4", "0", "0", "EUR", "0", "USD", "0"],
            ["2026-02-28", "", "hours", "D4", "0", "24", "96", "EUR", "4.4", "USD", "4.8"],
        ] {
            usage.push(&row.to_vec().into());
        }
        let sum = |pivot: &Pivot, column: &str| pivot.get("2026-02", column).unwrap().to_string();
        assert_eq!(usage.metered.len(), 2);
        assert_eq!(sum(&usage.metered["minute"].1, "speech"), "11.5");
        assert_eq!((sum(&usage.raw, "D4"), sum(&usage.normalized, "D4")), ("24".into(), "96".into()));
        assert_eq!((sum(&usage.charges, "EUR"), sum(&usage.charges, "JPY")), ("5.50".into(), "30".into()));
        assert_eq!(sum(&usage.payouts, "USD"), "6.20");
    }
}
