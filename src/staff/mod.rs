//! What the publisher's staff see: all subscriptions, one with everything about it, the webhook log, usage.
//!
//! Owns: these pages and their actions. Does not own: any rule; it asks `fulfillment` and `metering` and shows the
//! answer.

pub mod subscriptions;
pub mod usage;
pub mod webhooks;
