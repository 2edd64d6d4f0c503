//! Sending prepared events in batches and taking in the answers, item by item.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::look::{MOST_CHANGES, MeteringError, TRIES, Work, overtaken};
use super::read_back::{self, DifferenceKind};
use crate::app::App;
use crate::fulfillment::ApiError;
use crate::metering::client::{self, MOST_EVENTS};
use crate::metering::model::event::{Answer, State, UsageEvent};
use crate::metering::model::ledger::EventKey;
use crate::metering::repo;
use crate::store::StoreError;

const STATE: &str = "submission";
/// Pauses after failures of whole batches: doubling between these.
const SHORTEST_PAUSE: i64 = 30;
const LONGEST_PAUSE: i64 = 300;
/// Batches under way at the same time.
const PARALLEL: usize = 4;
/// Ledgers written at the same time.
const PARALLEL_WRITES: usize = 16;

/// How sending goes, as a whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Submission {
    /// Nothing is sent before.
    pub not_before: Option<Timestamp>,
    pub failures: u32,
    pub error: Option<String>,
    pub failed: Option<Timestamp>,
    pub succeeded: Option<Timestamp>,
}

pub async fn state(app: &App) -> Result<Submission, StoreError> {
    Ok(repo::state(app, STATE).await?.map(|(state, _)| state).unwrap_or_default())
}

/// Whether Microsoft may be called now.
pub async fn allowed(app: &App) -> Result<bool, StoreError> {
    if app.marketplace.is_none() {
        return Ok(false);
    }
    Ok(state(app).await?.not_before.is_none_or(|at| at <= app.clock.now()))
}

/// Sends what the works have prepared and stores the answers. The inner error is Microsoft's: what could not be sent
/// stays prepared and is sent again later.
pub async fn send(app: &App, works: &mut [Work]) -> Result<Result<(), ApiError>, MeteringError> {
    let events: Vec<Sent<'_>> = works
        .iter()
        .enumerate()
        .flat_map(|(index, work)| {
            work.send.iter().filter_map(move |key| Some((index, key.clone(), work.ledger.events.get(key)?)))
        })
        .collect();
    if events.is_empty() {
        return Ok(Ok(()));
    }
    // The order matters when there is too little time for all: the oldest hours first.
    let mut events = events;
    events.sort_by_key(|(_, (hour, _), _)| *hour);
    let mut sending = Sending::default();
    {
        let calls: Vec<_> = events.chunks(MOST_EVENTS).map(|batch| call(app, batch)).collect();
        let mut batches = stream::iter(calls).buffered(PARALLEL);
        while let Some((batch, result)) = batches.next().await {
            sending.take(batch, result);
            if sending.hopeless() {
                break;
            }
        }
    }
    // A batch that fails while others go through may have one bad event in it: each alone, so that it hurts nobody else.
    let alone = if sending.succeeded > 0 { std::mem::take(&mut sending.failed) } else { Vec::new() };
    for event in &alone {
        let (single, result) = call(app, std::slice::from_ref(event)).await;
        sending.take(single, result);
        if sending.hopeless() {
            break;
        }
    }
    let Sending { mut answers, succeeded, failure, .. } = sending;
    let mut settling = Vec::new();
    for (index, work) in works.iter_mut().enumerate() {
        if let Some(answers) = answers.remove(&index) {
            settling.push(settle(app, work, answers));
        }
    }
    let mut answered = stream::iter(settling).buffer_unordered(PARALLEL_WRITES);
    let mut worst = Ok(());
    while let Some(result) = answered.next().await {
        worst = worst.and(result);
    }
    drop(answered);
    let failure = failure.filter(|error| succeeded == 0 || stops_all(error));
    note(app, failure.as_ref()).await?;
    worst?;
    Ok(failure.map_or(Ok(()), Err))
}

/// Whether an error holds for whatever else would be sent now.
fn stops_all(error: &ApiError) -> bool {
    matches!(error, ApiError::Denied(_) | ApiError::Throttled { .. })
}

/// Batches that fail one after the other before the service counts as away.
const MOST_FAILURES: usize = 3;

/// How the batches of one sending went.
#[derive(Default)]
struct Sending<'a> {
    answers: BTreeMap<usize, Vec<(EventKey, Answer)>>,
    succeeded: usize,
    failed: Vec<Sent<'a>>,
    in_a_row: usize,
    failure: Option<ApiError>,
}

impl<'a> Sending<'a> {
    fn take(&mut self, batch: &[Sent<'a>], result: Result<Vec<Option<Answer>>, ApiError>) {
        match result {
            Ok(results) => {
                (self.succeeded, self.in_a_row) = (self.succeeded + 1, 0);
                for ((index, key, _), answer) in batch.iter().zip(results) {
                    // What the answer does not mention stays in flight and is asked about again.
                    if let Some(answer) = answer {
                        self.answers.entry(*index).or_default().push((key.clone(), answer));
                    }
                }
            }
            Err(error) => {
                self.in_a_row += 1;
                self.failed.extend_from_slice(batch);
                self.failure = Some(error);
            }
        }
    }

    fn hopeless(&self) -> bool {
        self.failure.as_ref().is_some_and(stops_all) || self.in_a_row >= MOST_FAILURES
    }
}

type Sent<'a> = (usize, EventKey, &'a UsageEvent);

async fn call<'a>(app: &App, batch: &'a [Sent<'a>]) -> (&'a [Sent<'a>], Result<Vec<Option<Answer>>, ApiError>) {
    let bodies: Vec<&UsageEvent> = batch.iter().map(|(_, _, event)| *event).collect();
    (batch, client::submit(app, &bodies).await)
}

/// Notes how the sending went, and when it may go on.
async fn note(app: &App, failure: Option<&ApiError>) -> Result<(), StoreError> {
    let now = app.clock.now();
    let known = state(app).await?;
    let Some(error) = failure else {
        let fresh = known.succeeded.is_some_and(|at| now.duration_since(at) < SignedDuration::from_mins(1));
        if known.failures == 0 && fresh {
            return Ok(());
        }
        return repo::save_state(app, STATE, &Submission { succeeded: Some(now), ..Submission::default() }).await;
    };
    let mut spread = [0];
    app.random.fill(&mut spread);
    let doubled = (SHORTEST_PAUSE << known.failures.min(10)).min(LONGEST_PAUSE);
    let mut pause = SignedDuration::from_secs(doubled - doubled * i64::from(spread[0]) / 1024);
    if let ApiError::Throttled { wait } = error {
        let longest = Duration::from_secs(3600);
        pause = SignedDuration::try_from((*wait).min(longest)).unwrap_or(pause);
    }
    tracing::warn!(%error, pause_s = pause.as_secs(), "usage can not be sent to Microsoft");
    let failed = Submission {
        not_before: Some(now + pause),
        failures: known.failures.saturating_add(1),
        error: Some(error.to_string()),
        failed: Some(now),
        succeeded: known.succeeded,
    };
    repo::save_state(app, STATE, &failed).await
}

/// Enters answers into a ledger, again from the stored one when somebody else was quicker.
async fn settle(app: &App, work: &mut Work, answers: Vec<(EventKey, Answer)>) -> Result<(), MeteringError> {
    for some in answers.chunks(MOST_CHANGES) {
        let mut done = false;
        for _ in 0..TRIES {
            let mut deviations = Vec::new();
            for (key, answer) in some {
                let mut spread = [0];
                app.random.fill(&mut spread);
                deviations.extend(work.ledger.settle(key, answer, app.clock.now(), spread[0]));
            }
            match repo::save(app, &mut work.ledger, &mut work.etags).await {
                Ok(()) => {
                    for (key, _) in some {
                        if let Some(event) =
                            work.ledger.events.get(key).filter(|event| event.state == State::DeadLetter)
                        {
                            let said = event.said.as_ref().map(|said| said.status.as_str()).unwrap_or_default();
                            tracing::error!(resource = %event.resource, dimension = event.dimension, hour = %event.hour, said,
                                deadline = %event.deadline(), "Microsoft refuses usage; a person has to mend it");
                        }
                    }
                    for deviation in deviations {
                        let Some(event) = work.ledger.events.get(&deviation.key) else { continue };
                        let (ours, theirs) = (deviation.sent, deviation.booked);
                        read_back::note(app, event, DifferenceKind::AnsweredOther, ours, theirs).await?;
                    }
                    done = true;
                    break;
                }
                Err(error) if overtaken(&error) => match repo::ledger(app, &work.key).await? {
                    Some((ledger, etags)) => (work.ledger, work.etags) = (ledger, etags),
                    None => return Err(MeteringError::Contention(work.key.clone())),
                },
                Err(error) => return Err(error.into()),
            }
        }
        if !done {
            return Err(MeteringError::Contention(work.key.clone()));
        }
    }
    Ok(())
}
