//! The executions of a dataset: what came of their files, what they changed, and those that wait for a person.

use std::sync::Arc;

use serde_json::{Value, json};

use super::subject::page_of;
use super::{ROOT, dataset, download, name};
use crate::analytics::model::changes::Changes;
use crate::analytics::model::datasets::DATASETS;
use crate::analytics::model::execution::{Execution, State};
use crate::analytics::{self, held};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::pages::page;

/// Executions and months of changes of a page.
const MOST: usize = 60;
const CHANGES: usize = 20;
/// Days of a month whose changes are told one by one.
const MOST_DAYS: usize = 31;

/// `GET /publisher/analytics/executions/{dataset}?after=`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let dataset = dataset(&request)?;
    let after = request.query("after").unwrap_or_default();
    let all = analytics::executions(&app, dataset.name).await?;
    let (changes, next) = analytics::changes(&app, dataset, &after, CHANGES).await?;
    let content = json!({
        "dataset": dataset.name, "page": page_of(dataset.name), "root": ROOT, "may_act": staff.role >= Role::Operator,
        "here_at": format!("{ROOT}/executions/{}", dataset.name),
        "datasets": DATASETS.iter().map(|one| one.name).collect::<Vec<_>>(),
        "rows": all.iter().take(MOST).map(view).collect::<Vec<_>>(), "more": all.len().saturating_sub(MOST),
        "changes": changes.iter().map(|one| changes_view(one, &all)).collect::<Vec<_>>(), "first": after.is_empty(), "next": next,
        "done": request.query("done"),
    });
    page(&app, &request, Some(&staff.session), "staff_analytics_executions.html", content)
}

fn view(one: &Execution) -> Value {
    let (state, why) = match &one.state {
        State::Found => ("found", None),
        State::Fetched => ("fetched", None),
        State::Switched => ("switched", None),
        State::Done => ("done", None),
        State::Held { why } => ("held", Some(why)),
        State::Failed { why } => ("failed", Some(why)),
    };
    json!({
        "id": one.id, "state": state, "why": why, "generated": one.generated, "found": one.found,
        "finished": one.finished, "rows": one.rows.to_string(), "dates": one.dates, "days_new": one.days_new,
        "days_changed": one.days_changed, "oddities": one.oddities, "released_by": one.released_by,
        "raw": one.raw.as_ref().map(|raw| json!({ "length": raw.length.to_string(), "sha256": raw.sha256 })),
        "imported": one.report == "import",
    })
}

/// A month that a later file told otherwise.
fn changes_view(one: &Changes, all: &[Execution]) -> Value {
    let days = one.days.iter().take(MOST_DAYS).map(|(day, change)| {
        json!({
            "day": day, "before": change.before, "rows": [change.rows.0.to_string(), change.rows.1.to_string()],
            "added": change.added, "removed": change.removed, "changed": change.changed,
            "counted_only": change.counted_only, "shown": change.shown,
            "sums": change.sums.iter().map(|(column, before, after)| {
                json!({ "column": column, "before": before.normalize().to_string(), "after": after.normalize().to_string() })
            }).collect::<Vec<_>>(),
        })
    });
    json!({
        "execution": one.execution, "generated": one.generated, "month": one.month, "days": days.collect::<Vec<_>>(),
        "count": one.days.len(), "known": all.iter().any(|execution| execution.id == one.execution),
    })
}

/// `POST /publisher/analytics/executions/{dataset}/release`: `execution`.
pub async fn release(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let dataset = dataset(&request)?;
    let id = form.get("execution");
    let done = held::release(&app, dataset, id, &name(&staff)).await?;
    if done {
        tracing::warn!(dataset = dataset.name, execution = id, by = %staff.user().object_id, "a file that was held may pass");
    }
    let done = if done { "released" } else { "not_held" };
    Ok(uncached(redirect(&format!("{ROOT}/executions/{}?done={done}", dataset.name))))
}

/// `GET /publisher/analytics/executions/{dataset}/{execution}/file`: as Microsoft wrote it, also what was not asked for, and so
/// for those who may act.
pub async fn file(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    let dataset = dataset(&request)?;
    let found = held::find(&app, dataset, request.param("execution")).await?;
    let (execution, raw) =
        found.and_then(|one| one.raw.clone().map(|raw| (one, raw))).ok_or_else(Problem::not_found)?;
    Ok(download(held::raw(&app, &raw), &format!("{}_{}", dataset.name, execution.id)))
}
