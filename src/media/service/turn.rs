//! One turn of a job: whoever holds it works on some items and passes the job on, so that a job of ten thousand items
//! holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::SignedDuration;

use super::work::{self, Outcome};
use super::{batch, end, jobs};
use crate::app::App;
use crate::foundation::ids::{JobId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::foundation::settings::Storage;
use crate::media::model::job::{Item, ItemState, Job, State, Turn};
use crate::media::repo;
use crate::store::{Etag, StoreError};

/// A turn is lost after so long without a word.
const HELD: SignedDuration = SignedDuration::from_secs(90);
/// While services take their time, somebody may want it cancelled: looked after that often, and renewed every tenth time.
const LOOKED: Duration = Duration::from_secs(3);
const LOOKS: u32 = 10;
/// A turn begins with no further item after so long.
const LONG: SignedDuration = SignedDuration::from_secs(20);
/// A job that nobody has touched for so long after it should have gone on is revived.
pub const FORGOTTEN: SignedDuration = SignedDuration::from_mins(3);
/// One whose message does not come for so long is revived although others wait.
const LOST: SignedDuration = SignedDuration::from_hours(1);
/// Jobs that are looked at together.
const READ_TOGETHER: usize = 16;
/// Jobs of so few items are put together in a moment; for larger ones the turn is held for longer.
const FEW: u32 = 100;
const ENDING: SignedDuration = SignedDuration::from_mins(9);
/// Between the process and the turn in the name of a holder.
const BETWEEN: char = ':';
/// Items that are looked at together.
const SLICE: usize = 32;
/// The Functions host ends a process whose function takes ten minutes.
const LONGEST_ITEM: Duration = Duration::from_secs(480);
/// The longest wait for an item that is to be tried again.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Works on a job as long as it is this one's turn. When that fails, the turn is given back, so that the message's next
/// try finds it free.
pub async fn run(app: &Arc<App>, subscription: SubscriptionId, id: &JobId) -> Result<(), Problem> {
    let began = app.clock.now();
    let place = match app.media.turns.enter(subscription, began) {
        Ok(place) => place,
        Err(wait) => return jobs::send(app, subscription, id, wait).await,
    };
    let holder = format!("{}{BETWEEN}{}", app.media.instance(&*app.random), app.random.token());
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
    place.leave(app.clock.now().duration_since(began));
    done
}

/// An embedded store belongs to one process: whoever else holds a turn there is gone.
pub fn is_orphaned(app: &App, turn: &Turn) -> bool {
    let alone = matches!(app.settings.storage, Storage::Embedded { .. });
    alone && turn.holder.split(BETWEEN).next() != Some(app.media.instance(&*app.random))
}

async fn turn(app: &Arc<App>, subscription: SubscriptionId, id: &JobId, holder: &str) -> Result<(), Problem> {
    let Some((mut job, etag)) = repo::job(app, subscription, id).await? else {
        return Ok(());
    };
    let began = app.clock.now();
    if let Some(turn) = job.turn.take_if(|turn| is_orphaned(app, turn)) {
        tracing::info!(job = %job.id, holder = turn.holder, "a turn is taken over from a process that has ended");
    }
    if !job.take_turn(holder, began + HELD, began) {
        if job.state.is_over() {
            return end::tell(app, &job).await;
        }
        // Its holder may have died, and this may be the message that it held.
        let until = job.turn.as_ref().map_or(began, |turn| turn.until) + SignedDuration::from_secs(1);
        let wait = Duration::try_from(until.duration_since(began)).unwrap_or_default();
        return jobs::send(app, subscription, id, wait).await;
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
            break;
        }
        let Some(Sliced { items, wait }) = held(app, &mut job, &mut etag).await? else { return Ok(()) };
        job.count(&items);
        job.setbacks = 0;
        if job.is_worked_off() {
            break;
        }
        let now = app.clock.now();
        let later = wait.map_or(SignedDuration::ZERO, |wait| SignedDuration::try_from(wait).unwrap_or_default());
        let on = wait.is_none() && now.duration_since(began) < LONG;
        job.due = now + later + FORGOTTEN;
        job.turn = if on { job.turn.take().map(|turn| Turn { until: now + HELD, ..turn }) } else { None };
        etag = match keep(app, &mut job, etag).await? {
            Some(etag) => etag,
            None => return Ok(()),
        };
        if !on {
            return jobs::send(app, subscription, id, wait.unwrap_or_default()).await;
        }
    }
    if job.items > FEW {
        // Putting it together may take longer than a turn is held.
        let now = app.clock.now();
        job.due = now + ENDING + FORGOTTEN;
        job.turn = job.turn.take().map(|turn| Turn { until: now + ENDING, ..turn });
        etag = match keep(app, &mut job, etag).await? {
            Some(etag) => etag,
            None => return Ok(()),
        };
    }
    end::end(app, job, etag).await
}

/// What came of a slice.
struct Sliced {
    items: Vec<Item>,
    /// Nothing can be done before.
    wait: Option<Duration>,
}

/// A slice, while the turn is renewed; None: the turn is lost.
async fn held(app: &Arc<App>, job: &mut Job, etag: &mut Etag) -> Result<Option<Sliced>, Problem> {
    let stop = Arc::new(AtomicBool::new(false));
    let work = slice(app, job.clone(), Arc::clone(&stop));
    tokio::pin!(work);
    for looks in 1_u32.. {
        tokio::select! {
            sliced = &mut work => return sliced.map(Some),
            () = tokio::time::sleep(LOOKED) => {
                if !looks.is_multiple_of(LOOKS) {
                    // A store that is away for a moment stops nobody.
                    if let Ok(stored) = repo::job(app, job.subscription, &job.id).await {
                        let over = stored.is_none_or(|(stored, _)| stored.state == State::Cancelling);
                        stop.store(over, Ordering::Relaxed);
                    }
                    continue;
                }
                let now = app.clock.now();
                job.due = now + FORGOTTEN;
                job.turn = job.turn.take().map(|turn| Turn { until: now + HELD, ..turn });
                match keep(app, job, etag.clone()).await {
                    Ok(Some(renewed)) => *etag = renewed,
                    Ok(None) => return Ok(None),
                    Err(problem) => tracing::warn!(job = %job.id, %problem, "a turn was not renewed"),
                }
                stop.store(job.state == State::Cancelling, Ordering::Relaxed);
            }
        }
    }
    Ok(None)
}

/// Works on the next items that can be worked on, until it is told to stop, or the turn has taken long.
async fn slice(app: &Arc<App>, job: Job, stop: Arc<AtomicBool>) -> Result<Sliced, Problem> {
    let items = repo::items(app, &job.id, job.next, SLICE).await?;
    let job = Arc::new(job);
    let began = app.clock.now();
    let (due, mut all): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.is_due(began));
    if due.is_empty() {
        let waiting = all.iter().filter(|item| item.state == ItemState::Waiting);
        let soonest = waiting.filter_map(|item| item.again).min();
        let wait = soonest.map(|again| again.duration_since(began).clamp(SignedDuration::ZERO, LONGEST_WAIT));
        return Ok(Sliced { items: all, wait: wait.map(|wait| Duration::try_from(wait).unwrap_or_default()) });
    }
    let doing: Vec<_> = due
        .into_iter()
        .map(|item| {
            let (app, job, stop) = (Arc::clone(app), Arc::clone(&job), Arc::clone(&stop));
            async move {
                if stop.load(Ordering::Relaxed) || app.clock.now().duration_since(began) >= LONG {
                    return Ok(item);
                }
                let number = item.number;
                let worked = match tokio::time::timeout(LONGEST_ITEM, work::work(&app, &job, item)).await {
                    Ok(worked) => worked,
                    Err(_) => work::cut_off(&app, &job, number).await?,
                };
                let item = match worked {
                    Outcome::Settled(item) => Item { again: None, ..item },
                    Outcome::Later(item, wait) => Item { again: Some(app.clock.now() + wait), ..item },
                };
                // Each as soon as it is done: what a dying process has finished need not be done again.
                let item = repo::save_item(&app, &job.id, item).await?;
                // Not before: who dies here finds the transcript again and has it made once.
                if item.state != ItemState::Waiting {
                    batch::discard(&app, &job, &item).await;
                }
                Ok::<_, Problem>(item)
            }
        })
        .collect();
    let mut done = stream::iter(doing).buffer_unordered(job.kind.parallel());
    while let Some(item) = done.next().await {
        all.push(item?);
    }
    all.sort_by_key(|item| item.number);
    Ok(Sliced { items: all, wait: None })
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

/// Sends a message for each job that nobody has touched for a while: its own was lost with a process or a queue. While as
/// many messages wait as there are jobs, none of them is taken for lost so soon.
pub async fn revive(app: &Arc<App>) -> Result<usize, Problem> {
    let active = repo::active(app).await?;
    let crowded = app.queues.depth(jobs::QUEUE).await? >= active.len();
    let patience = if crowded { LOST } else { SignedDuration::ZERO };
    let looks: Vec<_> = active.iter().map(|one| revive_one(app, one, patience)).collect();
    let mut looks = stream::iter(looks).buffer_unordered(READ_TOGETHER);
    let mut revived = 0;
    while let Some(look) = looks.next().await {
        match look {
            Ok(one) => revived += usize::from(one),
            // One that can not go on holds up no other.
            Err(problem) => tracing::error!(%problem, "a media job could not be looked after"),
        }
    }
    Ok(revived)
}

async fn revive_one(app: &Arc<App>, active: &repo::Active, patience: SignedDuration) -> Result<bool, Problem> {
    let now = app.clock.now();
    match repo::job(app, active.subscription, &active.job).await? {
        Some((mut job, etag)) if !job.state.is_over() => {
            let held = job.turn.as_ref().is_some_and(|turn| turn.until > now);
            if held || job.due + patience > now {
                return Ok(false);
            }
            // One message is enough for a while.
            job.due = now + FORGOTTEN;
            match repo::save_job(app, &job, etag).await {
                Ok(_) => jobs::send(app, active.subscription, &active.job, Duration::ZERO).await.map(|()| true),
                // Somebody works on it.
                Err(StoreError::Precondition) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }
        // Its end was not told yet.
        Some((job, _)) => end::tell(app, &job).await.map(|()| false),
        // It may be about to be written.
        None if now.duration_since(active.since) < FORGOTTEN => Ok(false),
        None => repo::forget_active(app, &active.job).await.map(|()| false).map_err(Problem::from),
    }
}
