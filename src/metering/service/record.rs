//! Recording: a record is accepted when it and its count are durable, and counts once however often it is sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::lanes::{self, Remembered, Waiting};
use super::terms::{self, Held};
use crate::app::App;
use crate::foundation::hex::hex;
use crate::metering::model::hour::Hour;
use crate::metering::model::ledger::{GRACE, Tally, closes};
use crate::metering::model::quantity::Quantity;
use crate::metering::model::record::{Place, Recorded, Refusal, UsageRecord, What, place};
use crate::metering::model::resource::Resource;
use crate::metering::model::terms::Terms;
use crate::metering::repo::{self, Attention, Batch, Corrections, JournalEntry, Mark};
use crate::store::{MAX_BATCH, StoreError};

/// Records in one request.
pub const MOST_RECORDS: usize = 1_000;
/// Rows of records in one transaction: the batch also has the tally and the journal.
const CHUNK: usize = MAX_BATCH - 2;
/// Tries against other processes before the caller has to come again.
const TRIES: usize = 10;
/// Resources of one request written at the same time.
const PARALLEL: usize = 16;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Recorded(Recorded),
    /// The same record was accepted before; it counts once.
    Repeated(Recorded, Timestamp),
    /// Another record was accepted under this id.
    Conflict(Recorded, Timestamp),
    Refused(Refusal),
}

/// Records that were not judged at all; sending them again is safe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    #[error("the store is not available: {0}")]
    Store(String),
    #[error("too many others write to this subscription at the same time")]
    Contention,
    #[error("recording was interrupted")]
    Interrupted,
    /// Whether a dimension exists can not be said, so nothing is refused.
    #[error("the dimensions of the subscription's plan could not be read from Microsoft yet")]
    PlanUnknown,
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Records usage of any resources; one result for each, in order.
pub async fn record(app: &Arc<App>, source: &str, records: Vec<UsageRecord>) -> Vec<Result<Outcome, RecordError>> {
    let mut results: Vec<Option<Result<Outcome, RecordError>>> = Vec::new();
    results.resize_with(records.len(), || None);
    let mut groups: BTreeMap<Resource, (Vec<usize>, Vec<UsageRecord>)> = BTreeMap::new();
    for (index, mut record) in records.into_iter().enumerate() {
        match terms::canonical(app, &record.resource).await {
            Ok(resource) => record.resource = resource,
            Err(error) => {
                results[index] = Some(Err(error.into()));
                continue;
            }
        }
        let group = groups.entry(record.resource.clone()).or_default();
        group.0.push(index);
        group.1.push(record);
    }
    let mut writing = Vec::with_capacity(groups.len());
    for (resource, (indexes, records)) in groups {
        let submitted = lanes::submit(app, resource, source.to_owned(), records);
        writing.push(async move { (indexes, submitted.await) });
    }
    let mut done = stream::iter(writing).buffer_unordered(PARALLEL);
    while let Some((indexes, outcomes)) = done.next().await {
        match outcomes {
            Ok(outcomes) => {
                for (index, outcome) in indexes.into_iter().zip(outcomes) {
                    results[index] = Some(Ok(outcome));
                }
            }
            Err(error) => indexes.into_iter().for_each(|index| results[index] = Some(Err(error.clone()))),
        }
    }
    results.into_iter().map(|result| result.unwrap_or(Err(RecordError::Interrupted))).collect()
}

/// What would become of records, without recording them: for a dry run.
pub async fn judge(app: &Arc<App>, records: &[UsageRecord]) -> Result<Vec<Outcome>, StoreError> {
    let mut known: HashMap<Resource, Option<(Terms, Tally)>> = HashMap::new();
    let mut seen: HashMap<(Resource, String), String> = HashMap::new();
    let mut corrections: HashMap<Resource, Corrections> = HashMap::new();
    let mut outcomes = Vec::with_capacity(records.len());
    for record in records {
        let record = &UsageRecord { resource: terms::canonical(app, &record.resource).await?, ..record.clone() };
        if !known.contains_key(&record.resource) {
            let mut heads = repo::heads(app, &record.resource.key()).await?;
            let stored = Held::of(&mut heads);
            let held = terms::current(app, &record.resource, stored, false).await?;
            known.insert(record.resource.clone(), held.map(|held| (held.terms, heads.tally)));
        }
        let Some(Some((terms, tally))) = known.get(&record.resource) else {
            outcomes.push(Outcome::Refused(unknown(&record.resource)));
            continue;
        };
        let found = repo::recorded(app, &record.resource.key(), &record.id).await?;
        let here = (record.resource.clone(), record.id.clone());
        let digest = record.digest();
        outcomes.push(match (found, seen.get(&here)) {
            (Some(known), _) => judged(known, &digest),
            (None, Some(theirs)) if *theirs != digest => Outcome::Refused(twice()),
            (None, _) => {
                match admit(app, record, terms, tally, corrections.entry(record.resource.clone()).or_default()).await? {
                    Ok(place) => Outcome::Recorded(kept(record, &place)),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
        });
        seen.insert(here, digest);
    }
    Ok(outcomes)
}

/// What one unit of a meter costs by the plan's list, whatever is included. Of tiers the dearest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPrice {
    pub unit: Decimal,
    pub currency: String,
}

impl ListPrice {
    fn of(place: &Place, terms: &Terms) -> Self {
        let tiers = place.meter.tiers.iter().filter_map(|tier| terms.dimension(&place.plan, &tier.dimension));
        let dearest = tiers.max_by_key(|dimension| dimension.price);
        let (price, currency) = dearest.map_or_else(Default::default, |terms| (terms.price, terms.currency));
        Self { unit: price / Decimal::from(place.meter.per), currency }
    }
}

/// Whether usage of these meters could be recorded now, and at what list prices; asked before something is used.
pub async fn admits(
    app: &App,
    resource: &Resource,
    meters: &[&str],
) -> Result<Result<Vec<ListPrice>, Refusal>, RecordError> {
    let mut heads = repo::heads(app, &resource.key()).await?;
    let stored = Held::of(&mut heads);
    let Some(held) = terms::current(app, resource, stored, false).await? else { return Ok(Err(unknown(resource))) };
    if held.terms.lacks_plan() {
        return Err(RecordError::PlanUnknown);
    }
    let mut prices = Vec::with_capacity(meters.len());
    for meter in meters {
        let record = UsageRecord {
            id: String::new(),
            resource: resource.clone(),
            what: What::Meter((*meter).to_owned()),
            quantity: Quantity::units(1),
            occurred: None,
            corrects: None,
            note: String::new(),
        };
        match place(&record, &held.terms, &heads.tally, &app.catalogue, app.clock.now()) {
            Ok(place) => prices.push(ListPrice::of(&place, &held.terms)),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(prices))
}

/// An accepted record, by its id.
pub async fn recorded(app: &App, resource: &Resource, id: &str) -> Result<Option<Recorded>, StoreError> {
    Ok(repo::recorded(app, &resource.key(), id).await?.map(|(recorded, ..)| recorded))
}

fn unknown(resource: &Resource) -> Refusal {
    let (field, message) = match resource {
        Resource::Subscription(id) => ("subscription", format!("There is no subscription {id}.")),
        Resource::UsageId(id) => ("resource_id", format!("There is no managed application with the usage id {id}.")),
        Resource::Uri(uri) => ("resource_uri", format!("There is no managed application {uri}.")),
    };
    Refusal::new("unknown_resource", field, message)
}

fn twice() -> Refusal {
    Refusal::new(
        "conflict",
        "id",
        "Another record with this id, and other content, stands before it in the same request.",
    )
}

fn kept(record: &UsageRecord, place: &Place) -> Recorded {
    Recorded {
        id: record.id.clone(),
        counter: record.what.counter(),
        quantity: record.quantity,
        occurred: place.occurred,
        hour: place.hour,
        period: place.period.start,
        plan: place.plan.clone(),
        corrects: record.corrects.clone(),
        note: record.note.clone(),
    }
}

/// Finds a record's place. A correction must name a record of the same kind, and all corrections of it together take
/// back no more than it has; `corrections` is counted up.
async fn admit(
    app: &App,
    record: &UsageRecord,
    terms: &Terms,
    tally: &Tally,
    corrections: &mut Corrections,
) -> Result<Result<Place, Refusal>, StoreError> {
    let place = match place(record, terms, tally, &app.catalogue, app.clock.now()) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(id) = &record.corrects else { return Ok(Ok(place)) };
    let refuse = |message: String| Ok(Err(Refusal::new("invalid_correction", "corrects", message)));
    let resource = record.resource.key();
    let Some((original, _, _)) = repo::recorded(app, &resource, id).await? else {
        return refuse(format!("There is no record `{id}` of this resource."));
    };
    if original.counter != record.what.counter() {
        return refuse(format!("The record `{id}` is of {}.", original.counter.replace(':', " ")));
    }
    if original.corrects.is_some() || record.quantity.is_positive() {
        return refuse(
            "A correction has a negative quantity and corrects a record that is no correction itself.".into(),
        );
    }
    let (taken_back, etag) = match corrections.get(id) {
        Some(known) => known.clone(),
        None => repo::corrected(app, &resource, id).await?,
    };
    let left = original.quantity + taken_back;
    if (left + record.quantity).0 < 0 {
        return refuse(format!("Of the record `{id}` only {left} is left; no more can be taken back."));
    }
    corrections.insert(id.clone(), (taken_back + record.quantity, etag));
    Ok(Ok(place))
}

/// Writes what waits in a lane and answers everybody.
pub(super) async fn write(app: &Arc<App>, resource: &Resource, remembered: &mut Remembered, waiting: Vec<Waiting>) {
    for (source, group) in by_source(waiting) {
        let mut answers = Vec::new();
        let mut records = Vec::new();
        for Waiting { records: some, answer, .. } in group {
            answers.push((answer, some.len()));
            records.extend(some);
        }
        let mut outcomes = Vec::with_capacity(records.len());
        // A correction writes a row more.
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let weights = rest.iter().scan(0, |sum, record| {
                *sum += 1 + usize::from(record.corrects.is_some());
                Some(*sum)
            });
            let (chunk, later) = rest.split_at(weights.take_while(|sum| *sum <= CHUNK).count().max(1));
            rest = later;
            let result = write_chunk(app, resource, remembered, &source, chunk).await;
            if result.is_err() {
                *remembered = Remembered::default();
            }
            match result {
                Ok(some) => outcomes.extend(some.into_iter().map(Ok)),
                Err(error) => outcomes.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        let mut outcomes = outcomes.into_iter();
        for (answer, count) in answers {
            // Who has gone away asks again, with the same ids.
            let _ = answer.send(outcomes.by_ref().take(count).collect());
        }
    }
}

fn by_source(waiting: Vec<Waiting>) -> BTreeMap<String, Vec<Waiting>> {
    let mut groups: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
    for entry in waiting {
        groups.entry(entry.source.clone()).or_default().push(entry);
    }
    groups
}

async fn write_chunk(
    app: &Arc<App>,
    resource: &Resource,
    remembered: &mut Remembered,
    source: &str,
    records: &[UsageRecord],
) -> Result<Vec<Outcome>, RecordError> {
    let key = resource.key();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; records.len()];
    let digests: Vec<String> = records.iter().map(UsageRecord::digest).collect();
    // Two records with one id in the same chunk: the second is judged by the first.
    let mut first: HashMap<&str, usize> = HashMap::new();
    let repeats: Vec<Option<usize>> = records
        .iter()
        .enumerate()
        .map(|(index, record)| {
            let earlier = *first.entry(record.id.as_str()).or_insert(index);
            (earlier != index).then_some(earlier)
        })
        .collect();
    for attempt in 0..TRIES {
        if attempt > 0 {
            // Others write here, too: come back at different times.
            let mut spread = [0];
            app.random.fill(&mut spread);
            tokio::time::sleep(std::time::Duration::from_micros(u64::from(spread[0]) * 20 * attempt as u64)).await;
        }
        let (known_terms, known_tally) = match (remembered.terms.take(), remembered.tally.take()) {
            // The terms of a managed application change by being stored, not by a subscription that is asked.
            (Some(terms), Some(tally)) if resource.subscription().is_some() => (Some(terms), tally),
            _ => {
                let mut heads = repo::heads(app, &key).await?;
                let stored = Held::of(&mut heads);
                (stored, (heads.tally, heads.etags.tally))
            }
        };
        let Some(mut held) = terms::current(app, resource, known_terms, false).await? else {
            return Ok(records.iter().map(|_| Outcome::Refused(unknown(resource))).collect());
        };
        if held.terms.lacks_plan() && held.terms.ended.is_none() {
            return Err(RecordError::PlanUnknown);
        }
        let (tally, etag) = known_tally;
        let mut next = tally.clone();
        let now = app.clock.now();
        let mut entry = JournalEntry { accepted: now, source: source.to_owned(), records: Vec::new() };
        let mut corrections = Corrections::new();
        let mut written = Vec::new();
        let mut due: Option<Timestamp> = None;
        for (index, record) in records.iter().enumerate() {
            if outcomes[index].is_some() || repeats[index].is_some() {
                continue;
            }
            match admit(app, record, &held.terms, &tally, &mut corrections).await? {
                Err(refusal) => {
                    // A repeat of what was accepted is a repeat, whatever has changed since.
                    let known = repo::recorded(app, &key, &record.id).await?;
                    outcomes[index] =
                        Some(known.map_or(Outcome::Refused(refusal), |known| judged(known, &digests[index])));
                }
                Ok(place) => {
                    let recorded = kept(record, &place);
                    let closes = closes(place.hour, held.terms.ended);
                    due = Some(due.map_or(closes, |known| known.min(closes)));
                    next.count(
                        place.hour,
                        place.period,
                        place.segment,
                        &recorded.counter,
                        &place.meter,
                        recorded.quantity,
                    );
                    entry.records.push(recorded);
                    written.push(index);
                }
            }
        }
        if written.is_empty() {
            (remembered.terms, remembered.tally) = (Some(held), Some((tally, etag)));
            return Ok(finish(records, &digests, outcomes, &repeats));
        }
        match held.keep(app).await {
            Ok(()) => {}
            Err(StoreError::Precondition | StoreError::AlreadyExists) => continue,
            Err(error) => return Err(error.into()),
        }
        // Late records of closed plans and hours are looked at sooner than the round would come by itself.
        let usual = Hour::of(now).end() + GRACE;
        let due = due.unwrap_or(usual).max(now);
        if !next.marked || due < usual {
            // Before the records: usage that nobody knows of would never be billed.
            repo::mark(app, &Mark { resource: resource.clone(), due, attention: Attention::default() }).await?;
            next.marked = true;
        }
        let mut tail = [0; 6];
        app.random.fill(&mut tail);
        let journal = repo::journal_key(now, &hex(&tail));
        let own: Vec<String> = written.iter().map(|index| digests[*index].clone()).collect();
        let batch = Batch { journal: &journal, entry: &entry, digests: &own, corrections: &corrections, tally: &next };
        match repo::save_records(app, &key, &batch, etag.as_ref()).await {
            Ok(etag) => {
                (remembered.terms, remembered.tally) = (Some(held), Some((next, Some(etag))));
                for (index, recorded) in written.into_iter().zip(entry.records) {
                    outcomes[index] = Some(Outcome::Recorded(recorded));
                }
                return Ok(finish(records, &digests, outcomes, &repeats));
            }
            Err(StoreError::AlreadyExists) => {
                // Some of the ids are known: those are judged by what is there, the others are tried again.
                let known = join_all(written.iter().map(|index| repo::recorded(app, &key, &records[*index].id))).await;
                for (index, known) in written.into_iter().zip(known) {
                    if let Some(known) = known? {
                        outcomes[index] = Some(judged(known, &digests[index]));
                    }
                }
            }
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RecordError::Contention)
}

/// What a record is of whose id is known.
fn judged((recorded, theirs, at): (Recorded, String, Timestamp), digest: &str) -> Outcome {
    if theirs == digest { Outcome::Repeated(recorded, at) } else { Outcome::Conflict(recorded, at) }
}

/// Gives every record its outcome; repeats within the chunk get theirs from the first of their id.
fn finish(
    records: &[UsageRecord],
    digests: &[String],
    outcomes: Vec<Option<Outcome>>,
    repeats: &[Option<usize>],
) -> Vec<Outcome> {
    let judged = |index: usize| outcomes[index].clone().unwrap_or_else(|| Outcome::Refused(twice()));
    (0..records.len())
        .map(|index| match repeats[index] {
            None => judged(index),
            Some(earlier) if digests[earlier] != digests[index] => Outcome::Refused(twice()),
            Some(earlier) => match judged(earlier) {
                Outcome::Recorded(recorded) => {
                    let at = recorded.occurred;
                    Outcome::Repeated(recorded, at)
                }
                other => other,
            },
        })
        .collect()
}
