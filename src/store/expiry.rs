//! Rows that are over at a known time: sessions, half-finished sign-ins, visits. Each leaves a line under the hour of its
//! end, and the daily timer removes what those lines name. A line without its row does no harm.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{RowRange, RowStore, StoreError, Table, Write, load};

/// Partition: the hour, as `2026-11-20:06`. Row: `<table>:<partition>`; the row removed there has the key [`KEY`].
/// In the partition `cursor`, the row [`KEY`] holds the time up to which everything has been removed.
const ENDS: Table = Table("Ends");
const CURSOR: &str = "cursor";
/// The one row key in partitions that expire as a whole.
pub const KEY: &str = "it";
/// Tables whose rows may expire. A line that names another one is left alone.
const TABLES: [Table; 6] = [
    Table("Sessions"),
    Table("SignIns"),
    Table("Visits"),
    Table("AiCaptures"),
    Table("MediaLinks"),
    Table("MediaRequests"),
];
/// How far back the first run looks.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(72);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The hour of a time, as a partition: `2026-11-20:06`.
pub fn hour(at: Timestamp) -> String {
    at.to_string().chars().take(13).collect::<String>().replace('T', ":")
}

/// Writes a row that will be removed some time after `end`. Readers check the end themselves.
pub async fn insert(
    rows: &dyn RowStore,
    table: Table,
    partition: &str,
    body: String,
    end: Timestamp,
) -> Result<(), StoreError> {
    debug_assert!(TABLES.contains(&table));
    let line = format!("{}:{partition}", table.0);
    rows.write(ENDS, &hour(end), vec![Write::upsert(line, &())?]).await?;
    rows.write(table, partition, vec![Write::Insert { key: KEY.into(), body }]).await.map(drop)
}

/// The partitions of a table that end within `life` from now.
pub async fn live(
    rows: &dyn RowStore,
    table: Table,
    now: Timestamp,
    life: SignedDuration,
) -> Result<Vec<String>, StoreError> {
    let (mut at, mut found) = (now, Vec::new());
    while at <= now + life + HOUR {
        let lines = super::scan(rows, ENDS, &hour(at), RowRange::prefix(&format!("{}:", table.0))).await?;
        found.extend(lines.into_iter().filter_map(|line| Some(line.key.split_once(':')?.1.to_owned())));
        at += HOUR;
    }
    Ok(found)
}

/// Removes what ended before the current hour; gives how many lines that were. Goes on where the last run stopped, so a
/// run that was cut short, or a downtime, leaves nothing behind.
pub async fn purge(rows: &dyn RowStore, now: Timestamp) -> Result<usize, StoreError> {
    let cursor = load::<Timestamp>(rows, ENDS, CURSOR, KEY).await?.map(|(cursor, _)| cursor);
    let (mut at, mut removed) = (cursor.unwrap_or(now - FIRST_LOOK), 0);
    while hour(at) < hour(now) {
        removed += purge_hour(rows, &hour(at)).await?;
        at += HOUR;
        rows.write(ENDS, CURSOR, vec![Write::upsert(KEY, &at)?]).await?;
    }
    Ok(removed)
}

async fn purge_hour(rows: &dyn RowStore, hour: &str) -> Result<usize, StoreError> {
    let mut removed = 0;
    loop {
        let page = rows.query(ENDS, hour, &RowRange::all(), 50).await?;
        if page.rows.is_empty() {
            return Ok(removed);
        }
        let named = page.rows.iter().filter_map(|line| {
            let (name, partition) = line.key.split_once(':')?;
            Some((TABLES.into_iter().find(|table| table.0 == name)?, partition))
        });
        let deletions = named.map(|(table, partition)| {
            rows.write(table, partition, vec![Write::Delete { key: KEY.into(), etag: None }])
        });
        join_all(deletions).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        removed += page.rows.len();
        let lines = page.rows.into_iter().map(|line| Write::Delete { key: line.key, etag: Some(line.etag) });
        rows.write(ENDS, hour, lines.collect()).await?;
    }
}
