//! The verbs of files and jobs over the App.

pub mod files;
pub mod jobs;
mod turn;
mod work;

pub use turn::{revive, run};
