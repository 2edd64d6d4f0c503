//! The triggers: a request to work on, the daily timer.

use std::sync::Arc;

use super::service::{self, Message};
use crate::app::App;
use crate::foundation::problem::JobError;

/// Queue `privacy`: one request.
pub async fn erase(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    service::work(&app, &message.request).await.map_err(JobError::retry)
}

/// Timer `KeepPrivacy`, every day.
pub async fn keep(app: Arc<App>) -> Result<(), JobError> {
    let erased = service::keep(&app).await.map_err(JobError::retry)?;
    if erased > 0 {
        tracing::info!(erased, "leads whose time was over lost their people");
    }
    Ok(())
}
