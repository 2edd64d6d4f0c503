//! The verbs of files and jobs over the App.

mod active;
pub mod files;
pub mod jobs;
mod turn;
mod work;

pub use active::active;
pub use turn::{revive, run};
