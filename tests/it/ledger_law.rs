//! The law of the ledger under everything that can happen, on the pure model with a Microsoft of its own: random
//! records, rounds that crash at any point, lost answers, other quantities, outages, clock jumps, changes of plan,
//! suspensions, the end. At the end: recorded = included + accepted + pending + held + lost for every dimension of every
//! period, and Microsoft's book is the ledger's accepted column.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::metering::Catalogue;
use mediagenie::metering::model::catalogue::{DimensionTerms, Included, Meter, Tier};
use mediagenie::metering::model::event::{Answer, State, Verdict};
use mediagenie::metering::model::hour::Hour;
use mediagenie::metering::model::ledger::{EventKey, Head, Ledger, Tally};
use mediagenie::metering::model::quantity::Quantity;
use mediagenie::metering::model::record::{UsageRecord, What, place};
use mediagenie::metering::model::resource::Resource;
use mediagenie::metering::model::terms::Terms;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use uuid::Uuid;

const CASES: u32 = 10_000;
const PLANS: [&str; 3] = ["small", "large", "flat"];

/// Where a round dies. Each is between two steps of the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Never,
    BeforeStoring,
    BeforeSending,
    BeforeStoringAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Down,
    /// Booked, and the answer is lost.
    AnswerLost,
    Errors,
    /// Half is booked, and the answer says so.
    Half,
    NotAuthorized,
}

#[derive(Debug, Clone)]
enum Step {
    Record { what: u8, micro: i64, late_minutes: i64 },
    Correct,
    Advance { minutes: i64 },
    Round { crash: Crash, fault: Fault },
    Plan { plan: usize },
    Trial { on: bool },
    Suspend,
    Reinstate,
    Unsubscribe,
    WriteOff,
    ReadBack,
}

fn step() -> impl Strategy<Value = Step> {
    let crash = prop_oneof![6 => Just(Crash::Never), 1 => Just(Crash::BeforeStoring), 1 => Just(Crash::BeforeSending), 1 => Just(Crash::BeforeStoringAnswers)];
    let fault = prop_oneof![6 => Just(Fault::None), 2 => Just(Fault::Down), 1 => Just(Fault::AnswerLost), 1 => Just(Fault::Errors), 1 => Just(Fault::Half), 1 => Just(Fault::NotAuthorized)];
    prop_oneof![
        8 => (0_u8..4, prop_oneof![1_i64..20_000_000, Just(1), Just(999_999), 1_i64..2_000_000_000_000], prop_oneof![3 => Just(0_i64), 1 => 0_i64..1440]).prop_map(|(what, micro, late_minutes)| Step::Record { what, micro, late_minutes }),
        1 => Just(Step::Correct),
        5 => prop_oneof![3 => 1_i64..90, 1 => 90_i64..1500].prop_map(|minutes| Step::Advance { minutes }),
        6 => (crash, fault).prop_map(|(crash, fault)| Step::Round { crash, fault }),
        1 => (0_usize..3).prop_map(|plan| Step::Plan { plan }),
        1 => any::<bool>().prop_map(|on| Step::Trial { on }),
        1 => Just(Step::Suspend),
        1 => Just(Step::Reinstate),
        1 => Just(Step::WriteOff),
        1 => Just(Step::ReadBack),
        (1) => Just(Step::Unsubscribe),
    ]
}

struct World {
    now: Timestamp,
    /// What is stored.
    stored: Ledger,
    catalogue: Catalogue,
    /// Microsoft's book.
    book: BTreeMap<EventKey, Quantity>,
    /// What the producer sent, by period and counter: summed up here on its own.
    sent: BTreeMap<(Timestamp, usize, String), Quantity>,
    last: Option<(String, Quantity, What)>,
    plan: usize,
    trial: bool,
}

fn terms() -> Terms {
    let dimension = |included: Included| DimensionTerms {
        name: String::new(),
        unit: String::new(),
        price: "0.5".parse().unwrap(),
        currency: "USD".into(),
        included,
    };
    let mut terms = Terms::new(Resource::Subscription(SubscriptionId(Uuid::from_u128(1))));
    let start: Timestamp = "2026-01-31T10:20:30Z".parse().unwrap();
    terms.cycles.follow(start, 1);
    terms.enter("small", false, start);
    for (plan, units) in [("small", 5), ("large", 40)] {
        let dimensions = [
            ("speech", Included::Units(Quantity::units(units))),
            ("chat", Included::default()),
            ("chat_more", Included::default()),
            ("free", Included::Unlimited),
        ];
        terms.dimensions.insert(
            plan.into(),
            dimensions.into_iter().map(|(id, included)| (id.to_owned(), dimension(included))).collect(),
        );
    }
    terms.dimensions.insert("flat".into(), BTreeMap::new());
    terms
}

impl World {
    fn new() -> Self {
        let mut catalogue = Catalogue::default();
        let tier = |dimension: &str, from: i128| Tier { dimension: dimension.into(), from: Quantity::units(from) };
        catalogue.meters.insert("ms".into(), Meter { per: 60_000, tiers: vec![tier("speech", 0)] });
        catalogue
            .meters
            .insert("tokens".into(), Meter { per: 1_000, tiers: vec![tier("chat", 0), tier("chat_more", 7)] });
        let stored = Ledger::new(terms(), Tally::default(), Head::default(), BTreeMap::new(), BTreeMap::new());
        // A day before a renewal, so that periods change in the middle.
        let now = "2026-02-27T12:00:00Z".parse().unwrap();
        Self { now, stored, catalogue, book: BTreeMap::new(), sent: BTreeMap::new(), last: None, plan: 0, trial: false }
    }

    fn record(&mut self, what: What, quantity: Quantity, late: i64, corrects: Option<String>) {
        let number = self.stored.tally.records;
        let record = UsageRecord {
            id: number.to_string(),
            resource: self.stored.terms.resource.clone(),
            what: what.clone(),
            quantity,
            occurred: Some(self.now - SignedDuration::from_mins(late)),
            corrects,
            note: String::new(),
        };
        let terms = &self.stored.terms;
        let Ok(place) = place(&record, terms, &self.stored.tally, &self.catalogue, self.now) else { return };
        let counter = what.counter();
        self.stored.tally.count(place.hour, place.period, place.segment, &counter, &place.meter, quantity);
        *self.sent.entry((place.period.start, place.segment, counter.clone())).or_default() += quantity;
        self.last = Some((counter, quantity, what));
    }

    /// What Microsoft does with an event: expiry first, then duplicates, then the subscription's state.
    fn book(&mut self, ledger: &Ledger, key: &EventKey, fault: Fault, told: bool) -> Answer {
        let event = &ledger.events[key];
        let terms = &ledger.terms;
        let verdict = if self.now.duration_since(event.hour.start()) > SignedDuration::from_hours(24)
            || event.hour.start() > self.now
        {
            Verdict::Expired
        } else if fault == Fault::Errors {
            Verdict::Error
        } else if fault == Fault::NotAuthorized {
            Verdict::NotAuthorized
        } else if let Some(quantity) = self.book.get(key) {
            Verdict::Duplicate { quantity: Some(*quantity), id: None }
        } else if terms.suspended || terms.ended.is_some_and(|ended| event.hour.start() >= ended) {
            Verdict::NotActive
        } else {
            let quantity =
                if fault == Fault::Half && told { Quantity((event.quantity.0 / 2).max(1)) } else { event.quantity };
            self.book.insert(key.clone(), quantity);
            Verdict::Accepted { quantity: Some(quantity), id: None }
        };
        Answer { verdict, status: String::new(), message: String::new() }
    }

    fn round(&mut self, crash: Crash, fault: Fault) {
        let mut ledger = self.stored.clone();
        while let Some(hour) = ledger.closable(self.now) {
            ledger.close(hour, &self.catalogue, self.now);
            ledger.take_changes();
        }
        loop {
            let before = ledger.changed_events();
            ledger.review(self.now, 50);
            if ledger.changed_events() == before {
                break;
            }
            ledger.take_changes();
        }
        let keys = ledger.prepare(self.now, 50);
        ledger.take_changes();
        if crash == Crash::BeforeStoring {
            return;
        }
        self.stored = ledger.clone();
        if crash == Crash::BeforeSending || fault == Fault::Down {
            return;
        }
        let answers: Vec<_> =
            keys.iter().map(|key| (key.clone(), self.book(&ledger, key, fault, crash == Crash::Never))).collect();
        if crash == Crash::BeforeStoringAnswers || fault == Fault::AnswerLost {
            return;
        }
        for (key, answer) in &answers {
            ledger.settle(key, answer, self.now, 0);
        }
        ledger.take_changes();
        self.stored = ledger;
    }

    /// The rule of the read-back for one event: what Microsoft has and we are not sure of is entered.
    fn read_back(&mut self) {
        let doubtful: Vec<EventKey> = self
            .stored
            .events
            .iter()
            .filter(|(_, event)| matches!(event.state, State::Lost { .. }) && (event.doubt || event.in_flight))
            .filter(|(key, event)| self.book.get(*key) == Some(&event.quantity))
            .map(|(key, _)| key.clone())
            .collect();
        for key in doubtful {
            self.stored.found(&key, self.now);
        }
        self.stored.take_changes();
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Record { what, micro, late_minutes } => {
                let what = match what {
                    0 => What::Dimension("speech".into()),
                    1 => What::Meter("ms".into()),
                    2 => What::Meter("tokens".into()),
                    _ => What::Dimension("free".into()),
                };
                self.record(what, Quantity(i128::from(*micro)), *late_minutes, None);
            }
            Step::Correct => {
                if let Some((id, quantity, what)) = self.last.clone() {
                    self.record(what, -quantity, 0, Some(id));
                    self.last = None;
                }
            }
            Step::Advance { minutes } => self.now += SignedDuration::from_mins(*minutes),
            Step::Round { crash, fault } => self.round(*crash, *fault),
            Step::Plan { plan } => {
                self.plan = *plan;
                self.enter();
            }
            Step::Trial { on } => {
                self.trial = *on;
                self.enter();
            }
            Step::Suspend => self.stored.terms.suspended = self.stored.terms.ended.is_none(),
            Step::Reinstate => self.stored.terms.suspended = false,
            Step::Unsubscribe => {
                self.stored.terms.suspended = false;
                self.stored.terms.ended.get_or_insert(self.now);
            }
            Step::WriteOff => {
                let key = self.stored.head.unsettled.first().cloned();
                if let Some(key) = key {
                    self.stored.write_off(&key, "", self.now);
                    self.stored.take_changes();
                }
            }
            Step::ReadBack => self.read_back(),
        }
    }

    fn enter(&mut self) {
        if self.stored.terms.ended.is_none() {
            self.stored.terms.enter(PLANS[self.plan], self.trial, self.now);
        }
    }

    /// Calm days with read-backs, after the end of a suspension.
    fn come_to_rest(&mut self) {
        self.stored.terms.suspended = false;
        for _ in 0..2 {
            for _ in 0..70 {
                self.now += SignedDuration::from_mins(50);
                self.round(Crash::Never, Fault::None);
            }
            self.read_back();
        }
        for _ in 0..70 {
            self.now += SignedDuration::from_mins(50);
            self.round(Crash::Never, Fault::None);
        }
    }

    fn check(&self) {
        let balances = self.stored.balances();
        let mut accepted: BTreeMap<&str, Quantity> = BTreeMap::new();
        for ((period, dimension), balance) in &balances {
            let sum = balance.included + balance.accepted + balance.pending + balance.held + balance.lost;
            assert_eq!(balance.recorded, sum, "{period} {dimension}: {balance:?}");
            assert!(!balance.pending.is_positive(), "{period} {dimension}: not at rest: {balance:?}");
            assert!(balance.held.is_zero(), "{period} {dimension}: {balance:?}");
            *accepted.entry(dimension).or_default() += balance.accepted;
        }
        // Recorded is what was sent, converted with exact fractions, rounded down once.
        let mut sent: BTreeMap<(Timestamp, usize, &str), i128> = BTreeMap::new();
        for ((period, segment, counter), total) in &self.sent {
            let total = total.0;
            let mut add = |dimension, sixty_thousandths| {
                *sent.entry((*period, *segment, dimension)).or_default() += sixty_thousandths
            };
            match counter.as_str() {
                "dimension:speech" => add("speech", total * 60_000),
                "meter:ms" => add("speech", total),
                "meter:tokens" => {
                    let edge = 7 * 1_000 * 1_000_000;
                    add("chat", total.min(edge) * 60);
                    add("chat_more", (total - edge).max(0) * 60);
                }
                _ => add("free", total * 60_000),
            }
        }
        let mut recorded: BTreeMap<(Timestamp, String), Quantity> = BTreeMap::new();
        for ((period, _, dimension), total) in sent {
            *recorded.entry((period, dimension.to_owned())).or_default() += Quantity(total.div_euclid(60_000));
        }
        let ours: BTreeMap<_, _> = balances.iter().map(|(key, balance)| (key.clone(), balance.recorded)).collect();
        assert_eq!(ours, recorded, "recorded is what was sent");
        // Microsoft's book, to the last unit.
        let mut booked: BTreeMap<&str, Quantity> = BTreeMap::new();
        for ((_, dimension), quantity) in &self.book {
            *booked.entry(dimension).or_default() += *quantity;
        }
        accepted.retain(|_, quantity| !quantity.is_zero());
        assert_eq!(accepted, booked, "Microsoft's book is the accepted column");
        // The loss ledger is the lost events.
        let lost: Quantity = balances.values().map(|balance| balance.lost).sum();
        let events: Quantity = self
            .stored
            .events
            .values()
            .filter(|event| matches!(event.state, State::Lost { .. }))
            .map(|event| event.quantity)
            .sum();
        assert_eq!(lost, events, "every lost unit stands in a lost event");
        for event in self.stored.events.values() {
            assert_eq!(event.quantity, event.parts.iter().map(|part| part.quantity).sum());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_happen_breaks_the_law_of_the_ledger(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.come_to_rest();
        world.check();
    }
}

#[test]
fn the_law_holds_at_every_moment_of_a_life_and_not_only_at_rest() {
    let mut world = World::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..2_000 {
        let step = step().new_tree(&mut runner).unwrap().current();
        if !matches!(step, Step::Unsubscribe) {
            world.apply(&step);
        }
        for ((period, dimension), balance) in world.stored.balances() {
            let sum = balance.included + balance.accepted + balance.pending + balance.held + balance.lost;
            assert_eq!(balance.recorded, sum, "{period} {dimension}: {balance:?}");
        }
    }
    let _ = Hour::of(world.now);
}

#[test]
fn a_downtime_of_more_than_a_day_uses_no_slot_twice() {
    let mut world = World::new();
    let speech = |units: i64| Step::Record { what: 0, micro: units * 1_000_000, late_minutes: 0 };
    for step in [
        speech(6),
        Step::Advance { minutes: 10 },
        Step::Plan { plan: 1 },
        speech(60),
        Step::Advance { minutes: 60 },
        speech(3),
        Step::Advance { minutes: 1 },
        Step::Unsubscribe,
        // The hour of the change has room for one plan only; the other's units find no hour and are lost by name.
        Step::Advance { minutes: 1_800 },
    ] {
        world.apply(&step);
    }
    world.come_to_rest();
    world.check();
}
