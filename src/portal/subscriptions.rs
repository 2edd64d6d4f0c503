//! The customer's subscriptions: list, one, and the three changes.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;

use super::view::{plan_rows, subscription_view};
use super::{budgets, usage};
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::model::event::{Actor, Cause, EventKind};
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::{Refusal, Subscription, Wish};
use crate::fulfillment::{self, ChangeError};
use crate::identity::Customer;
use crate::pages::{page, wrong};

const PAGE: usize = 20;
const EVENTS: usize = 25;

/// `GET /portal`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let after = request.query("after").and_then(|after| after.parse().ok());
    let (mut rows, next) = fulfillment::of_customer(&app, &customer, after, PAGE).await?;
    // What is over stands last.
    rows.sort_by_key(|row| (row.facts.status == Status::Unsubscribed, std::cmp::Reverse(row.first_seen)));
    let plans = join_all(rows.iter().map(|row| fulfillment::known_plans(&app, row.id))).await;
    let mut subscriptions = Vec::with_capacity(rows.len());
    for (row, plans) in rows.iter().zip(plans) {
        subscriptions.push(subscription_view(row, &plans?));
    }
    let content = json!({ "subscriptions": subscriptions, "next": next, "first": after.is_none() });
    page(&app, &request, Some(&customer.session), "portal_list.html", content)
}

/// The subscription that the address names, if this person may see it.
pub(super) async fn own(app: &App, request: &Request, customer: &Customer) -> Result<Subscription, Problem> {
    let id: SubscriptionId = request.param("id").parse().map_err(|_| Problem::not_found())?;
    fulfillment::for_customer(app, id, customer).await?.ok_or_else(Problem::not_found)
}

/// `GET /portal/subscriptions/{id}`.
pub async fn one(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    show(&app, &request, &customer, &row, None).await
}

/// The page of a subscription; with `refused`, a form as it was sent and what is wrong with it.
async fn show(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    refused: Option<(&Problem, &Form)>,
) -> Result<Response, Problem> {
    let before = request.query("before").and_then(|before| before.parse().ok());
    let plans = if row.facts.may_update && row.facts.status == Status::Subscribed {
        fulfillment::available_plans(app, row.id).await?
    } else {
        fulfillment::known_plans(app, row.id).await?
    };
    let current = plans.iter().find(|plan| plan.id == row.facts.plan_id);
    let (events, more) = fulfillment::timeline(app, row.id, before, EVENTS).await?;
    let ended = |kind: &EventKind| matches!(kind, EventKind::ChangeEnded { .. } | EventKind::ChangeRefused { .. });
    let content = json!({
        "s": subscription_view(row, &plans),
        "plans": plan_rows(&plans, &row.facts.plan_id),
        "seats": current.map(|plan| json!({ "least": plan.min_quantity.unwrap_or(1), "most": plan.max_quantity })),
        "usage": usage::section(app, row, current).await?,
        "budgets": budgets::warnings(app, row).await?,
        "events": events,
        "older": events.last().filter(|_| more).map(|event| event.number),
        "done": request.query("done"),
        "last_change": events.iter().find(|event| ended(&event.kind)),
        "from_landing": request.query("from").is_some(),
        "busy": row.change.is_some() || (row.activation.is_some() && row.facts.status.is_pending()),
        "error": refused.map(|(problem, _)| wrong(problem)),
        "typed": refused.map(|(_, form)| json!({
            "plan": form.get("plan"), "quantity": form.get("quantity"), "confirm": form.get("confirm"),
        })),
    });
    page(app, request, Some(&customer.session), "portal_subscription.html", content)
}

/// `POST /portal/subscriptions/{id}/plan`.
pub async fn change_plan(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let plan = form.get("plan").to_owned();
    let wish = if plan.is_empty() {
        Err(Problem::bad_request("missing_plan", "No plan was chosen.")
            .field("plan")
            .remedy("Choose one of the plans."))
    } else {
        Ok(Wish::Plan { plan })
    };
    change(&app, &request, &customer, &form, |_| wish).await
}

/// `POST /portal/subscriptions/{id}/quantity`.
pub async fn change_quantity(
    app: Arc<App>,
    request: Request,
    customer: Customer,
    form: Form,
) -> Result<Response, Problem> {
    let wish = form.get("quantity").parse().map(|quantity| Wish::Quantity { quantity }).map_err(|_| {
        Problem::bad_request("invalid_quantity", "The number of seats must be a whole number.")
            .field("quantity")
            .remedy("Enter a number such as 5.")
    });
    change(&app, &request, &customer, &form, |_| wish).await
}

/// `POST /portal/subscriptions/{id}/cancel`: can not be undone, so the name of the subscription has to be typed.
pub async fn cancel(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let confirmed = |row: &Subscription| {
        let name = if row.facts.name.is_empty() { row.facts.offer() } else { &row.facts.name };
        if form.get("confirm") == name.trim() {
            return Ok(Wish::Cancel);
        }
        let title = "The name that was typed is not the name of the subscription; nothing was cancelled.";
        Err(Problem::bad_request("not_confirmed", title)
            .field("confirm")
            .remedy(format!("Type {name} exactly as shown to confirm.")))
    };
    change(&app, &request, &customer, &form, confirmed).await
}

/// Asks for what the form says. What is refused is shown beside the form, with what was typed still in it.
async fn change(
    app: &App,
    request: &Request,
    customer: &Customer,
    form: &Form,
    wish: impl FnOnce(&Subscription) -> Result<Wish, Problem>,
) -> Result<Response, Problem> {
    let row = own(app, request, customer).await?;
    let refused = match wish(&row) {
        Ok(wish) => ask(app, customer, &row, wish).await.err(),
        Err(problem) => Some(problem),
    };
    let Some(problem) = refused else {
        return Ok(uncached(redirect(&format!("/portal/subscriptions/{}?done=1", row.id))));
    };
    if problem.status.is_server_error() || !request.wants_page() {
        return Err(problem);
    }
    let mut response =
        show(app, request, customer, &own(app, request, customer).await?, Some((&problem, form))).await?;
    *response.status_mut() = problem.status;
    Ok(response)
}

async fn ask(app: &App, customer: &Customer, row: &Subscription, wish: Wish) -> Result<(), Problem> {
    let plans = fulfillment::available_plans(app, row.id).await?;
    let user = customer.user();
    let actor = Actor::Customer { tenant_id: user.tenant_id, object_id: user.object_id, name: user.name.clone() };
    fulfillment::request_change(app, row.id, wish, &plans, actor, Cause::Portal).await.map_err(problem)
}

/// A refused change as an answer.
fn problem(error: ChangeError) -> Problem {
    match error {
        ChangeError::Refused(refusal) => {
            let title = format!("This can not be changed now: {refusal}.");
            match refusal {
                Refusal::ChangeUnderWay => Problem::conflict("change_under_way", title)
                    .remedy("Wait until it has ended; it usually takes less than a minute."),
                Refusal::NotActive | Refusal::NotAllowed => Problem::conflict("not_allowed_now", title)
                    .remedy("The page of the subscription says what can be done."),
                Refusal::SameValue | Refusal::UnknownPlan => {
                    Problem::bad_request("no_such_change", title).field("plan").remedy("Choose another plan.")
                }
                Refusal::NotPerSeat | Refusal::QuantityOutside { .. } => {
                    Problem::bad_request("invalid_quantity", title)
                        .field("quantity")
                        .remedy("Enter a number within these limits.")
                }
            }
        }
        ChangeError::RefusedByMarketplace(_) => Problem::conflict("refused_by_marketplace", error.to_string())
            .remedy("Wait a minute and try again; if it stays so, change it in the Azure portal."),
        ChangeError::Sync(error) => error.into(),
    }
}
