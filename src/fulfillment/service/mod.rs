//! The verbs, one room each.

pub mod changes;
pub mod landing;
pub mod privacy;
pub mod queries;
pub mod reconcile;
pub mod sync;
pub mod told;
pub mod webhook;
