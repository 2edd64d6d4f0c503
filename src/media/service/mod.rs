//! The verbs of files and jobs over the App.

mod assemble;
mod batch;
mod end;
pub mod fairness;
pub mod files;
pub mod jobs;
pub mod storage;
mod turn;
pub mod uploads;
mod work;

pub use end::setback;
use turn::FORGOTTEN;
pub use turn::{revive, run};
