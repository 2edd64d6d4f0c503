//! The AI API: chat, speech and vision as any OpenAI SDK calls them, sent on to the publisher's deployments and metered
//! by what was really used.
//!
//! Owns: the deployments and their choice, the calls of AI services, limits and budgets, what of an answer is billed, the
//! OpenAI shapes outward. Does not own: keys (`identity`), subscriptions (`fulfillment`), the ledger (`metering`).
//!
//! How data flows: a key names a subscription; the call is let in by its limits and reserves its worst case in the
//! budgets; the model names its deployments; one of them answers, and a fallback is tried only before the first byte.
//! The usage of the answer is durable in the ledger before its last byte leaves, and takes the place of what was
//! reserved: `docs/AI.md` tells what is billed, and what a crash can cost.

mod client;
pub mod handlers;
pub mod model;
mod service;

pub use client::AiClient;
pub use model::budget::{Budget, Unit, Window};
pub use model::deployments::{Deployment, Deployments, DeploymentsError, Kind, Known};
pub use model::statistics::Tally;
pub use service::ask::Unanswered;
pub use service::{batches, books, budgets, captures, cooldown, price, stops, whole};
