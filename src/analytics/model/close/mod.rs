//! The package of a closed month: its files with their columns, what their lines come to, and what a later package corrects.

mod corrections;
mod files;
mod journal;
mod recognition;
mod text;

pub use corrections::{Correction, corrections};
pub use files::{Column, File, Line};
pub use journal::{Account, Journal, Sum};
pub use recognition::{Recognised, recognise};
pub use text::{Facts, readme, schema};
