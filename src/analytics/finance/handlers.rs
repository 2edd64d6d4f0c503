//! The triggers: the publisher's REST interface under `/api/reconciliation`, `/api/closes` and `/api/funnel`, and the nightly
//! timer. Pages are in `staff`.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, ETAG};
use serde::Deserialize;
use serde_json::json;

use super::close::{CloseOrder, close, closes, of_number};
use super::{Close, Who, funnel, package, run};
use crate::analytics::model::calendar::Month;
use crate::analytics::model::reconcile::Class;
use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Body, Request, Response, json, respond, uncached, with_header};
use crate::identity::Publisher;

/// Differences in one answer, unless asked for otherwise.
const USUAL: usize = 1_000;

/// The month that a path or a query names.
pub fn month(text: &str) -> Result<Month, Problem> {
    let shown: String = text.chars().take(20).collect();
    text.parse().map_err(|error| Problem::bad_request("invalid_month", format!("`{shown}` {error}.")).field("month"))
}

/// The class that a query names, if it names one.
pub fn class(request: &Request) -> Result<Option<Class>, Problem> {
    let Some(text) = request.query("class").filter(|text| !text.is_empty()) else { return Ok(None) };
    let found = Class::ALL.into_iter().find(|class| class.as_str() == text);
    let wrong = || Problem::bad_request("invalid_class", "There is no such class of differences.").field("class");
    found.map(Some).ok_or_else(wrong)
}

fn by(publisher: &Publisher) -> Who {
    Who { id: format!("api:{}", publisher.name), name: publisher.name.clone() }
}

/// `GET /api/reconciliation/{month}?class=&limit=`: the result in force.
pub async fn reconciliation(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let month = month(request.param("month"))?;
    answer(&app, &request, month).await
}

/// `POST /api/reconciliation/{month}/run`: compares the month now.
pub async fn reconcile(app: Arc<App>, request: Request, publisher: Publisher) -> Result<Response, Problem> {
    let month = month(request.param("month"))?;
    run::reconcile(&app, month, &by(&publisher)).await?;
    answer(&app, &request, month).await
}

async fn answer(app: &App, request: &Request, month: Month) -> Result<Response, Problem> {
    let class = class(request)?;
    let limit = match request.query("limit").filter(|text| !text.is_empty()) {
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_request("invalid_limit", "limit is a whole number.").field("limit"))?,
        None => USUAL,
    };
    let mut outcome = run::outcome(app, month).await?.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "never_reconciled", format!("{month} was never reconciled."))
            .remedy(format!("POST /api/reconciliation/{month}/run does it now."))
    })?;
    outcome.differences.retain(|one| class.is_none_or(|class| one.difference.class == class));
    let found = outcome.differences.len();
    outcome.differences.truncate(limit);
    let mut body = serde_json::to_value(&outcome).map_err(Problem::internal)?;
    body["found"] = json!(found);
    Ok(uncached(json(StatusCode::OK, &body)))
}

/// `GET /api/closes`: all packages, the newest first.
pub async fn list(app: Arc<App>, _request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    Ok(uncached(json(StatusCode::OK, &json!({ "closes": closes(&app).await? }))))
}

/// `POST /api/closes`: `{"month": "2026-03", "accept_open": 2}`.
pub async fn create(app: Arc<App>, request: Request, publisher: Publisher) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        month: String,
        accept_open: Option<usize>,
    }
    let order: Order = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::bad_request("unreadable", format!("The body can not be read: {error}.")))?;
    let order = CloseOrder { month: month(&order.month)?, accept_open: order.accept_open, by: by(&publisher) };
    Ok(uncached(json(StatusCode::CREATED, &close(&app, &order).await?)))
}

/// `GET /api/closes/{close}`: the package.
pub async fn download(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    file(&app, request.param("close")).await
}

/// A package as a file.
pub async fn file(app: &App, number: &str) -> Result<Response, Problem> {
    let number = number.parse().map_err(|_| Problem::not_found())?;
    let (close, blob) = of_number(app, number).await?.ok_or_else(Problem::not_found)?;
    Ok(zip(app, &close, blob))
}

fn zip(app: &App, close: &Close, blob: String) -> Response {
    let pieces = package::contents(Arc::clone(&app.blobs), blob, close.bytes);
    let mut response = respond(StatusCode::OK, "application/zip", Vec::new());
    response = with_header(response, CONTENT_LENGTH, &close.bytes.to_string());
    response = with_header(response, ETAG, &format!("\"{}\"", close.sha256));
    let name = close.file_name();
    response = with_header(response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    *response.body_mut() = Body::Stream(Box::pin(pieces.map_err(std::io::Error::other)));
    uncached(response)
}

/// `GET /api/funnel/{month}`: visits, leads, trials and purchases by offer.
pub async fn funnel_of(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let month = month(request.param("month"))?;
    Ok(uncached(json(StatusCode::OK, &funnel::funnel(&app, month).await?)))
}

/// Timer `ReconcileAnalytics`, every night.
pub async fn nightly(app: Arc<App>) -> Result<(), JobError> {
    run::nightly(&app).await.map_err(JobError::retry)
}
