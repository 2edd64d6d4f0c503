//! What a subscription is, and every decision about one, in pure code: no I/O, no clock, no store.
//!
//! - [`facts`]: what Microsoft says about a subscription.
//! - [`subscription`]: our row about it, with what we were asked to do and have not finished.
//! - [`operation`]: one change in its life, from webhook to settled; the rules that accept or reject.
//! - [`advance`]: the one step that brings row and operations closer to what Microsoft says.
//! - [`event`]: the timeline.

pub mod advance;
pub mod event;
pub mod facts;
pub mod operation;
#[cfg(test)]
mod samples;
pub mod subscription;
