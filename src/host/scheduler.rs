//! Timer functions under `serve`, with the Functions host's rules (functions-host contract 5): each due time runs once
//! in all replicas, never two runs of one timer at a time, and one run after a downtime however many were missed. The
//! state is a row per timer that replicas claim by conditional write.

use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::bindings::{Function, Trigger};
use super::{Host, dispatch};
use crate::foundation::problem::JobError;
use crate::store::{self, StoreError, Table, Write};

const TIMERS: Table = Table("Timers");
const KEY: &str = "status";
/// A run that has not ended after this belongs to a dead replica and is repeated.
const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// How often a timer is looked at, at least: a run left over by a dead replica is found then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The row of a timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The due time that was run or is being run.
    pub due: Timestamp,
    pub started: Timestamp,
    pub finished: Option<Timestamp>,
    pub error: Option<String>,
}

/// Runs one timer until `shutdown` says so.
pub async fn run(host: Host, function: Function, mut shutdown: watch::Receiver<bool>) {
    let Trigger::Timer { schedule } = function.trigger.clone() else { return };
    while !*shutdown.borrow() {
        if let Err(error) = tick(&host, &function).await {
            tracing::warn!(function = function.name, %error, "the timer's row can not be used; trying again");
        }
        let now = host.app.clock.now();
        let wait = occurrence(&schedule, now, true)
            .map_or(LONGEST_SLEEP, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(wait.clamp(Duration::from_millis(50), LONGEST_SLEEP)) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Runs the function if a due time has come that nobody has run. `true`: it ran here.
pub async fn tick(host: &Host, function: &Function) -> Result<bool, StoreError> {
    let Trigger::Timer { schedule } = &function.trigger else { return Ok(false) };
    let (app, now) = (&host.app, host.app.clock.now());
    let Some(due) = occurrence(schedule, now, false) else { return Ok(false) };
    let claimed = Status { due, started: now, finished: None, error: None };
    let write = match store::load::<Status>(&*app.rows, TIMERS, &function.name, KEY).await? {
        // Never seen: the schedule begins now, with the next due time.
        None => {
            let first = Status { finished: Some(now), ..claimed };
            return match app.rows.write(TIMERS, &function.name, vec![Write::insert(KEY, &first)?]).await {
                Ok(_) | Err(StoreError::AlreadyExists) => Ok(false),
                Err(error) => Err(error),
            };
        }
        Some((status, etag)) => {
            let running = status.finished.is_none() && now.duration_since(status.started) < LEASE;
            let left_over = status.finished.is_none() && !running;
            if running || (status.due >= due && !left_over) {
                return Ok(false);
            }
            Write::replace(KEY, &claimed, etag)?
        }
    };
    let etag = match app.rows.write(TIMERS, &function.name, vec![write]).await {
        Ok(mut etags) => etags.remove(0),
        // Another replica was quicker.
        Err(StoreError::Precondition) => return Ok(false),
        Err(error) => return Err(error),
    };
    let result = dispatch::timer(host, function).await;
    if let Err(error) = &result {
        tracing::error!(function = function.name, %error, "the timer's run failed; its next due time tries again");
    }
    let error = result.err().map(|error| match error {
        JobError::Retry(error) | JobError::Fail(error) => error.to_string(),
    });
    let finished = Status { finished: Some(app.clock.now()), error, ..claimed };
    match app.rows.write(TIMERS, &function.name, vec![Write::replace(KEY, &finished, etag)?]).await {
        // The lease ran out and somebody took over; what they wrote holds.
        Ok(_) | Err(StoreError::Precondition) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The due time after `now`, or the last one not after it. Schedules are in UTC.
fn occurrence(schedule: &Cron, now: Timestamp, next: bool) -> Option<Timestamp> {
    let at = now.to_zoned(TimeZone::UTC);
    let found =
        if next { schedule.find_next_occurrence(&at, false) } else { schedule.find_previous_occurrence(&at, true) };
    found.ok().map(|zoned| zoned.timestamp())
}
