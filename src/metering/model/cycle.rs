//! Billing periods. Included quantities are refilled where the subscription's own term begins anew, at the very second
//! of its start, never at the calendar's month (marketplace contract 5.7 and 9.29).

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Microsoft's renewals may start a little off the exact step (dates without a time, a month's last day). A start this
/// close to a border of ours is that border: a second refill of included quantities would give them away.
const SAME_BORDER: SignedDuration = SignedDuration::from_hours(72);

/// A half-open stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Terms of equal length, one after the other, from an anchor. In UTC, so without daylight saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    pub anchor: Timestamp,
    pub months: u32,
}

/// The length of a term in months (`P1M`, `P1Y`, `P2Y`, `P3Y`); a month where Microsoft names none.
pub fn months(term_unit: &str) -> u32 {
    let span: Option<Span> = term_unit.trim().parse().ok();
    let months = span.map_or(0, |span| i64::from(span.get_years()) * 12 + i64::from(span.get_months()));
    u32::try_from(months).ok().filter(|months| (1..=120).contains(months)).unwrap_or(1)
}

impl Cycle {
    /// The start of the `number`th term. Counted from the anchor each time, so that the 31st comes back after a
    /// February. Outside of what the calendar holds: its ends.
    fn start(&self, number: i64) -> Timestamp {
        let total = number.saturating_mul(i64::from(self.months)).clamp(-60_000, 60_000);
        let zoned = self.anchor.to_zoned(TimeZone::UTC);
        let end = if total < 0 { Timestamp::MIN } else { Timestamp::MAX };
        zoned.checked_add(Span::new().months(total)).map_or(end, |zoned| zoned.timestamp())
    }

    pub fn period(&self, at: Timestamp) -> Period {
        // A guess by mean month, then at most two steps.
        let mut number = (at.as_second() - self.anchor.as_second()).div_euclid(2_629_746 * i64::from(self.months));
        while self.start(number) > at {
            number -= 1;
        }
        while self.start(number + 1) <= at {
            number += 1;
        }
        Period { start: self.start(number), end: self.start(number + 1) }
    }

    fn has_border_near(&self, at: Timestamp) -> bool {
        let period = self.period(at);
        at.duration_since(period.start) <= SAME_BORDER || period.end.duration_since(at) <= SAME_BORDER
    }
}

/// The cycles of a subscription, in order; a new one begins when Microsoft starts a term of another length or at an
/// unexpected time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cycles(Vec<Cycle>);

impl Cycles {
    /// Takes in what Microsoft says about the current term. `true`: something changed.
    pub fn follow(&mut self, start: Timestamp, months: u32) -> bool {
        match self.0.last() {
            Some(last) if last.months == months && (start < last.anchor || last.has_border_near(start)) => false,
            Some(last) if start <= last.anchor => {
                // Another length for a term that began earlier: it holds from the anchor known.
                let anchor = last.anchor;
                self.0.pop();
                self.0.push(Cycle { anchor, months });
                true
            }
            _ => {
                self.0.push(Cycle { anchor: start, months });
                true
            }
        }
    }

    /// The period that an instant lies in. None only before [`Self::follow`] was called.
    pub fn period(&self, at: Timestamp) -> Option<Period> {
        let index = self.0.iter().rposition(|cycle| cycle.anchor <= at).unwrap_or(0);
        let mut period = self.0.get(index)?.period(at);
        if let Some(next) = self.0.get(index + 1) {
            period.end = period.end.min(next.anchor);
        }
        Some(period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lengths_are_read_and_a_month_stands_in_for_what_is_not_understood() {
        let read: Vec<u32> = ["P1M", "P1Y", "P2Y", "P3Y", " P1M ", "", "P0M", "P999Y", "nonsense"].map(months).to_vec();
        assert_eq!(read, [1, 12, 24, 36, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_renewal_a_day_off_the_step_does_not_refill_twice() {
        let mut cycles = Cycles::default();
        assert!(cycles.follow(at("2026-01-31T10:20:30Z"), 1));
        // Microsoft writes the renewal of 28 February as midnight, and that of March as the first day of April.
        assert!(!cycles.follow(at("2026-02-28T00:00:00Z"), 1));
        assert!(!cycles.follow(at("2026-04-01T00:00:00Z"), 1));
        assert_eq!(cycles.period(at("2026-03-31T10:20:30Z")).unwrap().start, at("2026-03-31T10:20:30Z"));
        // A whole fortnight off is a new beginning; what came before ends there.
        assert!(cycles.follow(at("2026-04-15T00:00:00Z"), 1));
        assert_eq!(cycles.period(at("2026-04-14T23:59:59Z")).unwrap().end, at("2026-04-15T00:00:00Z"));
        assert_eq!(cycles.period(at("2026-04-15T00:00:00Z")).unwrap().start, at("2026-04-15T00:00:00Z"));
    }
}
