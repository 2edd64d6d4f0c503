//! Losses of a month, differences of a day, and the catalogue.

use std::sync::Arc;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Sums, address, name};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::fulfillment;
use crate::identity::{Role, Staff};
use crate::metering::model::catalogue::Catalogue;
use crate::metering::model::resource::Resource;
use crate::metering::{self, Difference, Loss, handlers};
use crate::pages::page;

/// Rows of a table, and for how many of them names are looked up.
const MOST: usize = 500;
const NAMED: usize = 100;

/// `GET /publisher/usage/losses?month=2026-03`.
pub async fn losses(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let now = app.clock.now();
    let month = handlers::month(&request, now)?;
    let losses = metering::losses(&app, &month).await?;
    let mut sums = Sums::default();
    for loss in losses.iter().filter(|loss| loss.recovered.is_none()) {
        sums.add(loss.amount, &loss.currency);
    }
    let mut rows = Vec::new();
    for (index, loss) in losses.iter().take(MOST).enumerate() {
        rows.push(loss_view(&app, loss, index < NAMED).await?);
    }
    let first: Option<Date> = format!("{month}-01").parse().ok();
    let step = |months: i64| {
        let day = first?.checked_add(Span::new().months(months)).ok()?;
        Some(day.to_string().chars().take(7).collect::<String>())
    };
    let this: String = now.to_string().chars().take(7).collect();
    let content = json!({
        "may_act": staff.role >= Role::Operator, "month": month, "rows": rows, "sums": sums.view(), "count": losses.len(), "more": losses.len().saturating_sub(MOST),
        "earlier": step(-1), "later": step(1).filter(|later| *later <= this),
    });
    page(&app, &request, Some(&staff.session), "staff_usage_losses.html", content)
}

async fn loss_view(app: &App, loss: &Loss, named: bool) -> Result<Value, Problem> {
    let row = match loss.resource.subscription().filter(|_| named) {
        Some(id) => fulfillment::find(app, id).await?,
        None => None,
    };
    Ok(json!({
        "at": loss.at, "hour": loss.hour.start(), "address": address(&loss.resource),
        "name": name(&loss.resource, row.as_ref()), "dimension": loss.dimension, "plan": loss.plan,
        "quantity": loss.quantity, "amount": loss.amount.to_string(), "currency": loss.currency,
        "reason": loss.reason.as_str(), "said": loss.said, "recovered": loss.recovered,
    }))
}

/// `GET /publisher/usage/differences?day=2026-03-02`.
pub async fn differences(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let now = app.clock.now();
    let day = handlers::day(&request, now)?;
    let (differences, report) = metering::differences(&app, &day).await?;
    let date: Option<Date> = day.parse().ok();
    let today = now.to_zoned(TimeZone::UTC).date();
    let content = json!({
        "may_act": staff.role >= Role::Operator, "day": day, "report": report, "count": differences.len(),
        "rows": differences.iter().take(MOST).map(difference_view).collect::<Vec<_>>(),
        "more": differences.len().saturating_sub(MOST),
        "kinds": kinds(&differences),
        "over": date.is_some_and(|date| date < today),
        "earlier": date.and_then(|date| date.yesterday().ok()).map(|day| day.to_string()),
        "later": date.and_then(|date| date.tomorrow().ok()).filter(|later| *later <= today).map(|day| day.to_string()),
    });
    page(&app, &request, Some(&staff.session), "staff_usage_differences.html", content)
}

fn difference_view(difference: &Difference) -> Value {
    let known = Resource::uri(&difference.resource).map_or_else(|_| difference.resource.clone(), |uri| uri.key());
    json!({
        "address": format!("/publisher/usage/resources/{known}"), "resource": difference.resource,
        "dimension": difference.dimension, "plan": difference.plan, "kind": difference.kind, "ours": difference.ours,
        "theirs": difference.theirs, "gap": difference.ours - difference.theirs,
        "amount": difference.amount.to_string(), "currency": difference.currency, "seen": difference.seen,
    })
}

/// The kinds that are there, so that only these are explained.
fn kinds(differences: &[Difference]) -> Vec<Value> {
    let mut kinds: Vec<_> = differences.iter().map(|difference| difference.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.into_iter().map(|kind| json!(kind)).collect()
}

/// `GET /publisher/usage/catalogue`.
pub async fn catalogue(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let Catalogue { meters, plans } = &app.catalogue;
    let meters: Vec<Value> =
        meters.iter().map(|(name, meter)| json!({ "name": name, "per": meter.per, "tiers": meter.tiers })).collect();
    let plans: Vec<Value> = plans
        .iter()
        .map(|(id, plan)| {
            let dimensions: Vec<Value> = plan
                .dimensions
                .iter()
                .map(|(id, dimension)| {
                    json!({
                        "id": id, "name": dimension.name, "unit": dimension.unit, "price": dimension.price.to_string(),
                        "currency": dimension.currency, "included": dimension.included,
                    })
                })
                .collect();
            json!({ "id": id, "hold": plan.hold, "dimensions": dimensions })
        })
        .collect();
    let content = json!({ "may_act": staff.role >= Role::Operator, "file": app.settings.catalogue_file, "meters": meters, "plans": plans });
    page(&app, &request, Some(&staff.session), "staff_usage_catalogue.html", content)
}
