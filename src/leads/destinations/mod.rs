//! Where leads are forwarded to: one small trait, one file for each system.

mod configured;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use configured::{Configured, Destinations};

use super::model::lead::Lead;

/// What a destination made of a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id there; given back with the next delivery of the same lead. Empty where there is none (mail, Teams).
    pub id: String,
    /// Where a person can see it there.
    pub link: Option<String>,
}

/// Why a delivery did not succeed. The text holds nothing of the person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It passes: throttled, unreachable, failing. `after`: what the system asked for.
    #[error("{said}")]
    Later { said: String, after: Option<Duration> },
    /// Somebody has to mend the settings or the mapping before trying again helps.
    #[error("{said}")]
    Refused { said: String },
}

/// A system that takes leads. Deliveries may come twice: where the system can, the second one updates what the first
/// one made.
#[async_trait]
pub trait Destination: fmt::Debug + Send + Sync {
    /// Hands over the lead as it is now. `before`: what the last successful delivery of this lead gave back.
    async fn deliver(&self, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError>;
}
