//! Differences that somebody plants in the datasets: restated months, rows that are missing, twice, other or made up.
//! What is planted counts from its moment on: files of executions that are done do not have it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Row};
use super::tables::{Column, Kind, Table};

/// What becomes of the rows that are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Remove,
    /// The row is there twice.
    Repeat,
    /// Other values; nothing is null.
    Set(BTreeMap<String, Option<String>>),
    /// Quantities and amounts times this; prices and rates stay.
    Scale(Decimal),
    /// A row of its own with these values, the rest null.
    Add(BTreeMap<String, String>),
}

/// A change of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planted {
    pub dataset: String,
    /// Rows with these texts in these columns, in any letter case. None means all.
    #[serde(default)]
    pub matching: BTreeMap<String, String>,
    /// The month that rows are dated in.
    #[serde(default)]
    pub month: Option<Date>,
    pub change: Change,
    /// Business time; set when it is planted.
    #[serde(skip)]
    pub at: Timestamp,
}

impl Planted {
    pub fn new(dataset: &str, matching: &[(&str, &str)], month: Option<Date>, change: Change) -> Self {
        let matching = matching.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Self { dataset: dataset.to_owned(), matching, month, change, at: Timestamp::UNIX_EPOCH }
    }

    /// Names that there are not.
    pub(super) fn check(&self) -> Result<(), String> {
        let table = Table::find(&self.dataset).ok_or_else(|| format!("there is no dataset {}", self.dataset))?;
        let mut names: Vec<&String> = self.matching.keys().collect();
        match &self.change {
            Change::Set(values) => names.extend(values.keys()),
            Change::Add(values) => names.extend(values.keys()),
            _ => {}
        }
        let unknown = names.into_iter().find(|name| table.position(name).is_none());
        unknown.map_or(Ok(()), |name| Err(format!("{} has no column {name}", table.name)))
    }

    fn made_up(&self, table: &Table) -> Option<Row> {
        let Change::Add(values) = &self.change else { return None };
        let mut row = vec![Cell::Null; table.columns.len()];
        for (name, text) in values {
            let place = table.position(name)?;
            row[place] = Cell::read(table.columns[place].kind, text);
        }
        Some(row)
    }

    /// The day of a row that is added.
    pub(super) fn added_day(&self, table: &Table) -> Option<Date> {
        if !self.dataset.eq_ignore_ascii_case(table.name) {
            return None;
        }
        self.made_up(table)?.get(table.dated_by)?.as_day()
    }

    /// Changes a portion of rows: all of a day, or all there are.
    pub(super) fn change(&self, table: &Table, day: Option<Date>, rows: &mut Vec<Row>) {
        if !self.dataset.eq_ignore_ascii_case(table.name) {
            return;
        }
        if let Some(row) = self.made_up(table) {
            if day.is_none() || row[table.dated_by].as_day() == day {
                rows.push(row);
            }
            return;
        }
        let mut changed = Vec::with_capacity(rows.len());
        for mut row in rows.drain(..) {
            if !self.means(table, &row) {
                changed.push(row);
                continue;
            }
            match &self.change {
                Change::Remove | Change::Add(_) => continue,
                Change::Repeat => changed.push(row.clone()),
                Change::Set(values) => {
                    for (name, text) in values {
                        if let Some(place) = table.position(name) {
                            row[place] = Cell::read(table.columns[place].kind, text.as_deref().unwrap_or_default());
                        }
                    }
                }
                Change::Scale(factor) => {
                    for (place, _) in table.columns.iter().enumerate().filter(|(_, column)| is_amount(column)) {
                        row[place] = row[place].scaled(*factor);
                    }
                }
            }
            changed.push(row);
        }
        *rows = changed;
    }

    fn means(&self, table: &Table, row: &Row) -> bool {
        let day = row.get(table.dated_by).and_then(Cell::as_day);
        if self.month.is_some_and(|month| day.map(Date::first_of_month) != Some(month.first_of_month())) {
            return false;
        }
        self.matching.iter().all(|(name, text)| {
            let cell = table.position(name).and_then(|place| row.get(place));
            cell.is_some_and(|cell| cell.shown().eq_ignore_ascii_case(text))
        })
    }
}

fn is_amount(column: &Column) -> bool {
    let amount = column.name.contains("Amount") || column.name.contains("Revenue") || column.name == "Quantity";
    column.metric || (column.kind == Kind::Number && amount)
}
