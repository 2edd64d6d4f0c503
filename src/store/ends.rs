//! What ends at a known time and takes more than a row with it: blobs, other rows. Each leaves a line under the hour after
//! its end, in a table of its owner's; the owner's timer walks over the hours and decides what a line means.
//! Rows that simply go are in [`super::expiry`].

use jiff::{SignedDuration, Timestamp};

use super::expiry::hour;
use super::{RowRange, RowStore, StoreError, Table, Write, load, scan};

/// Partition and row of the time up to which the hours were walked over.
const CURSOR: &str = "cursor";
/// How far back the first walk begins.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(48);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Partition: the hour, as `2026-11-20:06`, in which a line is looked at first. Row: the line.
#[derive(Debug, Clone, Copy)]
pub struct Ends(pub Table);

impl Ends {
    /// Writes a line down, before what it names is there: so nothing is kept for ever.
    pub async fn list(self, rows: &dyn RowStore, line: String, end: Timestamp) -> Result<(), StoreError> {
        rows.write(self.0, &hour(end + HOUR), vec![Write::upsert(line, &())?]).await.map(drop)
    }

    /// Begins where the last walk stopped, so a downtime leaves nothing behind.
    pub async fn walk(self, rows: &dyn RowStore, now: Timestamp) -> Result<Walk<'_>, StoreError> {
        let at = load::<Timestamp>(rows, self.0, CURSOR, CURSOR).await?.map(|(at, _)| at);
        Ok(Walk { ends: self, rows, now, at: at.unwrap_or(now - FIRST_LOOK), begun: false })
    }
}

/// A walk over the hours up to now.
#[derive(Debug)]
pub struct Walk<'a> {
    ends: Ends,
    rows: &'a dyn RowStore,
    now: Timestamp,
    at: Timestamp,
    begun: bool,
}

impl Walk<'_> {
    /// The lines of the next hour; None at the end. The one before is over with then; the current hour is looked at again
    /// by the next walk, because lines may still be added to it.
    pub async fn hour(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        if self.begun {
            if self.at + HOUR > self.now {
                return Ok(None);
            }
            self.at += HOUR;
            self.rows.write(self.ends.0, CURSOR, vec![Write::upsert(CURSOR, &self.at)?]).await?;
        }
        self.begun = true;
        let lines = scan(self.rows, self.ends.0, &hour(self.at), RowRange::all()).await?;
        Ok(Some(lines.into_iter().map(|row| row.key).collect()))
    }

    /// Takes a line of this hour off.
    pub async fn done(&self, line: String) -> Result<(), StoreError> {
        let row = Write::Delete { key: line, etag: None };
        self.rows.write(self.ends.0, &hour(self.at), vec![row]).await.map(drop)
    }
}
