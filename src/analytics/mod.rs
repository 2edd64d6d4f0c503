//! Marketplace analytics: Microsoft's seven datasets, pulled, kept with their history, and answered for exact dates.
//!
//! Owns: the client of the programmatic analytics API, the query language, what is asked of Microsoft and when, executions
//! and their files, the rows by day, the lake. Does not own: our own subscriptions, usage and leads (it reads them to
//! compare), pages (`staff`).
//!
//! How data flows: a timer makes sure that each dataset has a daily report at Microsoft and enters the executions that have
//! come; a message takes their files in: into a blob as they came, into pieces of days, and with one conditional batch into
//! the rows of their months, which is all that readers look at. The lake's files are made from what is held. So a run that
//! comes twice, a restatement or a crash never shows half or double. `docs/ANALYTICS.md` tells the whole way.

mod client;
pub mod finance;
pub mod handlers;
pub mod model;
mod repo;
mod saved;
mod service;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use client::AnalyticsClient;
pub use service::AnalyticsError;
pub use service::answers::{Answer, Ask, Place};
pub use service::export::{Chosen, Format, stream};
pub use service::import::import;
pub use service::lake::copy_lake;
pub use service::now::{RunError, start as start_run};
pub use service::questions::{Answered, QuestionError, Wrong, ask, sample};
pub use service::rows;
pub use service::status::{Status, changes, executions, status, statuses};
pub use service::subjects;
pub use service::{held, mails};

/// Datasets whose files are being taken in by this process.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<&'static str, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, dataset: &'static str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(dataset).or_default())
    }
}
