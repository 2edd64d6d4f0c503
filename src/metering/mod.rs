//! Metering: from usage records to usage events that Microsoft has booked, and the proof for every unit in between.
//!
//! Owns: usage records, the catalogue of dimensions and meters, accounts by billing period, usage events and their
//! submission, the loss ledger, the read-back. Does not own: subscriptions (`fulfillment`), what produces usage, pages.
//!
//! How data flows: [`record`] writes records and counts them in the open hour, in one transaction. [`run`] (a timer) and
//! [`look`] (a message) close hours, freeze usage events, send them and take in the answers; both may run at the same
//! time, die anywhere and come again. [`read_back`] compares with what Microsoft has booked. `docs/METERING.md` tells
//! the whole way of a unit.

mod client;
pub mod handlers;
pub mod model;
mod repo;
mod service;

pub use client::DayUsage;
pub use model::catalogue::Catalogue;
pub use repo::{Attention, JournalEntry, Loss, Mark};
pub use service::books::{BookedDay, booked_of, events_between, named, resources_between};
pub use service::csv;
pub use service::events::{resend, write_off};
pub use service::export::{ExportError, What, export};
pub use service::lanes::Lanes;
pub use service::look::{MeteringError, look};
pub use service::queries::{
    Cell, DimensionUsage, Overview, PeriodUsage, ResourceUsage, by_key, differences, grid, losses, overview, records,
    resources, state_word, unsettled, usage,
};
pub use service::read_back::{Difference, DifferenceKind, ReadBack, read_back};
pub use service::record::{ListPrice, MOST_RECORDS, Outcome, RecordError, admits, judge, record, recorded};
pub use service::run::{Round, run};
pub use service::submit::{Submission, state as submission};
pub use service::terms::{ManagedApp, link_managed_app, register_managed_app};

/// The catalogue that holds when no file is named.
pub const BUILT_IN_CATALOGUE: &str = include_str!("catalogue.json");
