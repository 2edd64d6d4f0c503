//! The landing page (marketplace contract 8.1). Every state has its page: new, being activated, active, suspended,
//! unsubscribed, expired token, wrong tenant, no token, marketplace unreachable.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::view::{plan_rows, subscription_view};
use crate::app::App;
use crate::foundation::ids::{SubscriptionId, VisitId};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::{self, ActivateError, VisitError};
use crate::identity::{self, Customer, Session};
use crate::pages::page;

/// `GET /marketplace/landing?token=` from Microsoft, or `?visit=` once we hold the token. Nobody has to be signed in
/// to arrive; the token waits on our side until somebody is.
pub async fn landing(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    if let Some(token) = request.query_verbatim("token") {
        return match fulfillment::start_visit(&app, &token).await {
            // The token leaves the address bar, the history and every log.
            Ok(visit) => Ok(uncached(redirect(&format!("/marketplace/landing?visit={visit}")))),
            Err(error) => failed(&app, &request, None, error),
        };
    }
    let Some(visit) = request.query("visit") else {
        let session = identity::session(&app, &request).await?;
        return page(&app, &request, session.as_ref(), "product.html", json!({ "no_token": true }));
    };
    let customer = identity::customer(&app, &request).await?;
    let visit: VisitId = match visit.parse() {
        Ok(visit) => visit,
        Err(_) => return failed(&app, &request, Some(&customer.session), VisitError::BadToken),
    };
    match fulfillment::open_visit(&app, &visit, &customer).await {
        Ok(visit) => {
            let subscription = visit.subscription;
            let plans = fulfillment::available_plans(&app, subscription.id).await.unwrap_or_default();
            let plan = plan_rows(&plans, &subscription.facts.plan_id)
                .into_iter()
                .find(|plan| plan["current"] == Value::Bool(true));
            page(
                &app,
                &request,
                Some(&customer.session),
                "landing.html",
                json!({ "s": subscription_view(&subscription, &plans), "plan": plan }),
            )
        }
        Err(error) => failed(&app, &request, Some(&customer.session), error),
    }
}

/// A page for a visit that leads nowhere, saying what to do instead.
fn failed(app: &App, request: &Request, session: Option<&Session>, error: VisitError) -> Result<Response, Problem> {
    let (state, status) = match error {
        VisitError::BadToken => ("expired", StatusCode::BAD_REQUEST),
        VisitError::WrongTenant => ("wrong_tenant", StatusCode::FORBIDDEN),
        VisitError::Sync(error) => {
            let problem = Problem::from(error);
            if problem.status != StatusCode::SERVICE_UNAVAILABLE {
                return Err(problem);
            }
            tracing::warn!(request = %request.id, error = %problem, causes = %problem.causes(), "landing page without the marketplace");
            ("unreachable", StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    let mut response = page(app, request, session, "landing_failed.html", json!({ "state": state }))?;
    *response.status_mut() = status;
    Ok(response)
}

/// `POST /marketplace/landing`: the buyer has seen what they bought and confirms.
pub async fn confirm(app: Arc<App>, _request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let id: SubscriptionId = form.get("subscription").parse().map_err(|_| Problem::not_found())?;
    match fulfillment::activate(&app, id, &customer).await {
        Ok(_) => Ok(uncached(redirect(&format!("/portal/subscriptions/{id}?from=landing")))),
        Err(ActivateError::NotFound) => Err(Problem::not_found()),
        Err(ActivateError::WrongState(status)) => {
            Err(Problem::conflict("not_activatable", format!("The subscription is {status} and can not be activated."))
                .remedy(
                    "Open it again from the Azure portal or the Microsoft 365 admin centre to see what can be done.",
                ))
        }
        Err(ActivateError::Sync(error)) => Err(error.into()),
    }
}
