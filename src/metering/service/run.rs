//! The minute's round over all resources with work. Safe to run beside itself and to be killed anywhere; under `serve`
//! and under the Functions host alike, the timer lets one run at a time.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::look::{MeteringError, Work, leave, open, overtaken};
use super::submit;
use crate::app::App;
use crate::metering::repo::{self, Attention, Mark, WORK_PARTITIONS};
use crate::store::{Etag, StoreError};

/// Ledgers in memory at the same time.
const CHUNK: usize = 200;
/// Ledgers read and written at the same time.
const PARALLEL: usize = 16;

/// What a round did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Round {
    pub looked_at: usize,
    pub sent: usize,
    pub failed: usize,
}

pub async fn run(app: &Arc<App>) -> Result<Round, MeteringError> {
    let mut round = Round::default();
    // Not always in the same order: when there is time for a part only, it is not always the same one.
    let first =
        u8::try_from(app.clock.now().as_second().div_euclid(60).rem_euclid(i64::from(WORK_PARTITIONS))).unwrap_or(0);
    for partition in (0..WORK_PARTITIONS).map(|number| (first + number) % WORK_PARTITIONS) {
        let mut after: Option<String> = None;
        loop {
            let (marks, more) = repo::work(app, partition, after.as_deref(), 1000).await?;
            after = marks.last().map(|(key, _, _)| key.clone());
            let now = app.clock.now();
            let due: Vec<(String, Etag)> =
                marks.into_iter().filter(|(_, mark, _)| mark.due <= now).map(|(key, _, etag)| (key, etag)).collect();
            for chunk in due.chunks(CHUNK) {
                work_on(app, chunk, &mut round).await?;
            }
            if !more {
                break;
            }
        }
    }
    Ok(round)
}

async fn open_one<'a>(
    app: &App,
    key: &'a str,
    etag: &Etag,
    sending: bool,
) -> (&'a str, Result<Option<Work>, MeteringError>) {
    (key, open(app, key, Some(etag.clone()), sending).await)
}

async fn work_on(app: &Arc<App>, due: &[(String, Etag)], round: &mut Round) -> Result<(), MeteringError> {
    let sending = submit::allowed(app).await?;
    let opening: Vec<_> = due.iter().map(|(key, etag)| open_one(app, key, etag, sending)).collect();
    let mut opened = stream::iter(opening).buffer_unordered(PARALLEL);
    let mut works: Vec<Work> = Vec::with_capacity(due.len());
    while let Some((key, result)) = opened.next().await {
        round.looked_at += 1;
        match result {
            Ok(Some(work)) => works.push(work),
            Ok(None) => {}
            // One broken ledger must not keep the others from being billed.
            Err(error) => {
                round.failed += 1;
                tracing::error!(resource = key, %error, "the ledger can not be worked on; the next minute tries again");
            }
        }
    }
    round.sent += works.iter().map(|work| work.send.len()).sum::<usize>();
    // Microsoft's failure is noted already; the works are left in order all the same.
    let sent = submit::send(app, &mut works).await;
    let mut leaving = Vec::new();
    for work in &mut works {
        leaving.push(leave(app, work));
    }
    let mut left = stream::iter(leaving).buffer_unordered(PARALLEL);
    while let Some(result) = left.next().await {
        match result {
            Err(error) if overtaken(&error) => {}
            other => other?,
        }
    }
    match sent {
        Ok(_) => Ok(()),
        Err(MeteringError::Contention(key)) => {
            round.failed += 1;
            tracing::warn!(resource = key, "others keep changing this ledger; the next minute goes on");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Puts resources back on the work list that have open hours or unsettled events and stand on no list. There should be
/// none; if there is one all the same, its usage must not wait for ever.
pub async fn sweep(app: &App) -> Result<usize, StoreError> {
    let (mut found, mut after) = (0, None);
    loop {
        let (resources, more) = repo::resources(app, after.as_deref(), 1000).await?;
        for (key, resource) in &resources {
            let heads = repo::heads(app, key).await?;
            let busy = heads.tally.marked
                || !heads.tally.buckets.is_empty()
                || !heads.head.unsettled.is_empty()
                || !heads.head.unlisted.is_empty();
            if busy && repo::marked(app, key).await?.is_none() {
                tracing::error!(resource = key, "usage was on no list; it is looked at now");
                let mark = Mark { resource: resource.clone(), due: app.clock.now(), attention: Attention::default() };
                repo::mark(app, &mark).await?;
                found += 1;
            }
        }
        after = resources.last().map(|(key, _)| key.clone());
        if !more {
            return Ok(found);
        }
    }
}
