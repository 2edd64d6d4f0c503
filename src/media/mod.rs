//! Files and media jobs: what is too long for one call. A customer uploads files, submits a job over them, and gets the
//! result by asking or in the portal; the queue does the work in slices.
//!
//! Owns: customers' files and their end, jobs and their items, the slices in which they are worked on. Does not own: the
//! calls of AI services and what they cost (`ai`), bytes (`blobs`), messages (`queue`).
//!
//! How data flows: a job is a row with its items; a message names it. Whoever receives the message takes the job's turn
//! (a lease), works on some items, each recorded in the ledger under the job's and its own number before it counts as
//! done, and passes the job on with another message: so no job holds up the others, and a step that comes twice, or dies,
//! bills nothing twice. `docs/MEDIA.md` tells the whole way.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock};

use crate::foundation::ids::SubscriptionId;
use crate::foundation::rng::Random;

pub mod content;
pub mod handlers;
pub mod model;
mod repo;
mod service;

/// What this process remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// Jobs that are worked on here.
    pub turns: service::fairness::Turns,
    /// Subscriptions that are listed as owners of files.
    owners: Mutex<HashSet<SubscriptionId>>,
    instance: OnceLock<String>,
}

impl Memory {
    /// Tells this process from others.
    fn instance(&self, random: &dyn Random) -> &str {
        self.instance.get_or_init(|| random.token())
    }
}

pub use service::jobs::{given_up, recent, resubmit, running};
pub use service::setback;
pub use service::{files, jobs};
