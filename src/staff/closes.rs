//! Closed months for staff: the packages with their hashes, and the form that closes a month.

use std::sync::Arc;

use serde_json::{Value, json};

use super::reconciliation::{asked, money_view, neighbours, who};
use crate::analytics::finance::handlers::{file, month};
use crate::analytics::finance::{self, Close, CloseOrder};
use crate::analytics::model::calendar::Month;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::pages::{page, wrong};

const HERE: &str = "/publisher/closes";

/// `GET /publisher/closes?month=2026-03`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let month = asked(&app, &request)?;
    shown(&app, &request, &staff, month, None).await
}

async fn shown(
    app: &App,
    request: &Request,
    staff: &Staff,
    month: Month,
    refused: Option<&Problem>,
) -> Result<Response, Problem> {
    let closes = finance::closes(app).await?;
    // What the form has to say before the month is closed.
    let outcome = finance::outcome(app, month).await?;
    let mut content = neighbours(app, month);
    content["may_act"] = json!(staff.role >= Role::Operator);
    content["over"] = json!(app.clock.now() >= month.end());
    content["ran"] = json!(outcome.as_ref().map(|outcome| outcome.run.at));
    content["open"] = json!(outcome.as_ref().map(|outcome| outcome.open));
    content["closed"] = json!(closes.iter().find(|close| close.month == month).map(|close| close.number));
    content["closes"] = closes.iter().map(close_view).collect();
    content["done"] = json!(request.query("done"));
    content["error"] = refused.map_or(Value::Null, wrong);
    let mut response = page(app, request, Some(&staff.session), "staff_closes.html", content)?;
    if let Some(problem) = refused {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

fn close_view(close: &Close) -> Value {
    let mut view = json!(close);
    view["file"] = json!(close.file_name());
    view["accepted"] = json!(money_view(&close.totals.accepted));
    view["revenue"] = json!(money_view(&close.totals.revenue));
    view
}

/// `POST /publisher/closes`: `month`, and `accept_open` with the number of open differences that the form showed.
pub async fn close(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let month = month(form.get("month"))?;
    let order = CloseOrder { month, accept_open: form.get("accept_open").parse().ok(), by: who(&staff) };
    match finance::close(&app, &order).await.map_err(Problem::from) {
        Ok(close) => {
            tracing::info!(%month, number = close.number, open = close.open, by = order.by.id, "a month was closed");
            Ok(uncached(redirect(&format!("{HERE}?month={month}&done={}", close.number))))
        }
        Err(problem) if problem.status.is_client_error() && request.wants_page() => {
            shown(&app, &request, &staff, month, Some(&problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /publisher/closes/{close}`: the package.
pub async fn download(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    file(&app, request.param("close")).await
}
