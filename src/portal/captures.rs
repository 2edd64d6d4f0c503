//! Kept calls: what a customer's programs asked and were answered, where the customer has switched that on for a key.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::subscriptions::own;
use super::view::subscription_view;
use crate::ai::captures;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::{Customer, api_keys};
use crate::pages::page;

/// For how many hours calls may be kept; 0 ends it.
pub const HOURS: [i64; 3] = [1, 24, 0];

fn address(row: &Subscription) -> String {
    format!("/portal/subscriptions/{}/captures", row.id)
}

/// `GET /portal/subscriptions/{id}/captures`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let entries = captures::list(&app, row.id).await?;
    let content = json!({
        "s": subscription_view(&row, &[]), "address": address(&row), "entries": entries, "capture": null,
        "cleared": request.query("cleared").is_some(), "most": captures::MOST,
    });
    page(&app, &request, Some(&customer.session), "portal_captures.html", content)
}

/// `GET /portal/subscriptions/{id}/captures/{request}`.
pub async fn one(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let found = captures::read(&app, row.id, request.param("request")).await?.ok_or_else(Problem::not_found)?;
    let readable = |text: &str| match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    };
    let content = json!({
        "s": subscription_view(&row, &[]), "address": address(&row), "entries": [],
        "capture": { "request_id": found.request_id, "at": found.at, "ends": found.ends, "key": found.key, "model": found.model,
            "request": readable(&found.request), "answer": readable(&found.answer) },
    });
    page(&app, &request, Some(&customer.session), "portal_captures.html", content).map(uncached)
}

/// `POST /portal/subscriptions/{id}/keys/{prefix}/capture`: `hours`.
pub async fn switch(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let hours =
        form.get("hours").parse().ok().filter(|hours| HOURS.contains(hours)).ok_or_else(|| {
            Problem::bad_request("invalid_hours", "Calls can not be kept for so long.").field("hours")
        })?;
    if !api_keys::capture(&app, row.id, request.param("prefix"), SignedDuration::from_hours(hours)).await? {
        return Err(Problem::not_found());
    }
    Ok(uncached(redirect(&format!("/portal/subscriptions/{}/keys", row.id))))
}

/// `POST /portal/subscriptions/{id}/captures/clear`.
pub async fn clear(app: Arc<App>, request: Request, customer: Customer, _form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    captures::clear(&app, row.id).await?;
    Ok(uncached(redirect(&format!("{}?cleared", address(&row)))))
}
