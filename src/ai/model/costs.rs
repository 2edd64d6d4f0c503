//! What the publisher pays for what a call used: a price list with dates, so that a call is valued by the prices of its
//! own day.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::used::{Part, Used};

/// So much money for so many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub per: u64,
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
}

impl Price {
    pub fn of(&self, amount: u64) -> Decimal {
        self.price * Decimal::from(amount) / Decimal::from(self.per.max(1))
    }
}

/// The prices from one day on, in the currency of the plans (US dollars, as Partner Center has them).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub from: Date,
    pub prices: BTreeMap<Part, Price>,
}

impl Cost {
    /// A part's price; cached tokens cost as others unless they have one.
    pub fn of(&self, part: Part) -> Option<&Price> {
        self.prices.get(&part).or_else(|| self.prices.get(&Part::Input).filter(|_| part == Part::CachedInput))
    }
}

/// What a call cost by a list (oldest first); None before its first day, or when something has no price.
pub fn cost(list: &[Cost], used: &Used, at: Timestamp) -> Option<Decimal> {
    let day = at.to_zoned(TimeZone::UTC).date();
    let prices = list.iter().rfind(|cost| cost.from <= day)?;
    used.parts().map(|(part, amount)| prices.of(part).map(|price| price.of(amount))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_valued_by_the_prices_of_its_day() {
        let list: Vec<Cost> = serde_json::from_str(
            r#"[{"from": "2026-01-01", "prices": {"input": {"per": 1000000, "price": "2"}, "output": {"per": 1000000, "price": "8"}}},
                {"from": "2026-03-01", "prices": {"input": {"per": 1000000, "price": "1"}, "cached_input": {"per": 1000000, "price": "0.25"}, "output": {"per": 1000000, "price": "4"}}}]"#,
        )
        .unwrap();
        let used = Used::of(Part::Input, 1000).and(Part::CachedInput, 1000).and(Part::Output, 500);
        let on = |day: &str| cost(&list, &used, day.parse().unwrap()).map(|cost| cost.normalize().to_string());
        assert_eq!(on("2025-12-31T23:59:59Z"), None);
        assert_eq!(on("2026-02-28T23:59:59Z").as_deref(), Some("0.008"));
        assert_eq!(on("2026-03-01T00:00:00Z").as_deref(), Some("0.00325"));
        assert_eq!(cost(&list, &Used::of(Part::Images, 1), "2026-03-01T00:00:00Z".parse().unwrap()), None);
    }
}
