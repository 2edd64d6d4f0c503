//! Rows that are over at a known time: sessions, half-finished sign-ins, visits. Each leaves a line under the hour of its
//! end, and the daily timer removes what the lines of the last days name. A line without its row does no harm.

use jiff::{SignedDuration, Timestamp};

use super::{RowRange, RowStore, StoreError, Table, Write};

/// Partition: the hour, as `2026-11-20:06`. Row: `<table>:<partition>`; the row removed there has the key [`KEY`].
const ENDS: Table = Table("Ends");
/// The one row key in partitions that expire as a whole.
pub const KEY: &str = "it";
/// Tables whose rows may expire. A line that names another one is left alone.
const TABLES: [Table; 3] = [Table("Sessions"), Table("SignIns"), Table("Visits")];
/// How far back the timer looks; it runs daily, so a missed day is made up for.
const HOURS: i64 = 72;

fn hour(at: Timestamp) -> String {
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

/// Removes what ended before the current hour; gives how many lines that were.
pub async fn purge(rows: &dyn RowStore, now: Timestamp) -> Result<usize, StoreError> {
    let mut removed = 0;
    for back in 1..=HOURS {
        let hour = hour(now - SignedDuration::from_hours(back));
        loop {
            let page = rows.query(ENDS, &hour, &RowRange::all(), 100).await?;
            for line in &page.rows {
                let named = line.key.split_once(':');
                if let Some((table, partition)) = named
                    .and_then(|(name, partition)| Some((TABLES.into_iter().find(|table| table.0 == name)?, partition)))
                {
                    rows.write(table, partition, vec![Write::Delete { key: KEY.into(), etag: None }]).await?;
                }
                rows.write(ENDS, &hour, vec![Write::Delete { key: line.key.clone(), etag: None }]).await?;
                removed += 1;
            }
            if !page.more {
                break;
            }
        }
    }
    Ok(removed)
}
