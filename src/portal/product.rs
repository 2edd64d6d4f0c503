//! The product page, the API documentation, and the two health answers that concern nobody in particular.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, respond};
use crate::identity;
use crate::pages::page;

/// `GET /`: what MediaGenie is. The Functions host also asks here whether we are up.
pub async fn product(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    // A store that does not answer must not take the front page down.
    let session = identity::session(&app, &request).await.unwrap_or_default();
    page(&app, &request, session.as_ref(), "product.html", json!({ "no_token": false }))
}

const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// `GET /docs/openapi.json`.
pub async fn openapi(_app: Arc<App>, _request: Request) -> Result<Response, Problem> {
    Ok(respond(StatusCode::OK, "application/json", OPENAPI))
}

/// `GET /docs`: the OpenAPI document as a page.
pub async fn docs(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let session = identity::session(&app, &request).await.unwrap_or_default();
    let document: Value = serde_json::from_str(OPENAPI).map_err(Problem::internal)?;
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            operations.push(json!({ "path": path, "method": method.to_uppercase(), "operation": operation }));
        }
    }
    page(
        &app,
        &request,
        session.as_ref(),
        "docs.html",
        json!({ "info": document["info"], "operations": operations, "base": app.settings.public_base_url }),
    )
}
