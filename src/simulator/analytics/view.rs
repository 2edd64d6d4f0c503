//! A dataset as it is listed now: its table, with columns that were taken away, renamed or added since. Queries are
//! bound to it and answered from it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cell::{Cell, Row, flag};
use super::query::{Compare, Condition, Query, SPANS};
use super::tables::{Kind, Table};
use super::world::{Between, World};

/// What has become of the columns of one dataset. Names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    pub removed: BTreeSet<String>,
    pub renamed: BTreeMap<String, String>,
    /// Columns whose value is `new` in every row.
    pub added: Vec<String>,
}

/// A column that a query may name.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub name: String,
    /// Nothing for one that was added.
    place: Option<usize>,
    metric: bool,
}

/// Columns as they are listed.
pub fn listed(table: &Table, drift: &Drift) -> Vec<Listed> {
    let mut all = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let lower = column.name.to_ascii_lowercase();
        if !drift.removed.contains(&lower) {
            let name = drift.renamed.get(&lower).map_or(column.name, String::as_str).to_owned();
            all.push(Listed { name, place: Some(place), metric: column.metric });
        }
    }
    all.extend(drift.added.iter().map(|name| Listed { name: name.clone(), place: None, metric: false }));
    all
}

/// One entry of the list of datasets.
pub fn entry(table: &Table, drift: &Drift) -> Value {
    let all = listed(table, drift);
    let (metrics, columns): (Vec<Listed>, Vec<Listed>) = all.into_iter().partition(|column| column.metric);
    let names = |columns: Vec<Listed>| columns.into_iter().map(|column| column.name).collect::<Vec<_>>();
    let mut metrics = names(metrics);
    metrics.extend(table.listed_only.iter().map(|name| (*name).to_owned()));
    json!({
        "datasetName": table.name, "selectableColumns": names(columns), "availableMetrics": metrics,
        "availableDateRanges": SPANS,
    })
}

/// A query with its names found.
#[derive(Debug, Clone)]
pub struct Bound {
    pub table: &'static Table,
    pub columns: Vec<Listed>,
    conditions: Vec<(Listed, Condition)>,
    /// Where in the selection, or else where in the table.
    order: Vec<(Option<usize>, Listed, bool)>,
    distinct: bool,
    limit: usize,
}

/// Finds the names of a query. With `lenient`, selected columns that are gone are left out, as for a query that was
/// made before they went.
pub fn bind(query: &Query, drift: &Drift, lenient: bool) -> Result<Bound, String> {
    let table = query.table()?;
    let all = listed(table, drift);
    let find = |name: &str| {
        let found = all.iter().find(|column| column.name.eq_ignore_ascii_case(name)).cloned();
        found.ok_or_else(|| format!("Incorrect column name: {name}"))
    };
    if let Some(span) = query.span.as_ref().filter(|span| !SPANS.iter().any(|known| span.eq_ignore_ascii_case(known))) {
        return Err(format!("Invalid date range: {span}"));
    }
    let mut columns = Vec::new();
    for name in &query.columns {
        match find(name) {
            Ok(column) => columns.push(column),
            Err(_) if lenient => {}
            Err(why) => return Err(why),
        }
    }
    let mut conditions = Vec::new();
    for condition in &query.conditions {
        conditions.push((find(&condition.name)?, condition.clone()));
    }
    let summed = query.distinct || columns.iter().any(|column| column.metric);
    let mut order = Vec::new();
    for (name, least_first) in &query.order {
        let column = find(name)?;
        let selected = columns.iter().position(|one| one.name == column.name);
        if selected.is_none() && summed {
            return Err(format!("Incorrect column name: {name}"));
        }
        order.push((selected, column, *least_first));
    }
    let limit = query.limit.unwrap_or(usize::MAX);
    Ok(Bound { table, columns, conditions, order, distinct: query.distinct, limit })
}

const NEW: Cell = Cell::Word("new");

fn value(row: &Row, column: &Listed) -> Cell {
    column.place.map_or(NEW, |place| row.get(place).cloned().unwrap_or_default())
}

fn key(cells: &[Cell]) -> String {
    let mut key = String::new();
    for cell in cells {
        // Null and empty text are different groups.
        key.push(if cell.is_null() { '\u{1}' } else { '\u{2}' });
        cell.write(&mut key);
    }
    key
}

/// Sums by group, in the order in which groups came.
#[derive(Default)]
struct Groups {
    places: HashMap<String, usize>,
    rows: Vec<Row>,
}

impl Groups {
    fn add(&mut self, columns: &[Listed], cells: Row) {
        let dimensions: Vec<Cell> =
            columns.iter().zip(&cells).filter(|(column, _)| !column.metric).map(|(_, cell)| cell.clone()).collect();
        let place = *self.places.entry(key(&dimensions)).or_insert(self.rows.len());
        let Some(sums) = self.rows.get_mut(place) else {
            self.rows.push(cells);
            return;
        };
        for (column, (sum, cell)) in columns.iter().zip(sums.iter_mut().zip(cells)) {
            if column.metric {
                *sum = add(sum, &cell);
            }
        }
    }

    fn take(&mut self) -> Vec<Row> {
        self.places.clear();
        std::mem::take(&mut self.rows)
    }
}

fn add(one: &Cell, other: &Cell) -> Cell {
    match (one, other) {
        (Cell::Int(one), Cell::Int(other)) => Cell::Int(one.saturating_add(*other)),
        (Cell::Null, other) => other.clone(),
        (one, Cell::Null) => one.clone(),
        (one, other) => match (one.as_decimal(), other.as_decimal()) {
            (Some(one), Some(other)) => Cell::number(one + other),
            _ => one.clone(),
        },
    }
}

impl Bound {
    /// Answers row by row, in the order of the selection.
    pub fn answer(&self, world: &World, range: Between, mut take: impl FnMut(Row) -> ControlFlow<()>) {
        let mut left = self.limit;
        let mut give = |row: Row| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            take(row)
        };
        let sums = self.columns.iter().any(|column| column.metric);
        // Portions are whole days: a group with the day in it is complete at the end of a portion.
        let by_day = self.columns.iter().any(|column| column.place == Some(self.table.dated_by));
        let mut seen = HashSet::new();
        let mut groups = Groups::default();
        // With an order, all rows and what they are ordered by.
        let mut kept: Vec<(Row, Row)> = Vec::new();
        world.each(self.table, range, |rows| {
            for row in rows {
                if !self.conditions.iter().all(|(column, condition)| holds(self.table, column, condition, &row)) {
                    continue;
                }
                let cells: Row = self.columns.iter().map(|column| value(&row, column)).collect();
                if sums {
                    groups.add(&self.columns, cells);
                } else if self.distinct && !seen.insert(key(&cells)) {
                    continue;
                } else if !self.order.is_empty() {
                    kept.push((self.order.iter().map(|(_, column, _)| value(&row, column)).collect(), cells));
                } else {
                    give(cells)?;
                }
            }
            if by_day && self.order.is_empty() {
                groups.take().into_iter().try_for_each(&mut give)?;
            }
            ControlFlow::Continue(())
        });
        if self.order.is_empty() {
            let _ = groups.take().into_iter().try_for_each(&mut give);
            return;
        }
        kept.extend(groups.take().into_iter().map(|row| {
            let keys = self.order.iter().map(|(place, ..)| place.and_then(|place| row.get(place)).cloned());
            (keys.map(Option::unwrap_or_default).collect(), row)
        }));
        kept.sort_by(|one, other| self.by_order(&one.0, &other.0));
        let _ = kept.into_iter().try_for_each(|(_, row)| give(row));
    }

    fn by_order(&self, one: &Row, other: &Row) -> Ordering {
        let keys = self.order.iter().zip(one.iter().zip(other));
        let mut found = keys.map(|((.., least_first), (one, other))| {
            let order = compare(one, other);
            if *least_first { order } else { order.reverse() }
        });
        found.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

fn compare(one: &Cell, other: &Cell) -> Ordering {
    match (one.as_decimal(), other.as_decimal()) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.shown().to_lowercase().cmp(&other.shown().to_lowercase()),
    }
}

/// A value that cannot be cast to the column's type is simply never met: the answer is 200 and empty (contract 10).
fn holds(table: &Table, column: &Listed, condition: &Condition, row: &Row) -> bool {
    let cell = value(row, column);
    if cell.is_null() {
        return false;
    }
    let kind = column.place.map_or(Kind::Text, |place| table.columns[place].kind);
    let order = |text: &String| against(kind, &cell, text);
    let first = condition.values.first();
    match condition.compare {
        Compare::Equal => first.and_then(order) == Some(Ordering::Equal),
        Compare::Unequal => first.and_then(order).is_some_and(Ordering::is_ne),
        Compare::Greater => first.and_then(order).is_some_and(Ordering::is_gt),
        Compare::Less => first.and_then(order).is_some_and(Ordering::is_lt),
        Compare::AtLeast => first.and_then(order).is_some_and(Ordering::is_ge),
        Compare::AtMost => first.and_then(order).is_some_and(Ordering::is_le),
        Compare::In => condition.values.iter().any(|text| order(text) == Some(Ordering::Equal)),
        Compare::NotIn => condition.values.iter().all(|text| order(text) != Some(Ordering::Equal)),
        Compare::Like => first.is_some_and(|pattern| like(&cell.shown(), pattern)),
        Compare::NotLike => first.is_some_and(|pattern| !like(&cell.shown(), pattern)),
    }
}

fn against(kind: Kind, cell: &Cell, text: &str) -> Option<Ordering> {
    match kind {
        Kind::Int | Kind::Number => Some(cell.as_decimal()?.cmp(&text.trim().parse::<Decimal>().ok()?)),
        Kind::Flag => Some(flag(&cell.shown())?.cmp(&flag(text)?)),
        Kind::Day => Some(cell.as_day()?.cmp(&Cell::read(Kind::Moment, text).as_day()?)),
        Kind::Moment => match (cell, Cell::read(Kind::Moment, text)) {
            (Cell::Moment(at), Cell::Moment(wanted)) => Some(at.cmp(&wanted)),
            _ => None,
        },
        Kind::Text => Some(cell.shown().to_lowercase().cmp(&text.to_lowercase())),
    }
}

/// `%` stands for any text.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    let parts: Vec<&str> = pattern.split('%').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
