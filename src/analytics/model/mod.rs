//! Datasets, values and rules. Pure: no I/O, no clock.

pub mod changes;
pub mod datasets;
pub mod execution;
pub mod month;
pub mod offered;
pub mod piece;
pub mod query;
pub mod report;
pub mod saved;
pub mod schedule;
pub mod subjects;
pub mod value;
