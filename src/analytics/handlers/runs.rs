//! REST for what is asked of Microsoft at once.

use std::sync::Arc;

use http::{StatusCode, header};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::json;

use super::rest::dataset;
use crate::analytics::AnalyticsError;
use crate::analytics::model::run::{Run, Wanted};
use crate::analytics::repo;
use crate::analytics::service::questions::QuestionError;
use crate::analytics::service::{held, now};
use crate::app::App;
use crate::foundation::ids::RunId;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached, with_header};
use crate::identity::Publisher;

/// One of the first three, and dates where they are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    dataset: Option<String>,
    query: Option<String>,
    query_id: Option<String>,
    from: Option<Date>,
    to: Option<Date>,
}

/// `POST /api/analytics/runs` with `dataset` (its rows are fetched anew), `query` or `query_id` (the file is kept for 30 days), and
/// `from` and `to` as days.
pub async fn start(app: Arc<App>, request: Request, publisher: Publisher) -> Result<Response, Problem> {
    let wrong = |title: String| Problem::bad_request("invalid_run", title);
    let asked: Asked = serde_json::from_value(request.json()?).map_err(|error| wrong(error.to_string()))?;
    let between = match (asked.from, asked.to) {
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        (None, None) => None,
        _ => return Err(wrong("`from` and `to` belong together, the first day first.".to_owned()).field("from")),
    };
    let wanted = match (asked.dataset, asked.query, asked.query_id) {
        (Some(name), None, None) => Wanted::Rows { dataset: dataset(&name)?.name.to_owned() },
        (None, Some(text), None) => Wanted::Query { text },
        (None, None, Some(query_id)) => Wanted::Stored { query_id },
        _ => return Err(wrong("Name one of `dataset`, `query` and `query_id`.".to_owned()).field("dataset")),
    };
    let run = now::start(&app, wanted, between, &publisher.name).await?;
    Ok(uncached(json(StatusCode::ACCEPTED, &run)))
}

/// `GET /api/analytics/runs`: the newest first.
pub async fn list(app: Arc<App>, _request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let runs: Vec<Run> = repo::runs(&app).await?.into_iter().map(|(run, _)| run).collect();
    Ok(uncached(json(StatusCode::OK, &json!({ "runs": runs }))))
}

async fn find(app: &App, request: &Request) -> Result<Run, Problem> {
    let id: RunId = request.param("run").parse().map_err(|_| Problem::not_found())?;
    repo::run(app, &id).await?.map(|(run, _)| run).ok_or_else(Problem::not_found)
}

/// `GET /api/analytics/runs/{run}`.
pub async fn one(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    Ok(uncached(json(StatusCode::OK, &find(&app, &request).await?)))
}

/// `GET /api/analytics/runs/{run}/file`: as Microsoft wrote it, unpacked.
pub async fn file(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let run = find(&app, &request).await?;
    let Some(file) = run.file else {
        return Err(Problem::conflict("no_file", "There is no file of this run.")
            .remedy("Ask for the run itself: its `state` tells what became of it."));
    };
    let name = format!("{}.csv", run.id.as_str());
    let mut response = Response::new(held::raw(&app, &file));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ] {
        response = with_header(response, name, &value);
    }
    Ok(uncached(response))
}

/// `GET /api/analytics/queries`: what is stored at Microsoft, its own system queries included.
pub async fn queries(app: Arc<App>, _request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let client = app.analytics.as_ref().ok_or(QuestionError::NotPulled)?;
    let found = client.queries().await.map_err(AnalyticsError::from)?;
    Ok(uncached(json(StatusCode::OK, &json!({ "queries": found }))))
}
