//! Marketplace analytics: Microsoft's seven datasets, pulled, kept with their history, and answered for exact dates.
//!
//! Owns: the client of the programmatic analytics API, the query language, what is asked of Microsoft and when, executions
//! and their files, the rows by day, the lake. Does not own: our own subscriptions, usage and leads (it reads them to
//! compare), pages (`staff`).

mod client;
pub mod model;

pub use client::AnalyticsClient;
