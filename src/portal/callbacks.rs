//! The callback endpoints of a subscription.

use std::sync::Arc;

use super::callback_pages::{self as pages, Place};
use super::subscriptions::own;
use super::view::subscription_view;
use crate::app::App;
use crate::callbacks::Owner;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::fulfillment::model::facts::Status;
use crate::identity::Customer;

async fn place<'a>(app: &App, request: &Request, customer: &'a Customer) -> Result<Place<'a>, Problem> {
    let row = own(app, request, customer).await?;
    Ok(Place {
        owner: Owner::Subscription(row.id),
        address: format!("/portal/subscriptions/{}/callbacks", row.id),
        session: &customer.session,
        may_act: true,
        may_create: row.facts.status == Status::Subscribed,
        subscription: subscription_view(&row, &[]),
    })
}

/// `GET /portal/subscriptions/{id}/callbacks`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    pages::list(&app, &request, &place(&app, &request, &customer).await?).await
}

/// `POST /portal/subscriptions/{id}/callbacks`.
pub async fn create(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    pages::create(&app, &request, &place(&app, &request, &customer).await?, &form).await
}

/// `GET /portal/subscriptions/{id}/callbacks/{endpoint}`.
pub async fn one(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    pages::one(&app, &request, &place(&app, &request, &customer).await?).await
}

/// `POST /portal/subscriptions/{id}/callbacks/{endpoint}/{action}`.
pub async fn act(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    pages::act(&app, &request, &place(&app, &request, &customer).await?, &form).await
}
