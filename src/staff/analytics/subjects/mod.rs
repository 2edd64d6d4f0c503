//! From the numbers of each subject to its figures.

mod money;
mod people;
mod reach;

use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};

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

/// Money by itself is told to the cent; the tables have every digit.
fn tile(key: &'static str, value: Decimal, format: Format) -> Tile {
    let cents = || value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let value = if format == Format::Money { cents() } else { value };
    Tile { key, value: shown(value), format, of: String::new() }
}
