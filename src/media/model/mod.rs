//! Types and pure rules of files and jobs: no I/O, no clock, no store.

pub mod file;
pub mod job;
pub mod joining;
pub mod splitting;
