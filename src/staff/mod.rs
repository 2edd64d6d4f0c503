//! What the publisher's staff see: all subscriptions, one with everything about it, the webhook log, usage, the AI API,
//! leads, analytics, queues and running jobs, the reconciliation of a month and its packages.
//!
//! Owns: these pages and their actions. Does not own: any rule; it asks `fulfillment`, `metering`, `leads`, `ai`,
//! `media`, `analytics` and `queue` and shows the answer.

pub mod ai;
pub mod analytics;
pub mod callbacks;
pub mod closes;
pub mod customers;
pub mod leads;
pub mod managed_apps;
pub mod privacy;
pub mod queues;
pub mod reconciliation;
pub mod subscriptions;
pub mod usage;
pub mod webhooks;
