//! The time spans of the language, and the dates that they mean.

use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::Date;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    Today,
    Yesterday,
    Last7Days,
    Last14Days,
    Last30Days,
    Last90Days,
    Last180Days,
    Last365Days,
    LastMonth,
    Last3Months,
    Last6Months,
    Last1Year,
    Lifetime,
}

impl Span {
    pub const ALL: [Self; 13] = [
        Self::Today,
        Self::Yesterday,
        Self::Last7Days,
        Self::Last14Days,
        Self::Last30Days,
        Self::Last90Days,
        Self::Last180Days,
        Self::Last365Days,
        Self::LastMonth,
        Self::Last3Months,
        Self::Last6Months,
        Self::Last1Year,
        Self::Lifetime,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Today => "TODAY",
            Self::Yesterday => "YESTERDAY",
            Self::Last7Days => "LAST_7_DAYS",
            Self::Last14Days => "LAST_14_DAYS",
            Self::Last30Days => "LAST_30_DAYS",
            Self::Last90Days => "LAST_90_DAYS",
            Self::Last180Days => "LAST_180_DAYS",
            Self::Last365Days => "LAST_365_DAYS",
            Self::LastMonth => "LAST_MONTH",
            Self::Last3Months => "LAST_3_MONTHS",
            Self::Last6Months => "LAST_6_MONTHS",
            Self::Last1Year => "LAST_1_YEAR",
            Self::Lifetime => "LIFETIME",
        }
    }

    /// In any letter case.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name().eq_ignore_ascii_case(name))
    }

    /// First and last UTC date; none for `LIFETIME`.
    ///
    /// UNVERIFIED, all of it: Microsoft documents the names only (analytics contract 8.2). Our reading: a span of days
    /// ends today and counts today; `LAST_MONTH` is the calendar month before this one; a span of several months begins
    /// on the first day of the calendar month that many months ago and goes on until today, and a year is twelve months.
    pub fn dates(self, today: Date) -> Option<(Date, Date)> {
        let days = |count: i32| Some((today.saturating_sub((count - 1).days()), today));
        let months = |count: i32| Some((today.first_of_month().saturating_sub(count.months()), today));
        match self {
            Self::Today => days(1),
            Self::Yesterday => Some((today.saturating_sub(1.day()), today.saturating_sub(1.day()))),
            Self::Last7Days => days(7),
            Self::Last14Days => days(14),
            Self::Last30Days => days(30),
            Self::Last90Days => days(90),
            Self::Last180Days => days(180),
            Self::Last365Days => days(365),
            Self::LastMonth => {
                let first = today.first_of_month().saturating_sub(1.month());
                Some((first, first.last_of_month()))
            }
            Self::Last3Months => months(3),
            Self::Last6Months => months(6),
            Self::Last1Year => months(12),
            Self::Lifetime => None,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn spans_mean_dates() {
        let today = date(2026, 3, 31);
        for (span, from, to) in [
            (Span::Today, date(2026, 3, 31), today),
            (Span::Yesterday, date(2026, 3, 30), date(2026, 3, 30)),
            (Span::Last7Days, date(2026, 3, 25), today),
            (Span::LastMonth, date(2026, 2, 1), date(2026, 2, 28)),
            (Span::Last3Months, date(2025, 12, 1), today),
            (Span::Last1Year, date(2025, 3, 1), today),
        ] {
            assert_eq!(span.dates(today), Some((from, to)), "{span}");
        }
        assert_eq!(Span::Lifetime.dates(today), None);
    }

    #[test]
    fn every_span_is_found_by_its_name_and_has_dates_on_every_day() {
        for span in Span::ALL {
            assert_eq!(Span::find(&span.name().to_lowercase()), Some(span));
            for today in [Date::MIN, Date::MAX, date(2024, 2, 29)] {
                assert!(span.dates(today).is_none_or(|(from, to)| from <= to), "{span} on {today}");
            }
        }
    }
}
