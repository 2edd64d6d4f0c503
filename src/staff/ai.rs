//! What the AI API earns and costs: by model and by customer, with errors and latencies; how the deployments are; and
//! the emergency stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::ai::books::{self, Subject};
use crate::ai::stops::{self, Stop, Target};
use crate::ai::{Tally, cooldown};
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment;
use crate::identity::{Role, Staff};
use crate::metering::handlers;
use crate::pages::page;

const HERE: &str = "/publisher/ai";
/// Customers in the table, those with the highest price first.
const MOST: usize = 100;
const LONGEST_REASON: usize = 300;

/// `GET /publisher/ai?month=2026-03`.
pub async fn overview(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    show(&app, &request, &staff, None).await
}

async fn show(
    app: &Arc<App>,
    request: &Request,
    staff: &Staff,
    wrong: Option<(&Problem, &Form)>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let month = handlers::month(request, now)?;
    let first: Option<Date> = format!("{month}-01").parse().ok();
    let sums = match first {
        Some(first) => {
            let last = first.last_of_month().min(now.to_zoned(TimeZone::UTC).date());
            books::read(app, first, last).await?
        }
        None => BTreeMap::new(),
    };
    let mut total = Tally::default();
    let mut models: BTreeMap<(String, String), Tally> = BTreeMap::new();
    let mut customers: BTreeMap<SubscriptionId, Tally> = BTreeMap::new();
    for (Subject { subscription, model, kind }, tally) in &sums {
        total.merge(tally);
        models.entry((model.clone(), format!("{kind:?}").to_lowercase())).or_default().merge(tally);
        customers.entry(*subscription).or_default().merge(tally);
    }
    let stopped = stops::list(app).await?;
    let step = |months: i64| {
        let day = first?.checked_add(Span::new().months(months)).ok()?;
        Some(day.to_string().chars().take(7).collect::<String>())
    };
    let this: String = now.to_string().chars().take(7).collect();
    let models: Vec<Value> = models
        .into_iter()
        .map(|((model, kind), tally)| {
            let mut view = shown(&tally);
            view["stopped"] = stopped.iter().any(|stop| stop.target == Target::Model(model.clone())).into();
            (view["model"], view["kind"]) = (model.into(), kind.into());
            view
        })
        .collect();
    let content = json!({
        "may_act": staff.role >= Role::Operator, "month": month, "earlier": step(-1),
        "later": step(1).filter(|later| *later <= this), "configured": app.ai.is_some(), "total": shown(&total),
        "models": models, "more": customers.len().saturating_sub(MOST), "customers": named(app, customers, &stopped).await?,
        "deployments": deployments(app), "stops": stopped.iter().map(stop_view).collect::<Vec<_>>(),
        "names": app.ai.iter().flat_map(|ai| ai.deployments.all()).map(|entry| entry.model.clone()).collect::<std::collections::BTreeSet<_>>(),
        "wrong": wrong.map(|(problem, form)| json!({ "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field,
            "target": form.get("target"), "subscription": form.get("subscription"), "reason": form.get("reason") })),
    });
    let mut response = page(app, request, Some(&staff.session), "staff_ai.html", content)?;
    if let Some((problem, _)) = wrong {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

fn shown(tally: &Tally) -> Value {
    let ms = |percent| tally.latencies.percentile(percent).map(|took| took.as_millis().max(1));
    let money = |amount: rust_decimal::Decimal| amount.round_dp(4).normalize().to_string();
    let part = if tally.price.is_zero() {
        None
    } else {
        let percent = tally.margin() * rust_decimal::Decimal::ONE_HUNDRED / tally.price;
        Some(percent.round().normalize().to_string())
    };
    json!({
        "served": tally.served, "failed": tally.failed, "uncosted": tally.uncosted, "currency": tally.currency,
        "cost": money(tally.cost), "price": money(tally.price), "margin": money(tally.margin()), "percent": part,
        "loss": tally.margin().is_sign_negative() && !tally.margin().is_zero(),
        "p50": ms(50), "p95": ms(95), "p99": ms(99),
        "used": tally.used.iter().map(|(part, amount)| json!({ "part": part.name(), "amount": amount })).collect::<Vec<_>>(),
    })
}

async fn named(app: &App, customers: BTreeMap<SubscriptionId, Tally>, stopped: &[Stop]) -> Result<Vec<Value>, Problem> {
    let mut customers: Vec<_> = customers.into_iter().collect();
    customers.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.price));
    let mut views = Vec::new();
    for (id, tally) in customers.into_iter().take(MOST) {
        let row = fulfillment::find(app, id).await?;
        let name = row.map(|row| row.facts.name).filter(|name| !name.is_empty());
        let mut view = shown(&tally);
        view["id"] = id.to_string().into();
        view["name"] = name.unwrap_or_else(|| id.to_string()).into();
        view["stopped"] = stopped.iter().any(|stop| stop.target == Target::Subscription(id)).into();
        views.push(view);
    }
    Ok(views)
}

fn deployments(app: &App) -> Vec<Value> {
    let Some(ai) = &app.ai else { return Vec::new() };
    let now = app.clock.now();
    let view = |entry: &Arc<crate::ai::Deployment>| {
        let cooldown::Health { until, served, failed, last_error } = ai.cooldowns.health(entry);
        let host = url::Url::parse(&entry.endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
        json!({
            "model": entry.model, "kind": format!("{:?}", entry.kind).to_lowercase(), "deployment": entry.deployment, "host": host,
            "priority": entry.priority, "weight": entry.weight, "served": served, "failed": failed,
            "until": until.filter(|until| *until > now), "error": last_error.as_ref().map(|(_, text)| text),
            "error_at": last_error.map(|(at, _)| at),
        })
    };
    ai.deployments.all().iter().map(view).collect()
}

fn stop_view(stop: &Stop) -> Value {
    let (kind, value) = match &stop.target {
        Target::Model(name) => ("model", name.clone()),
        Target::Subscription(id) => ("subscription", id.to_string()),
    };
    json!({ "kind": kind, "value": value, "since": stop.since, "by": stop.by, "reason": stop.reason })
}

/// What a form names: `model:<name>`, or `subscription:<id>`.
fn target(app: &App, text: &str) -> Result<Target, Problem> {
    let unknown = || {
        Problem::bad_request("unknown_target", "There is no such model or subscription.")
            .field("target")
            .remedy("Choose a model, or enter the id of a subscription.")
    };
    match text.split_once(':') {
        Some(("model", name)) => {
            let known = app.ai.iter().flat_map(|ai| ai.deployments.all()).any(|entry| entry.model == name);
            if known { Ok(Target::Model(name.to_owned())) } else { Err(unknown()) }
        }
        Some(("subscription", id)) => Ok(Target::Subscription(id.trim().parse().map_err(|_| unknown())?)),
        _ => Err(unknown()),
    }
}

/// `POST /publisher/ai/stop`: `target`, with `subscription` its id, and `reason`.
pub async fn stop(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let reason = form.get("reason");
    let text = match form.get("target") {
        "subscription" => format!("subscription:{}", form.get("subscription")),
        other => other.to_owned(),
    };
    let wanted = target(&app, &text).and_then(|target| match reason.chars().count() {
        1..=LONGEST_REASON => Ok(target),
        _ => Err(Problem::bad_request("missing_reason", "The reason is missing or too long.").field("reason")),
    });
    let target = match wanted {
        Ok(target) => target,
        Err(problem) if request.wants_page() => return show(&app, &request, &staff, Some((&problem, &form))).await,
        Err(problem) => return Err(problem),
    };
    let by = staff.user();
    let by = if by.email.is_empty() { &by.name } else { &by.email };
    let order = Stop { target, since: app.clock.now(), by: by.clone(), reason: reason.to_owned() };
    stops::stop(&app, &order).await?;
    tracing::warn!(target = ?order.target, by = %staff.user().object_id, reason, "calls were stopped");
    Ok(uncached(redirect(HERE)))
}

/// `POST /publisher/ai/resume`: `target`, as `model:<name>` or `subscription:<id>`.
pub async fn resume(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    // A model that no deployment has any more can still be let go.
    let text = form.get("target");
    let target = match text.strip_prefix("model:") {
        Some(name) => Target::Model(name.to_owned()),
        None => target(&app, text)?,
    };
    stops::resume(&app, &target).await?;
    tracing::warn!(?target, by = %staff.user().object_id, "calls may go on");
    Ok(uncached(redirect(HERE)))
}
