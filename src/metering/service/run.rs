//! The minute's round over all resources with work. Safe to run beside itself and to be killed anywhere; under `serve`
//! and under the Functions host alike, the timer lets one run at a time.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::look::{MeteringError, Work, leave, open, overtaken};
use super::submit;
use crate::app::App;
use crate::metering::repo::{self, WORK_PARTITIONS};
use crate::store::Etag;

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
    for partition in 0..WORK_PARTITIONS {
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
