//! What the publisher's staff see: all subscriptions, one with everything about it, the webhook log.
//!
//! Owns: these pages and their actions. Does not own: any rule; it asks `fulfillment` and shows the answer.

pub mod subscriptions;
pub mod webhooks;
