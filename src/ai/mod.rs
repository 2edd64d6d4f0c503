//! The AI API: chat and embeddings as any OpenAI SDK calls them, sent on to the publisher's deployments and metered by
//! what the service says that it used.
//!
//! Owns: the deployments and their choice, the calls of AI services, what of an answer is billed, the OpenAI shapes
//! outward. Does not own: keys (`identity`), subscriptions (`fulfillment`), the ledger (`metering`).
//!
//! How data flows: a key names a subscription; the model names its deployments; one of them answers, and a fallback is
//! tried only before the first byte. The usage of the answer is durable in the ledger before its last byte leaves:
//! `docs/AI.md` tells what is billed, and what a crash can cost.

mod client;
pub mod handlers;
pub mod model;
mod service;

pub use client::AiClient;
pub use model::deployments::{Deployments, DeploymentsError, Known};
