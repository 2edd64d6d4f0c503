//! Datasets, values and rules. Pure: no I/O, no clock.

pub mod datasets;
pub mod query;
pub mod value;
