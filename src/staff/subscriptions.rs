//! The list (search, filter, paging, CSV) and one subscription.

use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_DISPOSITION;
use serde_json::json;

use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::outbound::Patience;
use crate::foundation::problem::Problem;
use crate::foundation::sheet::cell;
use crate::foundation::web::{Form, Request, Response, redirect, respond, uncached, with_header};
use crate::fulfillment::model::event::Cause;
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::{self, ListFilter, Summary};
use crate::identity::Staff;
use crate::pages::page;
use crate::portal::subscription_view;

const PAGE: usize = 50;
const EVENTS: usize = 100;
/// Rows read at a time for the CSV.
const CSV_PAGE: usize = 1000;

/// `GET /publisher`.
pub async fn home(_app: Arc<App>, _request: Request, _staff: Staff) -> Result<Response, Problem> {
    Ok(uncached(redirect("/publisher/subscriptions")))
}

fn filter(request: &Request) -> ListFilter {
    let status = request.query("status").filter(|text| !text.is_empty()).map(|text| Status::parse(&text));
    ListFilter { text: request.query("q").unwrap_or_default().trim().to_lowercase(), status }
}

/// `GET /publisher/subscriptions?q=&status=&after=`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let filter = filter(&request);
    let after = request.query("after").filter(|after| !after.is_empty());
    let first = after.is_none();
    let found = fulfillment::list(&app, &filter, after, PAGE).await?;
    let pairs = [("q", filter.text.as_str()), ("status", filter.status.map_or("", Status::as_str))];
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
        .finish();
    let content = json!({
        "rows": found.rows, "next": found.next, "first": first, "q": filter.text, "status": filter.status.map(Status::as_str), "query": query,
        "statuses": Status::ALL.map(Status::as_str),
    });
    page(&app, &request, Some(&staff.session), "staff_list.html", content)
}

/// `GET /publisher/subscriptions.csv?q=&status=`: all that the filter admits, not only one page.
pub async fn csv(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    let filter = filter(&request);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "subscription_id",
        "name",
        "offer",
        "plan",
        "quantity",
        "status",
        "purchaser_email",
        "purchaser_tenant_id",
        "beneficiary_email",
        "beneficiary_tenant_id",
        "term_end",
        "auto_renew",
        "is_test",
        "first_seen",
    ];
    writer.write_record(header).map_err(Problem::internal)?;
    let mut after = None;
    loop {
        let found = fulfillment::list(&app, &filter, after, CSV_PAGE).await?;
        for row in &found.rows {
            writer.write_record(record(row)).map_err(Problem::internal)?;
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    let body = writer.into_inner().map_err(|error| Problem::internal(error.to_string()))?;
    let response = respond(StatusCode::OK, "text/csv; charset=utf-8", body);
    Ok(uncached(with_header(response, CONTENT_DISPOSITION, "attachment; filename=\"subscriptions.csv\"")))
}

fn record(row: &Summary) -> [String; 14] {
    let some = |value: Option<String>| value.unwrap_or_default();
    [
        row.id.to_string(),
        cell(&row.name),
        cell(&row.offer),
        cell(&row.plan),
        some(row.quantity.map(|quantity| quantity.to_string())),
        row.status.to_string(),
        cell(&row.purchaser),
        some(row.purchaser_tenant.map(|id| id.to_string())),
        cell(&row.beneficiary),
        some(row.beneficiary_tenant.map(|id| id.to_string())),
        some(row.term_end.map(|at| at.to_string())),
        row.auto_renew.to_string(),
        row.is_test.to_string(),
        row.first_seen.to_string(),
    ]
}

fn id(request: &Request) -> Result<SubscriptionId, Problem> {
    request.param("id").parse().map_err(|_| Problem::not_found())
}

/// `GET /publisher/subscriptions/{id}`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let detail = fulfillment::detail(&app, id(&request)?).await?.ok_or_else(Problem::not_found)?;
    let before = request.query("before").and_then(|before| before.parse().ok());
    let (events, more) = fulfillment::timeline(&app, detail.subscription.id, before, EVENTS).await?;
    let content = json!({
        "s": subscription_view(&detail.subscription, &fulfillment::known_plans(&app, detail.subscription.id).await?), "operations": detail.operations, "events": events,
        "older": events.last().filter(|_| more).map(|event| event.number),
        "done": request.query("done"),
        "may_act": staff.role >= crate::identity::Role::Operator,
    });
    page(&app, &request, Some(&staff.session), "staff_subscription.html", content)
}

/// `POST /publisher/subscriptions/{id}/sync`: ask Microsoft again, now.
pub async fn sync(app: Arc<App>, request: Request, _staff: Staff, _form: Form) -> Result<Response, Problem> {
    let id = id(&request)?;
    fulfillment::detail(&app, id).await?.ok_or_else(Problem::not_found)?;
    fulfillment::sync(&app, id, &Cause::Staff, Patience::Short).await?;
    Ok(uncached(redirect(&format!("/publisher/subscriptions/{id}?done=1"))))
}
