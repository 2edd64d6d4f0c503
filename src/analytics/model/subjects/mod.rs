//! What people ask of the datasets, as numbers: each subject takes rows in the order of its `COLUMNS` and gives tables of
//! exact sums. Amounts of different currencies, and quantities of different units, are never added.

pub mod customers;
pub mod insights;
pub mod orders;
pub mod pivot;
pub mod quality;
pub mod retention;
pub mod revenue;
pub mod usage;

use csv::StringRecord;
use jiff::ToSpan as _;
use jiff::civil::Date;
use rust_decimal::Decimal;

pub use pivot::Pivot;

use super::value;

/// How wide a line of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Day,
    Month,
}

impl Step {
    /// The day or month of a canonical date or moment; empty for none.
    pub fn of(self, date: &str) -> &str {
        let length = if self == Self::Day { 10 } else { 7 };
        date.get(..length).unwrap_or(date)
    }
}

/// The first cells of a row.
fn cells<const N: usize>(row: &StringRecord) -> [&str; N] {
    std::array::from_fn(|place| row.get(place).unwrap_or_default())
}

/// Nothing where there is no number.
fn number(cell: &str) -> Decimal {
    value::number(cell).unwrap_or_default()
}

/// Months as `2026-02`, from the one of `from` to the one of `to`, with their last days.
pub fn months(from: Date, to: Date) -> impl Iterator<Item = (String, Date)> {
    let first = from.first_of_month();
    std::iter::successors(Some(first), |month| month.checked_add(1.month()).ok())
        .take_while(move |month| *month <= to)
        .map(|month| (month.strftime("%Y-%m").to_string(), month.last_of_month()))
}

/// A part of a whole in hundredths, with one decimal.
pub fn percent(part: Decimal, whole: Decimal) -> Option<Decimal> {
    let share = part.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole)?;
    Some(share.round_dp_with_strategy(1, rust_decimal::RoundingStrategy::MidpointAwayFromZero))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn months_are_counted_over_the_turn_of_the_year() {
        let found: Vec<_> = months(date(2025, 12, 31), date(2026, 2, 1)).collect();
        assert_eq!(found[0], ("2025-12".to_owned(), date(2025, 12, 31)));
        assert_eq!(found[2], ("2026-02".to_owned(), date(2026, 2, 28)));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_part_of_nothing_is_no_number() {
        assert_eq!(percent(Decimal::ONE, Decimal::ZERO), None);
        assert_eq!(percent(Decimal::ONE, Decimal::from(3)), Some(Decimal::new(333, 1)));
    }
}
