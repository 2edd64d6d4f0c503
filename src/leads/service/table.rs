//! Leads that Microsoft writes into an Azure Table of the publisher's: found without gaps and taken once.
//!
//! A row is known by its keys alone, and each becomes an arrival that is inserted if absent; so a row may be read by two
//! replicas, or once more after a crash, and is taken once. What was read before is left out by the rows' own times, which
//! are the table service's clock and not ours, with a day's overlap; once a day everything is read.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::arrive::{AFTER_ROW, ours};
use super::{ARRIVALS, ArrivalMessage, send};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::leads::client::{LeadTable, TableRow};
use crate::leads::model::arrival::{Arrival, Channel, LARGEST, Raw, State, table_id};
use crate::leads::repo;
use crate::store::StoreError;

/// Rows whose time is so little before the latest one that was seen are looked at again.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// How often everything is looked at, whatever the rows' times say.
const WHOLE_EVERY: SignedDuration = SignedDuration::from_hours(24);
const AT_ONCE: usize = 16;

/// What a reading came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadTable {
    pub rows: usize,
    pub new: usize,
}

pub async fn read_table(app: &App) -> Result<ReadTable, Problem> {
    let Some(table) = &app.lead_table else { return Ok(ReadTable::default()) };
    let now = app.clock.now();
    let known = repo::table_read(app, table.name()).await?;
    let mut read = known.as_ref().map(|(read, _)| *read).unwrap_or_default();
    // A time in the future is that of a clock that was wrong.
    let whole = read.whole.is_none_or(|last| last > now || now.duration_since(last) >= WHOLE_EVERY);
    let since = read.seen.filter(|_| !whole).map(|seen| seen - OVERLAP);
    let mut result = ReadTable::default();
    let mut pages = std::pin::pin!(table.pages(since));
    while let Some(rows) = pages.next().await {
        let mut rows: Vec<TableRow> = rows.map_err(|error| unreachable(table, error))?;
        result.rows += rows.len();
        read.seen = read.seen.max(rows.iter().filter_map(|row| row.at).max());
        // In the order in which they were written, as far as a page goes.
        rows.sort_by_key(|row| row.at);
        let kept: Vec<_> = rows.iter().map(|row| keep(app, row, now)).collect();
        let kept: Vec<bool> = stream::iter(kept).buffered(AT_ONCE).try_collect().await?;
        result.new += kept.into_iter().filter(|new| *new).count();
    }
    // Only now: whatever ended sooner is read once more.
    if whole {
        read.whole = Some(now);
    }
    match repo::save_table_read(app, table.name(), &read, known.map(|(_, etag)| etag)).await {
        // Another replica has read it meanwhile; the next reading goes on from what it saw.
        Ok(()) | Err(StoreError::Precondition | StoreError::AlreadyExists) => Ok(result),
        Err(error) => Err(error.into()),
    }
}

fn unreachable(table: &LeadTable, error: impl std::error::Error + Send + Sync + 'static) -> Problem {
    let title = format!("The table {} can not be read.", table.name());
    Problem::unavailable("lead_table_unreachable", title).caused_by(error)
}

/// `true`: it is new.
async fn keep(app: &App, row: &TableRow, now: Timestamp) -> Result<bool, Problem> {
    let id = table_id(&row.partition, &row.row);
    if repo::arrival(app, &id).await.map_err(ours)?.is_some() {
        return Ok(false);
    }
    let body = serde_json::to_vec(&row.fields).map_err(Problem::internal)?;
    let arrival = Arrival {
        id: id.clone(),
        channel: Channel::Table,
        offer: String::new(),
        offer_title: String::new(),
        received: row.at.unwrap_or(now),
        kept: now,
        state: State::Pending,
        lead: None,
        // A row of Microsoft's table may be longer than one of ours; such a thing is no lead, and its beginning tells why.
        raw: Raw::of(&body[..body.len().min(LARGEST)]),
    };
    // The message first: whoever dies between the two leaves a row of Microsoft's that is still unknown here.
    send(app, ARRIVALS, &ArrivalMessage { arrival: id }, AFTER_ROW).await;
    repo::keep_arrival(app, &arrival).await.map_err(ours)
}
