//! What the publisher's staff see: all subscriptions, one with everything about it, the webhook log, usage, the AI API.
//!
//! Owns: these pages and their actions. Does not own: any rule; it asks `fulfillment`, `metering` and `ai` and
//! shows the answer.

pub mod ai;
pub mod callbacks;
pub mod subscriptions;
pub mod usage;
pub mod webhooks;
