//! The triggers: Azure's notifications, the queue of applications to look at, the hourly comparison.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::service::compare;
use super::service::look::{self, Message};
use super::service::receive::receive;
use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Request, Response, json};
use crate::identity::ManagedAppCaller;

/// `POST /marketplace/managed-app/resource?sig=`. Azure adds `/resource` to the address that was entered, so whoever entered
/// it with `/resource` is called with two. 200: stored. 400: no notification, and kept for people. 401: another `sig`. 5xx:
/// our trouble; Azure comes again. Never another code: Azure would not come again (marketplace contract 6.4).
pub async fn notification(app: Arc<App>, request: Request, caller: ManagedAppCaller) -> Result<Response, Problem> {
    if !matches!(
        request.param("path").trim_matches('/').to_ascii_lowercase().as_str(),
        "resource" | "resource/resource"
    ) {
        return Err(Problem::not_found()
            .remedy("Azure calls this address with `/resource` behind its path: enter it without, and test it with."));
    }
    let heard = receive(&app, &request.body).await.map_err(ours)?;
    if caller.old_secret {
        tracing::info!(application = %heard.application_key(), "a notification came with the secret that is being replaced");
    }
    Ok(json(StatusCode::OK, &json!({ "application": heard.application_key() })))
}

/// Whatever goes wrong on our side, Azure has to come again.
fn ours(problem: Problem) -> Problem {
    let theirs = problem.code == "unreadable_notification" || problem.status.is_server_error();
    if theirs { problem } else { problem.status(StatusCode::SERVICE_UNAVAILABLE) }
}

/// Queue `managed-apps`: one application to look at.
pub async fn look(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    look::look(&app, &message.application).await.map_err(JobError::retry)
}

/// Timer `CompareManagedApps`, every hour.
pub async fn compare(app: Arc<App>) -> Result<(), JobError> {
    if app.settings.managed_apps.secrets.is_empty() {
        return Ok(());
    }
    let report = compare::compare(&app).await.map_err(JobError::retry)?;
    if report.looked_at > 0 {
        tracing::info!(
            looked_at = report.looked_at,
            discovered = report.discovered,
            failed = report.failed,
            "compared managed applications with Azure"
        );
    }
    Ok(())
}
