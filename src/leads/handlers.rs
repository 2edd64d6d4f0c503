//! The triggers of leads: the address for Microsoft, REST for the publisher's own systems, two queues, two timers. Pages
//! are in `staff`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::model::address::LeadAddress;
use super::service::list::{Filter, lead, leads, records};
use super::service::{self, ArrivalMessage, ForwardMessage, arrive, forward, table, take, upkeep};
use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Request, Response, json, uncached};
use crate::identity::Publisher;

/// Leads on one page of the interface.
const PAGE: usize = 100;

/// `POST /marketplace/leads/{key}`.
pub async fn receive(app: Arc<App>, request: Request, address: LeadAddress) -> Result<Response, Problem> {
    let id = arrive::receive(&app, &address, &request.body).await?;
    Ok(uncached(json(StatusCode::OK, &json!({ "id": id }))))
}

/// `GET /api/leads?since=2026-03-02T09:00:00Z&page=`.
pub async fn list(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let since = request.query("since").filter(|since| !since.is_empty()).map(|since| since.parse());
    let since = since.transpose().map_err(|_| {
        Problem::bad_request("invalid_since", "`since` is not a time.")
            .field("since")
            .remedy("Send one such as 2026-03-02T09:00:00Z.")
    })?;
    let filter = Filter { since, ..Filter::default() };
    let after = request.query("page").filter(|page| !page.is_empty());
    let page = leads(&app, &filter, after.as_deref(), PAGE).await?;
    let records = records(&app, &page.rows).await?;
    let leads: Vec<_> = records
        .iter()
        .map(|record| json!({ "lead": record.lead, "kind": record.kind(), "duplicate_of": record.duplicate_of }))
        .collect();
    Ok(uncached(json(StatusCode::OK, &json!({ "leads": leads, "next": page.next }))))
}

/// `GET /api/leads/{lead}`.
pub async fn one(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let detail = lead(&app, &service::id(request.param("lead"))?).await?;
    Ok(uncached(json(StatusCode::OK, &detail)))
}

/// Queue `leads`.
pub async fn process(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: ArrivalMessage = serde_json::from_str(&text).map_err(JobError::fail)?;
    take::take(&app, &message.arrival).await.map_err(JobError::retry)
}

/// Queue `lead-forwards`.
pub async fn forward(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: ForwardMessage = serde_json::from_str(&text).map_err(JobError::fail)?;
    forward::attempt(&app, &message.lead, &message.destination).await.map_err(JobError::retry)
}

/// Every five minutes: what lost its message.
pub async fn revive(app: Arc<App>) -> Result<(), JobError> {
    let revived = upkeep::revive(&app).await.map_err(JobError::retry)?;
    if revived > 0 {
        tracing::warn!(leads = revived, "leads had come to a stop and go on");
    }
    Ok(())
}

/// Every five minutes: what Microsoft wrote into the table.
pub async fn read_table(app: Arc<App>) -> Result<(), JobError> {
    let read = table::read_table(&app).await.map_err(JobError::retry)?;
    if read.new > 0 {
        tracing::info!(rows = read.rows, new = read.new, "leads were read from the table");
    }
    Ok(())
}
