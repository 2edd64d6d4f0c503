//! Rows of callbacks.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `CallbackEndpoints` | owner | endpoint | an endpoint with its secrets |
//! | `CallbackEvents` | owner | newest first | an event |
//! | `CallbackDeliveries` | endpoint | newest event first | an event on its way to the endpoint |
//! | `CallbackOpen` | last digit of an id | time due `:` event `:` endpoint | what is not over: events not fanned out, deliveries waiting, events being recovered |
//! | `CallbackEnds` | hour | owner `:` event | events whose end comes then |
//! | | `cursor` | `cursor` | up to which hour they were looked at |
//!
//! A line in `CallbackOpen` is written before the row that it is for says so, and removed after; so a line may be too many
//! and is never missing. It stands under the time at which its row is due: looking at what is overdue reads no other line.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::model::delivery::Delivery;
use super::model::endpoint::Endpoint;
use super::model::event::{Event, Owner};
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::ids::{EndpointId, EventId};
use crate::store::ends::Ends;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write, newest_id_first, oldest_first};

const ENDPOINTS: Table = Table("CallbackEndpoints");
const EVENTS: Table = Table("CallbackEvents");
const DELIVERIES: Table = Table("CallbackDeliveries");
const OPEN: Table = Table("CallbackOpen");
pub const ENDS: Ends = Ends(Table("CallbackEnds"));
/// Lines of one partition that one look takes; the next look takes the others.
const MOST_OVERDUE: usize = 500;

async fn page<T: DeserializeOwned>(
    app: &App,
    table: Table,
    partition: &str,
    after: Option<&EventId>,
    limit: usize,
) -> Result<(Vec<T>, bool), StoreError> {
    let range = RowRange::all();
    let range = after.map_or(range.clone(), |after| range.after(&newest_id_first(after.as_str())));
    let page = app.rows.query(table, partition, &range, limit).await?;
    Ok((page.rows.iter().map(store::decode).collect::<Result<_, _>>()?, page.more))
}

pub async fn endpoints(app: &App, owner: &Owner) -> Result<Vec<Endpoint>, StoreError> {
    store::scan(&*app.rows, ENDPOINTS, &owner.to_string(), RowRange::all()).await?.iter().map(store::decode).collect()
}

pub async fn endpoint(app: &App, owner: &Owner, id: &EndpointId) -> Result<Option<(Endpoint, Etag)>, StoreError> {
    store::load(&*app.rows, ENDPOINTS, &owner.to_string(), id.as_str()).await
}

pub async fn create_endpoint(app: &App, endpoint: &Endpoint) -> Result<(), StoreError> {
    let row = Write::insert(endpoint.id.as_str(), endpoint)?;
    app.rows.write(ENDPOINTS, &endpoint.owner.to_string(), vec![row]).await.map(drop)
}

/// Fails with [`StoreError::Precondition`] when somebody else has written it since.
pub async fn save_endpoint(app: &App, endpoint: &Endpoint, etag: Etag) -> Result<Etag, StoreError> {
    store::replace(&*app.rows, ENDPOINTS, &endpoint.owner.to_string(), endpoint.id.to_string(), endpoint, etag).await
}

pub async fn forget_endpoint(app: &App, owner: &Owner, id: &EndpointId) -> Result<(), StoreError> {
    let row = Write::Delete { key: id.to_string(), etag: None };
    app.rows.write(ENDPOINTS, &owner.to_string(), vec![row]).await.map(drop)
}

/// Names a new event, whose end is written down first. Fails with [`StoreError::AlreadyExists`] when it is known.
pub async fn create_event(app: &App, event: &Event) -> Result<(), StoreError> {
    ENDS.list(&*app.rows, format!("{}:{}", event.owner, event.id), event.ends).await?;
    let row = Write::insert(newest_id_first(event.id.as_str()), event)?;
    app.rows.write(EVENTS, &event.owner.to_string(), vec![row]).await.map(drop)
}

pub async fn event(app: &App, owner: &Owner, id: &EventId) -> Result<Option<(Event, Etag)>, StoreError> {
    store::load(&*app.rows, EVENTS, &owner.to_string(), &newest_id_first(id.as_str())).await
}

pub async fn save_event(app: &App, event: &Event, etag: Etag) -> Result<Etag, StoreError> {
    store::replace(&*app.rows, EVENTS, &event.owner.to_string(), newest_id_first(event.id.as_str()), event, etag).await
}

/// Newest first, behind `after`; `true`: there may be more.
pub async fn events(
    app: &App,
    owner: &Owner,
    after: Option<&EventId>,
    limit: usize,
) -> Result<(Vec<Event>, bool), StoreError> {
    page(app, EVENTS, &owner.to_string(), after, limit).await
}

/// Removes an event whose end has come, with its deliveries; the event goes last, since it names them. An event that was
/// announced once more meanwhile has a later end, and a line there.
pub async fn forget_event(app: &App, owner: &Owner, id: &EventId) -> Result<(), StoreError> {
    let ended = event(app, owner, id).await?.filter(|(event, _)| event.ends <= app.clock.now());
    let Some((event, _)) = ended else { return Ok(()) };
    let key = newest_id_first(id.as_str());
    let gone = || vec![Write::Delete { key: key.clone(), etag: None }];
    try_join_all(event.to.iter().map(|endpoint| app.rows.write(DELIVERIES, endpoint.as_str(), gone()))).await?;
    app.rows.write(EVENTS, &owner.to_string(), gone()).await.map(drop)
}

pub async fn create_delivery(app: &App, delivery: &Delivery) -> Result<(), StoreError> {
    let row = Write::insert(newest_id_first(delivery.event.as_str()), delivery)?;
    app.rows.write(DELIVERIES, delivery.endpoint.as_str(), vec![row]).await.map(drop)
}

pub async fn delivery(
    app: &App,
    endpoint: &EndpointId,
    event: &EventId,
) -> Result<Option<(Delivery, Etag)>, StoreError> {
    store::load(&*app.rows, DELIVERIES, endpoint.as_str(), &newest_id_first(event.as_str())).await
}

pub async fn save_delivery(app: &App, delivery: &Delivery, etag: Etag) -> Result<Etag, StoreError> {
    store::replace(
        &*app.rows,
        DELIVERIES,
        delivery.endpoint.as_str(),
        newest_id_first(delivery.event.as_str()),
        delivery,
        etag,
    )
    .await
}

/// Newest first, behind `after`; `true`: there may be more.
pub async fn deliveries(
    app: &App,
    endpoint: &EndpointId,
    after: Option<&EventId>,
    limit: usize,
) -> Result<(Vec<Delivery>, bool), StoreError> {
    page(app, DELIVERIES, endpoint.as_str(), after, limit).await
}

/// What is not over: an event to fan out (no endpoint), a delivery, or events to recover (no event).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub owner: Owner,
    pub event: Option<EventId>,
    pub endpoint: Option<EndpointId>,
    pub due: Timestamp,
}

impl Open {
    pub fn event(event: &Event) -> Self {
        Self { owner: event.owner, event: Some(event.id.clone()), endpoint: None, due: event.announced() }
    }

    pub fn delivery(owner: &Owner, delivery: &Delivery) -> Self {
        let (event, endpoint) = (Some(delivery.event.clone()), Some(delivery.endpoint.clone()));
        Self { owner: *owner, event, endpoint, due: delivery.due }
    }

    pub fn recovery(owner: &Owner, endpoint: &EndpointId, due: Timestamp) -> Self {
        Self { owner: *owner, event: None, endpoint: Some(endpoint.clone()), due }
    }

    /// Spreads the lines over sixteen partitions.
    fn partition(&self) -> String {
        let id = self.event.as_ref().map(EventId::as_str).or(self.endpoint.as_ref().map(EndpointId::as_str));
        id.and_then(|id| id.get(id.len() - 1..)).unwrap_or("0").to_owned()
    }

    fn key(&self) -> String {
        let event = self.event.as_ref().map_or("-", EventId::as_str);
        let endpoint = self.endpoint.as_ref().map_or("-", EndpointId::as_str);
        format!("{}:{event}:{endpoint}", oldest_first(self.due))
    }
}

pub async fn open(app: &App, line: &Open) -> Result<(), StoreError> {
    app.rows.write(OPEN, &line.partition(), vec![Write::upsert(line.key(), line)?]).await.map(drop)
}

pub async fn close(app: &App, line: &Open) -> Result<(), StoreError> {
    app.rows.write(OPEN, &line.partition(), vec![Write::Delete { key: line.key(), etag: None }]).await.map(drop)
}

/// What was due before a time and is still open, the longest overdue first.
pub async fn overdue(app: &App, before: Timestamp) -> Result<Vec<Open>, StoreError> {
    let range = RowRange { from: String::new(), to: Some(oldest_first(before)) };
    let pages = "0123456789abcdef".chars().map(|digit| {
        let range = &range;
        async move { app.rows.query(OPEN, &digit.to_string(), range, MOST_OVERDUE).await }
    });
    let pages = try_join_all(pages).await?;
    pages.iter().flat_map(|page| &page.rows).map(store::decode).collect()
}

/// The event that a line of [`ENDS`] names.
pub fn ended(line: &str) -> Option<(Owner, EventId)> {
    let (owner, id) = line.split_once(':')?;
    Some((owner.parse().ok()?, id.parse().ok()?))
}

/// Takes a person out of the endpoints, events and deliveries of an owner.
pub async fn erase(app: &App, owner: &Owner, erasure: &Erasure) -> Result<usize, StoreError> {
    let mut changed = 0;
    for endpoint in endpoints(app, owner).await? {
        changed += store::erase(&*app.rows, DELIVERIES, endpoint.id.as_str(), RowRange::all(), erasure).await?;
    }
    for table in [ENDPOINTS, EVENTS] {
        changed += store::erase(&*app.rows, table, &owner.to_string(), RowRange::all(), erasure).await?;
    }
    Ok(changed)
}
