//! SaaS subscriptions: from purchase to the end.
//!
//! Owns: the fulfillment API client, the subscription and its operations as state machines, the webhook, the
//! reconciliation, the timeline. Does not own: who is signed in (`identity`), pages (`portal`, `staff`), usage and
//! money (`metering`).
//!
//! How data flows: every signal (webhook, landing page, portal, queue message, timer) is written down first and then
//! leads to [`sync`], which reads our row and Microsoft's view and takes one step (`model::advance`). Signals carry
//! ids only, so their order and number do not matter.

mod client;
pub mod handlers;
pub mod model;
mod repo;
mod service;

pub use client::{AccessTokens, ApiError, Caller, For, MarketplaceClient};
pub use repo::{Changes, Found, LogEntry, Newer, Summary};
pub use service::changes::{ChangeError, request_change};
pub use service::landing::{ActivateError, Visit, VisitError, activate, open_visit, start_visit};
pub use service::privacy;
pub use service::queries::{
    Detail, ListFilter, SummaryPage, available_plans, detail, find, find_unless, for_customer, known_plans, list,
    listed_plans, of_customer, timeline, webhook_log,
};
pub use service::reconcile::{Reconciled, reconcile};
pub use service::sync::{CHANGED_QUEUE, Message, QUEUE, SyncError, sync};
pub use service::told::announce_change;
