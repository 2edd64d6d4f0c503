//! Ledger ↔ bookings ↔ ISVUsage, day by day.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::difference::{Between, Class, Difference, HourLine, Place, Why};
use super::moved::moved;
use super::sides::{Day, EventState, Group, GroupKey, Sides, Slot};
use crate::analytics::model::calendar::Month;
use crate::metering::model::event::LossReason;

/// Microsoft writes money with five decimals (analytics contract 9): so much a row may be off by rounding.
const ROUNDING: Decimal = Decimal::from_parts(1, 0, 0, false, 5);
/// More events of one day than this are not tried in all combinations.
const MOST_COMBINED: usize = 12;

pub fn differences(sides: &Sides, key: &GroupKey, group: &Group, found: &mut Vec<Difference>) {
    let mut look = Look { sides, key, group, found };
    look.ledger_and_bookings();
    look.bookings_and_usage();
}

struct Look<'a> {
    sides: &'a Sides,
    key: &'a GroupKey,
    group: &'a Group,
    found: &'a mut Vec<Difference>,
}

impl Look<'_> {
    fn ledger_and_bookings(&mut self) {
        let mut deltas: BTreeMap<Date, Decimal> = BTreeMap::new();
        for (day, of_day) in &self.group.days {
            let loose: Vec<&Slot> = of_day.slots.iter().filter(|slot| is_loose(slot)).collect();
            let mut told = Vec::new();
            if self.sides.read_back.contains_key(day) {
                let booked = of_day.booked.as_ref().map_or(Decimal::ZERO, |sum| sum.submitted);
                let delta = booked - of_day.accepted();
                told = explained_by(delta, &loose);
                if told.is_empty() {
                    deltas.insert(*day, delta);
                }
            }
            if self.sides.month.has(*day) {
                self.loose(*day, &loose, &told);
                self.processing(*day, of_day);
            }
        }
        for (from, to) in moved(&mut deltas, Decimal::ZERO) {
            self.late(Between::LedgerBooked, from, to);
        }
        deltas.retain(|day, _| self.sides.month.has(*day));
        for (day, delta) in deltas {
            let Some(of_day) = self.group.days.get(&day) else { continue };
            self.unequal(day, of_day, delta);
        }
    }

    /// Events that Microsoft has given no word for. `told`: the bookings show that it has them nevertheless.
    fn loose(&mut self, day: Date, loose: &[&Slot], told: &[usize]) {
        let mut parts: BTreeMap<(Class, Why, Option<Place>), Vec<&Slot>> = BTreeMap::new();
        for (at, slot) in loose.iter().enumerate() {
            parts.entry(class_of_loose(slot, told.contains(&at))).or_default().push(slot);
        }
        for ((class, why, absent), slots) in parts {
            let quantity: Decimal = slots.iter().map(|slot| slot.quantity).sum();
            let worth: Decimal = slots.iter().map(|slot| times(slot.quantity, slot.price)).sum();
            let here = matches!(why, Why::GivenUpButBooked | Why::Unanswered);
            let (ours, theirs) = if here { (Decimal::ZERO, quantity) } else { (quantity, Decimal::ZERO) };
            let mut one = self.difference(Between::LedgerBooked, class, why, day);
            one.absent = absent;
            one.hours = slots.iter().map(|slot| HourLine { hour: slot.hour, quantity: slot.quantity }).collect();
            (one.ours, one.theirs) = (text(ours), text(theirs));
            one.amount = if here { -worth } else { worth };
            self.found.push(one);
        }
    }

    /// What became of the bookings at Microsoft.
    fn processing(&mut self, day: Date, of_day: &Day) {
        let Some(sum) = &of_day.booked else { return };
        let refused = sum.rejected;
        let other = sum.submitted - sum.processed - refused;
        for (class, why, gap) in
            [(Class::Rejected, Why::RejectedInProcessing, refused), (Class::Quantity, Why::ProcessedOther, other)]
        {
            if !gap.is_zero() {
                let one = self.quantities(Between::LedgerBooked, class, why, day, (sum.submitted, sum.submitted - gap));
                self.found.push(one);
            }
        }
        // Where there is a dataset, it tells more exactly what is not there yet.
        if !sum.waiting.is_zero() && self.sides.fresh.usage.is_none() {
            let sides = (sum.waiting, Decimal::ZERO);
            let one = self.quantities(Between::LedgerBooked, Class::NotYetPosted, Why::NotProcessed, day, sides);
            self.found.push(one);
        }
    }

    /// Our sum and the booked one differ. `delta`: theirs less ours.
    fn unequal(&mut self, day: Date, of_day: &Day, delta: Decimal) {
        let ours = of_day.accepted();
        let theirs = ours + delta;
        let read = self.sides.read_back.get(&day);
        let younger = |slot: &&Slot| match slot.state {
            EventState::Accepted { at, .. } => read.is_some_and(|read| at > *read),
            _ => false,
        };
        let young: Decimal = of_day.slots.iter().filter(younger).filter_map(Slot::accepted).sum();
        let (class, why, absent) = if delta < Decimal::ZERO && young >= -delta {
            (Class::NotYetPosted, Why::NotReadBack, None)
        } else {
            self.kind(of_day, ours, theirs, (Place::Ledger, Place::Booked))
        };
        let mut one = self.quantities(Between::LedgerBooked, class, why, day, (ours, theirs));
        one.absent = absent;
        self.found.push(one);
    }

    fn bookings_and_usage(&mut self) {
        if self.sides.fresh.usage.is_none() {
            return;
        }
        let mut deltas = BTreeMap::new();
        for (day, of_day) in &self.group.days {
            let usage = of_day.usage.as_ref().map_or(Decimal::ZERO, |sum| sum.quantity);
            deltas.insert(*day, usage - self.expected(*day, of_day));
            if self.sides.month.has(*day) {
                self.money(*day, of_day);
            }
        }
        for (from, to) in moved(&mut deltas, Decimal::ZERO) {
            self.late(Between::BookedUsage, from, to);
        }
        deltas.retain(|day, _| self.sides.month.has(*day));
        for (day, delta) in deltas {
            let Some(of_day) = self.group.days.get(&day) else { continue };
            let expected = self.expected(day, of_day);
            let usage = expected + delta;
            let young = !self.sides.fresh.settled(self.sides.fresh.usage, day);
            let (class, why, absent) = if delta < Decimal::ZERO && young {
                (Class::NotYetPosted, Why::WithinLatency, None)
            } else {
                self.kind(of_day, expected, usage, (Place::Booked, Place::Usage))
            };
            let mut one = self.quantities(Between::BookedUsage, class, why, day, (expected, usage));
            one.absent = absent;
            self.found.push(one);
        }
    }

    /// What ISVUsage should have of a day: what was processed, or our own word where nobody has asked Microsoft.
    fn expected(&self, day: Date, of_day: &Day) -> Decimal {
        if self.sides.read_back.contains_key(&day) {
            return of_day.booked.as_ref().map_or(Decimal::ZERO, |sum| sum.processed);
        }
        of_day.accepted()
    }

    /// Currency and price of what was used.
    fn money(&mut self, day: Date, of_day: &Day) {
        let (Some(usage), Some(price)) = (&of_day.usage, of_day.price()) else { return };
        let ours = self.group.currency.to_uppercase();
        let theirs: Vec<&str> = self.sides.currencies_of(of_day).map(String::as_str).collect();
        if ours.is_empty() || theirs.is_empty() {
            return;
        }
        if theirs.iter().any(|theirs| *theirs != ours) {
            let mut one = self.difference(Between::BookedUsage, Class::Currency, Why::OtherCurrency, day);
            (one.ours, one.theirs) = (ours, theirs.join(" "));
            one.amount = of_day.slots.iter().filter_map(|slot| Some(times(slot.accepted()?, slot.price))).sum();
            self.found.push(one);
            return;
        }
        // One that was cut off after its fifth decimal is the same price as well.
        let same = |theirs: &Decimal| (*theirs - price).abs() < ROUNDING;
        let several = of_day.slots.iter().any(|slot| slot.price != price);
        let other = usage.prices().find(|theirs| !several && !same(theirs));
        let own: Decimal = of_day.slots.iter().filter_map(|slot| Some(times(slot.accepted()?, slot.price))).sum();
        let worth = if several && usage.quantity == of_day.accepted() { own } else { times(usage.quantity, price) };
        let off = Decimal::from(usage.rows) * ROUNDING;
        let close = |worth: Decimal| (usage.charge - worth).abs() <= off;
        let by_theirs = usage.prices().any(|theirs| close(times(usage.quantity, theirs)));
        let (why, ours, theirs) = match other {
            Some(theirs) => (Why::OtherPrice, price, theirs),
            None if usage.charged && !close(worth) && !by_theirs => (Why::OtherCharge, worth, usage.charge),
            None => return,
        };
        let mut one = self.difference(Between::BookedUsage, Class::Price, why, day);
        (one.ours, one.theirs) = (text(ours), text(theirs));
        one.amount = worth - if usage.charged { usage.charge } else { times(usage.quantity, theirs) };
        self.found.push(one);
    }

    /// The class of two unequal quantities of a day.
    fn kind(
        &self,
        of_day: &Day,
        ours: Decimal,
        theirs: Decimal,
        (here, there): (Place, Place),
    ) -> (Class, Why, Option<Place>) {
        if theirs.is_zero() {
            return (Class::Missing, Why::Unknown, Some(there));
        }
        if ours.is_zero() {
            return (Class::Missing, Why::Unknown, Some(here));
        }
        if theirs > ours && theirs.checked_rem(ours).is_some_and(|rest| rest.is_zero()) {
            return (Class::Duplicate, Why::CountedTwice, None);
        }
        let hours = || of_day.slots.iter().filter_map(Slot::accepted);
        if hours().count() > 1 && hours().any(|quantity| quantity == theirs - ours) {
            return (Class::Duplicate, Why::HourTwice, None);
        }
        (Class::Quantity, Why::Unknown, None)
    }

    fn late(&mut self, between: Between, from: Date, to: Date) {
        // Of a pair that touches the month on one side only, that side is shown.
        let (day, other) = if self.sides.month.has(from) { (from, to) } else { (to, from) };
        let told = |one: &Difference| (one.class, one.between, one.day) == (Class::Late, between, Some(day));
        let same = |one: &Difference| (&one.resource, &one.plan, &one.dimension) == self.key.names();
        // A day that came to stand under several is one difference.
        if !self.sides.month.has(day) || self.found.iter().rev().take_while(|one| same(one)).any(told) {
            return;
        }
        let Some(of_day) = self.group.days.get(&day) else { return };
        let why = if Month::of(day) == Month::of(other) { Why::OtherDay } else { Why::OtherMonth };
        let (ours, theirs) = match between {
            Between::LedgerBooked => {
                (of_day.accepted(), of_day.booked.as_ref().map_or(Decimal::ZERO, |sum| sum.submitted))
            }
            _ => (self.expected(day, of_day), of_day.usage.as_ref().map_or(Decimal::ZERO, |sum| sum.quantity)),
        };
        let mut one = self.quantities(between, Class::Late, why, day, (ours, theirs));
        one.other_day = Some(other);
        self.found.push(one);
    }

    fn quantities(
        &self,
        between: Between,
        class: Class,
        why: Why,
        day: Date,
        (ours, theirs): (Decimal, Decimal),
    ) -> Difference {
        let mut one = self.difference(between, class, why, day);
        let of_day = self.group.days.get(&day);
        let price = of_day.and_then(Day::price).or_else(|| of_day?.usage.as_ref()?.prices().next());
        if one.currency.is_empty() {
            one.currency = of_day.and_then(|day| self.sides.currencies_of(day).next().cloned()).unwrap_or_default();
        }
        (one.ours, one.theirs) = (text(ours), text(theirs));
        one.amount = times(ours - theirs, price.unwrap_or_default());
        one
    }

    fn difference(&self, between: Between, class: Class, why: Why, day: Date) -> Difference {
        let slots = self.group.days.get(&day).map(|day| day.slots.as_slice()).unwrap_or_default();
        let line = |slot: &Slot| Some(HourLine { hour: slot.hour, quantity: slot.accepted()? });
        Difference {
            id: String::new(),
            class,
            between,
            why,
            absent: None,
            resource: self.key.resource.clone(),
            plan: self.key.plan.clone(),
            dimension: self.key.dimension.clone(),
            day: Some(day),
            other_day: None,
            hours: slots.iter().filter_map(line).collect(),
            ours: String::new(),
            theirs: String::new(),
            amount: Decimal::ZERO,
            currency: self.group.currency.clone(),
        }
    }
}

fn is_loose(slot: &Slot) -> bool {
    !matches!(slot.state, EventState::Accepted { .. } | EventState::Carried)
}

fn class_of_loose(slot: &Slot, booked: bool) -> (Class, Why, Option<Place>) {
    match slot.state {
        EventState::Lost(_) if booked => (Class::Missing, Why::GivenUpButBooked, Some(Place::Ledger)),
        _ if booked => (Class::NotYetPosted, Why::Unanswered, None),
        EventState::Held => (Class::NotYetPosted, Why::Held, None),
        EventState::DeadLetter => (Class::Rejected, Why::DeadLetter, None),
        EventState::Lost(LossReason::Rejected) => (Class::Rejected, Why::LostRejected, None),
        EventState::Lost(reason) => (Class::Missing, Why::of_loss(reason), Some(Place::Booked)),
        _ => (Class::NotYetPosted, Why::Waiting, None),
    }
}

/// The events that together make up a difference exactly, by their place.
fn explained_by(delta: Decimal, loose: &[&Slot]) -> Vec<usize> {
    if delta <= Decimal::ZERO || loose.is_empty() || loose.len() > MOST_COMBINED {
        return Vec::new();
    }
    (1_u32..1 << loose.len())
        .map(|choice| (0..loose.len()).filter(|at| choice & (1 << at) != 0).collect::<Vec<_>>())
        .find(|chosen| chosen.iter().map(|at| loose[*at].quantity).sum::<Decimal>() == delta)
        .unwrap_or_default()
}

pub(super) fn times(quantity: Decimal, price: Decimal) -> Decimal {
    quantity.checked_mul(price).unwrap_or(Decimal::MAX).normalize()
}

pub(super) fn text(number: Decimal) -> String {
    number.normalize().to_string()
}
