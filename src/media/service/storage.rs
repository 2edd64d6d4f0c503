//! What stored files cost: bytes and hours, recorded for each hour that is over.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::ai::whole;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::media::repo;
use crate::metering::model::quantity::Quantity;
use crate::metering::model::record::{UsageRecord, What};
use crate::metering::model::resource::Resource;
use crate::metering::{self, Outcome};
use crate::store::expiry::hour;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Older hours are not taken by the ledger.
const FURTHEST: SignedDuration = SignedDuration::from_hours(20);

/// Records the hours since the last run, for each subscription on its own: one that fails holds up no other. Again, they
/// count once; what was deleted before its hour was recorded is free.
pub async fn meter(app: &Arc<App>) -> Result<usize, Problem> {
    let Some(meter) = whole::storage_meter(app) else { return Ok(0) };
    let now = app.clock.now();
    let this = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(HOUR.as_secs())).unwrap_or(now);
    let mut recorded = 0;
    for (subscription, last) in repo::owners(app).await? {
        match catch_up(app, subscription, meter, last.unwrap_or(this - HOUR), this).await {
            Ok(hours) => recorded += hours,
            Err(problem) => {
                tracing::error!(%subscription, %problem, "stored files were not recorded; the next run does it")
            }
        }
    }
    Ok(recorded)
}

/// A subscription's hours up to this one; how many of them had something.
async fn catch_up(
    app: &Arc<App>,
    subscription: SubscriptionId,
    meter: &str,
    last: Timestamp,
    this: Timestamp,
) -> Result<usize, Problem> {
    if last < this - FURTHEST {
        let hours = (this - FURTHEST).duration_since(last).as_hours();
        tracing::error!(%subscription, hours, "stored files of these hours are not billed: the ledger takes no usage so old");
    }
    let (mut from, mut recorded) = (last.max(this - FURTHEST), 0);
    while from < this {
        recorded += usize::from(record(app, subscription, meter, from).await?);
        from += HOUR;
        repo::set_metered_until(app, subscription, from).await?;
    }
    Ok(recorded)
}

/// One subscription's hour; `false`: there was nothing to record.
async fn record(app: &Arc<App>, subscription: SubscriptionId, meter: &str, from: Timestamp) -> Result<bool, Problem> {
    let until = from + HOUR;
    let (mut byte_seconds, mut after) = (0_u128, None);
    loop {
        let (page, more) = repo::all_files(app, subscription, after.as_deref(), 500).await?;
        for file in &page {
            let seconds = file.expires.min(until).duration_since(file.created.max(from)).as_secs();
            byte_seconds += u128::from(file.bytes) * u128::try_from(seconds).unwrap_or(0);
        }
        after = page.last().map(|file| file.id.to_string());
        if !more {
            break;
        }
    }
    let byte_hours = byte_seconds / 3600;
    if byte_hours == 0 {
        return Ok(false);
    }
    let record = UsageRecord {
        id: format!("files:{}", hour(from)),
        resource: Resource::Subscription(subscription),
        what: What::Meter(meter.to_owned()),
        quantity: Quantity::units(i128::try_from(byte_hours).unwrap_or(i128::MAX)),
        occurred: Some(from),
        corrects: None,
        note: "stored files, bytes and hours".to_owned(),
    };
    match metering::record(app, "product", vec![record]).await.into_iter().next() {
        // Another number for the same hour: it was recorded before some file went.
        Some(Ok(Outcome::Recorded(_) | Outcome::Repeated(..) | Outcome::Conflict(..))) => Ok(true),
        Some(Ok(Outcome::Refused(refusal))) => {
            // A plan without this dimension, or a subscription that has ended.
            tracing::info!(%subscription, byte_hours, reason = refusal.message, "stored files are not billed");
            Ok(false)
        }
        Some(Err(error)) => {
            Err(Problem::unavailable("metering_unavailable", "The hour could not be recorded.").caused_by(error))
        }
        None => Ok(false),
    }
}
