//! The row store: the house's only place for state.
//!
//! The trait is as narrow as what Azure Table Storage promises: rows addressed by table, partition and row key;
//! conditional writes by ETag; batches within one partition; range scans within one partition. There is no filter by
//! value and no transaction across partitions: another order is an index row, and what spans partitions is repaired
//! by a reconciler. [`contract`] states each promise once and runs on every implementation.
//!
//! What it does not own: what the rows mean. Each capability's `repo.rs` has its own tables and keys.

mod azure;
pub mod contract;
mod database;
mod embedded;
pub mod ends;
pub mod expiry;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::foundation::erasure::Erasure;

pub use azure::AzureRows;
pub use database::{Database, OpenError};
pub use embedded::EmbeddedRows;

/// A table's name: letters and digits, as Azure wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table(pub &'static str);

/// Changes with every write of a row; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub String);

/// A stored row. `body` is JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    pub etag: Etag,
    pub body: String,
}

/// One write. A batch of them is all or nothing.
#[derive(Debug, Clone)]
pub enum Write {
    /// Fails with [`StoreError::AlreadyExists`] when the row is there.
    Insert { key: String, body: String },
    /// Fails with [`StoreError::Precondition`] when the row is not there or was written since.
    Replace { key: String, body: String, etag: Etag },
    /// Writes whatever was there before.
    Upsert { key: String, body: String },
    /// With an ETag: fails with [`StoreError::Precondition`] when the row is gone or was written since. Without: a
    /// row that is not there is no failure. Only a single write may leave the ETag out.
    Delete { key: String, etag: Option<Etag> },
}

impl Write {
    pub fn key(&self) -> &str {
        match self {
            Self::Insert { key, .. }
            | Self::Replace { key, .. }
            | Self::Upsert { key, .. }
            | Self::Delete { key, .. } => key,
        }
    }

    pub fn body(&self) -> Option<&str> {
        match self {
            Self::Insert { body, .. } | Self::Replace { body, .. } | Self::Upsert { body, .. } => Some(body),
            Self::Delete { .. } => None,
        }
    }

    pub fn insert(key: impl Into<String>, value: &impl Serialize) -> Result<Self, StoreError> {
        Ok(Self::Insert { key: key.into(), body: encode(value)? })
    }

    pub fn replace(key: impl Into<String>, value: &impl Serialize, etag: Etag) -> Result<Self, StoreError> {
        Ok(Self::Replace { key: key.into(), body: encode(value)?, etag })
    }

    pub fn upsert(key: impl Into<String>, value: &impl Serialize) -> Result<Self, StoreError> {
        Ok(Self::Upsert { key: key.into(), body: encode(value)? })
    }
}

/// Which rows of a partition: `from` inclusive to `to` exclusive, in the byte order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    pub from: String,
    pub to: Option<String>,
}

impl RowRange {
    pub fn all() -> Self {
        Self { from: String::new(), to: None }
    }

    /// Rows whose key begins with `prefix`, which must end in a character below `~`.
    pub fn prefix(prefix: &str) -> Self {
        Self { from: prefix.to_owned(), to: Some(format!("{prefix}~")) }
    }

    /// The rest of this range behind a key.
    #[must_use]
    pub fn after(&self, key: &str) -> Self {
        // The lowest allowed character is `!`-like; a blank is below every character of the alphabet.
        Self { from: format!("{key} "), to: self.to.clone() }
    }
}

/// Part of a range. `more` tells that rows may follow the last one; a page with `more` is never empty.
#[derive(Debug, Clone)]
pub struct Page {
    pub rows: Vec<Row>,
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the row exists already")]
    AlreadyExists,
    #[error("the row was changed by somebody else")]
    Precondition,
    #[error("`{0}` can not be a key")]
    InvalidKey(String),
    #[error("a row of {size} UTF-16 units is over the limit of {MAX_BODY}")]
    TooLarge { size: usize },
    #[error("a batch has 1 to {MAX_BATCH} writes to different rows, and no delete without an ETag")]
    InvalidBatch,
    #[error("a stored row can not be read: {0}")]
    Corrupt(String),
    /// Passing trouble; the write may or may not have happened.
    #[error("the store is not available: {message}")]
    Unavailable {
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl StoreError {
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), source: None }
    }
}

impl From<StoreError> for crate::foundation::problem::Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => {
                Self::unavailable("store_unavailable", "Our store does not answer at the moment.").caused_by(error)
            }
            StoreError::Precondition | StoreError::AlreadyExists => {
                Self::conflict("changed_meanwhile", "This was changed by somebody else in the meantime.")
                    .remedy("Reload the page and try again.")
                    .caused_by(error)
            }
            // Only what came from outside, such as an edited address, can have such a form.
            StoreError::InvalidKey(_) => Self::not_found().caused_by(error),
            other => Self::internal(other),
        }
    }
}

/// Azure's limits: 100 writes in a batch; 1 MiB in an entity, whose strings count as UTF-16; 1 KiB in a key.
pub const MAX_BATCH: usize = 100;
pub const MAX_BODY: usize = 480 * 1024;
pub const MAX_KEY: usize = 400;

#[async_trait]
pub trait RowStore: Send + Sync + std::fmt::Debug {
    async fn get(&self, table: Table, partition: &str, key: &str) -> Result<Option<Row>, StoreError>;

    /// Up to `limit` rows (1 to 1,000) in key order.
    async fn query(&self, table: Table, partition: &str, range: &RowRange, limit: usize) -> Result<Page, StoreError>;

    /// 1 to 100 writes in one partition, all or nothing. The new ETags in order (a deleted row's is empty).
    async fn write(&self, table: Table, partition: &str, writes: Vec<Write>) -> Result<Vec<Etag>, StoreError>;

    /// Makes sure that what was overwritten or deleted can not be read from the store's own files either. Azure promises
    /// that by itself.
    async fn forget(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether the store answers, for the readiness probe.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Reads a row's body as a value of ours.
pub fn decode<T: DeserializeOwned>(row: &Row) -> Result<T, StoreError> {
    serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt(format!("{}: {error}", row.key)))
}

/// A value of ours as a row's body.
pub fn encode(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A time as a part of a key: the later, the smaller, so that the newest row comes first.
pub fn newest_first(at: jiff::Timestamp) -> String {
    format!("{:016}", 9_999_999_999_999_999 - at.as_microsecond().clamp(0, 9_999_999_999_999_999))
}

/// A time as a part of a key: sorts as text as the times do.
pub fn oldest_first(at: jiff::Timestamp) -> String {
    format!("{:016}", at.as_microsecond().max(0))
}

/// An id of ours as a row key: they begin with their time, and the newest row comes first.
pub fn newest_id_first(id: &str) -> String {
    let (_, tail) = id.split_once('_').unwrap_or(("", id));
    tail.chars().map(|c| c.to_digit(16).and_then(|digit| char::from_digit(15 - digit, 16)).unwrap_or(c)).collect()
}

/// All rows of a range, however many pages they are.
pub async fn scan(
    store: &dyn RowStore,
    table: Table,
    partition: &str,
    mut range: RowRange,
) -> Result<Vec<Row>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = store.query(table, partition, &range, 1000).await?;
        let last = page.rows.last().map(|row| row.key.clone());
        found.extend(page.rows);
        match last {
            Some(last) if page.more => range = range.after(&last),
            _ => return Ok(found),
        }
    }
}

/// A row as a value together with its ETag.
pub async fn load<T: DeserializeOwned>(
    store: &dyn RowStore,
    table: Table,
    partition: &str,
    key: &str,
) -> Result<Option<(T, Etag)>, StoreError> {
    store.get(table, partition, key).await?.map(|row| Ok((decode(&row)?, row.etag))).transpose()
}

/// Writes a row over the version that was read. Fails with [`StoreError::Precondition`] when somebody else has written it
/// since.
pub async fn replace(
    store: &dyn RowStore,
    table: Table,
    partition: &str,
    key: impl Into<String>,
    value: &impl Serialize,
    etag: Etag,
) -> Result<Etag, StoreError> {
    let etags = store.write(table, partition, vec![Write::replace(key, value, etag)?]).await?;
    etags.into_iter().next().ok_or_else(|| StoreError::unavailable("no ETag came back"))
}

/// Takes a person out of the rows of a range; gives how many it was found in. A row that others write meanwhile is read
/// again.
pub async fn erase(
    store: &dyn RowStore,
    table: Table,
    partition: &str,
    range: RowRange,
    erasure: &Erasure,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for row in scan(store, table, partition, range).await? {
        let mut found = Some(row);
        while let Some(Row { key, etag, body }) = found.take() {
            let Some(body) = erasure.json(&body) else { break };
            match store.write(table, partition, vec![Write::Replace { key: key.clone(), body, etag }]).await {
                Ok(_) => changed += 1,
                Err(StoreError::Precondition) => found = store.get(table, partition, &key).await?,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(changed)
}

/// Refuses what Azure refuses (or silently loses): keys outside the alphabet, oversized rows, malformed batches.
/// Every implementation calls it first, so that a laptop is as strict as the cloud.
fn check_writes(partition: &str, writes: &[Write]) -> Result<(), StoreError> {
    check_key(partition)?;
    if writes.is_empty() || writes.len() > MAX_BATCH {
        return Err(StoreError::InvalidBatch);
    }
    let mut keys = std::collections::HashSet::new();
    for write in writes {
        check_key(write.key())?;
        if !keys.insert(write.key()) || (writes.len() > 1 && matches!(write, Write::Delete { etag: None, .. })) {
            return Err(StoreError::InvalidBatch);
        }
        let size = write.body().map_or(0, |body| body.encode_utf16().count());
        if size > MAX_BODY {
            return Err(StoreError::TooLarge { size });
        }
    }
    Ok(())
}

/// Ends of ranges may also have a blank or `~`, which no key has. They reach Azure inside a filter expression.
fn check_range(range: &RowRange) -> Result<(), StoreError> {
    for end in [Some(&range.from), range.to.as_ref()].into_iter().flatten() {
        let bare = end.trim_end_matches(['~', ' ']);
        if !bare.is_empty() {
            check_key(bare)?;
        }
    }
    Ok(())
}

/// The key alphabet. Azure forbids `/ \ # ?` and control characters; the client library loses keys with quotes and
/// mangles percent signs; blank and `~` are kept free for range ends.
fn check_key(key: &str) -> Result<(), StoreError> {
    let fine = !key.is_empty()
        && key.len() <= MAX_KEY
        && key.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'@' | b'|' | b'=' | b'+' | b',')
        });
    if fine { Ok(()) } else { Err(StoreError::InvalidKey(key.chars().take(40).collect())) }
}
