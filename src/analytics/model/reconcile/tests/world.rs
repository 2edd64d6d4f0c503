//! A whole month on all sides, in the spelling that exports have, and what can be planted in it.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use rust_decimal::Decimal;

use super::super::*;
use crate::analytics::model::calendar::{Month, day_of};
use crate::foundation::rng::{Random as _, SeededRandom};
use crate::metering::model::event::LossReason;
use crate::metering::model::hour::Hour;

pub(super) const RESOURCES: usize = 46;

pub(super) struct World {
    random: SeededRandom,
    events: Vec<Event>,
    booked: Vec<Booked>,
    usage: Vec<UsageRow>,
    revenue: Vec<RevenueRow>,
}

pub(super) fn month() -> Month {
    "2026-03".parse().unwrap()
}

pub(super) fn day(number: i8) -> Date {
    Date::constant(2026, 3, number)
}

pub(super) fn name(resource: usize) -> String {
    format!("resource-{resource:03}")
}

impl World {
    /// Every resource uses two dimensions on days 3 to 29, now and then, in two hours of a day.
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: SeededRandom::new(seed),
            events: Vec::new(),
            booked: Vec::new(),
            usage: Vec::new(),
            revenue: Vec::new(),
        };
        for resource in 0..RESOURCES {
            for dimension in ["minutes", "images"] {
                let price = Decimal::new(1 + world.number(900_000), 6);
                let first = 3 + i8::try_from(world.number(3)).unwrap();
                for day in (first..=29).step_by(4) {
                    for hour in [3, 15] {
                        world.use_up(resource, dimension, day, hour, price);
                    }
                }
            }
        }
        world
    }

    pub(super) fn number(&self, below: i64) -> i64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        i64::from_le_bytes(bytes).rem_euclid(below)
    }

    fn use_up(&mut self, resource: usize, dimension: &str, day: i8, hour: i64, price: Decimal) {
        let at: Timestamp = format!("2026-03-{day:02}T{hour:02}:00:00Z").parse().unwrap();
        let quantity = Decimal::new(1 + self.number(1_000_000_000), 6);
        self.events.push(Event {
            resource: name(resource),
            plan: "metered".into(),
            dimension: dimension.into(),
            hour: Hour::of(at),
            quantity,
            price,
            currency: "USD".into(),
            state: EventState::Accepted { quantity, at: at + 1.hour() },
        });
    }

    /// What Microsoft makes of the events, in the spelling that exports have.
    pub(super) fn post(&mut self) {
        for event in &self.events {
            let EventState::Accepted { quantity, .. } = event.state else { continue };
            let (day, charge) = (day_of(event.hour.start()), (quantity * event.price).round_dp(5));
            let same = |resource: &str, dimension: &str, of: Date| {
                resource.eq_ignore_ascii_case(&event.resource) && dimension == event.dimension && of == day
            };
            match self.booked.iter_mut().find(|row| same(&row.resource, &row.dimension, row.day)) {
                Some(row) => (row.submitted, row.processed) = (row.submitted + quantity, row.processed + quantity),
                None => self.booked.push(Booked {
                    day,
                    resource: event.resource.to_uppercase(),
                    plan: event.plan.clone(),
                    dimension: event.dimension.clone(),
                    status: "Accepted".into(),
                    submitted: quantity,
                    processed: quantity,
                }),
            }
            match self.usage.iter_mut().find(|row| same(&row.resource, &row.dimension, row.day)) {
                Some(row) => (row.quantity, row.charge) = (row.quantity + quantity, row.charge.map(|sum| sum + charge)),
                None => self.usage.push(UsageRow {
                    day,
                    resource: event.resource.clone(),
                    plan: "Metered".into(),
                    dimension: event.dimension.clone(),
                    quantity,
                    price: Some(event.price.round_dp(5)),
                    charge: Some(charge),
                    currency: "usd".into(),
                }),
            }
        }
    }

    /// What is paid for what is used, in whole cents.
    pub(super) fn bill(&mut self) {
        for row in &self.usage {
            let (of, amount) = (Month::of(row.day), row.charge.unwrap());
            match self.revenue.iter_mut().find(|known| known.resource == row.resource && known.month == of) {
                Some(known) => (known.quantity, known.amount) = (known.quantity + row.quantity, known.amount + amount),
                None => self.revenue.push(RevenueRow {
                    month: of,
                    resource: row.resource.clone(),
                    plan: row.plan.clone(),
                    quantity: row.quantity,
                    amount,
                    status: "Upcoming".into(),
                }),
            }
        }
        for row in &mut self.revenue {
            row.amount = row.amount.round_dp(2);
        }
    }

    pub(super) fn found(&self) -> Vec<Difference> {
        let fresh = Fresh {
            now: "2026-04-10T00:00:00Z".parse().unwrap(),
            usage: Some(day(28)),
            revenue: Some(Date::constant(2026, 4, 1)),
            orders: None,
        };
        let mut sides = Sides::new(month(), fresh);
        self.events.iter().for_each(|event| sides.add_event(event));
        let (first, last) = Sides::window(month());
        for day in crate::analytics::model::calendar::days(first, last) {
            sides.add_read_back(day, fresh.now);
        }
        self.booked.iter().for_each(|row| sides.add_booked(row));
        self.usage.iter().for_each(|row| sides.add_usage(row));
        self.revenue.iter().for_each(|row| sides.add_revenue(row));
        // As whoever gathers them does: resource by resource, then what nobody here knows.
        for resource in (0..RESOURCES).step_by(2) {
            settle(&mut sides, &name(resource));
        }
        differences(sides).1
    }

    /// The first event of minutes, its row of usage and its booking, on a day that has two hours of it.
    fn event(&mut self, resource: usize) -> &mut Event {
        let name = name(resource);
        self.events.iter_mut().find(|event| event.resource == name).unwrap()
    }

    fn usage(&mut self, resource: usize) -> &mut UsageRow {
        let name = name(resource);
        self.usage.iter_mut().find(|row| row.resource == name).unwrap()
    }

    fn booked(&mut self, resource: usize) -> &mut Booked {
        let name = name(resource);
        self.booked.iter_mut().find(|row| row.resource.eq_ignore_ascii_case(&name)).unwrap()
    }

    pub(super) fn revenue(&mut self, resource: usize) -> &mut RevenueRow {
        let name = name(resource);
        self.revenue.iter_mut().find(|row| row.resource == name).unwrap()
    }

    /// Changes our own side: what is never booked.
    pub(super) fn plant_here(&mut self, kind: usize, resource: usize) -> Option<Class> {
        let (state, class) = match kind {
            0 => (EventState::Waiting, Class::NotYetPosted),
            1 => (EventState::DeadLetter, Class::Rejected),
            2 => (EventState::Lost(LossReason::Rejected), Class::Rejected),
            3 => (EventState::Lost(LossReason::Expired), Class::Missing),
            4 => (EventState::Held, Class::NotYetPosted),
            _ => return None,
        };
        self.event(resource).state = state;
        Some(class)
    }

    /// Changes what Microsoft has booked or used.
    pub(super) fn plant_there(&mut self, kind: usize, resource: usize) -> Option<Class> {
        let lower = name(resource);
        let half = |number: Decimal| (number / Decimal::TWO).round_dp(6);
        Some(match kind {
            5 => {
                let (usage, booked) = (self.usage(resource).clone(), self.booked(resource));
                booked.status = "Rejected".into();
                booked.processed = Decimal::ZERO;
                let day = usage.day;
                self.usage.retain(|row| row.resource != lower || row.day != day || row.dimension != usage.dimension);
                Class::Rejected
            }
            6 => {
                let booked = self.booked(resource);
                booked.status = "Mismatch".into();
                booked.processed = half(booked.processed);
                let processed = booked.processed;
                self.scale(resource, processed);
                Class::Quantity
            }
            7 => {
                let booked = self.booked(resource);
                (booked.submitted, booked.processed) = (half(booked.submitted), half(booked.processed));
                let processed = booked.processed;
                self.scale(resource, processed);
                Class::Quantity
            }
            8 => {
                let row = self.booked(resource).clone();
                self.booked.push(row);
                let row = self.usage(resource).clone();
                self.usage.push(row);
                Class::Duplicate
            }
            9 => {
                let row = self.usage(resource).clone();
                self.usage.push(row);
                Class::Duplicate
            }
            10 => {
                let more = self.event(resource).quantity;
                let quantity = self.usage(resource).quantity + more;
                self.scale(resource, quantity);
                Class::Duplicate
            }
            11 => {
                let quantity = half(self.usage(resource).quantity);
                self.scale(resource, quantity);
                Class::Quantity
            }
            12 => {
                let row = self.usage(resource);
                row.day = row.day.tomorrow().unwrap();
                Class::Late
            }
            13 => {
                let at = self.usage.iter().rposition(|row| row.resource == lower && row.day <= day(28)).unwrap();
                self.usage[at].day = Date::constant(2026, 4, 2);
                Class::Late
            }
            14 => {
                let row = self.booked(resource);
                row.day = row.day.tomorrow().unwrap();
                let row = self.usage(resource);
                row.day = row.day.tomorrow().unwrap();
                Class::Late
            }
            15 => {
                let row = self.usage(resource).clone();
                self.usage.retain(|one| one.resource != lower || one.day != row.day || one.dimension != row.dimension);
                Class::Missing
            }
            16 => {
                let row = self.usage(resource).clone();
                self.usage.retain(|one| one.resource != lower || one.day != row.day || one.dimension != row.dimension);
                let gone = |one: &Booked| one.resource.eq_ignore_ascii_case(&lower) && one.day == row.day;
                self.booked.retain(|one| !gone(one) || one.dimension != row.dimension);
                Class::Missing
            }
            17 => {
                let row = self.booked(resource).clone();
                self.booked.push(Booked { dimension: "never-sent".into(), ..row });
                let row = self.usage(resource).clone();
                self.usage.push(UsageRow { dimension: "never-sent".into(), ..row });
                Class::Missing
            }
            18 => {
                let row = self.usage(resource).clone();
                self.usage.push(UsageRow { dimension: "never-booked".into(), ..row });
                Class::Missing
            }
            19 => {
                let row = self.usage(resource);
                "EUR".clone_into(&mut row.currency);
                Class::Currency
            }
            20 => {
                let row = self.usage(resource);
                row.price = row.price.map(|price| price + Decimal::new(2, 5));
                row.charge = row.price.map(|price| (price * row.quantity).round_dp(5));
                Class::Price
            }
            21 => {
                let row = self.usage(resource);
                row.charge = row.charge.map(|charge| charge + Decimal::ONE);
                Class::Price
            }
            22 => {
                let at = self.usage.iter().position(|row| row.resource == lower && row.day > day(28));
                let at = at.unwrap_or_else(|| self.usage.iter().position(|row| row.resource == lower).unwrap());
                let young = self.usage.remove(at).day > day(28);
                if young { Class::NotYetPosted } else { Class::Missing }
            }
            _ => return None,
        })
    }

    /// Changes what is paid.
    pub(super) fn plant_revenue(&mut self, kind: usize, resource: usize) -> Option<Class> {
        let lower = name(resource);
        Some(match kind {
            23 => {
                self.revenue.retain(|row| row.resource != lower);
                Class::Missing
            }
            24 => {
                let row = self.revenue(resource).clone();
                self.revenue.push(row);
                Class::Duplicate
            }
            25 => {
                self.revenue(resource).amount += Decimal::ONE;
                Class::Price
            }
            26 => {
                let used: Vec<&UsageRow> = self.usage.iter().filter(|row| row.resource == lower).collect();
                let amount: Decimal = used.iter().filter_map(|row| row.charge).sum();
                let row = self.revenue(resource);
                (row.quantity, row.amount) = (row.quantity / Decimal::TWO, (amount / Decimal::TWO).round_dp(2));
                Class::Quantity
            }
            27 => {
                "Rejected".clone_into(&mut self.revenue(resource).status);
                Class::Rejected
            }
            28 => {
                self.revenue(resource).month = month().next();
                Class::Late
            }
            29 => {
                let row = self.revenue(resource).clone();
                self.revenue.push(RevenueRow { plan: "never-used".into(), ..row });
                Class::Missing
            }
            _ => return None,
        })
    }

    /// Another quantity at the same price.
    fn scale(&mut self, resource: usize, quantity: Decimal) {
        let price = self.event(resource).price;
        let row = self.usage(resource);
        row.quantity = quantity;
        row.charge = Some((quantity * price).round_dp(5));
    }
}
