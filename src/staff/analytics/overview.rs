//! The front page of analytics: what is held of each dataset, how fresh it is, and what does not go as it should.

use std::sync::Arc;

use serde_json::{Value, json};

use super::subject::page_of;
use super::{ROOT, trouble_view};
use crate::analytics::model::schedule::Trouble;
use crate::analytics::{self, Status};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::identity::{Role, Staff};
use crate::pages::page;

/// `GET /publisher/analytics`.
pub async fn overview(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let all = analytics::statuses(&app).await?;
    let content = json!({
        "rows": all.iter().map(view).collect::<Vec<_>>(), "root": ROOT, "may_act": staff.role >= Role::Operator,
        "pulled": all.iter().any(|one| one.pulled), "held": all.iter().any(|one| one.rows + one.undated_rows > 0),
        "troubles": troubles(&all),
        "drifts": all.iter().filter_map(drift).collect::<Vec<_>>(),
    });
    page(&app, &request, Some(&staff.session), "staff_analytics.html", content)
}

/// What is the same trouble with several datasets is told once.
fn troubles(all: &[Status]) -> Vec<Value> {
    let mut told: Vec<(&Trouble, Vec<&str>)> = Vec::new();
    for status in all {
        let Some(trouble) = status.schedule.as_ref().and_then(|schedule| schedule.trouble.as_ref()) else { continue };
        match told.iter_mut().find(|(known, _)| known.kind == trouble.kind && known.said == trouble.said) {
            Some((_, datasets)) => datasets.push(status.dataset),
            None => told.push((trouble, vec![status.dataset])),
        }
    }
    let view = |(trouble, datasets): (&Trouble, Vec<&str>)| {
        let mut view = trouble_view(trouble);
        view["dataset"] = datasets.join(", ").into();
        view
    };
    told.into_iter().map(view).collect()
}

fn view(status: &Status) -> Value {
    let schedule = status.schedule.as_ref();
    json!({
        "dataset": status.dataset, "page": page_of(status.dataset), "pulled": status.pulled,
        "rows": status.rows.to_string(), "undated": status.undated_rows.to_string(), "dates": status.dates,
        "as_of": status.as_of, "execution": status.execution, "lake_behind": status.lake_behind,
        "trouble": schedule.and_then(|schedule| schedule.trouble.as_ref()).map(trouble_view),
        "looked": schedule.and_then(|schedule| schedule.looked),
    })
}

/// How Microsoft's list and files differ from what is known here.
fn drift(status: &Status) -> Option<Value> {
    let drift = &status.schedule.as_ref()?.drift;
    let lists =
        [("missing", &drift.missing), ("new", &drift.new), ("surplus", &drift.surplus), ("lacking", &drift.lacking)];
    let lists: Vec<Value> = lists
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(key, names)| json!({ "key": key, "names": names }))
        .collect();
    (!lists.is_empty()).then(|| json!({ "dataset": status.dataset, "lists": lists }))
}
