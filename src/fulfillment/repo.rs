//! The rows of subscriptions.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `Subscriptions` | subscription id | `subscription` | our row |
//! | | | `event:<999...-number>` | timeline, newest first |
//! | | | `operation:<id>` | one operation; inserted once, so a repeated webhook changes nothing |
//! | | | `open:<id>` | a mark for each operation that is not settled: a look reads these, however many are long over; holds what decides whose turn it is |
//! | | | `plans` | the plans last listed for this customer |
//! | `SubscriptionIndex` | `all` | `<reversed time first seen>:<id>` | summary, for the staff's list |
//! | | `tenant:<id>` or `person:<tenant>:<object>` | subscription id | whose it is, for the portal |
//! | `WebhookLog` | day | `<reversed time>:<operation>` | what arrived, for the staff's log |
//!
//! One subscription is one partition, so its row, timeline and operations change together or not at all. The index is
//! written before a subscription is first stored and after each change; what a crash leaves stale is mended by the hourly
//! comparison.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::event::Event;
use super::model::facts::{Facts, Plan, Status};
use super::model::operation::{Action, Operation};
use super::model::subscription::Subscription;
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::ids::{OperationId, SubscriptionId, TenantId};
use crate::store::{self, Etag, MAX_BATCH, Page, Row, RowRange, StoreError, Table, Write, decode, newest_first};

const SUBSCRIPTIONS: Table = Table("Subscriptions");
const INDEX: Table = Table("SubscriptionIndex");
const LOG: Table = Table("WebhookLog");
const ROW: &str = "subscription";
const PLANS: &str = "plans";
const ALL: &str = "all";

/// Something read, with the ETag that a replacement must name.
#[derive(Debug, Clone)]
pub struct Found<T> {
    pub value: T,
    pub etag: Etag,
}

/// A line of the staff's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub id: SubscriptionId,
    pub name: String,
    pub offer: String,
    pub plan: String,
    pub quantity: Option<u64>,
    pub status: Status,
    pub purchaser: String,
    pub beneficiary: String,
    pub purchaser_tenant: Option<TenantId>,
    pub beneficiary_tenant: Option<TenantId>,
    pub term_end: Option<Timestamp>,
    pub auto_renew: bool,
    pub is_test: bool,
    pub first_seen: Timestamp,
}

/// A line of the webhook log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogEntry {
    pub received: Timestamp,
    pub subscription: SubscriptionId,
    pub operation: OperationId,
    pub action: Action,
}

fn operation_key(id: OperationId) -> String {
    format!("operation:{id}")
}

fn open_key(id: OperationId) -> String {
    format!("open:{id}")
}

/// Newest first: the larger the number, the smaller the key.
fn event_key(number: u64) -> String {
    format!("event:{:012}", 999_999_999_999 - number.min(999_999_999_999))
}

fn index_key(first_seen: Timestamp, id: SubscriptionId) -> String {
    format!("{}:{id}", newest_first(first_seen))
}

pub async fn subscription(app: &App, id: SubscriptionId) -> Result<Option<Found<Subscription>>, StoreError> {
    let found = store::load(&*app.rows, SUBSCRIPTIONS, &id.to_string(), ROW).await?;
    Ok(found.map(|(value, etag)| Found { value, etag }))
}

/// A row, unless it is the one that was seen.
#[derive(Debug)]
pub enum Newer {
    Unknown,
    Same,
    Row(Box<Found<Subscription>>),
}

pub async fn subscription_unless(app: &App, id: SubscriptionId, seen: Option<&Etag>) -> Result<Newer, StoreError> {
    Ok(match app.rows.get(SUBSCRIPTIONS, &id.to_string(), ROW).await? {
        None => Newer::Unknown,
        Some(row) if Some(&row.etag) == seen => Newer::Same,
        Some(row) => Newer::Row(Box::new(Found { value: decode(&row)?, etag: row.etag })),
    })
}

pub async fn operation(
    app: &App,
    id: SubscriptionId,
    operation: OperationId,
) -> Result<Option<Found<Operation>>, StoreError> {
    let found = store::load(&*app.rows, SUBSCRIPTIONS, &id.to_string(), &operation_key(operation)).await?;
    Ok(found.map(|(value, etag)| Found { value, etag }))
}

/// All operations of a subscription, in no particular order.
pub async fn operations(app: &App, id: SubscriptionId) -> Result<Vec<Operation>, StoreError> {
    scan(app, id, "operation:").await?.iter().map(decode).collect()
}

/// The body of a mark: what decides whose turn it is, so that a look reads only the operations that it takes.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    looks: u32,
    received: Timestamp,
}

impl Mark {
    fn of(operation: &Operation) -> Self {
        Self { looks: operation.looks, received: operation.received }
    }
}

/// An operation that is not settled, with the ETags of its row and of its mark.
#[derive(Debug, Clone)]
pub struct Open {
    pub value: Operation,
    pub etag: Etag,
    pub mark: Etag,
}

/// The operations that are not settled, the least looked at first, and whether there are more than `limit`.
pub async fn open_operations(app: &App, id: SubscriptionId, limit: usize) -> Result<(Vec<Open>, bool), StoreError> {
    let mut marks = Vec::new();
    for row in scan(app, id, "open:").await? {
        let Some(operation_id) = row.key.strip_prefix("open:").and_then(|id| id.parse::<OperationId>().ok()) else {
            continue;
        };
        let mark: Mark = decode(&row)?;
        marks.push((mark.looks, mark.received, operation_id, row.etag));
    }
    marks.sort_by_key(|(looks, received, operation_id, _)| (*looks, *received, *operation_id));
    let more = marks.len() > limit;
    marks.truncate(limit);
    let rows = join_all(marks.iter().map(|(_, _, operation_id, _)| operation(app, id, *operation_id))).await;
    let mut open = Vec::with_capacity(rows.len());
    for (row, (_, _, _, mark)) in rows.into_iter().zip(marks) {
        if let Some(Found { value, etag }) = row? {
            open.push(Open { value, etag, mark });
        }
    }
    Ok((open, more))
}

/// Whether any operation is not settled.
pub async fn has_open_operations(app: &App, id: SubscriptionId) -> Result<bool, StoreError> {
    let page = app.rows.query(SUBSCRIPTIONS, &id.to_string(), &RowRange::prefix("open:"), 1).await?;
    Ok(!page.rows.is_empty())
}

async fn scan(app: &App, id: SubscriptionId, prefix: &str) -> Result<Vec<Row>, StoreError> {
    store::scan(&*app.rows, SUBSCRIPTIONS, &id.to_string(), RowRange::prefix(prefix)).await
}

/// Stores an operation that was not known. `false`: it was, and nothing changed.
pub async fn insert_operation(app: &App, operation: &Operation) -> Result<bool, StoreError> {
    match save(app, operation.subscription_id, None, &[], &[Change::New(operation)]).await {
        Ok(()) => Ok(true),
        Err(StoreError::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What becomes of an operation's row.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    New(&'a Operation),
    Update(&'a Operation, &'a Etag),
    /// It was looked at and is not over.
    Keep(&'a Operation, &'a Open),
    /// It is over: its mark goes.
    Settle(&'a Operation, &'a Open),
}

/// Stores row, timeline entries and operations together. With the row comes its old ETag, or None for a new row.
pub async fn save(
    app: &App,
    id: SubscriptionId,
    row: Option<(&Subscription, Option<&Etag>)>,
    events: &[Event],
    operations: &[Change<'_>],
) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    if let Some((row, old)) = row {
        writes.push(match old {
            Some(etag) => Write::replace(ROW, row, etag.clone())?,
            None => Write::insert(ROW, row)?,
        });
    }
    for event in events {
        writes.push(Write::insert(event_key(event.number), event)?);
    }
    for change in operations {
        match change {
            Change::New(operation) => {
                writes.push(Write::insert(operation_key(operation.id), operation)?);
                writes.push(Write::insert(open_key(operation.id), &Mark::of(operation))?);
            }
            Change::Update(operation, etag) => {
                writes.push(Write::replace(operation_key(operation.id), operation, (*etag).clone())?);
            }
            Change::Keep(operation, open) => {
                writes.push(Write::replace(operation_key(operation.id), operation, open.etag.clone())?);
                writes.push(Write::replace(open_key(operation.id), &Mark::of(operation), open.mark.clone())?);
            }
            Change::Settle(operation, open) => {
                writes.push(Write::replace(operation_key(operation.id), operation, open.etag.clone())?);
                writes.push(Write::Delete { key: open_key(operation.id), etag: Some(open.mark.clone()) });
            }
        }
    }
    debug_assert!(writes.len() <= MAX_BATCH);
    if writes.is_empty() {
        return Ok(());
    }
    let written = app.rows.write(SUBSCRIPTIONS, &id.to_string(), writes).await;
    // Also after a failure: it may have happened all the same.
    app.changes.0.fetch_add(1, Ordering::Relaxed);
    written.map(drop)
}

/// Counts what this process writes of subscriptions, so that whoever remembers something of them knows when to look again.
#[derive(Debug, Default)]
pub struct Changes(AtomicU64);

impl Changes {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Timeline entries, newest first, numbered below `before` (None: from the newest).
pub async fn events(
    app: &App,
    id: SubscriptionId,
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<Event>, bool), StoreError> {
    let mut range = RowRange::prefix("event:");
    if let Some(before) = before {
        range = range.after(&event_key(before));
    }
    let page = app.rows.query(SUBSCRIPTIONS, &id.to_string(), &range, limit).await?;
    Ok((page.rows.iter().map(decode).collect::<Result<_, _>>()?, page.more))
}

pub async fn plans(app: &App, id: SubscriptionId) -> Result<Vec<Plan>, StoreError> {
    let found = store::load(&*app.rows, SUBSCRIPTIONS, &id.to_string(), PLANS).await?;
    Ok(found.map(|(plans, _)| plans).unwrap_or_default())
}

pub async fn save_plans(app: &App, id: SubscriptionId, plans: &[Plan]) -> Result<(), StoreError> {
    app.rows.write(SUBSCRIPTIONS, &id.to_string(), vec![Write::upsert(PLANS, &plans)?]).await.map(drop)
}

fn summary(row: &Subscription) -> Summary {
    let facts = &row.facts;
    Summary {
        id: row.id,
        name: facts.name.clone(),
        offer: facts.offer_id.clone(),
        plan: facts.plan_id.clone(),
        quantity: facts.quantity,
        status: facts.status,
        purchaser: facts.purchaser.email.clone(),
        beneficiary: facts.beneficiary.email.clone(),
        purchaser_tenant: facts.purchaser.tenant_id,
        beneficiary_tenant: facts.beneficiary.tenant_id,
        term_end: facts.term.end,
        auto_renew: facts.auto_renew,
        is_test: facts.is_test,
        first_seen: row.first_seen,
    }
}

fn owner_partition(tenant: TenantId, object: Option<crate::foundation::ids::ObjectId>) -> Option<String> {
    // All personal accounts share one tenant: its partition would be hot and say nothing.
    match (tenant, object) {
        (TenantId::PERSONAL_ACCOUNTS, Some(object)) => Some(format!("person:{tenant}:{object}")),
        (TenantId::PERSONAL_ACCOUNTS, None) => None,
        _ => Some(format!("tenant:{tenant}")),
    }
}

/// Whether the index rows of two states differ.
pub fn index_differs(before: &Subscription, after: &Subscription) -> bool {
    summary(before) != summary(after) || owners(&before.facts) != owners(&after.facts)
}

/// Brings the index rows of a subscription up to date. May be repeated at any time.
pub async fn index(app: &App, row: &Subscription) -> Result<(), StoreError> {
    let id = row.id.to_string();
    let key = index_key(row.first_seen, row.id);
    app.rows.write(INDEX, ALL, vec![Write::upsert(key, &summary(row))?]).await?;
    for owner in owners(&row.facts) {
        app.rows.write(INDEX, &owner, vec![Write::upsert(id.as_str(), &())?]).await?;
    }
    Ok(())
}

/// Takes a person out of a subscription, its story and its index; gives in how many rows they were.
pub async fn erase(app: &App, id: SubscriptionId, erasure: &Erasure) -> Result<usize, StoreError> {
    let Some(before) = subscription(app, id).await? else { return Ok(0) };
    let told = store::encode(&before.value)?;
    let clean = erasure.json(&told).and_then(|clean| serde_json::from_str::<Subscription>(&clean).ok());
    let (before, after) = (owners(&before.value.facts), clean.map(|clean| owners(&clean.facts)));
    // A personal account's part of the index is named after the person. It goes first: whoever begins anew behind the row
    // does not know any more what it was called.
    for gone in after.iter().flat_map(|after| before.difference(after)) {
        app.rows.write(INDEX, gone, vec![Write::Delete { key: id.to_string(), etag: None }]).await?;
    }
    let changed = store::erase(&*app.rows, SUBSCRIPTIONS, &id.to_string(), RowRange::all(), erasure).await?;
    let Some(found) = subscription(app, id).await? else { return Ok(changed) };
    index(app, &found.value).await?;
    // The hourly comparison may have written it again meanwhile.
    for gone in before.difference(&owners(&found.value.facts)) {
        app.rows.write(INDEX, gone, vec![Write::Delete { key: id.to_string(), etag: None }]).await?;
    }
    Ok(changed)
}

fn owners(facts: &Facts) -> std::collections::BTreeSet<String> {
    [&facts.beneficiary, &facts.purchaser]
        .into_iter()
        .filter_map(|party| owner_partition(party.tenant_id?, party.object_id))
        .collect()
}

/// Whether the index row says what the subscription says; for the reconciliation.
pub async fn index_is_current(app: &App, row: &Subscription) -> Result<bool, StoreError> {
    let found = store::load::<Summary>(&*app.rows, INDEX, ALL, &index_key(row.first_seen, row.id)).await?;
    if found.is_none_or(|(found, _)| found != summary(row)) {
        return Ok(false);
    }
    for owner in owners(&row.facts) {
        if app.rows.get(INDEX, &owner, &row.id.to_string()).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ids of the subscriptions of a person's tenant, or of the person where the account is personal.
pub async fn owned(
    app: &App,
    tenant: TenantId,
    object: crate::foundation::ids::ObjectId,
    after: Option<SubscriptionId>,
    limit: usize,
) -> Result<(Vec<SubscriptionId>, bool), StoreError> {
    let Some(partition) = owner_partition(tenant, Some(object)) else { return Ok((Vec::new(), false)) };
    let range = after.map_or_else(RowRange::all, |after| RowRange::all().after(&after.to_string()));
    let page = app.rows.query(INDEX, &partition, &range, limit).await?;
    Ok((page.rows.iter().filter_map(|row| row.key.parse().ok()).collect(), page.more))
}

/// A page of summaries, newest first, behind the key `after`. With each summary comes its key.
pub async fn summaries(
    app: &App,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Summary)>, bool), StoreError> {
    let range = after.map_or_else(RowRange::all, |after| RowRange::all().after(after));
    let Page { rows, more } = app.rows.query(INDEX, ALL, &range, limit).await?;
    Ok((rows.iter().map(|row| Ok((row.key.clone(), decode(row)?))).collect::<Result<_, StoreError>>()?, more))
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

pub async fn log_webhook(app: &App, entry: &LogEntry) -> Result<(), StoreError> {
    let key = format!("{}:{}", newest_first(entry.received), entry.operation);
    app.rows.write(LOG, &day(entry.received), vec![Write::upsert(key, entry)?]).await.map(drop)
}

/// The webhooks of a day, newest first.
pub async fn webhooks(app: &App, day: &str, limit: usize) -> Result<(Vec<LogEntry>, bool), StoreError> {
    let page = app.rows.query(LOG, day, &RowRange::all(), limit).await?;
    Ok((page.rows.iter().map(decode).collect::<Result<_, _>>()?, page.more))
}
