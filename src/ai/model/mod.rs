//! Types and pure rules of the AI API: no I/O, no clock, no store.

pub mod deployments;
pub mod stream;
pub mod usage;
