//! What others ask of the books for whole months: the events of a resource, and what Microsoft had booked of a day when it
//! was last asked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::look::{MeteringError, TRIES, overtaken};
use super::terms;
use crate::app::App;
use crate::metering::client::DayUsage;
use crate::metering::model::event::UsageEvent;
use crate::metering::model::hour::Hour;
use crate::metering::model::resource::Resource;
use crate::metering::repo;
use crate::store::{MAX_BATCH, StoreError, Write, decode, encode};

/// The row that says when a day was read; the last one to be written.
const HEAD: &str = "head";

/// What Microsoft had booked of a day.
#[derive(Debug, Clone)]
pub struct BookedDay {
    /// When it was asked.
    pub read: Timestamp,
    pub rows: Vec<DayUsage>,
}

/// The bookings of a day such as `2026-03-02` as they were last read; None: nobody has asked yet.
pub async fn booked_of(app: &App, day: &str) -> Result<Option<BookedDay>, StoreError> {
    let rows = repo::booked(app, day).await?;
    let Some(head) = rows.iter().find(|row| row.key == HEAD) else { return Ok(None) };
    let listed = rows.iter().filter(|row| row.key != HEAD).map(decode).collect::<Result<_, _>>()?;
    Ok(Some(BookedDay { read: decode(head)?, rows: listed }))
}

/// Keeps what Microsoft lists of a day, instead of what was kept before. Only what has changed is written.
pub(super) async fn keep_booked(app: &App, day: &str, read: Timestamp, rows: &[DayUsage]) -> Result<(), MeteringError> {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let bare = bare_key(row);
        // Microsoft may list one thing more than once; that is worth seeing.
        let key = (0..).map(|number| format!("row:{bare}:{number}")).find(|key| !wanted.contains_key(key));
        if let Some(key) = key {
            wanted.insert(key, encode(row)?);
        }
    }
    for _ in 0..TRIES {
        match replace(app, day, read, wanted.clone()).await {
            Err(error) if overtaken(&error) => {}
            done => return Ok(done?),
        }
    }
    Err(MeteringError::Contention(day.to_owned()))
}

fn bare_key(row: &DayUsage) -> String {
    // An address of a managed application is longer than a key may be.
    let resource = Resource::uri(&row.resource).map_or_else(|_| repo::key_text(&row.resource), |uri| uri.key());
    format!("{resource}:{}:{}", repo::key_text(&row.dimension), repo::key_text(&row.plan))
}

async fn replace(
    app: &App,
    day: &str,
    read: Timestamp,
    mut wanted: BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    for row in repo::booked(app, day).await?.into_iter().filter(|row| row.key != HEAD) {
        writes.extend(match wanted.remove(&row.key) {
            Some(body) if body == row.body => None,
            Some(body) => Some(Write::Replace { key: row.key, body, etag: row.etag }),
            None => Some(Write::Delete { key: row.key, etag: Some(row.etag) }),
        });
    }
    writes.extend(wanted.into_iter().map(|(key, body)| Write::Insert { key, body }));
    for batch in writes.chunks(MAX_BATCH) {
        repo::write_booked(app, day, batch.to_vec()).await?;
    }
    repo::write_booked(app, day, vec![Write::upsert(HEAD, &read)?]).await
}

/// The resources with events on any of these days.
pub async fn resources_between(app: &App, days: impl Iterator<Item = String>) -> Result<Vec<Resource>, StoreError> {
    let mut found = BTreeSet::new();
    for day in days {
        found.extend(repo::resources_of_day(app, &day).await?);
    }
    Ok(found.into_iter().collect())
}

/// A resource's usage events of the hours in `[from, to)`, oldest first.
pub async fn events_between(
    app: &App,
    resource: &Resource,
    from: Hour,
    to: Hour,
) -> Result<Vec<UsageEvent>, StoreError> {
    repo::events(app, &resource.key(), from, to).await
}

/// The resource in whose ledger the usage of a name of Microsoft's stands: a managed application has two.
pub async fn named(app: &App, name: &str) -> Result<Option<Resource>, StoreError> {
    let resource = match (Resource::uri(name), uuid::Uuid::try_parse(name)) {
        (Ok(uri), _) => uri,
        (_, Ok(id)) => Resource::UsageId(id),
        _ => return Ok(None),
    };
    let of = terms::canonical(app, &resource).await?;
    Ok((of != resource).then_some(of))
}
