//! The terms under which a resource is metered: which plan when, in which periods, with what included, and whether it
//! is active. Learned from the subscription each time it is looked at; history is kept, because usage of a minute ago
//! may still arrive after a change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, DimensionTerms, Included, Meter, included};
use super::cycle::{Cycles, Period, months};
use super::resource::Resource;
use crate::fulfillment::model::facts::{Plan, Status};
use crate::fulfillment::model::subscription::Subscription;

/// A stretch of time under one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub plan: String,
    /// Usage is recorded and never submitted.
    pub trial: bool,
    pub from: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub resource: Resource,
    pub cycles: Cycles,
    pub term_unit: String,
    /// In order of time; the last one holds now.
    pub segments: Vec<Segment>,
    /// By plan.
    pub dimensions: BTreeMap<String, BTreeMap<String, DimensionTerms>>,
    /// When Microsoft's list of plans was last read.
    pub plans_read: Option<Timestamp>,
    pub suspended: bool,
    /// It was never active, or waits for its activation.
    pub inactive: bool,
    pub ended: Option<Timestamp>,
}

/// Why something can not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmetered {
    #[error("The plan `{plan}` has no dimension `{dimension}`; it has: {known}")]
    Dimension { plan: String, dimension: String, known: String },
    #[error("There is no meter `{meter}`; there are: {known}")]
    Meter { meter: String, known: String },
}

impl Terms {
    pub fn new(resource: Resource) -> Self {
        Self {
            resource,
            cycles: Cycles::default(),
            term_unit: String::new(),
            segments: Vec::new(),
            dimensions: BTreeMap::new(),
            plans_read: None,
            suspended: false,
            inactive: false,
            ended: None,
        }
    }

    /// Takes in what is known of a subscription. `true`: something changed and must be stored.
    pub fn follow(&mut self, row: &Subscription) -> bool {
        let before = self.clone();
        let facts = &row.facts;
        // Pending subscriptions have no dates that mean something.
        let begin = facts.term.start.or(facts.created).unwrap_or(row.first_seen);
        if !facts.status.is_pending() {
            self.term_unit.clone_from(&facts.term.unit);
            self.cycles.follow(begin, months(&facts.term.unit));
        }
        self.enter(&facts.plan_id, facts.is_free_trial, row.plan_since.unwrap_or(begin));
        self.suspended = facts.status == Status::Suspended;
        self.inactive = !matches!(facts.status, Status::Subscribed | Status::Suspended | Status::Unsubscribed);
        self.ended = (facts.status == Status::Unsubscribed).then(|| row.ended.unwrap_or(row.checked));
        *self != before
    }

    /// Begins another segment where plan or trial differ.
    pub fn enter(&mut self, plan: &str, trial: bool, from: Timestamp) {
        match self.segments.last() {
            Some(last) if last.plan == plan && last.trial == trial => {}
            // Time does not run backwards: a segment begins after the one before.
            Some(last) => {
                let from = from.max(last.from);
                self.segments.push(Segment { plan: plan.to_owned(), trial, from });
            }
            None => self.segments.push(Segment { plan: plan.to_owned(), trial, from }),
        }
    }

    /// Whether the plan's dimensions have never been read.
    pub fn lacks_plan(&self) -> bool {
        self.segments.last().is_some_and(|segment| !self.dimensions.contains_key(&segment.plan))
    }

    /// Takes in the plans as Microsoft lists them for this customer, and the file's for what is missing there.
    pub fn learn(&mut self, plans: &[Plan], catalogue: &Catalogue, now: Timestamp) {
        for plan in plans {
            self.dimensions.insert(plan.id.clone(), listed(plan, &self.term_unit));
        }
        for segment in &self.segments {
            for (id, terms) in catalogue.dimensions(&segment.plan, &self.term_unit) {
                self.dimensions.entry(segment.plan.clone()).or_default().entry(id).or_insert(terms);
            }
        }
        self.plans_read = Some(now);
    }

    pub fn segment_at(&self, at: Timestamp) -> usize {
        self.segments.iter().rposition(|segment| segment.from <= at).unwrap_or(0)
    }

    /// When a segment ended: at the next one's beginning, or with the subscription.
    pub fn segment_end(&self, index: usize) -> Option<Timestamp> {
        self.segments.get(index + 1).map(|next| next.from).or(self.ended)
    }

    pub fn period_at(&self, at: Timestamp) -> Option<Period> {
        self.cycles.period(at)
    }

    /// The terms of a dimension under a plan. A plan that is known to have no dimensions includes everything.
    pub fn dimension(&self, plan: &str, dimension: &str) -> Option<DimensionTerms> {
        let known = self.dimensions.get(plan)?;
        if known.is_empty() {
            return Some(DimensionTerms {
                name: dimension.to_owned(),
                unit: String::new(),
                price: rust_decimal::Decimal::ZERO,
                currency: String::new(),
                included: Included::Unlimited,
            });
        }
        known.get(dimension).cloned()
    }

    /// The meter for a dimension named directly.
    pub fn direct(&self, plan: &str, dimension: &str) -> Result<Meter, Unmetered> {
        let known = self.dimensions.get(plan).is_some_and(|known| known.contains_key(dimension));
        if known { Ok(Meter::direct(dimension)) } else { Err(self.unknown(plan, dimension)) }
    }

    /// A meter of the catalogue, if the plan can bill all of its dimensions.
    pub fn metered(&self, catalogue: &Catalogue, plan: &str, name: &str) -> Result<Meter, Unmetered> {
        let Some(meter) = catalogue.meters.get(name) else {
            let known = join(catalogue.meters.keys());
            return Err(Unmetered::Meter { meter: name.to_owned(), known });
        };
        match meter.tiers.iter().find(|tier| self.dimension(plan, &tier.dimension).is_none()) {
            Some(tier) => Err(self.unknown(plan, &tier.dimension)),
            None => Ok(meter.clone()),
        }
    }

    fn unknown(&self, plan: &str, dimension: &str) -> Unmetered {
        let known = join(self.dimensions.get(plan).into_iter().flat_map(BTreeMap::keys));
        Unmetered::Dimension { plan: plan.to_owned(), dimension: dimension.to_owned(), known }
    }
}

fn join<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A listed plan's dimensions for a term. Included quantities stand with the price of the term.
fn listed(plan: &Plan, term_unit: &str) -> BTreeMap<String, DimensionTerms> {
    let price = plan.prices.iter().find(|price| price.term_unit == term_unit).or_else(|| plan.prices.first());
    plan.dimensions
        .iter()
        .map(|dimension| {
            let units = price
                .and_then(|price| price.included.iter().find(|(id, _)| *id == dimension.id))
                .map_or("", |(_, units)| units.as_str());
            let terms = DimensionTerms {
                name: dimension.name.clone(),
                unit: dimension.unit.clone(),
                price: dimension.price_per_unit.parse().unwrap_or_default(),
                currency: dimension.currency.clone(),
                // What can not be read is never billed by guess; it shows as unlimited on the page.
                included: included(units).unwrap_or(Included::Unlimited),
            };
            (dimension.id.clone(), terms)
        })
        .collect()
}
