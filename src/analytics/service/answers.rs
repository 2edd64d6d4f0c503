//! Rows of exact dates, piece by piece. What it costs grows with the answer: a month's row names the days, and only the pieces
//! of the days that are asked for are read.

use std::collections::VecDeque;
use std::sync::Arc;

use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use super::AnalyticsError;
use crate::analytics::model::datasets::{Dataset, Kind};
use crate::analytics::model::month::{Day, UNDATED, months_between};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::hex::hex;
use crate::store::RowStore;

/// Columns that we add to each row: the execution that brought it, and when Microsoft made its file.
pub const EXECUTION: &str = "ExecutionId";
pub const GENERATED: &str = "GeneratedAt";
/// Pieces that are read together.
const TOGETHER: usize = 4;

#[derive(Debug, Clone)]
pub struct Ask {
    pub dataset: &'static Dataset,
    pub from: Date,
    /// Inclusive.
    pub to: Date,
    /// In any letter case; empty: all that are not personal, and the two of ours.
    pub columns: Vec<String>,
    /// Also rows that no date is known of.
    pub undated: bool,
}

/// An answer on its way out: what stood in the rows of the months when it was opened.
#[derive(Debug)]
pub struct Answer {
    rows: Arc<dyn RowStore>,
    dataset: &'static str,
    columns: Vec<(String, Kind)>,
    names: Vec<String>,
    days: VecDeque<(String, Day)>,
    /// The next piece of the first day.
    next: u32,
    stamp: String,
    total: u64,
    newest: Option<Timestamp>,
    /// Read and not given yet.
    held: Vec<StringRecord>,
    place: Option<Place>,
}

/// A place between two rows, as text `<date>.<stamp>.<rows>`: so many rows of that day came before. The stamp is of all days that
/// were asked for: a row may move from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub date: String,
    pub stamp: String,
    pub rows: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.date, self.stamp, self.rows)
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let (date, stamp, rows) = (parts.next().ok_or(())?, parts.next().ok_or(())?, parts.next().ok_or(())?);
        Ok(Self { date: date.to_owned(), stamp: stamp.to_owned(), rows: rows.parse().map_err(|_| ())? })
    }
}

impl Answer {
    pub async fn open(app: &App, ask: &Ask) -> Result<Self, AnalyticsError> {
        if ask.from > ask.to {
            let reason = format!("The first day ({}) lies behind the last one ({}).", ask.from, ask.to);
            return Err(AnalyticsError::Asked { field: "from", reason });
        }
        let columns = columns(ask.dataset, &ask.columns)?;
        let (first, last) = months_between(ask.from, ask.to);
        let (from, to) = (ask.from.to_string(), ask.to.to_string());
        let mut days: Vec<(String, Day)> = Vec::new();
        for (month, _) in repo::months(&*app.rows, ask.dataset.name, Some((&first, &last))).await?.into_values() {
            days.extend(month.days.into_iter().filter(|(date, _)| *date >= from && *date <= to));
        }
        if ask.undated
            && let Some((month, _)) = repo::month(&*app.rows, ask.dataset.name, UNDATED).await?
        {
            days.extend(month.days);
        }
        Ok(Self {
            rows: Arc::clone(&app.rows),
            dataset: ask.dataset.name,
            names: columns.iter().map(|(name, _)| name.clone()).collect(),
            columns,
            stamp: stamp(&days),
            total: days.iter().map(|(_, day)| day.rows).sum(),
            newest: days.iter().map(|(_, day)| day.generated).max(),
            days: days.into(),
            next: 0,
            held: Vec::new(),
            place: None,
        })
    }

    pub fn columns(&self) -> &[(String, Kind)] {
        &self.columns
    }

    /// Rows before any filter.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When Microsoft made the newest file in it.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// The executions of the rows that are still to come, the newest first, with the times of their files.
    pub fn executions(&self) -> Vec<(String, Timestamp)> {
        let mut found: Vec<(String, Timestamp)> = Vec::new();
        for (_, day) in &self.days {
            if !found.iter().any(|(execution, _)| *execution == day.execution) {
                found.push((day.execution.clone(), day.generated));
            }
        }
        found.sort_by_key(|(_, generated)| std::cmp::Reverse(*generated));
        found
    }

    /// Goes on behind a place that was reached before. A day that was restated since can not be gone on with: rows would be
    /// left out or come twice.
    pub async fn resume(&mut self, place: &Place) -> Result<(), AnalyticsError> {
        let stale = || AnalyticsError::Asked {
            field: "after",
            reason: "The rows were restated meanwhile; begin again without `after`.".to_owned(),
        };
        let behind = |date: &str| date != UNDATED && (place.date == UNDATED || date < place.date.as_str());
        self.days.retain(|(date, _)| !behind(date));
        match self.days.front() {
            Some((date, _)) if *date == place.date && place.stamp == self.stamp => {}
            _ => return Err(stale()),
        }
        while self.place.as_ref().is_none_or(|reached| reached.rows < place.rows) {
            let before = self.place.as_ref().map_or(0, |reached| reached.rows);
            let Some(read) = self.read().await? else { return Err(stale()) };
            let over = place.rows - before;
            if (read.len() as u64) > over {
                self.held = read.into_iter().skip(over as usize).collect();
                self.place = Some(place.clone());
                return Ok(());
            }
        }
        Ok(())
    }

    /// Behind the last row that was given.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Gives rows back that were not wanted yet.
    pub fn give_back(&mut self, rows: Vec<StringRecord>) {
        if let Some(place) = &mut self.place {
            place.rows -= rows.len() as u64;
        }
        self.held = rows;
    }

    /// Some rows, in the order of their days; None at the end. Cells are canonical text ([`crate::analytics::model::value`]),
    /// empty for nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<StringRecord>>, AnalyticsError> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            if let Some(place) = &mut self.place {
                place.rows += held.len() as u64;
            }
            return Ok(Some(held));
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Option<Vec<StringRecord>>, AnalyticsError> {
        while let Some((date, day)) = self.days.front() {
            let left = (day.pieces - self.next).min(TOGETHER as u32) as usize;
            if left == 0 {
                self.days.pop_front();
                self.next = 0;
                continue;
            }
            let pieces = repo::pieces(&*self.rows, self.dataset, date, &day.version, self.next, left).await?;
            if pieces.len() != left {
                return Err(AnalyticsError::Contention(format!("{} of {date}", self.dataset)));
            }
            let (names, execution, generated) = (self.names.clone(), day.execution.clone(), day.generated.to_string());
            let before = match &self.place {
                Some(place) if place.date == *date && self.next > 0 => place.rows,
                _ => 0,
            };
            let rows = before + pieces.iter().map(|piece| piece.rows as u64).sum::<u64>();
            self.place = Some(Place { date: date.clone(), stamp: self.stamp.clone(), rows });
            self.next += left as u32;
            let records = pieces.iter().map(|piece| piece.records(&names)).collect::<Result<Vec<_>, _>>()?;
            let mut records: Vec<StringRecord> = records.into_iter().flatten().collect();
            let ours = |name: &str| names.iter().position(|known| known == name);
            let (execution_at, generated_at) = (ours(EXECUTION), ours(GENERATED));
            if execution_at.is_some() || generated_at.is_some() {
                for record in &mut records {
                    let cell = |(place, cell): (usize, &str)| {
                        let place = Some(place);
                        if place == execution_at {
                            execution.clone()
                        } else if place == generated_at {
                            generated.clone()
                        } else {
                            cell.to_owned()
                        }
                    };
                    *record = record.iter().enumerate().map(cell).collect();
                }
            }
            return Ok(Some(records));
        }
        Ok(None)
    }
}

fn stamp(days: &[(String, Day)]) -> String {
    let mut hasher = Sha256::new();
    for (date, day) in days {
        hasher.update(format!("{date} {} {}\n", day.version, day.hash));
    }
    hex(&hasher.finalize())[..16].to_owned()
}

/// All columns that a row can have.
pub fn all_columns(dataset: &Dataset) -> Vec<(String, Kind)> {
    let own = dataset.columns.iter().filter(|column| !column.personal);
    own.map(|column| (column.name.to_owned(), column.kind))
        .chain([(EXECUTION.to_owned(), Kind::Text), (GENERATED.to_owned(), Kind::Timestamp)])
        .collect()
}

fn columns(dataset: &Dataset, wanted: &[String]) -> Result<Vec<(String, Kind)>, AnalyticsError> {
    let all = all_columns(dataset);
    if wanted.is_empty() {
        return Ok(all);
    }
    let mut chosen: Vec<(String, Kind)> = Vec::new();
    for name in wanted {
        let Some(found) = all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            let reason = match dataset.column(name) {
                Some(_) => format!("`{name}` names a person and is not kept."),
                None => format!("{} has no column `{name}`.", dataset.name),
            };
            return Err(AnalyticsError::Asked { field: "columns", reason });
        };
        if !chosen.contains(found) {
            chosen.push(found.clone());
        }
    }
    Ok(chosen)
}
