//! The triggers: the timer that keeps Microsoft asked, the queue of datasets to take in, Microsoft's hint that a report is
//! ready.

pub mod rest;
pub mod runs;

use std::sync::Arc;

use http::StatusCode;

use crate::analytics::model::datasets::Dataset;
use crate::analytics::service::{ingest, mails, now, pull};
use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Request, Response, empty};

/// Timer `AnalyticsPull`, every hour.
pub async fn pull(app: Arc<App>) -> Result<(), JobError> {
    now::revive(&app).await.map_err(JobError::retry)?;
    pull::pull(&app).await.map_err(JobError::retry)
}

/// Timer `SendReports`, every ten minutes.
pub async fn send_reports(app: Arc<App>) -> Result<(), JobError> {
    mails::send_due(&app).await.map_err(JobError::retry)
}

/// Queue `report-ingest`: one dataset whose files are to be taken in, or one run that was asked for.
pub async fn ingest(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: ingest::Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    match message {
        ingest::Message::Dataset(name) => {
            let Some(dataset) = Dataset::find(&name) else { return Ok(()) };
            // What is here already does not wait for Microsoft.
            let collected = pull::collect(&app, dataset).await;
            ingest::ingest(&app, dataset).await.map_err(JobError::retry)?;
            collected.map_err(JobError::retry)
        }
        ingest::Message::Run(id) => now::advance(&app, &id).await.map_err(JobError::retry),
    }
}

/// `POST /marketplace/report-ready/{report}`: Microsoft has made a file (analytics contract 4.8). Nothing proves that it is
/// Microsoft, so it is a hint: of a report that is ours, a look is taken earlier.
pub async fn ready(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    match pull::hint(&app, request.param("report")).await? {
        true => Ok(empty(StatusCode::ACCEPTED)),
        false => Err(Problem::not_found()),
    }
}
