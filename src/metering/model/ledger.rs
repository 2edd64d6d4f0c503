//! The ledger of one resource in memory: everything that closing an hour and settling an answer need, and what has
//! changed since it was read. [`super::close`] and [`super::settle`] are its verbs.
//!
//! The law that they keep, for each dimension of each period:
//! recorded = included + accepted + pending + held + lost.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::account::{Counter, PeriodAccount, SegmentAccount};
use super::catalogue::Meter;
use super::cycle::Period;
use super::event::{HoldReason, State, UsageEvent};
use super::hour::Hour;
use super::quantity::Quantity;
use super::terms::Terms;

/// An hour is closed this long after its end: records of its last seconds are still on their way then.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// What was counted in an hour that is not closed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub hour: Hour,
    pub period: Period,
    pub segment: usize,
    pub counter: String,
    pub meter: Meter,
    pub total: Quantity,
}

/// The open hours. Every recorded batch changes it in the same transaction as its records, so a unit is counted exactly
/// when it is recorded; closing takes hours out of it, so nothing can be added to an hour that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The first hour that is still open.
    pub open_from: Hour,
    pub buckets: Vec<Bucket>,
    /// The resource stands in the list of those with work.
    pub marked: bool,
    pub records: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { open_from: Hour(0), buckets: Vec::new(), marked: false, records: 0 }
    }
}

impl Tally {
    /// Counts a quantity in an open hour.
    pub fn count(
        &mut self,
        hour: Hour,
        period: Period,
        segment: usize,
        counter: &str,
        meter: &Meter,
        quantity: Quantity,
    ) {
        debug_assert!(hour >= self.open_from);
        self.records += 1;
        let same = |bucket: &&mut Bucket| {
            bucket.hour == hour
                && bucket.period == period
                && bucket.segment == segment
                && bucket.counter == counter
                && bucket.meter == *meter
        };
        match self.buckets.iter_mut().find(same) {
            Some(bucket) => bucket.total += quantity,
            None => {
                let (counter, meter) = (counter.to_owned(), meter.clone());
                self.buckets.push(Bucket { hour, period, segment, counter, meter, total: quantity });
            }
        }
    }
}

/// When an hour is closed, of a subscription that ended or did not.
pub fn closes(hour: Hour, ended: Option<Timestamp>) -> Timestamp {
    let usual = hour.end() + GRACE;
    ended.map_or(usual, |ended| usual.min((ended + GRACE).max(hour.start())))
}

pub type EventKey = (Hour, String);

/// How much a customer usually uses in an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub hours: u32,
    pub largest: Quantity,
}

/// Read and replaced with every change on the closing side: who has it unchanged may write accounts and events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Events that are not settled.
    pub unsettled: BTreeSet<EventKey>,
    /// Lost events whose line in the loss ledger is not certain to be written.
    #[serde(default)]
    pub unlisted: BTreeSet<EventKey>,
    /// Slots in use, by dimension; as far back as Microsoft takes usage.
    pub taken: BTreeMap<String, BTreeSet<Hour>>,
    /// The starts of all periods that have an account.
    pub periods: BTreeSet<Timestamp>,
    pub history: BTreeMap<String, History>,
}

/// What an hour brought, as it was when it was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenHour {
    pub hour: Hour,
    pub closed: Timestamp,
    pub lines: Vec<FrozenLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenLine {
    pub period: Timestamp,
    pub segment: usize,
    pub plan: String,
    pub dimension: String,
    pub recorded: Quantity,
    pub included: Quantity,
    pub billable: Quantity,
}

#[derive(Debug, Clone)]
pub struct Ledger {
    pub terms: Terms,
    pub tally: Tally,
    pub head: Head,
    pub periods: BTreeMap<Timestamp, PeriodAccount>,
    /// The unsettled ones, and those settled since it was read.
    pub events: BTreeMap<EventKey, UsageEvent>,
    pub(super) changed: Changed,
}

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    pub tally: bool,
    pub head: bool,
    pub periods: BTreeSet<Timestamp>,
    pub events: BTreeSet<EventKey>,
    /// Those of them that are new: their rows must not exist.
    pub created: BTreeSet<EventKey>,
    /// Days of new events.
    pub days: BTreeSet<String>,
    pub frozen: Option<FrozenHour>,
}

impl Changed {
    pub fn is_empty(&self) -> bool {
        !self.tally && !self.head && self.periods.is_empty() && self.events.is_empty() && self.frozen.is_none()
    }
}

/// The state of a dimension in a period, to the last unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    pub recorded: Quantity,
    pub included: Quantity,
    pub accepted: Quantity,
    /// In open hours, unclaimed, or in events on their way. Negative where Microsoft has booked more than is billable.
    pub pending: Quantity,
    /// In events that wait for a reinstatement or a person.
    pub held: Quantity,
    pub lost: Quantity,
}

impl Ledger {
    pub fn new(
        terms: Terms,
        tally: Tally,
        head: Head,
        periods: BTreeMap<Timestamp, PeriodAccount>,
        events: BTreeMap<EventKey, UsageEvent>,
    ) -> Self {
        Self { terms, tally, head, periods, events, changed: Changed::default() }
    }

    /// Takes what is to be written; the caller has written it or forgets this ledger.
    pub fn take_changes(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// They could not be written, so they are still to be.
    pub fn put_back(&mut self, changed: Changed) {
        self.changed = changed;
    }

    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    pub fn changed_events(&self) -> usize {
        self.changed.events.len()
    }

    /// Adds a bucket to its account.
    pub(super) fn fold(periods: &mut BTreeMap<Timestamp, PeriodAccount>, terms: &Terms, bucket: &Bucket) {
        let account = periods.entry(bucket.period.start).or_insert_with(|| PeriodAccount::new(bucket.period));
        let (plan, trial) =
            terms.segments.get(bucket.segment).map_or_else(Default::default, |s| (s.plan.clone(), s.trial));
        let segment = account.segments.entry(bucket.segment).or_insert_with(|| SegmentAccount {
            plan,
            trial,
            counters: BTreeMap::new(),
            dimensions: BTreeMap::new(),
        });
        for tier in &bucket.meter.tiers {
            let booked = segment.dimensions.entry(tier.dimension.clone()).or_default();
            if booked.terms.is_none() {
                booked.terms = terms.dimension(&segment.plan, &tier.dimension);
            }
        }
        // A meter that was redefined in the middle of a segment counts on beside its old self.
        let mut name = bucket.counter.clone();
        while segment.counters.get(&name).is_some_and(|counter| counter.meter != bucket.meter) {
            name.push('+');
        }
        segment
            .counters
            .entry(name)
            .or_insert_with(|| Counter { meter: bucket.meter.clone(), total: Quantity::ZERO })
            .total += bucket.total;
    }

    /// The accounts as they would be with all open hours in them.
    pub fn counted(&self) -> BTreeMap<Timestamp, PeriodAccount> {
        let mut periods = self.periods.clone();
        for bucket in &self.tally.buckets {
            Self::fold(&mut periods, &self.terms, bucket);
        }
        periods
    }

    /// What a bucket alone would be in units of its dimensions; rounded down, for showing only.
    pub fn quantities_of(bucket: &Bucket) -> BTreeMap<String, Quantity> {
        let counter = Counter { meter: bucket.meter.clone(), total: bucket.total };
        let alone = SegmentAccount {
            plan: String::new(),
            trial: false,
            counters: BTreeMap::from([(bucket.counter.clone(), counter)]),
            dimensions: BTreeMap::new(),
        };
        alone.quantities().into_iter().map(|(dimension, quantity)| (dimension.to_owned(), quantity)).collect()
    }

    /// The state of every dimension of the loaded periods, open hours included.
    pub fn balances(&self) -> BTreeMap<(Timestamp, String), Balance> {
        let periods = self.counted();
        let mut balances: BTreeMap<(Timestamp, String), Balance> = BTreeMap::new();
        for (start, account) in &periods {
            for ((segment, dimension), share) in account.shares() {
                let booked = account.booked(segment, &dimension).cloned().unwrap_or_default();
                let balance = balances.entry((*start, dimension)).or_default();
                balance.recorded += share.recorded;
                balance.included += share.included;
                balance.accepted += booked.accepted;
                balance.lost += booked.lost;
                balance.pending += share.billable - booked.accepted - booked.lost;
            }
        }
        if self.waits_for_reinstatement() {
            for (start, account) in &self.periods {
                for ((_, dimension), quantity) in account.unclaimed() {
                    let waiting = quantity.at_least_zero();
                    let balance = balances.entry((*start, dimension)).or_default();
                    balance.held += waiting;
                    balance.pending -= waiting;
                }
            }
        }
        for event in self.events.values() {
            if matches!(event.state, State::Held { .. } | State::DeadLetter) {
                for part in &event.parts {
                    let balance = balances.entry((part.period, event.dimension.clone())).or_default();
                    balance.held += part.quantity;
                    balance.pending -= part.quantity;
                }
            }
        }
        balances
    }

    /// When the ledger has to be looked at next; None when nothing is left to do.
    pub fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        let closing = self.tally.buckets.iter().map(|bucket| self.closes(bucket));
        let carried = self.has_unclaimed().then(|| Hour::of(now - GRACE).end() + GRACE);
        let events = self.head.unsettled.iter().filter_map(|key| self.events.get(key)).map(|event| {
            let own = match event.state {
                State::Pending if now < event.deadline() || event.in_flight || event.doubt => event.next_try,
                State::Held { why: HoldReason::Anomaly } => event.deadline() - SignedDuration::from_hours(1),
                _ => event.deadline(),
            };
            // At least hourly, so that warnings are given.
            own.min(now + SignedDuration::from_hours(1))
        });
        let listing = (!self.head.unlisted.is_empty()).then_some(now);
        closing.chain(carried).chain(events).chain(listing).min()
    }

    /// When a bucket's hour is closed: a while after its end. After the end of the subscription the hour need not be
    /// over, but late records of the last minutes are waited for all the same.
    pub fn closes(&self, bucket: &Bucket) -> Timestamp {
        closes(bucket.hour, self.terms.ended)
    }

    /// Whether usage waits because Microsoft takes nothing of a suspended subscription. It goes with the hour of the
    /// reinstatement, so a suspension of any length loses nothing.
    pub fn waits_for_reinstatement(&self) -> bool {
        self.terms.suspended && self.terms.ended.is_none()
    }

    pub fn has_unclaimed(&self) -> bool {
        self.periods.values().any(|account| account.unclaimed().values().any(|quantity| quantity.is_positive()))
    }
}
