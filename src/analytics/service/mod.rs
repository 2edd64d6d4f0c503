//! The verbs: keep Microsoft asked, take files in, answer questions.

pub mod answers;
pub mod export;
pub mod fetch;
pub mod file;
pub mod held;
pub mod import;
pub mod ingest;
pub mod lake;
pub mod mails;
pub mod now;
pub mod pull;
pub mod questions;
pub mod rows;
pub mod status;
pub mod subjects;

use super::model::piece::Damaged;
use crate::blobs::BlobError;
use crate::foundation::problem::Problem;
use crate::fulfillment::ApiError;
use crate::queue::QueueError;
use crate::store::StoreError;

/// Where raw files and the lake are.
pub const CONTAINER: &str = "analytics";

#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// What was asked can not be answered; the field and the reason.
    #[error("{reason}")]
    Asked { field: &'static str, reason: String },
    /// Somebody else wrote the same rows again and again.
    #[error("others are at work on {0}")]
    Contention(String),
    #[error("a worker thread ended: {0}")]
    Worker(String),
    #[error("a file of the lake can not be written: {0}")]
    Lake(#[from] parquet::errors::ParquetError),
}

impl From<AnalyticsError> for Problem {
    fn from(error: AnalyticsError) -> Self {
        match error {
            AnalyticsError::Store(error) => error.into(),
            AnalyticsError::Asked { field, reason } => Self::bad_request("invalid_question", reason).field(field),
            AnalyticsError::Api(error) => {
                Self::unavailable("analytics_unavailable", "Microsoft's analytics API does not answer as it should.")
                    .caused_by(error)
            }
            AnalyticsError::Contention(_) => {
                Self::conflict("changed_meanwhile", "This was changed by somebody else in the meantime.")
                    .remedy("Try again.")
                    .caused_by(error)
            }
            AnalyticsError::Blobs(BlobError::Unavailable { .. }) | AnalyticsError::Queue(_) => {
                Self::unavailable("store_unavailable", "Our store does not answer at the moment.").caused_by(error)
            }
            other => Self::internal(other),
        }
    }
}
