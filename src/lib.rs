//! MediaGenie.
pub mod foundation;
pub mod simulator;
