//! The triggers of callbacks: one queue, two timers. Pages are in `portal` and `staff`.

use std::sync::Arc;

use super::service::{self, Message, upkeep};
use crate::app::App;
use crate::foundation::problem::JobError;

/// Queue `callbacks`.
pub async fn deliver(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    service::work(&app, message).await.map_err(JobError::retry)
}

/// Every five minutes: what lost its message.
pub async fn revive(app: Arc<App>) -> Result<(), JobError> {
    let revived = upkeep::revive(&app).await.map_err(JobError::retry)?;
    if revived > 0 {
        tracing::warn!(callbacks = revived, "callbacks had come to a stop and go on");
    }
    Ok(())
}

/// Hourly: events whose end has come.
pub async fn expire(app: Arc<App>) -> Result<(), JobError> {
    let removed = upkeep::expire(&app).await.map_err(JobError::retry)?;
    if removed > 0 {
        tracing::info!(events = removed, "removed events whose time was over");
    }
    Ok(())
}
