//! One resource: balances, hours, events that wait, the newest records, and the form for a record by hand.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::grid::{self, Cells, HOURS};
use super::{Target, address, deadline, name, records, targeted};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::fulfillment;
use crate::fulfillment::model::facts::Plan;
use crate::identity::{Role, Staff};
use crate::metering::model::account::money;
use crate::metering::model::catalogue::Included;
use crate::metering::model::event::{HoldReason, State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::terms::Terms;
use crate::metering::{self, DimensionUsage, PeriodUsage, ResourceUsage};
use crate::pages::{page, wrong};

/// Events that wait, on one page.
const MOST_EVENTS: usize = 50;

/// `GET /publisher/usage/resources/{resource}?to=`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let target = targeted(&app, &request).await?;
    show(&app, &request, &staff, &target, None).await
}

/// A form that was refused: which one, why, and what was typed.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    pub form: &'static str,
    pub problem: &'a Problem,
    pub typed: &'a Form,
}

/// The page; with `refused`, that form as it was sent and what is wrong with it.
pub(super) async fn show(
    app: &App,
    request: &Request,
    staff: &Staff,
    target: &Target,
    refused: Option<Refused<'_>>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let Target { resource, row } = target;
    let usage = metering::usage(app, resource).await?;
    let terms = usage.as_ref().map_or_else(|| Terms::new(resource.clone()), |usage| usage.terms.clone());
    let plan = match (&usage, row) {
        (Some(usage), _) => usage.plan.clone(),
        (None, Some(row)) => row.facts.plan_id.clone(),
        (None, None) => String::new(),
    };
    let plans = match resource.subscription() {
        Some(id) => fulfillment::known_plans(app, id).await?,
        None => Vec::new(),
    };

    // The hour that is under way, and the next one: an ended hour's late usage may stand there.
    let newest = Hour(Hour::of(now).0 + 2);
    let to = asked(request).filter(|to| *to < newest).unwrap_or(newest);
    let from = Hour(to.0 - HOURS);
    let cells = metering::grid(app, resource, from, to).await?;
    let shown_to = if to == newest && !cells.keys().any(|(hour, _)| hour.next() == to) { Hour(to.0 - 1) } else { to };
    let columns = grid::columns(&terms, &plan, &cells);

    let waiting = metering::unsettled(app, resource).await?;
    let events: Vec<Value> = waiting.iter().take(MOST_EVENTS).map(|event| event_view(event, &terms, now)).collect();
    let content = json!({
        "address": address(resource), "resource": resource.to_string(), "name": name(resource, row.as_ref()),
        "subscription": resource.subscription(),
        "metered": usage.is_some(),
        "plan": plan, "plan_name": plan_name(&plans, &plan),
        "trial": usage.as_ref().map_or_else(|| row.as_ref().is_some_and(|row| row.facts.is_free_trial), |usage| usage.trial),
        "suspended": terms.suspended, "ended": terms.ended, "inactive": terms.inactive,
        "periods": periods(usage.as_ref()),
        "charts": grid::charts(&cells, &columns, from, shown_to),
        "grid": {
            "columns": columns.iter().map(|column| json!({ "name": column.name, "unit": column.unit })).collect::<Vec<_>>(),
            "rows": grid::rows(&cells, &columns, from, shown_to, now),
            "empty": cells.is_empty(), "from": from.start(), "to": shown_to.start(),
            "earlier": from.to_string(),
            "later": (to < newest).then(|| Hour(to.0 + HOURS).to_string()), "newest": to == newest,
            "used": states(&cells),
        },
        "events": events, "more_events": waiting.len().saturating_sub(MOST_EVENTS),
        "records": records::latest(app, resource, now).await?, "most_records": records::MOST,
        "counters": counters(app, &terms, &plans, &plan),
        "plans": other_plans(&terms, &plan),
        "entry": entry(app, request, refused),
        "error": refused.map(|refused| {
            let mut view = wrong(refused.problem);
            view["form"] = refused.form.into();
            view["hour"] = refused.typed.get("hour").into();
            view["dimension"] = refused.typed.get("dimension").into();
            view["plan"] = refused.typed.get("plan").into();
            view["reason"] = refused.typed.get("reason").into();
            view
        }),
        "done": request.query("done"),
        "csv": { "from": (now - SignedDuration::from_hours(6 * 24)).to_string().chars().take(10).collect::<String>(),
                 "to": now.to_string().chars().take(10).collect::<String>() },
        "may_act": staff.role >= Role::Operator,
    });
    page(app, request, Some(&staff.session), "staff_usage_resource.html", content)
}

/// The end of the hours to be shown, such as `2026-03-02T09`.
fn asked(request: &Request) -> Option<Hour> {
    let text = request.query("to")?;
    text.parse().ok().or_else(|| text.parse::<Timestamp>().ok().map(Hour::of))
}

fn plan_name(plans: &[Plan], id: &str) -> String {
    plans.iter().find(|plan| plan.id == id).map_or_else(|| id.to_owned(), |plan| plan.name.clone())
}

/// The states that stand in the grid, so that only these are explained.
fn states(cells: &Cells) -> Vec<&'static str> {
    let order = ["open", "included", "carried", "pending", "held", "dead_letter", "accepted", "lost"];
    let used: Vec<&str> = cells.values().map(grid::state).collect();
    order.into_iter().filter(|state| used.contains(state)).collect()
}

fn periods(usage: Option<&ResourceUsage>) -> Vec<Value> {
    let view = |period: &PeriodUsage| {
        json!({
            "start": period.period.start, "end": period.period.end, "current": period.current,
            "rows": period.dimensions.iter().map(balance).collect::<Vec<_>>(),
        })
    };
    usage.into_iter().flat_map(|usage| &usage.periods).map(view).collect()
}

/// A line of the balance, and whether the law holds in it.
fn balance(usage: &DimensionUsage) -> Value {
    let b = &usage.balance;
    let sum = b.included + b.accepted + b.pending + b.held + b.lost;
    json!({
        "dimension": usage.dimension, "name": usage.name, "unit": usage.unit,
        "unlimited": usage.included_quantity == Included::Unlimited,
        "included_quantity": match usage.included_quantity { Included::Units(units) => Some(units), Included::Unlimited => None },
        "price": usage.price.to_string(), "currency": usage.currency,
        "recorded": b.recorded, "included": b.included, "billable": b.recorded - b.included, "accepted": b.accepted,
        "pending": b.pending, "held": b.held, "lost": b.lost, "sum": sum, "adds_up": sum == b.recorded,
        "amount": usage.amount.to_string(),
        "lost_amount": (!usage.lost_amount.is_zero()).then(|| usage.lost_amount.to_string()),
    })
}

fn event_view(event: &UsageEvent, terms: &Terms, now: Timestamp) -> Value {
    let column = grid::column(terms, &event.plan, &event.dimension);
    let hold = match event.state {
        State::Held { why: HoldReason::Suspended } => Some("suspended"),
        State::Held { why: HoldReason::Anomaly } => Some("anomaly"),
        _ => None,
    };
    json!({
        "hour": event.hour.to_string(), "at": event.hour.start(), "dimension": event.dimension, "name": column.name,
        "unit": column.unit, "plan": event.plan, "quantity": event.quantity,
        "amount": money(event.quantity, event.price).to_string(), "currency": event.currency,
        "state": metering::state_word(event), "hold": hold, "attempts": event.attempts, "in_flight": event.in_flight,
        "doubt": event.doubt, "next_try": (event.state == State::Pending).then_some(event.next_try),
        "said": event.said, "advice": event.advice(), "note": event.note,
        "advice_key": event.said.as_ref().map(|said| said.status.as_str()),
        "deadline": deadline(event.deadline(), now),
        "may_resend": !terms.suspended && now < event.deadline(), "may_write_off": !event.in_flight,
    })
}

/// What can be counted by hand: the dimensions of the plan, and the meters that the plan can bill.
fn counters(app: &App, terms: &Terms, plans: &[Plan], plan: &str) -> Vec<Value> {
    let mut counters: Vec<Value> = Vec::new();
    if let Some(dimensions) = terms.dimensions.get(plan) {
        let view = |(id, terms): (&String, _)| -> Value {
            let terms: &metering::model::catalogue::DimensionTerms = terms;
            json!({ "kind": "dimension", "value": format!("dimension:{id}"), "id": id, "name": terms.name, "unit": terms.unit })
        };
        counters.extend(dimensions.iter().map(view));
    } else if let Some(plan) = plans.iter().find(|known| known.id == plan) {
        counters.extend(plan.dimensions.iter().map(|dimension| {
            json!({
                "kind": "dimension", "value": format!("dimension:{}", dimension.id), "id": dimension.id,
                "name": dimension.name, "unit": dimension.unit,
            })
        }));
    }
    let known: Vec<String> = counters.iter().filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect();
    for (name, meter) in &app.catalogue.meters {
        if meter.tiers.iter().all(|tier| known.contains(&tier.dimension)) {
            counters.push(
                json!({ "kind": "meter", "value": format!("meter:{name}"), "id": name, "name": name, "unit": "" }),
            );
        }
    }
    counters
}

/// Plans under which an event may be sent again.
fn other_plans(terms: &Terms, plan: &str) -> Vec<String> {
    let mut plans: Vec<String> = terms.segments.iter().map(|segment| segment.plan.clone()).collect();
    plans.extend(terms.dimensions.iter().filter(|(_, known)| !known.is_empty()).map(|(id, _)| id.clone()));
    plans.push(plan.to_owned());
    plans.retain(|plan| !plan.is_empty());
    plans.sort_unstable();
    plans.dedup();
    plans
}

/// The values of the form for a record by hand: what was typed, else what a link proposes. The id is made here, so that
/// a form that is sent twice counts once; it changes when another record was accepted under it.
fn entry(app: &App, request: &Request, refused: Option<Refused<'_>>) -> Value {
    let fresh = || format!("staff-{}", app.random.token());
    let fields = ["counter", "quantity", "occurred_at", "corrects", "note"];
    if let Some(Refused { form: "record", problem, typed }) = refused {
        let mut view: Value = fields
            .into_iter()
            .map(|field| (field.to_owned(), typed.get(field).into()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let spent = problem.code == "id_taken" || typed.get("id").is_empty();
        view["id"] = if spent { fresh() } else { typed.get("id").to_owned() }.into();
        return view;
    }
    let proposed = |field: &str| -> String {
        request
            .query(field)
            .filter(|_| request.method == http::Method::GET)
            .unwrap_or_default()
            .chars()
            .take(130)
            .collect()
    };
    let mut view: Value = fields
        .into_iter()
        .map(|field| (field.to_owned(), proposed(field).into()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    view["id"] = fresh().into();
    view
}
