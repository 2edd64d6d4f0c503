//! From the numbers of each subject to its figures.

mod money;
mod people;
mod reach;

use jiff::civil::Date;
use rust_decimal::Decimal;

pub use money::{revenue, usage};
pub use people::{customers, orders, retention};
pub use reach::{insights, quality};

use super::figure::{Format, shown};
use super::subject::Tile;
use crate::analytics::AnalyticsError;
use crate::analytics::model::datasets::Dataset;

/// Before the first of Microsoft's rows.
const EVER: Date = Date::constant(2010, 1, 1);

fn named(name: &str) -> Result<&'static Dataset, AnalyticsError> {
    let missing = || AnalyticsError::Asked { field: "dataset", reason: format!("There is no dataset {name}.") };
    Dataset::find(name).ok_or_else(missing)
}

fn tile(key: &'static str, value: Decimal, format: Format) -> Tile {
    Tile { key, value: shown(value), format, of: String::new() }
}
