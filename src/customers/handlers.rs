//! REST for the publisher's own systems; pages are in `staff`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::service;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached};
use crate::identity::Publisher;

/// Companies on one page of the interface.
const PAGE: usize = 100;

/// `GET /api/customers?q=&page=`.
pub async fn list(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let number: usize = request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let found = service::customers(&app, &request.query("q").unwrap_or_default()).await?;
    let more = found.len() > number * PAGE;
    let rows: Vec<_> = found.into_iter().skip((number - 1) * PAGE).take(PAGE).collect();
    Ok(uncached(json(StatusCode::OK, &json!({ "customers": rows, "next": more.then_some(number + 1) }))))
}

/// `GET /api/customers/{customer}`: a tenant's id, or a mail domain.
pub async fn one(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let key = request.param("customer").parse().map_err(|_| Problem::not_found())?;
    let found = service::customer(&app, &key).await?.ok_or_else(Problem::not_found)?;
    Ok(uncached(json(StatusCode::OK, &found)))
}
