//! Datasets, values and rules. Pure: no I/O, no clock.

pub mod datasets;
pub mod month;
pub mod reconcile;
pub mod value;
