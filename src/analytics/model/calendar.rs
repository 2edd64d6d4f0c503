//! A calendar month in UTC, written `2026-03`: what is reconciled and closed.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// By its first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

/// The text is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a month such as 2026-03")]
pub struct InvalidMonth;

impl Month {
    pub fn of(day: Date) -> Self {
        Self(day.first_of_month())
    }

    pub fn at(now: Timestamp) -> Self {
        Self::of(day_of(now))
    }

    pub fn first(self) -> Date {
        self.0
    }

    pub fn last(self) -> Date {
        self.0.last_of_month()
    }

    /// When it is over.
    pub fn end(self) -> Timestamp {
        start_of(self.next().first())
    }

    pub fn has(self, day: Date) -> bool {
        Self::of(day) == self
    }

    #[must_use]
    pub fn next(self) -> Self {
        self.step(1.month())
    }

    #[must_use]
    pub fn previous(self) -> Self {
        self.step(-1.month())
    }

    fn step(self, span: Span) -> Self {
        // The calendar ends in the year 9999.
        Self(self.0.checked_add(span).unwrap_or(self.0))
    }

    pub fn days(self) -> impl Iterator<Item = Date> {
        days(self.first(), self.last())
    }
}

/// Every day from `first` to `last`.
pub fn days(first: Date, last: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(first), |day| day.tomorrow().ok()).take_while(move |day| *day <= last)
}

pub fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// The beginning of a day in UTC.
pub fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |at| at.timestamp())
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        if text.len() != 7 || !digits(year) || !digits(month) {
            return Err(InvalidMonth);
        }
        // Far from both ends of the calendar, so that neighbours exist.
        let day: Date = format!("{text}-01").parse().map_err(|_| InvalidMonth)?;
        if (1970..=9000).contains(&day.year()) { Ok(Self(day)) } else { Err(InvalidMonth) }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_reads_back_and_knows_its_days_and_neighbours() {
        let month: Month = "2024-02".parse().unwrap();
        assert_eq!((month.to_string(), month.last().to_string()), ("2024-02".into(), "2024-02-29".into()));
        assert_eq!(month.days().count(), 29);
        assert_eq!((month.next().to_string(), month.previous().to_string()), ("2024-03".into(), "2024-01".into()));
        assert_eq!(month.end().to_string(), "2024-03-01T00:00:00Z");
        for bad in ["2024-2", "2024-13", "24-02", "2024-02-01", "+024-02", "", "0001-01"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }
}
