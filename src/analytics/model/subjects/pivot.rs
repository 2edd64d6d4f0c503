//! A table of exact sums by two texts.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pivot {
    lines: BTreeMap<String, BTreeMap<String, Decimal>>,
}

impl Pivot {
    pub fn add(&mut self, line: &str, column: &str, amount: Decimal) {
        if !self.lines.contains_key(line) {
            self.lines.insert(line.to_owned(), BTreeMap::new());
        }
        let Some(cells) = self.lines.get_mut(line) else { return };
        match cells.get_mut(column) {
            // A sum beyond 28 digits is no amount that anybody was billed.
            Some(sum) => *sum = sum.checked_add(amount).unwrap_or(Decimal::MAX),
            None => {
                cells.insert(column.to_owned(), amount);
            }
        }
    }

    pub fn count(&mut self, line: &str, column: &str) {
        self.add(line, column, Decimal::ONE);
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// In the order of their sums, the greatest first.
    pub fn columns(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.lines.values().flat_map(BTreeMap::keys).collect();
        let mut columns: Vec<String> = names.into_iter().cloned().collect();
        columns.sort_by_cached_key(|column| std::cmp::Reverse(self.column_sum(column)));
        columns
    }

    /// None: nothing was told.
    pub fn get(&self, line: &str, column: &str) -> Option<Decimal> {
        self.lines.get(line)?.get(column).copied()
    }

    pub fn column_sum(&self, column: &str) -> Decimal {
        let cells = self.lines.values().filter_map(|cells| cells.get(column));
        cells.fold(Decimal::ZERO, |sum, cell| sum.checked_add(*cell).unwrap_or(Decimal::MAX))
    }

    /// Lines in the order of a column's cells, the greatest first.
    pub fn lines_by(&self, column: &str) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.keys().cloned().collect();
        lines.sort_by_cached_key(|line| std::cmp::Reverse(self.get(line, column).unwrap_or_default()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stand_in_lines_and_columns_and_the_greatest_comes_first() {
        let mut pivot = Pivot::default();
        for (line, column, cents) in [("b", "EUR", 5), ("a", "USD", 100), ("b", "EUR", 7), ("a", "EUR", 1)] {
            pivot.add(line, column, Decimal::new(cents, 2));
        }
        assert_eq!(pivot.get("b", "EUR"), Some(Decimal::new(12, 2)));
        assert_eq!(pivot.get("b", "USD"), None);
        assert_eq!(pivot.columns(), ["USD", "EUR"]);
        assert_eq!(pivot.column_sum("EUR"), Decimal::new(13, 2));
        assert_eq!(pivot.lines_by("EUR"), ["b", "a"]);
    }
}
