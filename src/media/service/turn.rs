//! One turn of a job: whoever holds it works on some items and passes the job on, so that a job of ten thousand items
//! holds up nobody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::SignedDuration;

use super::jobs::send;
use super::work::{self, Outcome};
use crate::app::App;
use crate::foundation::ids::{JobId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::job::{Item, ItemState, Job, MOST_ITEMS, State, Turn};
use crate::media::repo;
use crate::store::{Etag, StoreError};

/// A turn is lost after so long without a word; well within the queue's own hiding time.
const HELD: SignedDuration = SignedDuration::from_mins(5);
/// A turn takes no further slice after so long.
const LONG: SignedDuration = SignedDuration::from_secs(20);
/// A job that nobody has touched for so long is revived.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(6);

/// Works on a job as long as it is this one's turn. When that fails, the turn is given back, so that the message's next
/// try finds it free.
pub async fn run(app: &Arc<App>, subscription: SubscriptionId, id: &JobId) -> Result<(), Problem> {
    let holder = app.random.token();
    let done = turn(app, subscription, id, &holder).await;
    if done.is_err()
        && let Ok(Some((mut job, etag))) = repo::job(app, subscription, id).await
        && job.turn.as_ref().is_some_and(|turn| turn.holder == holder)
    {
        job.turn = None;
        if let Err(error) = repo::save_job(app, &job, etag).await {
            tracing::warn!(job = %id, %error, "a turn was not given back; it ends by itself");
        }
    }
    done
}

async fn turn(app: &Arc<App>, subscription: SubscriptionId, id: &JobId, holder: &str) -> Result<(), Problem> {
    let Some((mut job, etag)) = repo::job(app, subscription, id).await? else {
        return Ok(());
    };
    let began = app.clock.now();
    if !job.take_turn(holder, began + HELD, began) {
        if job.state.is_over() {
            repo::forget_active(app, id).await?;
        }
        return Ok(());
    }
    job.due = began + FORGOTTEN;
    let mut etag = match repo::save_job(app, &job, etag).await {
        Ok(etag) => etag,
        // Somebody else took the turn, or wants it cancelled: then there is another message.
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    loop {
        if job.state == State::Cancelling || job.is_worked_off() {
            return end(app, job, etag).await;
        }
        let wait = slice(app, &mut job).await?;
        let now = app.clock.now();
        let worked_off = job.is_worked_off();
        let on = wait.is_none() && (worked_off || now.duration_since(began) < LONG);
        job.due = now + FORGOTTEN;
        job.turn = if on { job.turn.take().map(|turn| Turn { until: now + HELD, ..turn }) } else { None };
        etag = match keep(app, &mut job, etag).await? {
            Some(etag) => etag,
            None => return Ok(()),
        };
        if !on {
            return send(app, subscription, id, wait.unwrap_or_default()).await;
        }
    }
}

/// Works on the next items; says how long to wait when some of them have to be tried again.
async fn slice(app: &Arc<App>, job: &mut Job) -> Result<Option<Duration>, Problem> {
    let size = job.kind.parallel();
    let items = repo::items(app, &job.id, job.next, size * 4).await?;
    let (settled, waiting): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| item.state != ItemState::Waiting);
    let doing: Vec<_> = waiting
        .into_iter()
        .map(|item| {
            let (app, job) = (Arc::clone(app), job.clone());
            async move {
                let outcome = work::work(&app, &job, item).await;
                let (item, wait) = match outcome {
                    Outcome::Settled(item) => (item, None),
                    Outcome::Later(item, wait) => (item, Some(wait)),
                };
                // Each as soon as it is done: what a dying process has finished need not be done again.
                repo::save_items(&app, &job.id, std::slice::from_ref(&item)).await.map(|()| (item, wait))
            }
        })
        .collect();
    let (mut all, mut wait) = (settled, None::<Duration>);
    let mut done = stream::iter(doing).buffer_unordered(size);
    while let Some(result) = done.next().await {
        let (item, later) = result?;
        all.push(item);
        wait = match (wait, later) {
            (Some(known), Some(later)) => Some(known.max(later)),
            (known, later) => known.or(later),
        };
    }
    all.sort_by_key(|item| item.number);
    job.count(&all);
    Ok(wait)
}

/// Writes the job down. Somebody may have asked for its end meanwhile: then that is taken over, and None says that the
/// turn is lost altogether.
async fn keep(app: &App, job: &mut Job, etag: Etag) -> Result<Option<Etag>, Problem> {
    match repo::save_job(app, job, etag).await {
        Ok(etag) => Ok(Some(etag)),
        Err(StoreError::Precondition) => {
            let Some((stored, etag)) = repo::job(app, job.subscription, &job.id).await? else { return Ok(None) };
            let ours = |other: &Job| {
                other.turn.as_ref().map(|turn| &turn.holder) == job.turn.as_ref().map(|turn| &turn.holder)
            };
            if stored.state != State::Cancelling || !(ours(&stored) || job.turn.is_none()) {
                return Ok(None);
            }
            job.state = State::Cancelling;
            match repo::save_job(app, job, etag).await {
                Ok(etag) => Ok(Some(etag)),
                Err(StoreError::Precondition) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

async fn end(app: &App, mut job: Job, etag: Etag) -> Result<(), Problem> {
    let items = repo::items(app, &job.id, 0, MOST_ITEMS).await?;
    // Settled items behind the first open one count, too, when the job ends before its last.
    (job.next, job.succeeded, job.failed) = (0, 0, 0);
    for item in &items {
        match item.state {
            ItemState::Waiting => {}
            ItemState::Succeeded => job.succeeded += 1,
            ItemState::Failed => job.failed += 1,
        }
    }
    job.next = job.items;
    work::assemble(app, &mut job, &items).await?;
    job.end(app.clock.now());
    match repo::save_job(app, &job, etag).await {
        Ok(_) => {
            tracing::info!(job = %job.id, state = ?job.state, succeeded = job.succeeded, failed = job.failed, "a media job is over");
            Ok(())
        }
        // The next message ends it.
        Err(StoreError::Precondition) => send(app, job.subscription, &job.id, Duration::ZERO).await,
        Err(error) => Err(error.into()),
    }
}

/// Sends a message for each job that nobody has touched for a while: its own was lost with a process or a queue.
pub async fn revive(app: &App) -> Result<usize, Problem> {
    let (now, mut revived) = (app.clock.now(), 0);
    for active in repo::active(app).await? {
        match repo::job(app, active.subscription, &active.job).await? {
            Some((job, _)) if !job.state.is_over() => {
                let held = job.turn.as_ref().is_some_and(|turn| turn.until > now);
                if !held && job.due <= now {
                    send(app, active.subscription, &active.job, Duration::ZERO).await?;
                    revived += 1;
                }
            }
            // It may be about to be written.
            None if now.duration_since(active.since) < FORGOTTEN => {}
            _ => repo::forget_active(app, &active.job).await?,
        }
    }
    Ok(revived)
}
