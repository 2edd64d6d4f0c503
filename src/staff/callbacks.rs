//! The publisher's own callback endpoints.

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::callbacks::Owner;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::identity::{Role, Staff};
use crate::portal::callback_pages::{self as pages, Place};

fn place(staff: &Staff) -> Place<'_> {
    let may_act = staff.role >= Role::Operator;
    Place {
        owner: Owner::Publisher,
        address: "/publisher/callbacks".to_owned(),
        session: &staff.session,
        may_act,
        may_create: may_act,
        subscription: Value::Null,
    }
}

/// `GET /publisher/callbacks`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    pages::list(&app, &request, &place(&staff)).await
}

/// `POST /publisher/callbacks`.
pub async fn create(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    pages::create(&app, &request, &place(&staff), &form).await
}

/// `GET /publisher/callbacks/{endpoint}`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    pages::one(&app, &request, &place(&staff)).await
}

/// `POST /publisher/callbacks/{endpoint}/{action}`.
pub async fn act(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    pages::act(&app, &request, &place(&staff), &form).await
}
