//! Blobs: larger pieces of bytes by container and name, written whole or piece by piece, replaced conditionally, read in
//! ranges.
//! Shaped by what Azure Blob Storage promises; [`contract`] states it once for both backends.

mod azure;
pub mod contract;
mod embedded;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

pub use azure::AzureBlobs;
pub use embedded::EmbeddedBlobs;

/// When a blob may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// Only where no blob is.
    Absent,
    /// Only over the version with this ETag.
    Match(String),
}

/// What somebody may do who holds a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    /// Write it whole, with `PUT` and the header `x-ms-blob-type: BlockBlob`, or block by block.
    Create,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    pub name: String,
    /// In bytes.
    pub length: u64,
    pub content_type: String,
    pub etag: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the blob's condition does not hold: it exists, is gone, or was written since")]
    Precondition,
    #[error("`{0}` can not name a blob")]
    InvalidName(String),
    #[error("the blob store is not available: {message}")]
    Unavailable {
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

#[async_trait]
pub trait Blobs: Send + Sync + std::fmt::Debug {
    /// Writes a blob whole and gives its ETag. Nobody ever sees half of it.
    async fn put(
        &self,
        container: &str,
        name: &str,
        content_type: &str,
        data: Bytes,
        condition: Condition,
    ) -> Result<String, BlobError>;

    /// Begins a blob that is too large to be held in memory; it takes the place of what was there when it is finished.
    async fn create(&self, container: &str, name: &str, content_type: &str) -> Result<Box<dyn BlobWriter>, BlobError>;

    async fn info(&self, container: &str, name: &str) -> Result<Option<BlobInfo>, BlobError>;

    /// The bytes of `range`, cut to what the blob has; None when there is no blob.
    async fn get(&self, container: &str, name: &str, range: Range<u64>) -> Result<Option<Bytes>, BlobError>;

    /// A blob that is not there is no failure.
    async fn delete(&self, container: &str, name: &str) -> Result<(), BlobError>;

    /// An address by which somebody without any key of ours may use this one blob until a time (AI services contract 5.5).
    /// None: this store has no addresses of its own.
    async fn link(
        &self,
        container: &str,
        name: &str,
        access: Access,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, BlobError>;

    /// Up to `limit` blobs whose names begin with `prefix` and lie behind `after`, in name order.
    async fn list(&self, container: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<BlobInfo>, BlobError>;
}

/// A blob on its way in. Nobody sees it before it is finished; one that is dropped leaves nothing.
#[async_trait]
pub trait BlobWriter: Send {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError>;

    /// Makes it durable and visible.
    async fn finish(self: Box<Self>) -> Result<BlobInfo, BlobError>;
}

/// Names of containers and blobs: path-like, of letters that need no escaping anywhere.
fn check_name(container: &str, name: &str) -> Result<(), BlobError> {
    let container_fine = (3..=40).contains(&container.len())
        && container.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let name_fine = !name.is_empty()
        && name.len() <= 500
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'='))
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.ends_with('.'));
    if container_fine && name_fine { Ok(()) } else { Err(BlobError::InvalidName(format!("{container}/{name}"))) }
}
