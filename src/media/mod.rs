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

pub mod content;
pub mod handlers;
pub mod model;
mod repo;
mod service;

pub use service::{active, files, jobs};
