//! The triggers: Microsoft's webhook, the queue of subscriptions to look at, the hourly comparison.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::client::{ApiError, Webhook};
use super::model::event::Cause;
use super::service::reconcile::reconcile;
use super::service::sync::{Message, SyncError, request, sync};
use super::service::webhook::{Answer, ReceiveError, receive};
use crate::app::App;
use crate::foundation::outbound::Patience;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Request, Response, json};
use crate::identity::MarketplaceCaller;

/// Longer than this no service asks; the hourly comparison comes sooner.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

impl From<SyncError> for Problem {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Store(error) => error.into(),
            SyncError::Queue(error) => error.into(),
            SyncError::Off => Self::unavailable("marketplace_off", "The marketplace is switched off here.")
                .remedy("The operator of this service sets MARKETPLACE_MODE=true to switch it on."),
            SyncError::Api(ApiError::NotFound) => Self::not_found(),
            SyncError::Api(ApiError::Denied(_)) => Self::unavailable(
                "marketplace_denied",
                "Microsoft's marketplace does not accept our credentials. Our operators have been told.",
            )
            .caused_by(error),
            SyncError::Api(_) => {
                Self::unavailable("marketplace_unreachable", "Microsoft's marketplace does not answer at the moment.")
                    .caused_by(error)
            }
        }
    }
}

/// `POST /marketplace/webhook`. 200: stored, and accepted where there is something to accept. 400: rejected, or no
/// webhook at all. 503: our trouble; Microsoft comes again. Never a 4xx for our own fault: it would reject a change.
pub async fn webhook(app: Arc<App>, request: Request, caller: MarketplaceCaller) -> Result<Response, Problem> {
    let webhook = Webhook::read(&request.body).map_err(|field| {
        Problem::bad_request(
            "unreadable_webhook",
            format!("This is not a marketplace webhook: {field} is missing or can not be read."),
        )
    })?;
    let answer = receive(&app, &webhook, &request.body).await.map_err(|error| match error {
        ReceiveError::Sync(error) => Problem::from(error).status(StatusCode::SERVICE_UNAVAILABLE),
        ReceiveError::Slow => Problem::unavailable("confirmation_slow", error.to_string()),
    })?;
    tracing::debug!(subscription = %webhook.subscription, operation = %webhook.operation, action = %webhook.action, caller = %caller.application, ?answer, "webhook");
    match answer {
        Answer::Accept => Ok(json(StatusCode::OK, &json!({ "accepted": true }))),
        Answer::Reject { reason } => Err(Problem::bad_request("change_rejected", reason)),
    }
}

/// Queue `subscription-sync`: one subscription to look at.
pub async fn sync_subscription(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    match sync(&app, message.subscription, &Cause::Queue, Patience::Long).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            tracing::info!(subscription = %message.subscription, "neither we nor Microsoft know this subscription");
            Ok(())
        }
        // Microsoft said when to come again; trying earlier would only use up the message's tries.
        Err(SyncError::Api(ApiError::Throttled { wait })) => {
            tracing::warn!(subscription = %message.subscription, wait_s = wait.as_secs(), "the marketplace asks us to wait");
            request(&app, message.subscription, wait.min(LONGEST_DELAY)).await.map_err(JobError::retry)
        }
        Err(error) => Err(JobError::retry(error)),
    }
}

/// Timer `ReconcileSubscriptions`.
pub async fn reconcile_subscriptions(app: Arc<App>) -> Result<(), JobError> {
    if app.marketplace.is_none() {
        return Ok(());
    }
    let report = reconcile(&app).await.map_err(JobError::retry)?;
    tracing::info!(
        listed = report.listed,
        repaired = report.repaired,
        failed = report.failed,
        unread = report.unread,
        "compared with Microsoft's list"
    );
    Ok(())
}
