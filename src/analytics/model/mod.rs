//! Datasets, values and rules. Pure: no I/O, no clock.

pub mod calendar;
pub mod changes;
pub mod close;
pub mod datasets;
pub mod execution;
pub mod funnel;
pub mod month;
pub mod offered;
pub mod piece;
pub mod query;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod saved;
pub mod schedule;
pub mod subjects;
pub mod value;
