//! What of a term that is billed in advance is earned in a month, and what is still deferred after it: by days, and over all
//! months exactly what was billed.

use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::analytics::model::calendar::Month;

/// Money is divided down to this many decimals.
const DECIMALS: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// Such as `P1M`, or `P10D` for what is no number of months.
    pub term: String,
    pub earned_before: Decimal,
    pub earned: Decimal,
    pub deferred: Decimal,
}

/// Of an amount that was billed under a month for the days from `start` to `end`; without a term it is earned when it is
/// billed.
pub fn recognise(amount: Decimal, billed: Month, term: Option<(Date, Date)>, month: Month) -> Recognised {
    let (start, end) = term.filter(|(start, end)| start <= end).unwrap_or((billed.first(), billed.first()));
    let total = days(start, end);
    let by = |last: Date| {
        let passed = if last < start { 0 } else { days(start, last.min(end)) };
        if passed >= total {
            return amount;
        }
        let share = amount.checked_mul(passed.into()).and_then(|share| share.checked_div(total.into()));
        share.unwrap_or_default().round_dp(DECIMALS)
    };
    let (before, after) = (by(month.previous().last()), by(month.last()));
    Recognised {
        term: term.map_or_else(String::new, |(start, end)| name(start, end)),
        earned_before: before,
        earned: (after - before).normalize(),
        deferred: (amount - after).normalize(),
    }
}

/// Both counted.
fn days(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24 + 1
}

/// The last day of a term is the day before the next one begins, in some exports that day itself.
fn name(start: Date, end: Date) -> String {
    for next in [end.tomorrow().unwrap_or(end), end] {
        let months = (i64::from(next.year()) - i64::from(start.year())) * 12 + i64::from(next.month())
            - i64::from(start.month());
        let whole = next.day() == start.day() || next.day() == next.days_in_month() && start.day() > next.day();
        if months > 0 && whole {
            return if months % 12 == 0 { format!("P{}Y", months / 12) } else { format!("P{months}M") };
        }
    }
    format!("P{}D", days(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_year_is_earned_by_days_and_comes_to_exactly_what_was_billed() {
        let (start, end) = (date("2026-02-15"), date("2027-02-14"));
        let (amount, billed) = (Decimal::new(100_000, 2), "2026-02".parse().unwrap());
        let (mut month, mut sum): (Month, _) = (billed, Decimal::ZERO);
        for _ in 0..13 {
            let got = recognise(amount, billed, Some((start, end)), month);
            assert_eq!((got.earned_before, got.term.as_str()), (sum, "P1Y"), "{month}");
            sum += got.earned;
            assert_eq!(got.deferred, amount - sum, "{month}");
            month = month.next();
        }
        assert_eq!(sum, amount);
        let first = recognise(amount, billed, Some((start, end)), billed);
        assert_eq!(first.earned, (Decimal::from(1000 * 14) / Decimal::from(365)).round_dp(5));
    }

    #[test]
    fn what_has_no_term_is_earned_when_it_is_billed_and_terms_have_names() {
        let got = recognise(Decimal::TEN, "2026-03".parse().unwrap(), None, "2026-03".parse().unwrap());
        assert_eq!((got.earned, got.deferred, got.term.as_str()), (Decimal::TEN, Decimal::ZERO, ""));
        for (start, end, term) in [
            ("2026-02-03", "2026-03-02", "P1M"),
            ("2026-01-31", "2026-02-27", "P1M"),
            ("2026-01-01", "2028-12-31", "P3Y"),
            ("2026-01-01", "2026-01-10", "P10D"),
        ] {
            assert_eq!(name(date(start), date(end)), term, "{start} {end}");
        }
    }
}
