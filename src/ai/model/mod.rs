//! Types and pure rules of the AI API: no I/O, no clock, no store.

pub mod audio;
pub mod budget;
pub mod costs;
pub mod deployments;
pub mod limits;
pub mod request;
pub mod spoken;
pub mod statistics;
pub mod stream;
pub mod transcript;
pub mod usage;
pub mod used;
pub mod vision;
