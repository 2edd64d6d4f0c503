//! Closing an hour: what it counted goes into the accounts, and what is billable and in no event yet is frozen as
//! usage events.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::account::Share;
use super::catalogue::Catalogue;
use super::event::{HoldReason, LossReason, Part, State, UsageEvent};
use super::hour::Hour;
use super::ledger::{EventKey, FrozenHour, FrozenLine, GRACE, Ledger};
use super::quantity::Quantity;

/// How many hours back a free slot is looked for: Microsoft's 24, less time to send.
const SEARCH: i64 = 22;
/// How many hours must have been billed before a quantity can be called unusual.
const HISTORY: u32 = 10;
/// Events that one closing makes at most; what is left goes with a later hour.
const MOST_EVENTS: usize = 80;

impl Ledger {
    /// The next hour that can be closed.
    pub fn closable(&self, now: Timestamp) -> Option<Hour> {
        let counted =
            self.tally.buckets.iter().filter(|bucket| self.closes(bucket) <= now).map(|bucket| bucket.hour).min();
        counted.or_else(|| {
            // Units that came back from an event, or found no free slot: they go with the last hour that has ended.
            let last = Hour::of(now - GRACE).0 - 1;
            let waiting =
                self.has_unclaimed() && self.claims(Hour(last), now).iter().any(|claim| claim.slot != Slot::Later);
            (waiting && Hour(last) >= self.tally.open_from).then_some(Hour(last))
        })
    }

    /// Closes `hour`: afterwards nothing can be counted in it, and its billable units are in events.
    pub fn close(&mut self, hour: Hour, catalogue: &Catalogue, now: Timestamp) {
        let before = self.all_shares();
        let (closing, open): (Vec<_>, Vec<_>) = self.tally.buckets.drain(..).partition(|bucket| bucket.hour == hour);
        self.tally.buckets = open;
        self.tally.open_from = self.tally.open_from.max(hour.next());
        self.changed.tally = true;
        self.changed.head = true;
        for bucket in &closing {
            Self::fold(&mut self.periods, &self.terms, bucket);
            self.head.periods.insert(bucket.period.start);
            self.changed.periods.insert(bucket.period.start);
        }
        self.freeze(hour, &before, now);
        self.claim(hour, catalogue, now);
    }

    fn all_shares(&self) -> BTreeMap<(Timestamp, usize, String), Share> {
        let shares = |(start, account): (&Timestamp, &super::account::PeriodAccount)| {
            let start = *start;
            account.shares().into_iter().map(move |((segment, dimension), share)| ((start, segment, dimension), share))
        };
        self.periods.iter().flat_map(shares).collect()
    }

    /// Keeps what the hour brought.
    fn freeze(&mut self, hour: Hour, before: &BTreeMap<(Timestamp, usize, String), Share>, now: Timestamp) {
        let mut lines = Vec::new();
        for ((period, segment, dimension), share) in self.all_shares() {
            let old = before.get(&(period, segment, dimension.clone())).copied().unwrap_or_default();
            if old != share {
                let plan = self.terms.segments.get(segment).map(|segment| segment.plan.clone()).unwrap_or_default();
                lines.push(FrozenLine {
                    period,
                    segment,
                    plan,
                    dimension,
                    recorded: share.recorded - old.recorded,
                    included: share.included - old.included,
                    billable: share.billable - old.billable,
                });
            }
        }
        if !lines.is_empty() {
            self.changed.frozen = Some(FrozenHour { hour, closed: now, lines });
        }
    }

    /// Puts billable units that are in no event into events.
    fn claim(&mut self, hour: Hour, catalogue: &Catalogue, now: Timestamp) {
        let earliest = Hour::of(now).0 - SEARCH - 4;
        for taken in self.head.taken.values_mut() {
            // Also what lies ahead of the hour being closed, however long ago that is: it is still to be closed.
            taken.retain(|slot| slot.0 >= earliest || *slot >= hour);
        }
        for claim in self.claims(hour, now) {
            let Some(slot) = claim.slot.hour() else { continue };
            if self.changed.created.len() >= MOST_EVENTS {
                break;
            }
            let key = (slot, claim.dimension.clone());
            if self.events.contains_key(&key) && !self.changed.created.contains(&key) {
                // What was frozen is never touched again; the units wait for another hour.
                debug_assert!(false, "the slot {slot} is in use");
                continue;
            }
            let Some(booked) = self
                .periods
                .get_mut(&claim.period)
                .and_then(|account| account.booked_mut(claim.segment, &claim.dimension))
            else {
                continue;
            };
            booked.claimed += claim.quantity;
            self.changed.periods.insert(claim.period);
            let (price, currency) =
                booked.terms.as_ref().map_or_else(Default::default, |terms| (terms.price, terms.currency.clone()));
            let part = Part { period: claim.period, segment: claim.segment, quantity: claim.quantity };
            let lost = matches!(claim.slot, Slot::Never(_));
            self.head.taken.entry(claim.dimension.clone()).or_default().insert(slot);
            self.head.unsettled.insert(key.clone());
            self.changed.events.insert(key.clone());
            self.changed.days.insert(slot.day());
            self.changed.created.insert(key.clone());
            let event = self.events.entry(key.clone()).or_insert_with(|| UsageEvent {
                resource: self.terms.resource.clone(),
                dimension: claim.dimension.clone(),
                hour: slot,
                plan: claim.plan.clone(),
                quantity: Quantity::ZERO,
                parts: Vec::new(),
                price,
                currency,
                state: State::Pending,
                frozen: now,
                attempts: 0,
                in_flight: false,
                doubt: false,
                next_try: now,
                said: None,
                warned: 0,
                lost_as: None,
                note: String::new(),
            });
            event.quantity += claim.quantity;
            event.parts.push(part);
            if lost {
                self.lose(&key, LossReason::NoFreeHour, now);
            } else if self.is_unusual(&key, catalogue)
                && let Some(event) = self.events.get_mut(&key)
            {
                event.state = State::Held { why: HoldReason::Anomaly };
            }
        }
    }

    fn is_unusual(&self, key: &EventKey, catalogue: &Catalogue) -> bool {
        let Some(event) = self.events.get(key) else { return false };
        let (Some(rule), Some(history)) = (catalogue.hold(&event.plan), self.head.history.get(&event.dimension)) else {
            return false;
        };
        history.hours >= HISTORY
            && event.quantity >= rule.least
            && event.quantity.0 > history.largest.0.saturating_mul(i128::from(rule.factor))
    }

    /// What would be claimed with `hour`, older periods and plans first.
    fn claims(&self, hour: Hour, now: Timestamp) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        if self.waits_for_reinstatement() {
            return claims;
        }
        for (period, account) in &self.periods {
            for ((segment, dimension), quantity) in account.unclaimed() {
                let quantity = quantity.sendable();
                if !quantity.is_positive() {
                    continue;
                }
                let plan = self.terms.segments.get(segment).map(|segment| segment.plan.clone()).unwrap_or_default();
                let slot = self.slot(hour, segment, &plan, &dimension, &claims, now);
                claims.push(Claim { period: *period, segment, plan, dimension, quantity, slot });
            }
        }
        claims
    }

    /// The slot for units of a segment. A slot belongs to one plan; what can not have the hour itself takes an earlier
    /// free one if its plan is over, and waits for a later one otherwise.
    fn slot(&self, hour: Hour, segment: usize, plan: &str, dimension: &str, claims: &[Claim], now: Timestamp) -> Slot {
        // An hour that begins before the end; with an end on the full hour, the one before.
        let last_of = |end: Timestamp| Hour::of(end - jiff::SignedDuration::from_nanos(1));
        let end = self.terms.segment_end(segment).map(last_of);
        let latest = end.map_or(hour, |end| end.min(hour));
        let taken = |slot: Hour| self.head.taken.get(dimension).is_some_and(|taken| taken.contains(&slot));
        let fits = |slot: Hour| {
            let claimed = claims.iter().find(|claim| claim.dimension == dimension && claim.slot.hour() == Some(slot));
            claimed.map_or(!taken(slot), |claim| claim.slot == Slot::At(slot) && claim.plan == plan)
        };
        // An hour before the one being closed may have been used, and is remembered so long only.
        let reach = Hour::of(now).0 - SEARCH;
        if (latest == hour || latest.0 >= reach) && fits(latest) {
            return Slot::At(latest);
        }
        if end.is_none() {
            return Slot::Later;
        }
        let from = self.terms.segments.get(segment).map_or(latest, |segment| Hour::of(segment.from));
        let earliest = from.0.max(reach);
        if let Some(slot) = (earliest..latest.0).rev().map(Hour).find(|slot| fits(*slot)) {
            return Slot::At(slot);
        }
        match self.terms.ended {
            // The key of a loss: an hour that no event has. It is never sent.
            Some(_) => Slot::Never((hour.0..).map(Hour).find(|slot| fits(*slot)).unwrap_or(hour)),
            None if fits(hour) => Slot::At(hour),
            None => Slot::Later,
        }
    }
}

struct Claim {
    period: Timestamp,
    segment: usize,
    plan: String,
    dimension: String,
    quantity: Quantity,
    slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    At(Hour),
    Later,
    /// No hour is left that Microsoft would take.
    Never(Hour),
}

impl Slot {
    fn hour(self) -> Option<Hour> {
        match self {
            Self::At(hour) | Self::Never(hour) => Some(hour),
            Self::Later => None,
        }
    }
}
