//! What a later file says otherwise about days that were held before: restatements, told so that a person can follow them.

use std::collections::{BTreeMap, HashMap};

use csv::StringRecord;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::datasets::{Dataset, Kind};
use super::value;

/// Rows that are shown of a day, to see what kind of change it was; their cells are cut.
const SHOWN: usize = 10;
const LONGEST_CELL: usize = 80;
/// All that is shown of a month fits into a row of the store beside the rest.
const MOST_SHOWN: usize = 200 * 1024;

/// Of a month, by one execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    pub execution: String,
    pub generated: Timestamp,
    pub month: String,
    pub days: BTreeMap<String, DayChange>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayChange {
    /// The execution that held before.
    pub before: String,
    pub rows: (u64, u64),
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    /// Sums of amounts and quantities that differ: column, before, after.
    pub sums: Vec<(String, Decimal, Decimal)>,
    pub shown: Vec<RowChange>,
    /// Only counted: there were too many rows to compare one by one.
    #[serde(default)]
    pub counted_only: bool,
}

/// A row by its key, and the cells that differ: column, before, after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    pub key: Vec<(String, String)>,
    pub cells: Vec<(String, String, String)>,
    pub kind: RowChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowChangeKind {
    Added,
    Removed,
    Changed,
}

impl Changes {
    /// Adds a day, with as many of its rows as there is room for.
    pub fn add(&mut self, date: String, mut change: DayChange) {
        let size = |row: &RowChange| -> usize {
            let key = row.key.iter().map(|(name, cell)| name.len() + cell.len() + 16);
            let cells = row.cells.iter().map(|(name, before, after)| name.len() + before.len() + after.len() + 16);
            key.sum::<usize>() + cells.sum::<usize>()
        };
        let mut room = MOST_SHOWN.saturating_sub(self.days.values().flat_map(|day| &day.shown).map(size).sum());
        change.shown.retain(|row| {
            let fits = size(row) <= room;
            room = if fits { room - size(row) } else { 0 };
            fits
        });
        self.days.insert(date, change);
    }
}

/// Compares two versions of a day. Both have the cells of `columns`.
pub fn compare(
    dataset: &Dataset,
    columns: &[(String, Kind)],
    before: &[StringRecord],
    after: &[StringRecord],
) -> DayChange {
    let mut change = DayChange {
        rows: (before.len() as u64, after.len() as u64),
        sums: sums(columns, before, after),
        ..DayChange::default()
    };
    let key_places: Vec<usize> = columns
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| dataset.key.iter().any(|key| key.eq_ignore_ascii_case(name)))
        .map(|(place, _)| place)
        .collect();
    let key = |row: &StringRecord| -> Vec<String> {
        key_places.iter().map(|place| row.get(*place).unwrap_or_default().to_lowercase()).collect()
    };
    // Rows that are the same are taken out first: several rows may have one key.
    let cells = |row: &StringRecord| -> Vec<String> { row.iter().map(str::to_owned).collect() };
    let mut left: HashMap<Vec<String>, usize> = HashMap::new();
    for row in before {
        *left.entry(cells(row)).or_default() += 1;
    }
    let mut new: Vec<&StringRecord> = Vec::new();
    for row in after {
        match left.get_mut(&cells(row)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => new.push(row),
        }
    }
    let mut old: HashMap<Vec<String>, Vec<&StringRecord>> = HashMap::new();
    for row in before {
        if let Some(count) = left.get_mut(&cells(row))
            && *count > 0
        {
            *count -= 1;
            old.entry(key(row)).or_default().push(row);
        }
    }
    let mut show = |kind, before: Option<&StringRecord>, after: Option<&StringRecord>| {
        if change.shown.len() < SHOWN {
            change.shown.push(row_change(columns, &key_places, kind, before, after));
        }
    };
    let (mut added, mut changed) = (0, 0);
    for row in new {
        match old.get_mut(&key(row)).and_then(Vec::pop) {
            Some(before) => {
                changed += 1;
                show(RowChangeKind::Changed, Some(before), Some(row));
            }
            None => {
                added += 1;
                show(RowChangeKind::Added, None, Some(row));
            }
        }
    }
    let mut gone: Vec<&StringRecord> = old.into_values().flatten().collect();
    gone.sort_by(|one, other| one.iter().cmp(other.iter()));
    for row in &gone {
        show(RowChangeKind::Removed, Some(row), None);
    }
    (change.added, change.changed, change.removed) = (added, changed, gone.len() as u64);
    change
}

fn sums(
    columns: &[(String, Kind)],
    before: &[StringRecord],
    after: &[StringRecord],
) -> Vec<(String, Decimal, Decimal)> {
    let sum = |rows: &[StringRecord], place: usize| -> Decimal {
        rows.iter()
            .filter_map(|row| value::number(row.get(place)?))
            .fold(Decimal::ZERO, |sum, cell| sum.checked_add(cell).unwrap_or(sum))
    };
    let added_up = |name: &str| ["Price", "Rate", "CoreSize", "Offset", "Version"].iter().all(|no| !name.contains(no));
    columns
        .iter()
        .enumerate()
        .filter(|(_, (name, kind))| matches!(kind, Kind::Integer | Kind::Decimal) && added_up(name))
        .map(|(place, (name, _))| (name.clone(), sum(before, place), sum(after, place)))
        .filter(|(_, before, after)| before != after)
        .collect()
}

fn row_change(
    columns: &[(String, Kind)],
    key_places: &[usize],
    kind: RowChangeKind,
    before: Option<&StringRecord>,
    after: Option<&StringRecord>,
) -> RowChange {
    let cell = |row: Option<&StringRecord>, place: usize| {
        row.and_then(|row| row.get(place)).unwrap_or_default().chars().take(LONGEST_CELL).collect::<String>()
    };
    let either = after.or(before);
    RowChange {
        key: key_places
            .iter()
            .map(|place| (columns[*place].0.clone(), cell(either, *place)))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        cells: columns
            .iter()
            .enumerate()
            .map(|(place, (name, _))| (name.clone(), cell(before, place), cell(after, place)))
            .filter(|(_, before, after)| before != after)
            .collect(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[[&str; 3]]) -> Vec<StringRecord> {
        text.iter().map(|row| StringRecord::from(row.to_vec())).collect()
    }

    #[test]
    fn a_restatement_is_told_row_by_row_and_in_sums() {
        let usage = Dataset::find("usage").unwrap();
        let columns: Vec<_> = [("PlanId", Kind::Text), ("SKU", Kind::Text), ("MeteredUsage", Kind::Decimal)]
            .map(|(name, kind)| (name.to_owned(), kind))
            .to_vec();
        let before = rows(&[["gold", "a", "1.5"], ["gold", "b", "2"], ["gold", "b", "2"], ["old", "c", "7"]]);
        let after = rows(&[["gold", "b", "2"], ["gold", "a", "2.5"], ["gold", "b", "2"], ["new", "d", "1"]]);
        let change = compare(usage, &columns, &before, &after);
        assert_eq!((change.added, change.changed, change.removed), (1, 1, 1));
        assert_eq!(change.sums, [("MeteredUsage".to_owned(), Decimal::new(125, 1), Decimal::new(75, 1))]);
        let changed = change.shown.iter().find(|row| row.kind == RowChangeKind::Changed).unwrap();
        assert_eq!(changed.cells, [("MeteredUsage".to_owned(), "1.5".to_owned(), "2.5".to_owned())]);
        assert_eq!(changed.key, [("PlanId".to_owned(), "gold".to_owned()), ("SKU".to_owned(), "a".to_owned())]);
    }
}
