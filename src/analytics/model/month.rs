//! What is held of a month: which version of each day, and from which execution. A reader sees what stands here and nothing
//! else, so replacing this row replaces the days.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::foundation::hex::hex;

/// The place of rows without a date.
pub const UNDATED: &str = "undated";

/// A version of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Where its pieces are.
    pub version: String,
    pub rows: u64,
    pub pieces: u32,
    /// Of all rows, whatever their order.
    pub hash: String,
    pub execution: String,
    /// When Microsoft made the file.
    pub generated: Timestamp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// By date, or [`UNDATED`].
    pub days: BTreeMap<String, Day>,
    /// [`Month::stamp`] of what the lake's file was made from; empty: there is none.
    #[serde(default)]
    pub lake: String,
}

impl Month {
    /// Changes with every change of a day.
    pub fn stamp(&self) -> String {
        let mut hasher = Sha256::new();
        for (date, day) in &self.days {
            hasher.update(format!("{date} {} {}\n", day.version, day.hash));
        }
        hex(&hasher.finalize())[..16].to_owned()
    }

    pub fn rows(&self) -> u64 {
        self.days.values().map(|day| day.rows).sum()
    }
}

/// The month of a day, as rows and files are named: `2026-02`.
pub fn month_of(day: &str) -> &str {
    if day == UNDATED { UNDATED } else { day.get(..7).unwrap_or(day) }
}

/// Months that a range touches.
pub fn months_between(from: Date, to: Date) -> (String, String) {
    (from.strftime("%Y-%m").to_string(), to.strftime("%Y-%m").to_string())
}

/// The sum of the hashes of rows: the order in which they come does not matter, and equal rows count each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowsHash(u128);

impl RowsHash {
    pub fn add(&mut self, row: &[u8]) {
        let digest = Sha256::digest(row);
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        self.0 = self.0.wrapping_add(u128::from_be_bytes(half));
    }

    pub fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_rows_knows_no_order_and_counts_equal_rows() {
        let of = |rows: &[&str]| {
            let mut hash = RowsHash::default();
            rows.iter().for_each(|row| hash.add(row.as_bytes()));
            hash.text()
        };
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a"]), of(&["a", "a"]));
        assert_ne!(of(&["a", "b"]), of(&["a", "c"]));
    }

    #[test]
    fn a_day_knows_its_month() {
        assert_eq!(month_of("2026-02-11"), "2026-02");
        assert_eq!(month_of(UNDATED), UNDATED);
    }
}
