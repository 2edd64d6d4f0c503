//! What the publisher's staff see: all subscriptions, one with everything about it, the webhook log, usage.
//!
//! Owns: these pages and their actions. Does not own: any rule; it asks `fulfillment` and `metering` and shows the
//! answer.

pub mod subscriptions;
pub mod usage;
pub mod webhooks;

/// A text that a spreadsheet would take for a formula gets an apostrophe in front.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}
