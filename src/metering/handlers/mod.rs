//! The triggers: the publisher's REST interface, the message about a changed subscription, the minute's round and the
//! daily read-back. Pages are in `staff` and `portal`.

mod rest;
mod results;

use std::sync::Arc;

use jiff::SignedDuration;

pub use rest::{
    day, differences, losses, month, read_back_now, record_csv, record_usage, register_managed_app, resource_usage,
    status, submit_now,
};
pub use results::{Counts, ResultBody, judged_line};

use super::model::hour::Hour;
use super::model::resource::Resource;
use super::service::csv::FileError;
use super::service::look::{MeteringError, look};
use super::service::{read_back, run};
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::{JobError, Problem};
use crate::fulfillment::{self, Message};

/// Days compared each morning: Microsoft's processing lags behind.
const READ_BACK_DAYS: i64 = 3;
impl From<MeteringError> for Problem {
    fn from(error: MeteringError) -> Self {
        match error {
            MeteringError::Store(error) => error.into(),
            MeteringError::Api(_) => {
                Self::unavailable("marketplace_unreachable", "Microsoft's marketplace does not answer at the moment.")
                    .remedy("What was to be sent is kept and sent by itself.")
                    .caused_by(error)
            }
            MeteringError::Contention(_) => Self::conflict("busy", "Others are working on this ledger at the moment.")
                .remedy("Try again.")
                .caused_by(error),
        }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        Self::bad_request("unreadable_file", format!("The file can not be used: {error}."))
            .remedy("The first line names the columns, such as id,subscription,dimension,quantity,occurred_at.")
    }
}

/// Queue `subscription-changed`: a plan, trial, status or number of seats is another one. The ledger follows, and the
/// publisher's systems are told.
pub async fn subscription_changed(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    let id: SubscriptionId = message.subscription;
    fulfillment::announce_change(&app, id).await.map_err(JobError::retry)?;
    match look(&app, &Resource::Subscription(id)).await {
        // Noted already; the minute's round goes on with it.
        Ok(()) | Err(MeteringError::Api(_)) => Ok(()),
        Err(error) => Err(JobError::retry(error)),
    }
}

/// Timer `SubmitUsage`, every minute.
pub async fn submit_usage(app: Arc<App>) -> Result<(), JobError> {
    let round = run::run(&app).await.map_err(JobError::retry)?;
    if round.looked_at > 0 {
        tracing::info!(resources = round.looked_at, sent = round.sent, failed = round.failed, "usage looked at");
    }
    Ok(())
}

/// Timer `ReadBackUsage`, every morning.
pub async fn read_back_usage(app: Arc<App>) -> Result<(), JobError> {
    run::sweep(&app).await.map_err(JobError::retry)?;
    if app.marketplace.is_none() {
        return Ok(());
    }
    let now = app.clock.now();
    for back in 1..=READ_BACK_DAYS {
        let day = Hour::of(now - SignedDuration::from_hours(24 * back)).day();
        let report = read_back::read_back(&app, &day).await.map_err(JobError::retry)?;
        if report.differences > 0 {
            tracing::warn!(
                day,
                compared = report.compared,
                differences = report.differences,
                found = report.found,
                "usage differs from what Microsoft has booked"
            );
        } else {
            tracing::info!(
                day,
                compared = report.compared,
                found = report.found,
                "usage agrees with what Microsoft has booked"
            );
        }
    }
    Ok(())
}
