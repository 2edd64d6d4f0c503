//! How fresh each dataset is, and what does not go as it should.

use jiff::Timestamp;
use serde::Serialize;

use super::{AnalyticsError, pull};
use crate::analytics::model::datasets::DATASETS;
use crate::analytics::model::execution::Execution;
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
    let wanted = pull::wanted(app);
    let schedules = repo::schedules(app).await?;
    let mut all = Vec::new();
    for dataset in DATASETS.iter() {
        let months = repo::months(&*app.rows, dataset.name, None).await?;
        let days = || months.values().flat_map(|(month, _)| &month.days).filter(|(date, _)| *date != UNDATED);
        let newest = months.values().flat_map(|(month, _)| month.days.values()).max_by_key(|day| day.generated);
        let schedule = schedules.iter().find(|schedule| schedule.dataset == dataset.name).cloned();
        let as_of = schedule.as_ref().and_then(|schedule| schedule.newest);
        all.push(Status {
            dataset: dataset.name,
            pulled: wanted.iter().any(|wanted| wanted.name == dataset.name),
            rows: days().map(|(_, day)| day.rows).sum(),
            undated_rows: months.get(UNDATED).map_or(0, |(month, _)| month.rows()),
            dates: days().next().zip(days().next_back()).map(|((first, _), (last, _))| (first.clone(), last.clone())),
            as_of: as_of.max(newest.map(|day| day.generated)),
            execution: newest.map(|day| day.execution.clone()),
            lake_behind: months.values().filter(|(month, _)| month.lake != month.stamp()).count(),
            schedule,
        });
    }
    Ok(all)
}

/// Executions of a dataset, the newest first.
pub async fn executions(app: &App, dataset: &str) -> Result<Vec<Execution>, AnalyticsError> {
    let mut all: Vec<_> = repo::executions(app, dataset).await?.into_iter().map(|(execution, _)| execution).collect();
    all.reverse();
    Ok(all)
}
