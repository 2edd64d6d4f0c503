//! Rows in the embedded database.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::Database;
use super::{Etag, Page, Row, RowRange, RowStore, StoreError, Table, Write, check_key, check_range, check_writes};

#[derive(Debug, Clone)]
pub struct EmbeddedRows {
    database: Database,
}

impl EmbeddedRows {
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl RowStore for EmbeddedRows {
    async fn get(&self, table: Table, partition: &str, key: &str) -> Result<Option<Row>, StoreError> {
        check_key(partition)?;
        check_key(key)?;
        let (partition, key) = (partition.to_owned(), key.to_owned());
        self.database
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT key, etag, body FROM entities WHERE tbl = ?1 AND part = ?2 AND key = ?3")?
                    .query_row(params![table.0, partition, key], row)
                    .optional()
            })
            .await
    }

    async fn query(&self, table: Table, partition: &str, range: &RowRange, limit: usize) -> Result<Page, StoreError> {
        check_key(partition)?;
        check_range(range)?;
        let (partition, range) = (partition.to_owned(), range.clone());
        let limit = limit.clamp(1, 1000);
        let mut rows = self
            .database
            .read(move |connection| {
                // U+10FFFF is above every key of the alphabet.
                let to = range.to.as_deref().unwrap_or("\u{10FFFF}");
                connection
                    .prepare_cached(
                        "SELECT key, etag, body FROM entities WHERE tbl = ?1 AND part = ?2 AND key >= ?3 AND key < ?4 ORDER BY key LIMIT ?5",
                    )?
                    .query_map(params![table.0, partition, range.from, to, limit as i64 + 1], row)?
                    .collect::<rusqlite::Result<Vec<Row>>>()
            })
            .await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { rows, more })
    }

    async fn write(&self, table: Table, partition: &str, writes: Vec<Write>) -> Result<Vec<Etag>, StoreError> {
        check_writes(partition, &writes)?;
        let partition = partition.to_owned();
        let first = self.database.clone();
        let single = writes.len() == 1;
        let work = move |connection: &Connection| {
            writes
                .into_iter()
                .map(|write| apply(connection, table, &partition, write, first.next_etag()))
                .collect::<Result<Vec<_>, StoreError>>()
        };
        if single { self.database.write_single(work).await } else { self.database.write(work).await }
    }

    async fn forget(&self) -> Result<(), StoreError> {
        self.database.fold().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.database.read(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row { key: row.get(0)?, etag: Etag(row.get::<_, i64>(1)?.to_string()), body: row.get(2)? })
}

fn apply(connection: &Connection, table: Table, partition: &str, write: Write, etag: i64) -> Result<Etag, StoreError> {
    let changed = match write {
        Write::Insert { key, body } => {
            let inserted = connection
                .prepare_cached("INSERT INTO entities(tbl, part, key, etag, body) VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING")?
                .execute(params![table.0, partition, key, etag, body])?;
            return if inserted == 1 { Ok(Etag(etag.to_string())) } else { Err(StoreError::AlreadyExists) };
        }
        Write::Upsert { key, body } => connection
            .prepare_cached(
                "INSERT INTO entities(tbl, part, key, etag, body) VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(tbl, part, key) DO UPDATE SET etag = excluded.etag, body = excluded.body",
            )?
            .execute(params![table.0, partition, key, etag, body])?,
        Write::Replace { key, body, etag: seen } => connection
            .prepare_cached("UPDATE entities SET etag = ?4, body = ?5 WHERE tbl = ?1 AND part = ?2 AND key = ?3 AND etag = ?6")?
            .execute(params![table.0, partition, key, etag, body, number(&seen)])?,
        Write::Delete { key, etag: Some(seen) } => connection
            .prepare_cached("DELETE FROM entities WHERE tbl = ?1 AND part = ?2 AND key = ?3 AND etag = ?4")?
            .execute(params![table.0, partition, key, number(&seen)])?,
        Write::Delete { key, etag: None } => {
            connection
                .prepare_cached("DELETE FROM entities WHERE tbl = ?1 AND part = ?2 AND key = ?3")?
                .execute(params![table.0, partition, key])?;
            return Ok(Etag(String::new()));
        }
    };
    if changed == 1 { Ok(Etag(etag.to_string())) } else { Err(StoreError::Precondition) }
}

/// An ETag of ours as its number; a foreign text matches nothing.
fn number(etag: &Etag) -> i64 {
    etag.0.parse().unwrap_or(-1)
}
