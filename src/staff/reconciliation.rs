//! The reconciliation of a month for staff: what each side comes to, the differences by class, what people said of them; and
//! the funnel.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::analytics::finance::handlers::{class, month};
use crate::analytics::finance::{self, Marked, Outcome, Who};
use crate::analytics::model::calendar::{Month, days, start_of};
use crate::analytics::model::reconcile::{Between, Summary};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::metering::model::resource::Resource;
use crate::pages::{page, wrong};

const HERE: &str = "/publisher/reconciliation";
/// Rows of a table.
const MOST: usize = 200;

pub(super) fn who(staff: &Staff) -> Who {
    let user = staff.user();
    let name = if user.name.is_empty() { &user.email } else { &user.name };
    Who { id: format!("staff:{}", user.object_id), name: name.clone() }
}

/// The month of a page: the one that is named, else the last one that is over.
pub(super) fn asked(app: &App, request: &Request) -> Result<Month, Problem> {
    match request.query("month").filter(|text| !text.is_empty()) {
        Some(text) => month(&text),
        None => Ok(Month::at(app.clock.now()).previous()),
    }
}

/// Months beside a page's own.
pub(super) fn neighbours(app: &App, month: Month) -> Value {
    let later = Some(month.next()).filter(|later| *later <= Month::at(app.clock.now()));
    json!({ "month": month, "earlier": month.previous(), "later": later })
}

/// `GET /publisher/reconciliation?month=2026-03&class=&open=`.
pub async fn show(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let month = asked(&app, &request)?;
    shown(&app, &request, &staff, month, None).await
}

/// A form that was refused.
struct Refused<'a> {
    problem: &'a Problem,
    form: &'a Form,
}

async fn shown(
    app: &App,
    request: &Request,
    staff: &Staff,
    month: Month,
    refused: Option<Refused<'_>>,
) -> Result<Response, Problem> {
    let class = class(request)?;
    let only_open = request.query("open").is_some_and(|open| open == "1");
    let outcome = finance::outcome(app, month).await?;
    let mut content = neighbours(app, month);
    content["may_act"] = json!(staff.role >= Role::Operator);
    content["here_at"] = json!(format!("{HERE}?month={month}"));
    content["class"] = json!(class);
    content["only_open"] = json!(only_open);
    content["done"] = json!(request.query("done"));
    content["over"] = json!(app.clock.now() >= month.end());
    content["error"] = Value::Null;
    content["run"] = Value::Null;
    if let Some(outcome) = outcome {
        let admits = |one: &&Marked| {
            class.is_none_or(|class| one.difference.class == class) && !(only_open && one.mark.is_some())
        };
        let found: Vec<&Marked> = outcome.differences.iter().filter(admits).collect();
        content["rows"] = found.iter().take(MOST).map(|one| row_view(one)).collect();
        content["more"] = json!(found.len().saturating_sub(MOST));
        content["summary"] = outcome.summary.iter().map(summary_view).collect();
        content["run"] = run_view(&outcome);
        content["count"] = json!(outcome.run.count());
        content["open"] = json!(outcome.open);
        content["close"] = json!(outcome.close);
        content["changed_since_close"] = json!(outcome.changed_since_close);
    }
    if let Some(Refused { problem, form }) = &refused {
        content["error"] = wrong(problem);
        content["error"]["of"] = json!(form.get("id"));
        content["error"]["note"] = json!(form.get("note"));
    }
    let mut response = page(app, request, Some(&staff.session), "staff_reconciliation.html", content)?;
    if let Some(refused) = refused {
        *response.status_mut() = refused.problem.status;
    }
    Ok(response)
}

pub(super) fn money_view<'a>(money: impl IntoIterator<Item = (&'a String, &'a Decimal)>) -> Vec<Value> {
    let one = |(currency, amount): (&String, &Decimal)| json!({ "currency": currency, "amount": amount.normalize().to_string() });
    money.into_iter().map(one).collect()
}

fn run_view(outcome: &Outcome) -> Value {
    let (run, totals) = (&outcome.run, &outcome.run.totals);
    let sums: Vec<Value> = [
        ("accepted", &totals.accepted),
        ("waiting", &totals.waiting),
        ("lost", &totals.lost),
        ("charged", &totals.charged),
        ("revenue", &totals.revenue),
    ]
    .into_iter()
    .map(|(name, money)| json!({ "name": name, "money": money_view(money) }))
    .collect();
    json!({
        "at": run.at, "by": run.by, "sums": sums, "days": run.days_read_back,
        "days_of_month": days(run.month.first(), run.month.last()).count(),
        "newest": [
            { "dataset": "ISVUsage", "day": run.usage_newest },
            { "dataset": "ISVRevenue", "day": run.revenue_newest },
            { "dataset": "ISVOrder", "day": run.orders_newest },
        ],
    })
}

fn summary_view(summary: &Summary) -> Value {
    json!({
        "class": summary.class, "count": summary.count, "explained": summary.explained,
        "open": summary.count - summary.explained, "money": money_view(&summary.open),
    })
}

fn row_view(one: &Marked) -> Value {
    let difference = &one.difference;
    // Where a person can look further: the hours of the day, or the subscription.
    let subscription = difference.between == Between::SubscriptionsOrders;
    let key = Resource::uri(&difference.resource).map_or_else(|_| difference.resource.clone(), |uri| uri.key());
    let address = match difference.day.and_then(|day| day.tomorrow().ok()) {
        _ if subscription => format!("/publisher/subscriptions/{key}"),
        Some(end) => format!("/publisher/usage/resources/{key}?to={}", start_of(end)),
        None => format!("/publisher/usage/resources/{key}"),
    };
    let hours: Vec<Value> = difference
        .hours
        .iter()
        .map(|line| json!({ "hour": line.hour.start(), "quantity": line.quantity.to_string() }))
        .collect();
    json!({
        "id": difference.id, "state": difference.state(), "class": difference.class, "between": difference.between,
        "why": difference.why, "absent": difference.absent, "resource": difference.resource, "address": address,
        "plan": difference.plan, "dimension": difference.dimension, "day": difference.day,
        "other_day": difference.other_day, "hours": hours, "ours": difference.ours, "theirs": difference.theirs,
        "amount": difference.amount.normalize().to_string(), "currency": difference.currency, "mark": one.mark,
    })
}

/// `POST /publisher/reconciliation/run`: `month`.
pub async fn run(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let month = month(form.get("month"))?;
    finance::reconcile(&app, month, &who(&staff)).await?;
    Ok(uncached(redirect(&format!("{HERE}?month={month}&done=run"))))
}

/// `POST /publisher/reconciliation/mark`: `month`, `id`, `state`, `note`; `action` is `mark` or `unmark`.
pub async fn mark(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let month = month(form.get("month"))?;
    let (id, by) = (form.get("id"), who(&staff));
    let done = match form.get("action") {
        "unmark" => finance::unmark(&app, month, id).await,
        _ => finance::mark(&app, month, id, form.get("state"), form.get("note"), &by).await,
    };
    match done {
        Ok(()) => {
            tracing::info!(%month, difference = id, by = by.id, action = form.get("action"), "a difference was marked");
            Ok(uncached(redirect(&format!("{HERE}?month={month}&done={}#d-{id}", done_word(&form)))))
        }
        Err(problem) if problem.status.is_client_error() && request.wants_page() => {
            shown(&app, &request, &staff, month, Some(Refused { problem: &problem, form: &form })).await
        }
        Err(problem) => Err(problem),
    }
}

fn done_word(form: &Form) -> &'static str {
    if form.get("action") == "unmark" { "unmark" } else { "mark" }
}

/// `GET /publisher/funnel?month=2026-03`.
pub async fn funnel(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let month = asked(&app, &request)?;
    let mut content = neighbours(&app, month);
    content["funnel"] = json!(finance::funnel(&app, month).await?);
    page(&app, &request, Some(&staff.session), "staff_funnel.html", content)
}
