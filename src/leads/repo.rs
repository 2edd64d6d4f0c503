//! Rows of leads.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `LeadAddresses` | `all` | offer | an address with its keys |
//! | `LeadKeys` | two digits of the hash | SHA-256 of a key | the offer whose address it is |
//! | `LeadArrivals` | last digit of the id | newest first | an arrival, as it came |
//! | | | `open:` time kept `:` id | a mark for each arrival that is not done with; made and kept in one batch with it |
//! | `LeadPeople` | hash of person and offer | `action:` hash | the lead that arrivals with this action belong to, and when the last one came |
//! | | | `lead:` id | each of their leads |
//! | | | `dnc` | Microsoft said not to contact them |
//! | `Leads` | lead | `lead` | the lead |
//! | | | `arrival:` newest first | an arrival that it has counted |
//! | | | `entry:` newest first `:` digits | its history |
//! | `LeadList` | month | newest first | a line for each lead, and for each arrival that is none |
//! | | `months` | month | the months that have lines |
//! | `LeadForwards` | lead | hash of the destination's name | its way to a destination |
//! | `LeadOpen` | last digit of the lead | time due `:` lead `:` destination | what is not over: ways to destinations, changes whose consequences are not drawn yet |
//! | `LeadTable` | `all` | hash of the table's name | how far Microsoft's table was read |
//!
//! One lead is one partition: its row, what it has counted and its history change together or not at all, so an arrival is
//! counted once however often it is worked on. Person and offer are one partition, too, under a hash that nobody reads the
//! person from. A line in `LeadOpen` is written before the row that it is for says so, and removed after.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::model::address::Address;
use super::model::arrival::Arrival;
use super::model::forward::Forward;
use super::model::lead::Status;
use super::model::record::{Entry, Kind, Record, What, action_key};
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::hex::hex;
use crate::foundation::ids::{LeadId, TenantId};
use crate::foundation::secret::Secret;
use crate::store::{
    self, Etag, RowRange, StoreError, Table, Write, load, newest_first, newest_id_first, oldest_first, scan,
};

const ADDRESSES: Table = Table("LeadAddresses");
const KEYS: Table = Table("LeadKeys");
const ARRIVALS: Table = Table("LeadArrivals");
const PEOPLE: Table = Table("LeadPeople");
const LEADS: Table = Table("Leads");
const LIST: Table = Table("LeadList");
const FORWARDS: Table = Table("LeadForwards");
const OPEN: Table = Table("LeadOpen");
const READS: Table = Table("LeadTable");
const ALL: &str = "all";
const MONTHS: &str = "months";
const LEAD: &str = "lead";
const DNC: &str = "dnc";
/// Lines of one partition that one look takes; the next look takes the others.
const MOST_OVERDUE: usize = 500;

/// SHA-256 of a text, in hex.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Spreads ids over sixteen partitions.
fn last_digit(id: &LeadId) -> &str {
    id.as_str().get(id.as_str().len() - 1..).unwrap_or("0")
}

async fn overdue_rows(app: &App, table: Table, prefix: &str, before: Timestamp) -> Result<Vec<store::Row>, StoreError> {
    let range = RowRange { from: prefix.to_owned(), to: Some(format!("{prefix}{}", oldest_first(before))) };
    let pages = "0123456789abcdef".chars().map(|digit| {
        let range = &range;
        async move { app.rows.query(table, &digit.to_string(), range, MOST_OVERDUE).await }
    });
    Ok(try_join_all(pages).await?.into_iter().flat_map(|page| page.rows).collect())
}

// Addresses.

pub async fn addresses(app: &App) -> Result<Vec<Address>, StoreError> {
    scan(&*app.rows, ADDRESSES, ALL, RowRange::all()).await?.iter().map(store::decode).collect()
}

pub async fn address(app: &App, offer: &str) -> Result<Option<(Address, Etag)>, StoreError> {
    load(&*app.rows, ADDRESSES, ALL, offer).await
}

pub async fn create_address(app: &App, address: &Address) -> Result<(), StoreError> {
    app.rows.write(ADDRESSES, ALL, vec![Write::insert(address.offer.as_str(), address)?]).await.map(drop)
}

pub async fn save_address(app: &App, address: &Address, etag: Etag) -> Result<(), StoreError> {
    store::replace(&*app.rows, ADDRESSES, ALL, address.offer.as_str(), address, etag).await.map(drop)
}

pub async fn forget_address(app: &App, offer: &str) -> Result<(), StoreError> {
    app.rows.write(ADDRESSES, ALL, vec![Write::Delete { key: offer.to_owned(), etag: None }]).await.map(drop)
}

/// The offer whose address has a key, as far as the index knows; the address itself has the last word.
pub async fn offer_of_key(app: &App, key: &str) -> Result<Option<String>, StoreError> {
    let hash = digest(key);
    Ok(load(&*app.rows, KEYS, &hash[..2], &hash).await?.map(|(offer, _)| offer))
}

pub async fn index_key(app: &App, key: &Secret, offer: &str) -> Result<(), StoreError> {
    let hash = digest(key.expose());
    app.rows.write(KEYS, &hash[..2], vec![Write::upsert(hash.as_str(), &offer)?]).await.map(drop)
}

pub async fn forget_key(app: &App, key: &Secret) -> Result<(), StoreError> {
    let hash = digest(key.expose());
    let row = Write::Delete { key: hash.clone(), etag: None };
    app.rows.write(KEYS, &hash[..2], vec![row]).await.map(drop)
}

// Arrivals.

fn mark(arrival: &Arrival) -> String {
    format!("open:{}:{}", oldest_first(arrival.kept), arrival.id)
}

/// Keeps an arrival that was not known. `false`: it was.
pub async fn keep_arrival(app: &App, arrival: &Arrival) -> Result<bool, StoreError> {
    let key = newest_id_first(arrival.id.as_str());
    let rows = vec![Write::insert(key, arrival)?, Write::insert(mark(arrival), &arrival.id)?];
    match app.rows.write(ARRIVALS, last_digit(&arrival.id), rows).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

pub async fn arrival(app: &App, id: &LeadId) -> Result<Option<(Arrival, Etag)>, StoreError> {
    load(&*app.rows, ARRIVALS, last_digit(id), &newest_id_first(id.as_str())).await
}

pub async fn save_arrival(app: &App, arrival: &Arrival, etag: Etag) -> Result<Etag, StoreError> {
    let key = newest_id_first(arrival.id.as_str());
    store::replace(&*app.rows, ARRIVALS, last_digit(&arrival.id), key, arrival, etag).await
}

/// Takes the mark of an arrival off that is done with.
pub async fn close_arrival(app: &App, arrival: &Arrival) -> Result<(), StoreError> {
    let row = Write::Delete { key: mark(arrival), etag: None };
    app.rows.write(ARRIVALS, last_digit(&arrival.id), vec![row]).await.map(drop)
}

/// Arrivals that were kept before a time and are not done with.
pub async fn open_arrivals(app: &App, before: Timestamp) -> Result<Vec<LeadId>, StoreError> {
    overdue_rows(app, ARRIVALS, "open:", before).await?.iter().map(store::decode).collect()
}

// People.

/// The lead that arrivals of a person, offer and action belong to for now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Current {
    pub lead: LeadId,
    pub last: Timestamp,
}

fn action_row(action: &str) -> String {
    format!("action:{}", action_key(action))
}

pub async fn current(app: &App, who: &str, action: &str) -> Result<Option<(Current, Etag)>, StoreError> {
    load(&*app.rows, PEOPLE, who, &action_row(action)).await
}

/// Writes down that a lead is this person's, before it is made; with `current`, that it is the one for this action.
pub async fn acquaint(
    app: &App,
    who: &str,
    lead: &LeadId,
    current: Option<(&str, &Current, Option<Etag>)>,
) -> Result<(), StoreError> {
    let mut rows = vec![Write::upsert(format!("lead:{lead}"), lead)?];
    if let Some((action, current, etag)) = current {
        let key = action_row(action);
        rows.push(match etag {
            Some(etag) => Write::replace(key, current, etag)?,
            None => Write::insert(key, current)?,
        });
    }
    app.rows.write(PEOPLE, who, rows).await.map(drop)
}

pub async fn forbid_contact(app: &App, who: &str, at: Timestamp) -> Result<(), StoreError> {
    app.rows.write(PEOPLE, who, vec![Write::upsert(DNC, &at)?]).await.map(drop)
}

pub async fn is_contact_forbidden(app: &App, who: &str) -> Result<bool, StoreError> {
    Ok(app.rows.get(PEOPLE, who, DNC).await?.is_some())
}

pub async fn leads_of(app: &App, who: &str) -> Result<Vec<LeadId>, StoreError> {
    scan(&*app.rows, PEOPLE, who, RowRange::prefix("lead:")).await?.iter().map(store::decode).collect()
}

// Leads.

/// History may hold two entries of one moment; what they are about tells them apart, and a repeated one is the same.
fn entry_key(entry: &Entry) -> Result<String, StoreError> {
    let about = digest(&store::encode(entry)?);
    Ok(format!("entry:{}:{}", newest_first(entry.at), &about[..16]))
}

fn counted_key(arrival: &LeadId) -> String {
    format!("arrival:{}", newest_id_first(arrival.as_str()))
}

pub async fn lead(app: &App, id: &LeadId) -> Result<Option<(Record, Etag)>, StoreError> {
    load(&*app.rows, LEADS, id.as_str(), LEAD).await
}

/// Writes a lead over the version that was read (None: it is new), with entries of its history and the arrival that it
/// counts now. Fails with [`StoreError::AlreadyExists`] when it has counted that one already.
pub async fn save_lead(
    app: &App,
    record: &Record,
    etag: Option<Etag>,
    entries: &[Entry],
    counts: Option<&LeadId>,
) -> Result<(), StoreError> {
    let mut rows = vec![match etag {
        Some(etag) => Write::replace(LEAD, record, etag)?,
        None => Write::insert(LEAD, record)?,
    }];
    for entry in entries {
        rows.push(Write::upsert(entry_key(entry)?, entry)?);
    }
    if let Some(arrival) = counts {
        rows.push(Write::insert(counted_key(arrival), arrival)?);
    }
    app.rows.write(LEADS, record.lead.id.as_str(), rows).await.map(drop)
}

pub async fn has_counted(app: &App, lead: &LeadId, arrival: &LeadId) -> Result<bool, StoreError> {
    Ok(app.rows.get(LEADS, lead.as_str(), &counted_key(arrival)).await?.is_some())
}

/// The newest arrivals that a lead has counted, behind one of them.
pub async fn counted(app: &App, lead: &LeadId, after: Option<&LeadId>, most: usize) -> Result<Vec<LeadId>, StoreError> {
    let all = RowRange::prefix("arrival:");
    let range = after.map_or(all.clone(), |after| all.after(&counted_key(after)));
    let page = app.rows.query(LEADS, lead.as_str(), &range, most).await?;
    page.rows.iter().map(store::decode).collect()
}

/// Empties the notes of a lead's history, and takes the person out of the rest of it.
pub async fn clear_notes(app: &App, lead: &LeadId, erasure: &Erasure) -> Result<(), StoreError> {
    for row in scan(&*app.rows, LEADS, lead.as_str(), RowRange::prefix("entry:")).await? {
        let mut entry: Entry = store::decode(&row)?;
        if let What::Note { text } = &mut entry.what {
            text.clear();
            store::replace(&*app.rows, LEADS, lead.as_str(), row.key, &entry, row.etag).await?;
        }
    }
    store::erase(&*app.rows, LEADS, lead.as_str(), RowRange::prefix("entry:"), erasure).await?;
    store::erase(&*app.rows, FORWARDS, lead.as_str(), RowRange::all(), erasure).await.map(drop)
}

/// Forgets which lead arrivals of a person, offer and action belong to.
pub async fn part(app: &App, who: &str, action: &str) -> Result<(), StoreError> {
    let row = Write::Delete { key: action_row(action), etag: None };
    app.rows.write(PEOPLE, who, vec![row]).await.map(drop)
}

pub async fn note(app: &App, lead: &LeadId, entry: &Entry) -> Result<(), StoreError> {
    app.rows.write(LEADS, lead.as_str(), vec![Write::upsert(entry_key(entry)?, entry)?]).await.map(drop)
}

/// The newest entries of a lead's history.
pub async fn history(app: &App, lead: &LeadId, most: usize) -> Result<Vec<Entry>, StoreError> {
    let page = app.rows.query(LEADS, lead.as_str(), &RowRange::prefix("entry:"), most).await?;
    page.rows.iter().map(store::decode).collect()
}

// The list.

/// A line of the list: what it shows and what is searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of the lead, or of the arrival that is none.
    pub id: LeadId,
    pub kind: Kind,
    pub began: Timestamp,
    pub last: Timestamp,
    pub arrivals: u32,
    pub name: String,
    pub company: String,
    pub email: String,
    pub offer: String,
    pub offer_title: String,
    pub action: String,
    pub country: String,
    pub status: Status,
    pub owner: Option<String>,
    pub do_not_contact: bool,
    /// Whether somebody decided whose customer it is, and whose.
    #[serde(default)]
    pub decided: bool,
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// The version of the lead's row that the line is after.
    pub version: u64,
}

impl Listed {
    pub fn of(record: &Record) -> Self {
        let lead = &record.lead;
        Self {
            id: lead.id.clone(),
            kind: record.kind(),
            began: record.began,
            last: lead.last,
            arrivals: lead.arrivals,
            name: lead.person.name(),
            company: lead.person.company.clone(),
            email: lead.person.email.clone(),
            offer: lead.offer.clone(),
            offer_title: lead.offer_title.clone(),
            action: lead.action.clone(),
            country: lead.person.country.clone(),
            status: lead.status,
            owner: lead.owner.clone(),
            do_not_contact: lead.do_not_contact,
            decided: record.company.is_some(),
            tenant: record.company.as_ref().and_then(|company| company.tenant),
            version: record.version,
        }
    }

    /// The line of an arrival that is no lead.
    pub fn quarantined(arrival: &Arrival) -> Self {
        let (received, blank) = (arrival.received, String::new);
        Self {
            id: arrival.id.clone(),
            kind: Kind::Quarantined,
            began: received,
            last: received,
            arrivals: 1,
            name: blank(),
            company: blank(),
            email: blank(),
            offer: arrival.offer.clone(),
            offer_title: arrival.offer_title.clone(),
            action: blank(),
            country: blank(),
            status: Status::New,
            owner: None,
            do_not_contact: false,
            decided: false,
            tenant: None,
            version: 0,
        }
    }

    fn key(&self) -> String {
        format!("{}:{}", newest_first(self.began), self.id)
    }
}

/// The month of a time, as `2026-11`.
pub fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

/// Brings a line up to date, unless it is newer.
pub async fn list(app: &App, line: &Listed) -> Result<(), StoreError> {
    let (month, key) = (month(line.began), line.key());
    loop {
        let write = match load::<Listed>(&*app.rows, LIST, &month, &key).await? {
            Some((known, _)) if known.version >= line.version => return Ok(()),
            Some((_, etag)) => Write::replace(key.as_str(), line, etag)?,
            None => {
                // Before the line, so that no line is in a month that nobody looks at.
                if app.rows.get(LIST, MONTHS, &month).await?.is_none() {
                    app.rows.write(LIST, MONTHS, vec![Write::upsert(month.as_str(), &())?]).await?;
                }
                Write::insert(key.as_str(), line)?
            }
        };
        match app.rows.write(LIST, &month, vec![write]).await {
            Ok(_) => return Ok(()),
            // Somebody else wrote it; whoever has the newer one stays.
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The months that have lines, the newest first.
pub async fn months(app: &App) -> Result<Vec<String>, StoreError> {
    let rows = scan(&*app.rows, LIST, MONTHS, RowRange::all()).await?;
    Ok(rows.into_iter().rev().map(|row| row.key).collect())
}

/// Lines of a month with their keys, newest first, behind the key `after`; `true`: there may be more.
pub async fn listed(
    app: &App,
    month: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Listed)>, bool), StoreError> {
    let range = after.map_or_else(RowRange::all, |after| RowRange::all().after(after));
    let page = app.rows.query(LIST, month, &range, limit).await?;
    let lines = page.rows.iter().map(|row| Ok((row.key.clone(), store::decode(row)?)));
    Ok((lines.collect::<Result<_, StoreError>>()?, page.more))
}

// Forwards.

/// The name of a destination is anybody's words; a key is not.
fn destination_key(name: &str) -> String {
    digest(name)[..24].to_owned()
}

pub async fn forward(app: &App, lead: &LeadId, destination: &str) -> Result<Option<(Forward, Etag)>, StoreError> {
    load(&*app.rows, FORWARDS, lead.as_str(), &destination_key(destination)).await
}

pub async fn create_forward(app: &App, forward: &Forward) -> Result<(), StoreError> {
    let row = Write::insert(destination_key(&forward.destination), forward)?;
    app.rows.write(FORWARDS, forward.lead.as_str(), vec![row]).await.map(drop)
}

pub async fn save_forward(app: &App, forward: &Forward, etag: Etag) -> Result<Etag, StoreError> {
    let key = destination_key(&forward.destination);
    store::replace(&*app.rows, FORWARDS, forward.lead.as_str(), key, forward, etag).await
}

pub async fn forwards(app: &App, lead: &LeadId) -> Result<Vec<Forward>, StoreError> {
    scan(&*app.rows, FORWARDS, lead.as_str(), RowRange::all()).await?.iter().map(store::decode).collect()
}

/// What is not over: a way to a destination, or (without one) a change of a lead whose consequences are not drawn yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub lead: LeadId,
    pub destination: Option<String>,
    pub due: Timestamp,
}

impl Open {
    pub fn change(lead: &LeadId, now: Timestamp) -> Self {
        Self { lead: lead.clone(), destination: None, due: now }
    }

    pub fn forward(forward: &Forward) -> Self {
        Self { lead: forward.lead.clone(), destination: Some(forward.destination.clone()), due: forward.due }
    }

    fn key(&self) -> String {
        let destination = self.destination.as_deref().map_or_else(|| "-".to_owned(), destination_key);
        format!("{}:{}:{destination}", oldest_first(self.due), self.lead)
    }
}

pub async fn open(app: &App, line: &Open) -> Result<(), StoreError> {
    app.rows.write(OPEN, last_digit(&line.lead), vec![Write::upsert(line.key(), line)?]).await.map(drop)
}

pub async fn close(app: &App, line: &Open) -> Result<(), StoreError> {
    let row = Write::Delete { key: line.key(), etag: None };
    app.rows.write(OPEN, last_digit(&line.lead), vec![row]).await.map(drop)
}

/// What was due before a time and is not over.
pub async fn overdue(app: &App, before: Timestamp) -> Result<Vec<Open>, StoreError> {
    overdue_rows(app, OPEN, "", before).await?.iter().map(store::decode).collect()
}

// Microsoft's table.

/// How far Microsoft's table was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The latest time of a row, by the clock of the table's service.
    pub seen: Option<Timestamp>,
    /// When all of it was read last, by our clock.
    pub whole: Option<Timestamp>,
}

pub async fn table_read(app: &App, table: &str) -> Result<Option<(Read, Etag)>, StoreError> {
    load(&*app.rows, READS, ALL, &digest(table)).await
}

/// Fails with [`StoreError::Precondition`] or [`StoreError::AlreadyExists`] when somebody else has written it since.
pub async fn save_table_read(app: &App, table: &str, read: &Read, etag: Option<Etag>) -> Result<(), StoreError> {
    let row = match etag {
        Some(etag) => Write::replace(digest(table), read, etag)?,
        None => Write::insert(digest(table), read)?,
    };
    app.rows.write(READS, ALL, vec![row]).await.map(drop)
}

/// An entry of ours.
pub fn entry(at: Timestamp, what: What) -> Entry {
    Entry { at, actor: None, what }
}
