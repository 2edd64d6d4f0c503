//! The rows of metering.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `Usage` | resource | `head:terms` | plans, periods, state, as metering knows them |
//! | | | `head:tally` | the open hours; replaced with every recorded batch |
//! | | | `head:ledger` | unsettled events, slots in use; replaced with every change of accounts and events |
//! | | | `period:<start>` | the account of a billing period |
//! | | | `event:<hour>:<dimension>` | one usage event |
//! | | | `hour:<hour>` | what a closed hour brought |
//! | | | `journal:<time>:<tail>` | records as they were accepted, together |
//! | | | `id:<hash or request>` | where the record with an id stands; inserted once |
//! | | | `corrected:<hash>` | how much of a record corrections have taken back |
//! | `UsageResources` | `all` | resource | every resource that was ever metered |
//! | `UsageAliases` | resource | `of` | the resource in whose ledger its usage stands |
//! | `UsageWork` | `00` to `0f` | resource | resources with open hours or unsettled events, and when to look |
//! | `UsageLosses` | month | `<reversed time>:<resource>:<hour>:<dimension>` | the loss ledger |
//! | `UsageDifferences` | day | `<resource>:<dimension>:<plan>` | differences from what Microsoft has booked |
//! | `UsageBooked` | day | `head`, `row:<resource>:<dimension>:<plan>:<number>` | when Microsoft was last asked, and what it had booked |
//! | `UsageDays` | day | resource | resources with events of that day, for the read-back |
//! | `UsageState` | `all` | `submission`, `read-back:<day>` | how sending goes; what the read-back found |
//!
//! Everything of a resource is one partition, so that a record and its count, or an event and its account, change
//! together or not at all. Rows in other tables are found and mended from there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::model::account::PeriodAccount;
use super::model::event::{LossReason, UsageEvent};
use super::model::hour::Hour;
use super::model::ledger::{Changed, EventKey, FrozenHour, Head, Ledger, Tally};
use super::model::quantity::Quantity;
use super::model::record::{self, Recorded};
use super::model::resource::Resource;
use super::model::terms::Terms;
use crate::app::App;
use crate::store::{self, Etag, Row, RowRange, StoreError, Table, Write, decode, newest_first};

const USAGE: Table = Table("Usage");
const RESOURCES: Table = Table("UsageResources");
const ALIASES: Table = Table("UsageAliases");
const WORK: Table = Table("UsageWork");
const LOSSES: Table = Table("UsageLosses");
const DIFFERENCES: Table = Table("UsageDifferences");
const BOOKED: Table = Table("UsageBooked");
const DAYS: Table = Table("UsageDays");
const STATE: Table = Table("UsageState");
const ALL: &str = "all";
const TERMS: &str = "head:terms";
const TALLY: &str = "head:tally";
const HEAD: &str = "head:ledger";
/// Partitions of the work list, so that no one of them is hot.
pub const WORK_PARTITIONS: u8 = 16;
/// Periods read with a ledger, besides those of unsettled events.
const RECENT_PERIODS: usize = 3;

/// What is read and replaced conditionally.
#[derive(Debug, Clone, Default)]
pub struct Etags {
    pub terms: Option<Etag>,
    pub tally: Option<Etag>,
    pub head: Option<Etag>,
}

/// What recording needs.
#[derive(Debug, Clone)]
pub struct Heads {
    pub terms: Option<Terms>,
    pub tally: Tally,
    pub head: Head,
    pub etags: Etags,
}

/// Records accepted together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournalEntry {
    pub accepted: Timestamp,
    /// Who sent them: `api:<name of the key>`, `staff:<object id>`, `product`.
    pub source: String,
    pub records: Vec<Recorded>,
}

/// Where a record stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdEntry {
    pub journal: String,
    pub index: usize,
    pub digest: String,
}

/// A resource with work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    pub resource: Resource,
    pub due: Timestamp,
    /// What people should know without opening the ledger.
    #[serde(default)]
    pub attention: Attention,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    pub pending: u32,
    pub held: u32,
    pub dead_letters: u32,
    /// The next deadline of an unsettled event.
    pub deadline: Option<Timestamp>,
}

/// A line of the loss ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub at: Timestamp,
    pub resource: Resource,
    pub hour: Hour,
    pub dimension: String,
    pub plan: String,
    pub quantity: Quantity,
    #[serde(with = "rust_decimal::serde::str")]
    pub amount: Decimal,
    pub currency: String,
    pub reason: LossReason,
    /// Microsoft's last words.
    pub said: String,
    /// It turned out later that Microsoft has booked it: the loss is none.
    #[serde(default)]
    pub recovered: Option<Timestamp>,
}

fn period_key(start: Timestamp) -> String {
    // Whole seconds suffice: terms begin on seconds.
    format!("period:{}", start.as_second())
}

fn event_key((hour, dimension): &EventKey) -> String {
    format!("event:{hour}:{}", key_text(dimension))
}

/// A name of Microsoft's as part of a key: whatever a key may not have is written as its bytes.
pub fn key_text(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "={byte:02x}");
        }
        text
    })
}

pub async fn heads(app: &App, resource: &str) -> Result<Heads, StoreError> {
    let mut heads = Heads { terms: None, tally: Tally::default(), head: Head::default(), etags: Etags::default() };
    for row in app.rows.query(USAGE, resource, &RowRange::prefix("head:"), 10).await?.rows {
        match row.key.as_str() {
            TERMS => (heads.terms, heads.etags.terms) = (Some(decode(&row)?), Some(row.etag)),
            TALLY => (heads.tally, heads.etags.tally) = (decode(&row)?, Some(row.etag)),
            HEAD => (heads.head, heads.etags.head) = (decode(&row)?, Some(row.etag)),
            _ => {}
        }
    }
    Ok(heads)
}

fn put(key: &str, value: &impl Serialize, etag: Option<&Etag>) -> Result<Write, StoreError> {
    match etag {
        Some(etag) => Write::replace(key, value, etag.clone()),
        None => Write::insert(key, value),
    }
}

/// Stores terms; the resource is listed first, so that what is metered is found.
pub async fn save_terms(app: &App, terms: &Terms, etag: Option<&Etag>) -> Result<Etag, StoreError> {
    let key = terms.resource.key();
    if etag.is_none() {
        app.rows.write(RESOURCES, ALL, vec![Write::upsert(key.as_str(), &terms.resource)?]).await?;
    }
    let etags = app.rows.write(USAGE, &key, vec![put(TERMS, terms, etag)?]).await?;
    etags.into_iter().next().ok_or_else(|| StoreError::Corrupt("no ETag".into()))
}

/// The resource in whose ledger another one's usage stands.
pub async fn alias(app: &App, resource: &str) -> Result<Option<Resource>, StoreError> {
    Ok(store::load(&*app.rows, ALIASES, resource, "of").await?.map(|(of, _)| of))
}

pub async fn save_alias(app: &App, resource: &str, of: &Resource) -> Result<(), StoreError> {
    app.rows.write(ALIASES, resource, vec![Write::upsert("of", of)?]).await.map(drop)
}

/// Records that are accepted together.
#[derive(Debug)]
pub struct Batch<'a> {
    pub journal: &'a str,
    pub entry: &'a JournalEntry,
    /// One for each record, in order.
    pub digests: &'a [String],
    pub corrections: &'a Corrections,
    pub tally: &'a Tally,
}

/// One transaction: ids, journal, corrections and count of a batch of records. The new ETag of the tally.
pub async fn save_records(
    app: &App,
    resource: &str,
    batch: &Batch<'_>,
    etag: Option<&Etag>,
) -> Result<Etag, StoreError> {
    let mut writes = Vec::with_capacity(batch.entry.records.len() + 2);
    writes.push(put(TALLY, batch.tally, etag)?);
    writes.push(Write::insert(batch.journal, batch.entry)?);
    for (index, (recorded, digest)) in batch.entry.records.iter().zip(batch.digests).enumerate() {
        let id = IdEntry { journal: batch.journal.to_owned(), index, digest: digest.clone() };
        writes.push(Write::insert(record::id_key(&recorded.id), &id)?);
    }
    for (id, (taken_back, seen)) in batch.corrections {
        writes.push(put(&corrected_key(id), taken_back, seen.as_ref())?);
    }
    let etags = app.rows.write(USAGE, resource, writes).await?;
    etags.into_iter().next().ok_or_else(|| StoreError::Corrupt("no ETag".into()))
}

/// By the id of the corrected record: what was taken back of it in all, and the ETag of what is stored of that.
pub type Corrections = BTreeMap<String, (Quantity, Option<Etag>)>;

fn corrected_key(id: &str) -> String {
    record::id_key(id).replacen("id:", "corrected:", 1)
}

/// What was taken back of a record so far; negative.
pub async fn corrected(app: &App, resource: &str, id: &str) -> Result<(Quantity, Option<Etag>), StoreError> {
    let found = store::load::<Quantity>(&*app.rows, USAGE, resource, &corrected_key(id)).await?;
    Ok(found.map_or_else(Default::default, |(taken_back, etag)| (taken_back, Some(etag))))
}

/// A record by its id, with the digest of its content and the time of its acceptance.
pub async fn recorded(
    app: &App,
    resource: &str,
    id: &str,
) -> Result<Option<(Recorded, String, Timestamp)>, StoreError> {
    let Some((entry, _)) = store::load::<IdEntry>(&*app.rows, USAGE, resource, &record::id_key(id)).await? else {
        return Ok(None);
    };
    let journal = store::load::<JournalEntry>(&*app.rows, USAGE, resource, &entry.journal).await?;
    Ok(journal.and_then(|(mut journal, _)| {
        let accepted = journal.accepted;
        (entry.index < journal.records.len())
            .then(|| (journal.records.swap_remove(entry.index), entry.digest, accepted))
    }))
}

pub fn journal_key(accepted: Timestamp, tail: &str) -> String {
    format!("journal:{:016}:{tail}", accepted.as_microsecond().max(0))
}

/// Journal entries accepted in `[from, to)`, oldest first, a page at a time from `after`.
pub async fn journal(
    app: &App,
    resource: &str,
    from: Timestamp,
    to: Timestamp,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, JournalEntry)>, bool), StoreError> {
    let time = |at: Timestamp| format!("journal:{:016}", at.as_microsecond().max(0));
    let mut range = RowRange { from: time(from), to: Some(time(to)) };
    if let Some(after) = after {
        range = range.after(after);
    }
    let page = app.rows.query(USAGE, resource, &range, limit).await?;
    let entries = page.rows.iter().map(|row| Ok((row.key.clone(), decode(row)?))).collect::<Result<_, StoreError>>()?;
    Ok((entries, page.more))
}

/// The ledger of a resource; None when it was never metered.
pub async fn ledger(app: &App, resource: &str) -> Result<Option<(Ledger, Etags)>, StoreError> {
    let Heads { terms, tally, head, etags } = heads(app, resource).await?;
    let Some(terms) = terms else { return Ok(None) };
    let open: std::collections::BTreeSet<&EventKey> = head.unsettled.iter().chain(&head.unlisted).collect();
    let mut found = BTreeMap::new();
    if let (Some(first), Some(last)) = (open.first(), open.last()) {
        for event in events(app, resource, first.0, last.0.next()).await? {
            let key = (event.hour, event.dimension.clone());
            if open.contains(&key) {
                found.insert(key, event);
            }
        }
    }
    let events = found;
    let mut starts: std::collections::BTreeSet<Timestamp> =
        events.values().flat_map(|event| event.parts.iter().map(|part| part.period)).collect();
    starts.extend(head.periods.iter().rev().take(RECENT_PERIODS));
    starts.extend(tally.buckets.iter().map(|bucket| bucket.period.start));
    let periods = periods(app, resource, starts.iter().filter(|start| head.periods.contains(start))).await?;
    Ok(Some((Ledger::new(terms, tally, head, periods, events), etags)))
}

async fn periods(
    app: &App,
    resource: &str,
    starts: impl Iterator<Item = &Timestamp>,
) -> Result<BTreeMap<Timestamp, PeriodAccount>, StoreError> {
    let mut periods = BTreeMap::new();
    for start in starts {
        if let Some((account, _)) = store::load(&*app.rows, USAGE, resource, &period_key(*start)).await? {
            periods.insert(*start, account);
        }
    }
    Ok(periods)
}

/// Reads events into a ledger that are not among its unsettled ones, with their periods.
pub async fn add_events(app: &App, ledger: &mut Ledger, keys: &[EventKey]) -> Result<(), StoreError> {
    let resource = ledger.terms.resource.key();
    for key in keys {
        if ledger.events.contains_key(key) {
            continue;
        }
        if let Some((event, _)) = store::load::<UsageEvent>(&*app.rows, USAGE, &resource, &event_key(key)).await? {
            let missing: Vec<Timestamp> = event
                .parts
                .iter()
                .map(|part| part.period)
                .filter(|start| !ledger.periods.contains_key(start))
                .collect();
            ledger.periods.extend(periods(app, &resource, missing.iter()).await?);
            ledger.events.insert(key.clone(), event);
        }
    }
    Ok(())
}

/// Stores what has changed, in one transaction. `Precondition` or `AlreadyExists`: somebody else was quicker, and the
/// ledger must be read again. After another error everything is still to be stored.
pub async fn save(app: &App, ledger: &mut Ledger, etags: &mut Etags) -> Result<(), StoreError> {
    let changed = ledger.take_changes();
    if changed.is_empty() {
        return Ok(());
    }
    let result = write(app, ledger, etags, &changed).await;
    if result.is_err() {
        ledger.put_back(changed);
    }
    result
}

async fn write(app: &App, ledger: &Ledger, etags: &mut Etags, changed: &Changed) -> Result<(), StoreError> {
    let resource = ledger.terms.resource.key();
    // Days first: an event whose day does not list its resource would be missed by the read-back.
    for day in &changed.days {
        app.rows.write(DAYS, day, vec![Write::upsert(resource.as_str(), &ledger.terms.resource)?]).await?;
    }
    let mut writes = vec![put(HEAD, &ledger.head, etags.head.as_ref())?];
    if changed.tally {
        writes.push(put(TALLY, &ledger.tally, etags.tally.as_ref())?);
    }
    for start in &changed.periods {
        if let Some(account) = ledger.periods.get(start) {
            writes.push(Write::upsert(period_key(*start), account)?);
        }
    }
    for key in &changed.events {
        if let Some(event) = ledger.events.get(key) {
            let (row, new) = (event_key(key), changed.created.contains(key));
            writes.push(if new { Write::insert(row, event)? } else { Write::upsert(row, event)? });
        }
    }
    if let Some(frozen) = &changed.frozen {
        writes.push(Write::upsert(format!("hour:{}", frozen.hour), frozen)?);
    }
    let mut new = app.rows.write(USAGE, &resource, writes).await?.into_iter();
    etags.head = new.next();
    if changed.tally {
        etags.tally = new.next();
    }
    Ok(())
}

/// Events of hours in `[from, to)`, oldest first.
pub async fn events(app: &App, resource: &str, from: Hour, to: Hour) -> Result<Vec<UsageEvent>, StoreError> {
    scan(app, USAGE, resource, RowRange { from: format!("event:{from}"), to: Some(format!("event:{to}")) }).await
}

/// Closed hours in `[from, to)`, oldest first.
pub async fn hours(app: &App, resource: &str, from: Hour, to: Hour) -> Result<Vec<FrozenHour>, StoreError> {
    scan(app, USAGE, resource, RowRange { from: format!("hour:{from}"), to: Some(format!("hour:{to}")) }).await
}

/// All accounts of a resource.
pub async fn accounts(app: &App, resource: &str) -> Result<Vec<PeriodAccount>, StoreError> {
    scan(app, USAGE, resource, RowRange::prefix("period:")).await
}

async fn scan<T: serde::de::DeserializeOwned>(
    app: &App,
    table: Table,
    partition: &str,
    range: RowRange,
) -> Result<Vec<T>, StoreError> {
    store::scan(&*app.rows, table, partition, range).await?.iter().map(decode).collect()
}

/// Every resource that was ever metered, a page at a time behind `after`.
pub async fn resources(
    app: &App,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Resource)>, bool), StoreError> {
    let range = after.map_or_else(RowRange::all, |after| RowRange::all().after(after));
    let page = app.rows.query(RESOURCES, ALL, &range, limit).await?;
    let list = page.rows.iter().map(|row| Ok((row.key.clone(), decode(row)?))).collect::<Result<_, StoreError>>()?;
    Ok((list, page.more))
}

/// The work list's partition of a resource.
fn work_partition(resource: &str) -> String {
    let sum = resource.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    format!("{:02x}", sum % WORK_PARTITIONS)
}

/// Lists a resource as one with work.
pub async fn mark(app: &App, mark: &Mark) -> Result<(), StoreError> {
    let key = mark.resource.key();
    app.rows.write(WORK, &work_partition(&key), vec![Write::upsert(key, mark)?]).await.map(drop)
}

pub async fn marked(app: &App, resource: &str) -> Result<Option<(Mark, Etag)>, StoreError> {
    store::load(&*app.rows, WORK, &work_partition(resource), resource).await
}

/// Changes or (None) removes a mark that is still as it was read. Somebody else's change stands.
pub async fn move_mark(app: &App, resource: &str, seen: &Etag, to: Option<&Mark>) -> Result<(), StoreError> {
    let write = match to {
        Some(mark) => Write::replace(resource, mark, seen.clone())?,
        None => Write::Delete { key: resource.to_owned(), etag: Some(seen.clone()) },
    };
    match app.rows.write(WORK, &work_partition(resource), vec![write]).await {
        Ok(_) | Err(StoreError::Precondition) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A page of one partition of the work list.
pub async fn work(
    app: &App,
    partition: u8,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Mark, Etag)>, bool), StoreError> {
    let range = after.map_or_else(RowRange::all, |after| RowRange::all().after(after));
    let page = app.rows.query(WORK, &format!("{partition:02x}"), &range, limit).await?;
    let read = |row: Row| Ok((row.key.clone(), decode(&row)?, row.etag));
    Ok((page.rows.into_iter().map(read).collect::<Result<_, StoreError>>()?, page.more))
}

pub async fn list_loss(app: &App, loss: &Loss) -> Result<(), StoreError> {
    let month: String = loss.at.to_string().chars().take(7).collect();
    let key = format!("{}:{}:{}:{}", newest_first(loss.at), loss.resource.key(), loss.hour, key_text(&loss.dimension));
    app.rows.write(LOSSES, &month, vec![Write::upsert(key, loss)?]).await.map(drop)
}

/// The losses of a month (`2026-03`), newest first.
pub async fn losses(app: &App, month: &str) -> Result<Vec<Loss>, StoreError> {
    scan(app, LOSSES, month, RowRange::all()).await
}

/// The resources with events of a day.
pub async fn resources_of_day(app: &App, day: &str) -> Result<Vec<Resource>, StoreError> {
    scan(app, DAYS, day, RowRange::all()).await
}

/// Replaces what is known of a day's differences.
pub async fn save_differences<T: Serialize>(
    app: &App,
    day: &str,
    found: &BTreeMap<String, T>,
) -> Result<(), StoreError> {
    let known = store::scan(&*app.rows, DIFFERENCES, day, RowRange::all()).await?;
    for row in known.into_iter().filter(|row| !found.contains_key(&row.key)) {
        app.rows.write(DIFFERENCES, day, vec![Write::Delete { key: row.key, etag: None }]).await?;
    }
    for (key, difference) in found {
        app.rows.write(DIFFERENCES, day, vec![Write::upsert(key.as_str(), difference)?]).await?;
    }
    Ok(())
}

pub async fn note_difference(app: &App, day: &str, key: &str, difference: &impl Serialize) -> Result<(), StoreError> {
    app.rows.write(DIFFERENCES, day, vec![Write::upsert(key, difference)?]).await.map(drop)
}

pub async fn differences<T: serde::de::DeserializeOwned>(app: &App, day: &str) -> Result<Vec<T>, StoreError> {
    scan(app, DIFFERENCES, day, RowRange::all()).await
}

/// What is kept of a day's bookings.
pub async fn booked(app: &App, day: &str) -> Result<Vec<Row>, StoreError> {
    store::scan(&*app.rows, BOOKED, day, RowRange::all()).await
}

/// Changes what is kept of a day's bookings; of up to a hundred rows all or nothing.
pub async fn write_booked(app: &App, day: &str, writes: Vec<Write>) -> Result<(), StoreError> {
    app.rows.write(BOOKED, day, writes).await.map(drop)
}

pub async fn state<T: serde::de::DeserializeOwned>(app: &App, key: &str) -> Result<Option<(T, Etag)>, StoreError> {
    store::load(&*app.rows, STATE, ALL, key).await
}

pub async fn save_state(app: &App, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    app.rows.write(STATE, ALL, vec![Write::upsert(key, value)?]).await.map(drop)
}
