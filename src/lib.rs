//! MediaGenie.
pub mod blobs;
pub mod foundation;
pub mod queue;
pub mod simulator;
pub mod store;
