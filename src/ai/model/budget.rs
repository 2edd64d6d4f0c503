//! A budget: how much a subscription, or one of its keys, may use. Before a call the worst case is reserved, afterwards
//! the truth takes its place; what is spent and reserved together never exceeds the hard limit.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::used::{Part, Used};

/// Longer than any call can last: a reservation that is older belongs to a process that died.
pub const HELD: SignedDuration = SignedDuration::from_mins(45);

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// List prices of the plan, in its currency, whatever is included.
    Money,
    /// Units of one of the catalogue's meters.
    Meter(String),
}

/// When it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// With each day, in UTC.
    Day,
    /// With each calendar month, in UTC.
    Month,
    Never,
}

/// What one unit of a part counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    pub part: Part,
    pub meter: String,
    /// Money for one.
    pub price: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reservation {
    #[serde(with = "rust_decimal::serde::str")]
    amount: Decimal,
    expires: Timestamp,
    /// What one unit of each part counts on this budget, for finding the truth after a crash.
    rates: Vec<(Part, Decimal)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub unit: Unit,
    pub window: Window,
    /// From here on the customer is warned.
    #[serde(with = "rust_decimal::serde::str_option")]
    pub soft: Option<Decimal>,
    /// Beyond this, calls are refused.
    #[serde(with = "rust_decimal::serde::str_option")]
    pub hard: Option<Decimal>,
    /// When the window of `spent` began.
    since: Timestamp,
    #[serde(with = "rust_decimal::serde::str")]
    spent: Decimal,
    reserved: BTreeMap<String, Reservation>,
}

/// The hard limit does not allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    pub needed: Decimal,
    pub left: Decimal,
}

impl Budget {
    pub fn new(unit: Unit, window: Window, soft: Option<Decimal>, hard: Option<Decimal>, now: Timestamp) -> Self {
        Self { unit, window, soft, hard, since: now, spent: Decimal::ZERO, reserved: BTreeMap::new() }
    }

    /// Other limits for the same count; another unit or window begins to count anew.
    pub fn change(&mut self, to: Self) {
        if (&self.unit, self.window) == (&to.unit, to.window) {
            (self.soft, self.hard) = (to.soft, to.hard);
        } else {
            *self = to;
        }
    }

    fn begins_anew(&self, now: Timestamp) -> bool {
        let (then, now) = (self.since.to_zoned(TimeZone::UTC).date(), now.to_zoned(TimeZone::UTC).date());
        match self.window {
            Window::Day => then < now,
            Window::Month => then.first_of_month() < now.first_of_month(),
            Window::Never => false,
        }
    }

    pub fn spent(&self, now: Timestamp) -> Decimal {
        if self.begins_anew(now) { Decimal::ZERO } else { self.spent }
    }

    pub fn reserved(&self) -> Decimal {
        self.reserved.values().map(|reservation| reservation.amount).sum()
    }

    /// What one unit of each part counts here.
    fn rates(&self, rates: &[Rate]) -> Vec<(Part, Decimal)> {
        let counted = |rate: &Rate| match &self.unit {
            Unit::Money => Some(rate.price),
            Unit::Meter(meter) => (*meter == rate.meter).then_some(Decimal::ONE),
        };
        rates.iter().filter_map(|rate| Some((rate.part, counted(rate)?))).collect()
    }

    /// Holds the worst case of a call for so long; later, it counts as abandoned.
    pub fn reserve(
        &mut self,
        call: &str,
        worst: &Used,
        rates: &[Rate],
        held: SignedDuration,
        now: Timestamp,
    ) -> Result<(), Over> {
        if self.begins_anew(now) {
            (self.since, self.spent) = (now, Decimal::ZERO);
        }
        let rates = self.rates(rates);
        let needed = amount(&rates, worst);
        // What the same call holds already is its own: it may have died and come again.
        let own = self.reserved.get(call).map_or(Decimal::ZERO, |reservation| reservation.amount);
        let left = self.left(now).map(|left| left + own);
        if left.is_some_and(|left| needed > left) {
            return Err(Over { needed, left: left.unwrap_or_default().max(Decimal::ZERO) });
        }
        self.reserved.insert(call.to_owned(), Reservation { amount: needed, expires: now + held, rates });
        Ok(())
    }

    /// What may still be reserved; None without a hard limit.
    pub fn left(&self, now: Timestamp) -> Option<Decimal> {
        Some(self.hard? - self.spent(now) - self.reserved())
    }

    /// Puts the truth in the place of the worst case: zero for a call that is not billed. `true`: this took the soft
    /// limit.
    pub fn settle(&mut self, call: &str, used: &Used) -> bool {
        // Settled before, or found to be abandoned: it is counted already.
        let Some(reservation) = self.reserved.remove(call) else { return false };
        let before = self.spent;
        self.spent += amount(&reservation.rates, used);
        self.soft.is_some_and(|soft| before < soft && soft <= self.spent)
    }

    /// Calls whose process must have died.
    pub fn abandoned(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        self.reserved.iter().filter(move |(_, held)| held.expires <= now).map(|(call, _)| call.as_str())
    }
}

fn amount(rates: &[(Part, Decimal)], used: &Used) -> Decimal {
    rates.iter().map(|(part, rate)| Decimal::from(used.get(*part)) * rate).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Vec<Rate> {
        let rate = |part, price: &str| Rate { part, meter: "chat_tokens".into(), price: price.parse().unwrap() };
        vec![rate(Part::Input, "0.01"), rate(Part::Output, "0.02")]
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn spent_and_reserved_together_never_exceed_the_hard_limit() {
        let now = at("2026-03-02T09:00:00Z");
        let mut budget = Budget::new(Unit::Money, Window::Month, Some(Decimal::ONE), Some(Decimal::TWO), now);
        let worst = Used::of(Part::Input, 50).and(Part::Output, 25);
        assert_eq!(budget.reserve("a", &worst, &rates(), HELD, now), Ok(()));
        assert_eq!(budget.reserve("b", &worst, &rates(), HELD, now), Ok(()));
        let over = Over { needed: Decimal::ONE, left: Decimal::ZERO };
        assert_eq!(budget.reserve("c", &worst, &rates(), HELD, now).map_err(|over| over.left), Err(over.left));
        assert_eq!(budget.reserve("b", &worst, &rates(), HELD, now), Ok(()), "again is not once more");
        // The truth is less than the worst case, and makes room; what was settled is settled.
        assert!(!budget.settle("a", &Used::of(Part::Input, 20)));
        assert!(!budget.settle("a", &worst));
        assert_eq!(
            (budget.spent(now).normalize().to_string(), budget.left(now).unwrap().normalize().to_string()),
            ("0.2".into(), "0.8".into())
        );
        assert!(budget.settle("b", &worst), "1.2 is above the soft limit of 1");
        // The next month begins at nothing.
        let later = at("2026-04-01T00:00:00Z");
        assert_eq!(budget.spent(later), Decimal::ZERO);
        assert_eq!(budget.reserve("d", &worst, &rates(), HELD, later), Ok(()));
        assert_eq!(budget.abandoned(later + HELD).collect::<Vec<_>>(), ["d"]);
        assert_eq!(budget.abandoned(later).count(), 0);
    }

    #[test]
    fn a_budget_in_units_counts_its_own_meter_only() {
        let now = at("2026-03-02T09:00:00Z");
        let mut rates = rates();
        rates[1].meter = "other".into();
        let mut budget = Budget::new(Unit::Meter("chat_tokens".into()), Window::Never, None, Some(100.into()), now);
        assert!(budget.reserve("a", &Used::of(Part::Input, 100).and(Part::Output, 900), &rates, HELD, now).is_ok());
        assert!(budget.reserve("b", &Used::of(Part::Input, 1), &rates, HELD, now).is_err());
        assert!(budget.reserve("c", &Used::of(Part::Output, 1), &rates, HELD, now).is_ok());
    }
}
