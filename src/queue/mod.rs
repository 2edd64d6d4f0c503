//! The message queue: at least once, in no order, with a hiding time after each receipt, as Azure Queue Storage has
//! it. Messages carry ids, not facts, so a lost or doubled one costs time and never money.
//!
//! Trying again, counting and setting aside belong to whoever drives the functions: `host/poller.rs` under `serve`, the
//! Functions host in Azure. What was set aside is looked at and replayed by [`poison`].

mod azure;
pub mod contract;
mod embedded;
pub mod poison;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use azure::AzureQueues;
pub use embedded::EmbeddedQueues;

/// Azure takes 64 KiB of base64; ours are ids, so a quarter is plenty.
pub const MAX_TEXT: usize = 16 * 1024;
/// A queue's name as Azure wants it: lower-case letters, digits and hyphens.
pub type QueueName<'a> = &'a str;

/// A received message; `receipt` proves which receipt it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub receipt: String,
    pub text: String,
    /// How often it has been received, this time included.
    pub dequeue_count: u32,
}

/// A message that was looked at and not received: nobody can delete it by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    pub id: String,
    pub text: String,
    pub inserted: Timestamp,
    /// How often it has been received.
    pub dequeue_count: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("a message of {0} bytes is over the limit of {MAX_TEXT}")]
    TooLarge(usize),
    /// Somebody else has received or deleted the message since.
    #[error("the message is no longer ours")]
    Gone,
    #[error("the queue is not available: {message}")]
    Unavailable {
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl From<QueueError> for crate::foundation::problem::Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable { .. } => {
                Self::unavailable("queue_unavailable", "Our queue does not answer at the moment.").caused_by(error)
            }
            other => Self::internal(other),
        }
    }
}

#[async_trait]
pub trait Queues: Send + Sync + std::fmt::Debug {
    /// Adds a message that can be received after `delay`. Durable when it returns.
    async fn send(&self, queue: QueueName<'_>, text: &str, delay: Duration) -> Result<(), QueueError>;

    /// Up to `max` (1 to 32) messages, hidden from others for `hide`.
    async fn receive(&self, queue: QueueName<'_>, max: usize, hide: Duration) -> Result<Vec<Message>, QueueError>;

    /// Hides the message for `hide` from now (zero: visible at once) and gives its new receipt.
    async fn renew(&self, queue: QueueName<'_>, message: &Message, hide: Duration) -> Result<Message, QueueError>;

    async fn delete(&self, queue: QueueName<'_>, message: &Message) -> Result<(), QueueError>;

    /// Up to `max` (1 to 32) messages that could be received now, the oldest first; nothing is changed by it.
    async fn peek(&self, queue: QueueName<'_>, max: usize) -> Result<Vec<Peeked>, QueueError>;

    /// How many messages there are, hidden and delayed ones included. On Azure approximate.
    async fn depth(&self, queue: QueueName<'_>) -> Result<usize, QueueError>;

    /// Rings when this process has made a message visible, where the backend can tell; a poller then need not wait.
    fn bell(&self) -> Option<Arc<Notify>> {
        None
    }
}
