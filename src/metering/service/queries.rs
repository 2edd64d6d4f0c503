//! What pages, REST and the command line ask.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

use super::read_back::{Difference, ReadBack};
use super::submit::{self, Submission};
use crate::app::App;
use crate::fulfillment;
use crate::metering::model::account::{PeriodAccount, money};
use crate::metering::model::catalogue::Included;
use crate::metering::model::cycle::Period;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::ledger::{Balance, Ledger};
use crate::metering::model::quantity::Quantity;
use crate::metering::model::resource::Resource;
use crate::metering::model::terms::Terms;
use crate::metering::repo::{self, JournalEntry, Loss, Mark, WORK_PARTITIONS};
use crate::store::StoreError;

/// A dimension in a billing period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionUsage {
    pub dimension: String,
    pub name: String,
    pub unit: String,
    /// What the plan of the period's last segment includes.
    pub included_quantity: Included,
    /// Per unit, of the period's last segment.
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    pub currency: String,
    pub balance: Balance,
    /// What the billable units cost, each at the price of its plan.
    #[serde(with = "rust_decimal::serde::str")]
    pub amount: Decimal,
    /// What the lost units would have cost.
    #[serde(with = "rust_decimal::serde::str")]
    pub lost_amount: Decimal,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeriodUsage {
    pub period: Period,
    /// The period that now lies in.
    pub current: bool,
    pub dimensions: Vec<DimensionUsage>,
}

/// Everything about the usage of a resource. Periods newest first; the current one is there also when nothing was used.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceUsage {
    pub resource: String,
    pub plan: String,
    pub trial: bool,
    pub suspended: bool,
    pub ended: Option<Timestamp>,
    pub periods: Vec<PeriodUsage>,
    #[serde(skip)]
    pub terms: Terms,
}

/// One dimension in one hour.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    pub recorded: Quantity,
    pub included: Quantity,
    pub billable: Quantity,
    /// Nothing is frozen yet; `recorded` may still grow, and is not divided.
    pub open: bool,
    pub event: Option<UsageEvent>,
}

/// How all of metering is.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    pub submission: Submission,
    /// Resources with open hours or unsettled events.
    pub at_work: usize,
    pub pending: u64,
    pub held: u64,
    pub dead_letters: u64,
    /// The next deadline of all unsettled events.
    pub deadline: Option<Timestamp>,
    /// Resources with unsettled events, the nearest deadline first; at most [`MOST_SHOWN`].
    pub attention: Vec<Mark>,
}

pub const MOST_SHOWN: usize = 200;

/// The usage of a resource; None when it was never metered.
pub async fn usage(app: &App, resource: &Resource) -> Result<Option<ResourceUsage>, StoreError> {
    let key = resource.key();
    let Some((mut ledger, _)) = repo::ledger(app, &key).await? else { return Ok(None) };
    for account in repo::accounts(app, &key).await? {
        ledger.periods.entry(account.period.start).or_insert(account);
    }
    // As the subscription is now, also before the next look stores it.
    if let Some(row) = match resource.subscription() {
        Some(id) => fulfillment::find(app, id).await?,
        None => None,
    } {
        ledger.terms.follow(&row);
    }
    let balances = ledger.balances();
    let now = app.clock.now();
    let current = ledger.terms.period_at(now).filter(|_| ledger.terms.ended.is_none());
    let counted = ledger.counted();
    let mut periods: BTreeMap<Timestamp, PeriodUsage> = BTreeMap::new();
    for (start, account) in &counted {
        let current = current.is_some_and(|current| current.start == *start);
        let dimensions = dimensions_of(account).into_iter().map(|dimension| {
            let balance = balances.get(&(*start, dimension.clone())).copied().unwrap_or_default();
            dimension_usage(account, &dimension, balance)
        });
        periods.insert(*start, PeriodUsage { period: account.period, current, dimensions: dimensions.collect() });
    }
    let segment = ledger.terms.segments.last().cloned();
    let plan = segment.as_ref().map(|segment| segment.plan.clone()).unwrap_or_default();
    if let Some(period) = current {
        // Dimensions of the plan that nobody used yet are shown as well.
        let usage = periods.entry(period.start).or_insert_with(|| PeriodUsage {
            period,
            current: true,
            dimensions: Vec::new(),
        });
        for (id, terms) in ledger.terms.dimensions.get(&plan).into_iter().flatten() {
            if !usage.dimensions.iter().any(|known| known.dimension == *id) {
                usage.dimensions.push(DimensionUsage {
                    dimension: id.clone(),
                    name: terms.name.clone(),
                    unit: terms.unit.clone(),
                    included_quantity: terms.included,
                    price: terms.price,
                    currency: terms.currency.clone(),
                    balance: Balance::default(),
                    amount: Decimal::ZERO,
                    lost_amount: Decimal::ZERO,
                });
            }
        }
        usage.dimensions.sort_by(|a, b| a.dimension.cmp(&b.dimension));
    }
    Ok(Some(ResourceUsage {
        resource: resource.to_string(),
        plan,
        trial: segment.is_some_and(|segment| segment.trial),
        suspended: ledger.terms.suspended,
        ended: ledger.terms.ended,
        periods: periods.into_values().rev().collect(),
        terms: ledger.terms,
    }))
}

fn dimensions_of(account: &PeriodAccount) -> BTreeSet<String> {
    account.segments.values().flat_map(|segment| segment.dimensions.keys().cloned()).collect()
}

fn dimension_usage(account: &PeriodAccount, dimension: &str, balance: Balance) -> DimensionUsage {
    let shares = account.shares();
    let mut usage = DimensionUsage {
        dimension: dimension.to_owned(),
        name: dimension.to_owned(),
        unit: String::new(),
        included_quantity: Included::default(),
        price: Decimal::ZERO,
        currency: String::new(),
        balance,
        amount: Decimal::ZERO,
        lost_amount: Decimal::ZERO,
    };
    for number in account.segments.keys() {
        let Some(booked) = account.booked(*number, dimension) else { continue };
        let Some(terms) = &booked.terms else { continue };
        let share = shares.get(&(*number, dimension.to_owned())).copied().unwrap_or_default();
        usage.amount += money(share.billable, terms.price);
        usage.lost_amount += money(booked.lost, terms.price);
        (usage.name, usage.unit, usage.currency) = (terms.name.clone(), terms.unit.clone(), terms.currency.clone());
        (usage.included_quantity, usage.price) = (terms.included, terms.price);
    }
    usage
}

/// The hours in `[from, to)` in which something was counted or sent, by hour and dimension.
pub async fn grid(
    app: &App,
    resource: &Resource,
    from: Hour,
    to: Hour,
) -> Result<BTreeMap<(Hour, String), Cell>, StoreError> {
    let key = resource.key();
    let mut cells: BTreeMap<(Hour, String), Cell> = BTreeMap::new();
    for frozen in repo::hours(app, &key, from, to).await? {
        for line in frozen.lines {
            let cell = cells.entry((frozen.hour, line.dimension)).or_default();
            cell.recorded += line.recorded;
            cell.included += line.included;
            cell.billable += line.billable;
        }
    }
    for event in repo::events(app, &key, from, to).await? {
        let cell = cells.entry((event.hour, event.dimension.clone())).or_default();
        cell.event = Some(event);
    }
    if let Some((mut ledger, _)) = repo::ledger(app, &key).await? {
        let buckets = std::mem::take(&mut ledger.tally.buckets);
        for bucket in buckets.into_iter().filter(|bucket| from <= bucket.hour && bucket.hour < to) {
            for (dimension, quantity) in Ledger::quantities_of(&bucket) {
                let cell = cells.entry((bucket.hour, dimension)).or_default();
                cell.open = true;
                cell.recorded += quantity;
            }
        }
    }
    Ok(cells)
}

pub async fn overview(app: &App) -> Result<Overview, StoreError> {
    let mut overview = Overview {
        submission: submit::state(app).await?,
        at_work: 0,
        pending: 0,
        held: 0,
        dead_letters: 0,
        deadline: None,
        attention: Vec::new(),
    };
    for partition in 0..WORK_PARTITIONS {
        let mut after: Option<String> = None;
        loop {
            let (marks, more) = repo::work(app, partition, after.as_deref(), 1000).await?;
            after = marks.last().map(|(key, _, _)| key.clone());
            for (_, mark, _) in marks {
                overview.at_work += 1;
                overview.pending += u64::from(mark.attention.pending);
                overview.held += u64::from(mark.attention.held);
                overview.dead_letters += u64::from(mark.attention.dead_letters);
                if let Some(deadline) = mark.attention.deadline {
                    overview.deadline = Some(overview.deadline.map_or(deadline, |known| known.min(deadline)));
                    overview.attention.push(mark);
                }
            }
            if !more {
                break;
            }
        }
    }
    // Dead letters wait for a person, so they come first.
    overview.attention.sort_by_key(|mark| (mark.attention.dead_letters == 0, mark.attention.deadline));
    overview.attention.truncate(MOST_SHOWN);
    Ok(overview)
}

/// The loss ledger of a month such as `2026-03`, newest first.
pub async fn losses(app: &App, month: &str) -> Result<Vec<Loss>, StoreError> {
    repo::losses(app, month).await
}

/// The differences of a day such as `2026-03-02`, and when it was compared.
pub async fn differences(app: &App, day: &str) -> Result<(Vec<Difference>, Option<ReadBack>), StoreError> {
    let report = repo::state(app, &format!("read-back:{day}")).await?.map(|(report, _)| report);
    Ok((repo::differences(app, day).await?, report))
}

/// Events of a resource that wait for a person or for Microsoft, oldest first.
pub async fn unsettled(app: &App, resource: &Resource) -> Result<Vec<UsageEvent>, StoreError> {
    let Some((ledger, _)) = repo::ledger(app, &resource.key()).await? else { return Ok(Vec::new()) };
    Ok(ledger.events.into_values().filter(|event| !event.is_settled()).collect())
}

/// Records accepted in `[from, to)`, oldest first, and where the next page begins.
pub async fn records(
    app: &App,
    resource: &Resource,
    from: Timestamp,
    to: Timestamp,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<JournalEntry>, Option<String>), StoreError> {
    let (entries, more) = repo::journal(app, &resource.key(), from, to, after, limit).await?;
    let next = entries.last().map(|(key, _)| key.clone()).filter(|_| more);
    Ok((entries.into_iter().map(|(_, entry)| entry).collect(), next))
}

/// Every resource that was ever metered, a page at a time behind `after`.
pub async fn resources(
    app: &App,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Resource)>, bool), StoreError> {
    repo::resources(app, after, limit).await
}

/// A resource by the key that stands in addresses of pages.
pub async fn by_key(app: &App, key: &str) -> Result<Option<Resource>, StoreError> {
    if key.is_empty() {
        return Ok(None);
    }
    match repo::heads(app, key).await {
        Ok(repo::Heads { terms: Some(terms), .. }) => Ok(Some(terms.resource)),
        // The other name of a managed application.
        Ok(_) => repo::alias(app, key).await,
        // Whatever stands in an address.
        Err(StoreError::InvalidKey(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A word for an event's state.
pub fn state_word(event: &UsageEvent) -> &'static str {
    match event.state {
        State::Pending => "pending",
        State::Held { .. } => "held",
        State::DeadLetter => "dead_letter",
        State::Accepted { .. } => "accepted",
        State::Lost { .. } => "lost",
        State::Carried { .. } => "carried",
    }
}
