//! How fresh each dataset is, and what does not go as it should.

use jiff::Timestamp;
use serde::Serialize;

use super::{AnalyticsError, pull};
use crate::analytics::model::changes::Changes;
use crate::analytics::model::datasets::{DATASETS, Dataset};
use crate::analytics::model::execution::{Execution, State};
use crate::analytics::model::month::UNDATED;
use crate::analytics::model::schedule::Schedule;
use crate::analytics::repo;
use crate::app::App;

/// One dataset, for pages and programs.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub dataset: &'static str,
    /// Named in `ANALYTICS_DATASETS`.
    pub pulled: bool,
    pub rows: u64,
    pub undated_rows: u64,
    /// The first and the last date of which rows are held.
    pub dates: Option<(String, String)>,
    /// The newest file that is in: Microsoft made it then. Its rows may lie up to two days before (analytics contract 5).
    pub as_of: Option<Timestamp>,
    pub execution: Option<String>,
    /// Months whose file in the lake is behind.
    pub lake_behind: usize,
    pub schedule: Option<Schedule>,
}

/// All seven, pulled or not.
pub async fn statuses(app: &App) -> Result<Vec<Status>, AnalyticsError> {
    let mut all = Vec::new();
    for dataset in DATASETS.iter() {
        all.push(status(app, dataset).await?);
    }
    Ok(all)
}

pub async fn status(app: &App, dataset: &'static Dataset) -> Result<Status, AnalyticsError> {
    let schedule = repo::schedule(app, dataset.name).await?.map(|(schedule, _)| schedule);
    let months = repo::months(&*app.rows, dataset.name, None).await?;
    let days = || months.values().flat_map(|(month, _)| &month.days).filter(|(date, _)| *date != UNDATED);
    let newest = months.values().flat_map(|(month, _)| month.days.values()).max_by_key(|day| day.generated);
    let as_of = schedule.as_ref().and_then(|schedule| schedule.newest);
    Ok(Status {
        dataset: dataset.name,
        pulled: pull::wanted(app).iter().any(|wanted| wanted.name == dataset.name),
        rows: days().map(|(_, day)| day.rows).sum(),
        undated_rows: months.get(UNDATED).map_or(0, |(month, _)| month.rows()),
        dates: days().next().zip(days().next_back()).map(|((first, _), (last, _))| (first.clone(), last.clone())),
        as_of: as_of.max(newest.map(|day| day.generated)),
        execution: newest.map(|day| day.execution.clone()),
        lake_behind: months.values().filter(|(month, _)| month.lake != month.stamp()).count(),
        schedule,
    })
}

/// Executions of a dataset, the newest first.
pub async fn executions(app: &App, dataset: &str) -> Result<Vec<Execution>, AnalyticsError> {
    let mut all: Vec<_> = repo::executions(app, dataset).await?.into_iter().map(|(execution, _)| execution).collect();
    all.reverse();
    Ok(all)
}

/// What later files said otherwise than earlier ones, the newest first, behind `after`; and where more would begin.
pub async fn changes(
    app: &App,
    dataset: &Dataset,
    after: &str,
    limit: usize,
) -> Result<(Vec<Changes>, Option<String>), AnalyticsError> {
    let (found, more) = repo::changes(app, dataset.name, after, limit).await?;
    let next = found.last().filter(|_| more).map(|(key, _)| key.clone());
    // One whose execution was never put in force changed nothing.
    let all = repo::executions(app, dataset.name).await?;
    let in_force = |id: &str| {
        let execution = all.iter().find(|(execution, _)| execution.id == id);
        execution.is_none_or(|(execution, _)| matches!(execution.state, State::Switched | State::Done))
    };
    Ok((found.into_iter().map(|(_, changes)| changes).filter(|changes| in_force(&changes.execution)).collect(), next))
}
