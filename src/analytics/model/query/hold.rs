//! What is held in memory while a query runs, and how much of it: rows up to `MOST_ROWS` and `MOST_BYTES`; with a
//! limit, only as many rows as are answered.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::super::value;
use super::filter::Value;

pub const MOST_ROWS: usize = 200_000;
/// Of the cells that are held.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Why a query can not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("the answer has more than {MOST_ROWS} rows; ask for fewer columns or dates, or set a LIMIT")]
    Rows,
    #[error("the answer has more than {} MiB; ask for fewer columns or dates, or set a LIMIT", MOST_BYTES >> 20)]
    Bytes,
    #[error("a sum has more digits than can be added exactly")]
    Digits,
}

/// The best rows so far.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The worst on top.
    rows: BinaryHeap<Row>,
    /// Names of the held rows, where each may be held once.
    names: HashSet<String>,
    /// The name of the row that is looked at; kept to save its allocation.
    name: String,
    bytes: usize,
    count: u64,
}

/// Compared by its sort keys, and then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    sort: Vec<Sort>,
    number: u64,
    cells: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    Up(Value),
    Down(Reverse<Value>),
}

impl Held {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn add(&mut self, sort: Vec<Sort>, cells: &[&str], once: bool, limit: Option<usize>) -> Result<(), TooMuch> {
        self.count += 1;
        let full = limit.is_some_and(|limit| self.rows.len() >= limit);
        // A row that comes later is behind one with the same keys.
        if full && self.rows.peek().is_none_or(|worst| sort >= worst.sort) {
            return Ok(());
        }
        if once {
            name(cells.iter().copied(), &mut self.name);
            if self.names.contains(&self.name) {
                return Ok(());
            }
            self.names.insert(self.name.clone());
        }
        if full && let Some(worst) = self.rows.pop() {
            self.bytes -= cost(worst.cells.iter().map(String::as_str));
            if once {
                name(worst.cells.iter().map(String::as_str), &mut self.name);
                self.names.remove(&self.name);
            }
        }
        self.bytes += cost(cells.iter().copied());
        self.rows.push(Row { sort, number: self.count, cells: cells.iter().map(|cell| (*cell).to_owned()).collect() });
        within(self.rows.len(), self.bytes)
    }

    pub fn in_order(self) -> impl Iterator<Item = Vec<String>> {
        self.rows.into_sorted_vec().into_iter().map(|row| row.cells)
    }
}

/// Sums over every distinct combination of the columns that are no metrics.
#[derive(Debug, Default)]
pub(super) struct Groups {
    places: HashMap<String, usize>,
    /// In the order in which they came.
    found: Vec<Group>,
    /// The name of the group that is looked at; kept to save its allocation.
    name: String,
    bytes: usize,
    /// Cells of metrics that had no number in them.
    pub not_summed: u64,
}

#[derive(Debug)]
pub(super) struct Group {
    /// The combination.
    pub cells: Vec<String>,
    /// None: there was no number.
    pub sums: Vec<Option<Decimal>>,
}

impl Groups {
    pub fn add(&mut self, cells: &[&str], metrics: &[&str]) -> Result<(), TooMuch> {
        name(cells.iter().copied(), &mut self.name);
        let place = match self.places.get(&self.name) {
            Some(place) => *place,
            None => {
                self.bytes += cost(cells.iter().chain(metrics).copied());
                within(self.found.len() + 1, self.bytes)?;
                self.places.insert(self.name.clone(), self.found.len());
                let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
                self.found.push(Group { cells, sums: vec![None; metrics.len()] });
                self.found.len() - 1
            }
        };
        let sums = self.found.get_mut(place).map(|group| group.sums.iter_mut()).into_iter().flatten();
        for (sum, cell) in sums.zip(metrics) {
            match value::number(cell) {
                Some(number) => *sum = Some(add(sum.unwrap_or_default(), number)?),
                None => self.not_summed += u64::from(!cell.is_empty()),
            }
        }
        Ok(())
    }

    pub fn take(&mut self) -> Vec<Group> {
        self.places.clear();
        std::mem::take(&mut self.found)
    }
}

/// Of a combination of cells. Each has its length before it, so that two combinations never have one name.
fn name<'a>(cells: impl Iterator<Item = &'a str>, name: &mut String) {
    name.clear();
    for cell in cells {
        let _ = write!(name, "{}:{cell}", cell.len());
    }
}

/// What a row costs in memory, roughly.
fn cost<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(|cell| cell.len() + size_of::<String>()).sum()
}

/// Exact, or nothing: the addition of decimals rounds where digits run out.
fn add(one: Decimal, other: Decimal) -> Result<Decimal, TooMuch> {
    let sum = one.checked_add(other).ok_or(TooMuch::Digits)?;
    if sum.checked_sub(one) == Some(other) && sum.checked_sub(other) == Some(one) {
        Ok(sum)
    } else {
        Err(TooMuch::Digits)
    }
}

fn within(rows: usize, bytes: usize) -> Result<(), TooMuch> {
    if rows > MOST_ROWS {
        return Err(TooMuch::Rows);
    }
    if bytes > MOST_BYTES { Err(TooMuch::Bytes) } else { Ok(()) }
}
