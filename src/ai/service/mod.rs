//! The verbs of the AI API over the App.

pub mod call;
pub mod cooldown;
pub mod meter;
pub mod relay;
