//! The front page of usage: whether it is being sent, what needs a person, what was lost.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Sums, address, deadline, name, target};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, redirect, uncached};
use crate::fulfillment;
use crate::identity::{Role, Staff};
use crate::metering;
use crate::metering::model::hour::Hour;
use crate::metering::model::resource::Resource;
use crate::pages::page;

/// Rows of the tables.
const PAGE: usize = 50;
/// The comparison runs for so many days back.
const DAYS: i64 = 3;
/// Names looked up at the same time.
const PARALLEL: usize = 16;

/// `GET /publisher/usage?find=&after=`; with `find`, leads to that resource.
pub async fn overview(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let find = request.query("find").unwrap_or_default().trim().to_owned();
    if !find.is_empty() {
        // An address in Azure has slashes; its key has none.
        let text = Resource::uri(&find).map_or_else(|_| find.clone(), |resource| resource.key());
        if let Ok(found) = target(&app, &text).await {
            return Ok(uncached(redirect(&address(&found.resource))));
        }
    }
    let now = app.clock.now();
    let overview = metering::overview(&app).await?;
    let state = &overview.submission;
    // The last word counts: an error that a success followed is history.
    let failing = state.error.is_some() && state.failed > state.succeeded;
    let names = named(&app, overview.attention.iter().take(PAGE).map(|mark| mark.resource.clone()).collect()).await?;
    let attention: Vec<Value> = overview
        .attention
        .iter()
        .zip(names)
        .map(|(mark, mut view)| {
            view["counts"] = json!(mark.attention);
            view["deadline"] = mark.attention.deadline.map_or(Value::Null, |at| deadline(at, now));
            view
        })
        .collect();
    let month: String = now.to_string().chars().take(7).collect();
    let losses = metering::losses(&app, &month).await?;
    let mut lost = Sums::default();
    for loss in losses.iter().filter(|loss| loss.recovered.is_none()) {
        lost.add(loss.amount, &loss.currency);
    }
    let after = request.query("after").filter(|after| !after.is_empty());
    let (known, more) = metering::resources(&app, after.as_deref(), PAGE).await?;
    let next = known.last().map(|(key, _)| key.clone()).filter(|_| more);
    let known = named(&app, known.into_iter().map(|(_, resource)| resource).collect()).await?;
    let content = json!({
        "on": app.marketplace.is_some(),
        "state": {
            "succeeded": state.succeeded, "failing": failing, "error": state.error, "failed": state.failed,
            "failures": state.failures, "not_before": state.not_before.filter(|at| *at > now),
            "error_key": state.error.as_deref().map(error_key),
        },
        "at_work": overview.at_work, "pending": overview.pending, "held": overview.held,
        "dead_letters": overview.dead_letters,
        "deadline": overview.deadline.map(|at| deadline(at, now)),
        "attention": attention, "more_attention": overview.attention.len().saturating_sub(PAGE),
        "month": month, "lost": lost.view(), "losses": losses.len(),
        "read_back": read_back(&app, now).await?,
        "known": known, "next": next, "first": after.is_none(),
        "find": find,
        "may_act": staff.role >= Role::Operator,
    });
    page(&app, &request, Some(&staff.session), "staff_usage.html", content)
}

/// Which remedy fits the error of a whole batch.
fn error_key(error: &str) -> &'static str {
    if error.contains("refuses our credentials") {
        "denied"
    } else if error.contains("asks us to wait") {
        "throttled"
    } else if error.contains("marketplace refuses") {
        "refused"
    } else {
        "unreachable"
    }
}

/// Resources with their names and addresses, in order.
async fn named(app: &App, resources: Vec<Resource>) -> Result<Vec<Value>, Problem> {
    let looking = stream::iter(resources).map(|resource| async move {
        let row = match resource.subscription() {
            Some(id) => fulfillment::find(app, id).await?,
            None => None,
        };
        Ok::<_, Problem>(json!({
            "id": resource.to_string(), "address": address(&resource), "name": name(&resource, row.as_ref()),
            "subscription": resource.subscription().is_some(), "plan": row.map(|row| row.facts.plan_id),
        }))
    });
    looking.buffered(PARALLEL).collect::<Vec<_>>().await.into_iter().collect()
}

/// The newest comparison with Microsoft, and how many differences are still there.
async fn read_back(app: &App, now: Timestamp) -> Result<Value, Problem> {
    for back in 1..=DAYS {
        let day = Hour::of(now - SignedDuration::from_hours(24 * back)).day();
        let (differences, report) = metering::differences(app, &day).await?;
        if let Some(report) = report {
            return Ok(json!({ "report": report, "differences": differences.len() }));
        }
    }
    Ok(Value::Null)
}
