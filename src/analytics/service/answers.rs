//! Rows of exact dates, piece by piece. What it costs grows with the answer: a month's row names the days, and only the pieces
//! of the days that are asked for are read.

use std::collections::VecDeque;
use std::sync::Arc;

use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::Date;

use super::AnalyticsError;
use crate::analytics::model::datasets::{Dataset, Kind};
use crate::analytics::model::month::{Day, Month, UNDATED, months_between};
use crate::analytics::repo;
use crate::app::App;
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
    total: u64,
    newest: Option<Timestamp>,
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
            total: days.iter().map(|(_, day)| day.rows).sum(),
            newest: days.iter().map(|(_, day)| day.generated).max(),
            days: days.into(),
            next: 0,
        })
    }

    /// Everything of some days, in every column.
    pub fn of_days(app: &App, dataset: &'static Dataset, month: &Month) -> Self {
        let columns = all_columns(dataset);
        Self {
            rows: Arc::clone(&app.rows),
            dataset: dataset.name,
            names: columns.iter().map(|(name, _)| name.clone()).collect(),
            columns,
            total: month.rows(),
            newest: month.days.values().map(|day| day.generated).max(),
            days: month.days.clone().into_iter().collect(),
            next: 0,
        }
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

    /// Leaves out rows without reading them, as far as whole days go; how many are still to be left out.
    pub fn skip_days(&mut self, mut rows: u64) -> u64 {
        while let Some((_, day)) = self.days.front().filter(|(_, day)| day.rows <= rows) {
            rows -= day.rows;
            self.days.pop_front();
        }
        rows
    }

    /// Some rows, in the order of their days; None at the end. Cells are canonical text ([`crate::analytics::model::value`]),
    /// empty for nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<StringRecord>>, AnalyticsError> {
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
