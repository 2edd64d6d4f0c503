//! The daily comparison with what Microsoft has booked (contract 5.5). It finds what no answer told: bookings whose
//! answer was lost are entered, everything else is classified and shown until it is gone.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::books;
use super::look::{self, MeteringError, TRIES, Work, overtaken};
use crate::app::App;
use crate::metering::client::{self, DayUsage};
use crate::metering::model::account::money;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::ledger::EventKey;
use crate::metering::model::quantity::Quantity;
use crate::metering::model::resource::Resource;
use crate::metering::repo;
use crate::store::StoreError;

/// More doubtful events of one day and dimension than this are not tried in all combinations.
const MOST_COMBINED: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// We hold Microsoft's word, and it lists nothing.
    MissingAtMicrosoft,
    /// Microsoft lists what we never sent.
    MissingHere,
    QuantityDiffers,
    /// Booked, and rejected in processing.
    Rejected,
    /// Microsoft has processed another quantity than it took.
    ProcessedOther,
    NotYetProcessed,
    /// Microsoft's answer named another quantity than was sent; the rest was carried to a later hour.
    AnsweredOther,
}

/// A difference between our ledger and Microsoft's, for a day, resource, dimension and plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub day: String,
    pub resource: String,
    pub dimension: String,
    pub plan: String,
    pub kind: DifferenceKind,
    pub ours: Quantity,
    pub theirs: Quantity,
    /// The difference in money, where the price is known.
    #[serde(with = "rust_decimal::serde::str")]
    pub amount: Decimal,
    pub currency: String,
    pub seen: Timestamp,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    pub day: String,
    pub at: Timestamp,
    /// Sums compared.
    pub compared: usize,
    pub differences: usize,
    /// Given-up events whose booking was learned of only now.
    pub found: usize,
}

/// Our side of a sum.
#[derive(Debug, Default)]
struct Ours {
    accepted: Quantity,
    price: Decimal,
    currency: String,
    doubtful: Vec<(EventKey, Quantity)>,
    /// Something may be booked at this moment: the sums are compared when it has settled.
    on_its_way: bool,
}

type SumKey = (String, String, String);

/// Compares a day, such as `2026-03-02`. May be repeated at any time.
pub async fn read_back(app: &App, day: &str) -> Result<ReadBack, MeteringError> {
    let mut report = ReadBack { day: day.to_owned(), at: app.clock.now(), ..ReadBack::default() };
    // Our side first: what Microsoft books after that was on its way here, and is compared another time.
    let mut ours: BTreeMap<SumKey, (Resource, Ours)> = BTreeMap::new();
    for resource in repo::resources_of_day(app, day).await? {
        for (key, sum) in our_sums(app, &resource, day).await? {
            ours.insert(key, (resource.clone(), sum));
        }
    }
    let mut theirs: BTreeMap<SumKey, Vec<DayUsage>> = BTreeMap::new();
    let booked = client::booked(app, day).await?;
    books::keep_booked(app, day, report.at, &booked).await?;
    let mut names: HashMap<String, String> = ours.keys().map(|(name, _, _)| (name.clone(), name.clone())).collect();
    for row in booked {
        let resource = ledger_name(app, &mut names, &row.resource).await?;
        theirs.entry((resource, row.dimension.clone(), row.plan.clone())).or_default().push(row);
    }
    let mut differences = BTreeMap::new();
    for (key, (resource, mut own)) in ours {
        let rows = theirs.remove(&key).unwrap_or_default();
        if own.on_its_way {
            continue;
        }
        let submitted: Quantity = rows.iter().map(|row| row.submitted).sum();
        if let Some(found) = explains(submitted - own.accepted, &own.doubtful) {
            enter(app, &resource, &found).await?;
            report.found += found.len();
            own.accepted = submitted;
        }
        compare(day, &key, &own, &rows, report.at, &mut report.compared, &mut differences);
    }
    for (key, rows) in theirs {
        compare(day, &key, &Ours::default(), &rows, report.at, &mut report.compared, &mut differences);
    }
    report.differences = differences.len();
    for (key, difference) in repo::differences::<Difference>(app, day).await?.into_iter().filter_map(|difference| {
        (difference.kind == DifferenceKind::AnsweredOther).then(|| (answer_key(&difference), difference))
    }) {
        differences.insert(key, difference);
    }
    repo::save_differences(app, day, &differences).await?;
    repo::save_state(app, &format!("read-back:{day}"), &report).await?;
    Ok(report)
}

/// The name under which our ledger has a resource of Microsoft's: a managed application has two.
async fn ledger_name(app: &App, names: &mut HashMap<String, String>, name: &str) -> Result<String, StoreError> {
    if let Some(known) = names.get(name) {
        return Ok(known.clone());
    }
    let of = books::named(app, name).await?.map(|resource| resource.to_string().to_lowercase());
    let of = of.unwrap_or_else(|| name.to_owned());
    names.insert(name.to_owned(), of.clone());
    Ok(of)
}

async fn our_sums(app: &App, resource: &Resource, day: &str) -> Result<BTreeMap<SumKey, Ours>, StoreError> {
    let Ok(first) = format!("{day}T00").parse::<Hour>() else { return Ok(BTreeMap::new()) };
    let name = resource.to_string().to_lowercase();
    let mut sums: BTreeMap<SumKey, Ours> = BTreeMap::new();
    for event in repo::events(app, &resource.key(), first, Hour(first.0 + 24)).await? {
        let sum = sums.entry((name.clone(), event.dimension.clone(), event.plan.clone())).or_default();
        (sum.price, sum.currency) = (event.price, event.currency.clone());
        match event.state {
            State::Accepted { quantity, .. } => sum.accepted += quantity,
            // Only what is never sent again: what is still on its way learns its booking exactly, from the answer.
            State::Lost { .. } if event.doubt || event.in_flight => {
                sum.doubtful.push(((event.hour, event.dimension), event.quantity))
            }
            State::Pending => sum.on_its_way = true,
            _ => {}
        }
    }
    sums.retain(|_, sum| !sum.accepted.is_zero() || !sum.doubtful.is_empty() || sum.on_its_way);
    Ok(sums)
}

/// The doubtful events that together make up a difference exactly, if any do.
fn explains(difference: Quantity, doubtful: &[(EventKey, Quantity)]) -> Option<Vec<EventKey>> {
    if !difference.is_positive() || doubtful.is_empty() {
        return None;
    }
    let all: Quantity = doubtful.iter().map(|(_, quantity)| *quantity).sum();
    if all == difference {
        return Some(doubtful.iter().map(|(key, _)| key.clone()).collect());
    }
    if doubtful.len() > MOST_COMBINED {
        return None;
    }
    (1_u32..1 << doubtful.len()).find_map(|choice| {
        let chosen = || doubtful.iter().enumerate().filter(move |(index, _)| choice & (1 << index) != 0);
        let sum: Quantity = chosen().map(|(_, (_, quantity))| *quantity).sum();
        (sum == difference).then(|| chosen().map(|(_, (key, _))| key.clone()).collect())
    })
}

/// Enters bookings of which no answer told.
async fn enter(app: &App, resource: &Resource, found: &[EventKey]) -> Result<(), MeteringError> {
    let key = resource.key();
    for _ in 0..TRIES {
        let Some((ledger, etags)) = repo::ledger(app, &key).await? else { return Ok(()) };
        let mut work = Work { key: key.clone(), ledger, etags, mark: None, send: Vec::new() };
        repo::add_events(app, &mut work.ledger, found).await?;
        for key in found {
            work.ledger.found(key, app.clock.now());
        }
        let saved = match repo::save(app, &mut work.ledger, &mut work.etags).await {
            Ok(()) => look::list_losses(app, &mut work).await,
            error => error,
        };
        match saved {
            Ok(()) => return Ok(()),
            Err(error) if overtaken(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(MeteringError::Contention(key))
}

fn compare(
    day: &str,
    key: &SumKey,
    ours: &Ours,
    rows: &[DayUsage],
    now: Timestamp,
    compared: &mut usize,
    differences: &mut BTreeMap<String, Difference>,
) {
    let submitted: Quantity = rows.iter().map(|row| row.submitted).sum();
    if rows.is_empty() && ours.accepted.is_zero() {
        return;
    }
    *compared += 1;
    let status = |name: &str| rows.iter().any(|row| row.status.eq_ignore_ascii_case(name));
    let processed: Quantity = rows.iter().map(|row| row.processed).sum();
    let (kind, theirs) = if submitted != ours.accepted {
        let kind = if submitted.is_zero() {
            DifferenceKind::MissingAtMicrosoft
        } else if ours.accepted.is_zero() {
            DifferenceKind::MissingHere
        } else {
            DifferenceKind::QuantityDiffers
        };
        (kind, submitted)
    } else if status("Rejected") {
        (DifferenceKind::Rejected, processed)
    } else if status("Mismatch") {
        (DifferenceKind::ProcessedOther, processed)
    } else if status("Submitted") {
        (DifferenceKind::NotYetProcessed, submitted)
    } else {
        return;
    };
    let (resource, dimension, plan) = key.clone();
    let difference = Difference {
        day: day.to_owned(),
        resource,
        dimension,
        plan,
        kind,
        ours: ours.accepted,
        theirs,
        amount: money(ours.accepted - theirs, ours.price),
        currency: ours.currency.clone(),
        seen: now,
    };
    differences.insert(difference_key(&difference), difference);
}

fn difference_key(difference: &Difference) -> String {
    // An address of a managed application is longer than a key may be.
    let resource =
        Resource::uri(&difference.resource).map_or_else(|_| repo::key_text(&difference.resource), |uri| uri.key());
    format!("{resource}:{}:{}", repo::key_text(&difference.dimension), repo::key_text(&difference.plan))
}

fn answer_key(difference: &Difference) -> String {
    format!("answer:{}:{}", difference_key(difference), difference.seen.as_microsecond())
}

/// Notes a difference that an answer told.
pub async fn note(
    app: &App,
    event: &UsageEvent,
    kind: DifferenceKind,
    ours: Quantity,
    theirs: Quantity,
) -> Result<(), StoreError> {
    let difference = Difference {
        day: event.hour.day(),
        resource: event.resource.to_string(),
        dimension: event.dimension.clone(),
        plan: event.plan.clone(),
        kind,
        ours,
        theirs,
        amount: money(ours - theirs, event.price),
        currency: event.currency.clone(),
        seen: app.clock.now(),
    };
    tracing::warn!(resource = difference.resource, dimension = difference.dimension, hour = %event.hour, %ours, %theirs,
        "Microsoft has booked another quantity than was sent");
    repo::note_difference(app, &difference.day, &answer_key(&difference), &difference).await
}
