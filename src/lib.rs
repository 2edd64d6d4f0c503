//! MediaGenie: an Azure Marketplace backend for a software vendor in one binary. This is the map, in the order of
//! dependency; `docs/ARCHITECTURE.md` walks through it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test stops where something is not as it says"))]

// Leaves: clock, ids, randomness, settings, outward HTTP, the shapes of requests and problems.
pub mod foundation;

// Three narrow seams, each with an embedded and an Azure backend and one contract for both.
pub mod blobs;
pub mod queue;
pub mod store;

// What a function may touch.
pub mod app;

// Who somebody is.
pub mod identity;
// SaaS subscriptions.
pub mod fulfillment;
// Usage and money.
pub mod metering;

// What happened, told to the addresses that customers and the publisher named.
pub mod callbacks;

// The publisher's product in customers' own Azure subscriptions.
pub mod managed_apps;

// What Microsoft says of people who are interested.
pub mod leads;

// What is held of a person.
pub mod privacy;

// Chat and embeddings for customers' programs.
pub mod ai;
/// Files and media jobs: what is too long for one call.
pub mod media;

// Microsoft's analytics of the publisher's offers, kept and answered for exact dates.
pub mod analytics;

// Everything of one company.
pub mod customers;

// How pages are made; what customers see; what staff see; whether all is well.
pub mod health;
pub mod pages;
pub mod portal;
pub mod staff;

// The function table, and what drives it.
pub mod functions;
pub mod host;

// The outside world, for demo and tests.
pub mod simulator;

// Arguments.
pub mod cli;
