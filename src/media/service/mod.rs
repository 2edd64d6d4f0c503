//! The verbs of files and jobs over the App.

mod assemble;
mod batch;
mod end;
pub mod fairness;
pub mod files;
pub mod jobs;
mod turn;
mod work;

pub use end::setback;
pub use turn::{revive, run};
