//! The end of a job: worked off, cancelled, or given up; and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::turn::is_orphaned;
use super::{assemble, batch, jobs};
use crate::app::App;
use crate::callbacks::{self, EventKind, Owner};
use crate::foundation::ids::{JobId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::job::{ItemState, Job, Reason, State};
use crate::media::repo::{self, Ended};
use crate::store::{Etag, StoreError};

/// How long a job waits after its message failed for good: the first time in a row without anything done between, the
/// second; then it is given up.
const BREATHS: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(600)];
/// Within which a message that was given up is the same one once more: its worker died before it was put away.
const SAME: SignedDuration = SignedDuration::from_secs(5);

/// Ends a job whose items are settled, or that is to be cancelled.
pub async fn end(app: &Arc<App>, mut job: Job, etag: Etag) -> Result<(), Problem> {
    recount(app, &mut job).await?;
    job.next = job.items;
    assemble::assemble(app, &mut job).await?;
    let turn = job.turn.clone();
    job.end(app.clock.now());
    let mut saved = repo::save_job(app, &job, etag).await;
    if matches!(saved, Err(StoreError::Precondition))
        && let Some((stored, etag)) = repo::job(app, job.subscription, &job.id).await?
        && stored.state == State::Cancelling
        && stored.turn == turn
    {
        // Somebody asked for its end meanwhile.
        job.state = State::Cancelled;
        saved = repo::save_job(app, &job, etag).await;
    }
    match saved {
        Ok(_) => {
            tracing::info!(job = %job.id, state = ?job.state, succeeded = job.succeeded, failed = job.failed, "a media job is over");
            tell(app, &job).await
        }
        // The turn is another one's, who ends it.
        Err(StoreError::Precondition) => jobs::send(app, job.subscription, &job.id, Duration::ZERO).await,
        Err(error) => Err(error.into()),
    }
}

/// Counts what was delivered, and lets go of what services still have of the rest.
async fn recount(app: &Arc<App>, job: &mut Job) -> Result<(), Problem> {
    (job.succeeded, job.failed, job.price) = Default::default();
    let mut from = 0;
    while from < job.items {
        let items = repo::next_items(app, job, &mut from).await?;
        job.count_anew(&items);
        for item in items.iter().filter(|item| item.state == ItemState::Waiting) {
            batch::discard(app, job, item).await;
        }
    }
    Ok(())
}

/// Tells of a job that is over, once however often this is called; until then it is listed as active.
pub async fn tell(app: &App, job: &Job) -> Result<(), Problem> {
    let kind = match job.state {
        State::Succeeded => EventKind::JobSucceeded,
        State::PartiallySucceeded => EventKind::JobPartiallySucceeded,
        State::Cancelled => EventKind::JobCancelled,
        _ => EventKind::JobFailed,
    };
    let shown = job.shown();
    let data = json!({
        "job": job.id, "kind": job.kind, "status": job.state, "subscription": job.subscription, "progress": shown["progress"],
        "cost": shown["cost"], "error": job.reason, "result_file_id": job.result, "metadata": job.metadata,
    });
    let at = job.finished.unwrap_or(job.created);
    repo::list_end(app, job.subscription, &Ended::Job(job.id.clone()), at + jobs::KEPT).await?;
    for owner in [Owner::Subscription(job.subscription), Owner::Publisher] {
        callbacks::announce(app, &owner, kind, job.id.as_str(), at, data.clone()).await?;
    }
    Ok(repo::forget_active(app, &job.id).await?)
}

/// A message of a job was given up. Troubles that pass are waited for; what is never done is given up at last, with what
/// was delivered, so that somebody may look and submit it again.
pub async fn setback(app: &Arc<App>, subscription: SubscriptionId, id: &JobId) -> Result<(), Problem> {
    let Some((mut job, etag)) = repo::job(app, subscription, id).await? else { return Ok(()) };
    if job.state.is_over() {
        return tell(app, &job).await;
    }
    let now = app.clock.now();
    if job.turn.as_ref().is_some_and(|turn| turn.until > now && !is_orphaned(app, turn)) {
        // Somebody works on it.
        return Ok(());
    }
    if job.set_back.is_some_and(|counted| counted <= now && now.duration_since(counted) < SAME) {
        return Ok(());
    }
    job.set_back = Some(now);
    let wait = BREATHS.get(job.setbacks as usize).copied();
    job.setbacks += 1;
    if let Some(wait) = wait {
        job.due = now + wait;
        return match repo::save_job(app, &job, etag).await {
            Ok(_) => jobs::send(app, subscription, id, wait).await,
            // Somebody works on it.
            Err(StoreError::Precondition) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    let message = "Our workers could not finish it, several times in a row. What was delivered stands.".to_owned();
    job.reason = Some(Reason { code: "given_up".to_owned(), message });
    // What can not be read is not counted: it may be what is wrong.
    if let Err(problem) = recount(app, &mut job).await {
        tracing::warn!(job = %job.id, %problem, "a job is given up uncounted");
    }
    (job.state, job.finished, job.turn) = (State::Failed, Some(now), None);
    repo::list_given_up(app, &job, true).await?;
    match repo::save_job(app, &job, etag).await {
        Ok(_) => {
            tracing::error!(job = %job.id, %subscription, "a media job was given up; staff can submit it again");
            tell(app, &job).await
        }
        Err(StoreError::Precondition) => Ok(repo::list_given_up(app, &job, false).await?),
        Err(error) => Err(error.into()),
    }
}
