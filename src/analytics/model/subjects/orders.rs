//! ISVOrder: what was bought, renewed, changed and cancelled, and what was active when.
//!
//! A row is an event of an asset. Rows of something that was cancelled say so all of them, so the state at a day comes from
//! the newest event up to that day, and not from the status that a row has now.

use std::collections::BTreeMap;

use csv::StringRecord;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::{Pivot, cells, months, number};
use crate::analytics::model::value;

pub const COLUMNS: [&str; 10] = [
    "EventTimestamp",
    "OrderPurchaseDate",
    "AssetId",
    "OrderVersion",
    "OrderAction",
    "OrderStatus",
    "OrderCancelDate",
    "TermEndDate",
    "Quantity",
    "PlanId",
];

/// What an event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    New,
    Renewed,
    /// Another plan or another number of seats.
    Changed,
    Cancelled,
}

impl Did {
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Renewed => "renewed",
            Self::Changed => "changed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone)]
struct Event {
    day: Date,
    order: (Decimal, String),
    cancels: bool,
    renews: bool,
    plan: String,
    quantity: Decimal,
    /// From this day on it is over, whatever comes.
    ends: Option<Date>,
}

/// Orders of all times up to a day; what is active can not be told from a part of them.
#[derive(Debug, Default)]
pub struct Orders {
    assets: BTreeMap<String, Vec<Event>>,
    /// In lower case; only of this plan is told.
    plan: Option<String>,
}

impl Orders {
    pub fn of(plan: Option<&str>) -> Self {
        Self { assets: BTreeMap::new(), plan: plan.map(str::to_lowercase) }
    }

    pub fn push(&mut self, row: &StringRecord) {
        let [at, bought, asset, version, action, status, cancelled, term_end, quantity, plan] = cells(row);
        let Some(day) = value::date(at).or_else(|| value::date(bought)) else { return };
        let action = action.to_ascii_lowercase();
        let ends = match status.to_ascii_lowercase().as_str() {
            "expired" | "abandoned" => value::date(cancelled).or_else(|| value::date(term_end)),
            _ => value::date(cancelled),
        };
        let event = Event {
            day,
            order: (number(version), at.to_owned()),
            cancels: action.starts_with("cancel"),
            renews: action.starts_with("renew"),
            plan: plan.to_lowercase(),
            quantity: number(quantity),
            ends,
        };
        let events = self.assets.entry(asset.to_lowercase()).or_default();
        let place = events.partition_point(|known| known.order <= event.order);
        events.insert(place, event);
    }

    fn wanted(&self, event: &Event) -> bool {
        self.plan.as_ref().is_none_or(|plan| *plan == event.plan)
    }

    /// Events by month and what they did.
    pub fn events(&self, from: Date, to: Date) -> Pivot {
        let mut pivot = Pivot::default();
        for events in self.assets.values() {
            for (place, event) in events.iter().enumerate() {
                let did = match event {
                    Event { cancels: true, .. } => Did::Cancelled,
                    Event { renews: true, .. } => Did::Renewed,
                    _ if place == 0 => Did::New,
                    _ => Did::Changed,
                };
                if event.day >= from && event.day <= to && self.wanted(event) {
                    pivot.count(&event.day.strftime("%Y-%m").to_string(), did.word());
                }
            }
        }
        pivot
    }

    /// The event that holds at the end of a day, of an asset that is active then.
    fn active<'a>(&self, events: &'a [Event], day: Date) -> Option<&'a Event> {
        let last = events.iter().rev().find(|event| event.day <= day)?;
        let over = last.cancels || last.ends.is_some_and(|ends| ends <= day);
        (!over && self.wanted(last)).then_some(last)
    }

    /// Active subscriptions and their seats at the end of each month, and at `to`.
    pub fn standing(&self, from: Date, to: Date) -> Pivot {
        let mut pivot = Pivot::default();
        for (month, end) in months(from, to) {
            for column in ["subscriptions", "seats"] {
                pivot.add(&month, column, Decimal::ZERO);
            }
            for event in self.assets.values().filter_map(|events| self.active(events, end.min(to))) {
                pivot.count(&month, "subscriptions");
                pivot.add(&month, "seats", event.quantity);
            }
        }
        pivot
    }

    /// For each month in which subscriptions began: how many did, and how many of them were active so many months later.
    pub fn cohorts(&self, from: Date, to: Date) -> Vec<Cohort> {
        let all: Vec<(String, Date)> = months(from, to).collect();
        let began = |events: &[Event]| events.first().map(|event| event.day.strftime("%Y-%m").to_string());
        all.iter()
            .enumerate()
            .map(|(place, (month, _))| {
                let those: Vec<&Vec<Event>> = self
                    .assets
                    .values()
                    .filter(|events| began(events).as_ref() == Some(month))
                    .filter(|events| events.first().is_some_and(|event| event.day >= from && self.wanted(event)))
                    .collect();
                let active = all[place..].iter().map(|(_, end)| {
                    let day = (*end).min(to);
                    // Somebody who changed the plan has stayed.
                    those.iter().filter(|events| self.stays(events, day)).count() as u64
                });
                Cohort { month: month.clone(), began: those.len() as u64, active: active.collect() }
            })
            .filter(|cohort| cohort.began > 0)
            .collect()
    }

    fn stays(&self, events: &[Event], day: Date) -> bool {
        let last = events.iter().rev().find(|event| event.day <= day);
        last.is_some_and(|last| !last.cancels && last.ends.is_none_or(|ends| ends > day))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    pub month: String,
    pub began: u64,
    /// At the end of that month, and of each that followed.
    pub active: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn orders(plan: Option<&str>) -> Orders {
        let mut orders = Orders::of(plan);
        for row in [
            // Out of order, as they may come.
            ["2026-03-09T10:00:00Z", "", "a", "3", "Canceled", "cancelled", "2026-03-09T10:00:00Z", "", "7", "gold"],
            ["2026-01-05T10:00:00Z", "", "a", "1", "Purchase", "cancelled", "2026-03-09T10:00:00Z", "", "5", "silver"],
            ["2026-02-05T10:00:00Z", "", "a", "2", "Purchase", "cancelled", "2026-03-09T10:00:00Z", "", "7", "gold"],
            ["2026-02-11T10:00:00Z", "", "b", "1", "Purchase", "active", "", "2026-03-10", "2", "gold"],
            ["2026-03-11T10:00:00Z", "", "b", "2", "Renewed", "active", "", "2026-04-10", "2", "gold"],
            ["", "2026-02-20", "c", "1", "Purchase", "expired", "", "2026-03-20", "1", "gold"],
        ] {
            orders.push(&row.to_vec().into());
        }
        orders
    }

    const FROM: Date = date(2026, 1, 1);
    const TO: Date = date(2026, 3, 31);

    #[test]
    fn what_happened_is_counted_by_month() {
        let events = orders(None).events(FROM, TO);
        let count = |month: &str, did: Did| events.get(month, did.word()).unwrap_or_default();
        assert_eq!(count("2026-01", Did::New), Decimal::ONE);
        assert_eq!(count("2026-02", Did::New), Decimal::from(2));
        assert_eq!(count("2026-02", Did::Changed), Decimal::ONE);
        assert_eq!(count("2026-03", Did::Renewed), Decimal::ONE);
        assert_eq!(count("2026-03", Did::Cancelled), Decimal::ONE);
    }

    #[test]
    fn what_was_active_comes_from_the_newest_event_up_to_the_day() {
        let standing = orders(None).standing(FROM, TO);
        let seats: Vec<_> = standing.lines().map(|month| standing.get(month, "seats").unwrap()).collect();
        assert_eq!(seats, [5, 10, 2].map(Decimal::from));
        let subscriptions: Vec<_> =
            standing.lines().map(|month| standing.get(month, "subscriptions").unwrap()).collect();
        assert_eq!(subscriptions, [1, 3, 1].map(Decimal::from));
    }

    #[test]
    fn a_plan_is_left_when_another_is_taken() {
        let standing = orders(Some("Silver")).standing(FROM, TO);
        assert_eq!(standing.get("2026-01", "seats"), Some(Decimal::from(5)));
        assert_eq!(standing.get("2026-02", "seats"), Some(Decimal::ZERO));
    }

    #[test]
    fn a_cohort_tells_how_many_of_a_month_stayed() {
        let cohorts = orders(None).cohorts(FROM, TO);
        assert_eq!(cohorts[0], Cohort { month: "2026-01".into(), began: 1, active: vec![1, 1, 0] });
        assert_eq!(cohorts[1], Cohort { month: "2026-02".into(), began: 2, active: vec![2, 1] });
    }
}
