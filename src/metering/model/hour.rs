//! A clock hour in UTC: the grid of Microsoft's metering (marketplace contract 5.4).

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How far back Microsoft takes usage.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Hours since 1970. Written `2026-03-02T09`, which sorts by time and can be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_second().div_euclid(3600))
    }

    pub fn start(self) -> Timestamp {
        Timestamp::from_second(self.0.saturating_mul(3600)).unwrap_or(Timestamp::MAX)
    }

    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// When Microsoft stops taking usage of this hour.
    pub fn deadline(self) -> Timestamp {
        self.start() + WINDOW
    }

    /// The day it belongs to, such as `2026-03-02`.
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.get(..13).unwrap_or(&text))
    }
}

impl FromStr for Hour {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        format!("{text}:00:00Z").parse::<Timestamp>().map(Self::of)
    }
}

impl Serialize for Hour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is no hour")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_written_so_that_they_sort_and_read_back() {
        let hour = Hour::of("2026-03-02T09:59:59.999Z".parse().unwrap());
        assert_eq!(hour.to_string(), "2026-03-02T09");
        assert_eq!("2026-03-02T09".parse::<Hour>().unwrap(), hour);
        assert_eq!(hour.deadline().to_string(), "2026-03-03T09:00:00Z");
        assert_eq!(hour.day(), "2026-03-02");
    }
}
