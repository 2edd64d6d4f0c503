//! Queue functions under `serve`, with the Functions host's rules (functions-host contract 5): a message is hidden
//! while it is worked on and the hiding is renewed; success deletes it; a failure makes it come back later; the fifth
//! failure moves it to `<queue>-poison`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bindings::{Function, Trigger};
use super::{Host, dispatch};
use crate::foundation::problem::JobError;
use crate::queue::{Message, QueueError, poison};

/// Messages worked on at the same time, for each queue function.
const PARALLEL: usize = 16;
/// The same while requests come in a crowd: a webhook has ten seconds, a message has time.
const PARALLEL_WHEN_CROWDED: usize = 1;
const MOST_TRIES: u32 = 5;
/// A message whose worker died comes back after this; renewed at a third of it.
const HIDE: Duration = Duration::from_secs(30);
/// Pauses of an idle poller, doubling between these.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause where looking costs next to nothing: messages become visible by the passing of time, too.
const LONGEST_LOCAL_PAUSE: Duration = Duration::from_millis(500);

/// Works on one queue until `shutdown` says so, then finishes what it has begun.
pub async fn run(host: Host, function: Function, mut shutdown: watch::Receiver<bool>) {
    let Trigger::Queue { queue } = function.trigger.clone() else { return };
    let function = Arc::new(function);
    let mut running = JoinSet::new();
    let mut pause = SHORTEST_PAUSE;
    let bell = host.app.queues.bell();
    let longest_pause = if bell.is_some() { LONGEST_LOCAL_PAUSE } else { LONGEST_PAUSE };
    while !*shutdown.borrow() {
        while running.try_join_next().is_some() {}
        let allowed = if host.is_crowded() { PARALLEL_WHEN_CROWDED } else { PARALLEL };
        if running.len() >= allowed {
            running.join_next().await;
            continue;
        }
        // Asked for before looking, so that a message sent in between is not slept over.
        let rung = bell.as_ref().map(|bell| bell.notified());
        let received = match host.app.queues.receive(&queue, allowed - running.len(), HIDE).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(queue, %error, "the queue can not be read; trying again");
                pause = longest_pause;
                Vec::new()
            }
        };
        if received.is_empty() {
            let ring = async {
                match rung {
                    Some(rung) => rung.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ring => pause = SHORTEST_PAUSE,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest_pause),
                _ = shutdown.changed() => {}
            }
            continue;
        }
        pause = SHORTEST_PAUSE;
        for message in received {
            let (host, function, queue) = (host.clone(), Arc::clone(&function), queue.clone());
            running.spawn(async move { work(&host, &function, &queue, message).await });
        }
    }
    while running.join_next().await.is_some() {}
}

/// Works on what is visible now, one after the other, and gives how many messages that were. For tests, which move the
/// clock themselves.
pub async fn drain(host: &Host) -> Result<usize, QueueError> {
    let mut count = 0;
    for function in host.functions.all() {
        let Trigger::Queue { queue } = &function.trigger else { continue };
        loop {
            let received = host.app.queues.receive(queue, 1, HIDE).await?;
            let Some(message) = received.into_iter().next() else { break };
            work(host, function, queue, message).await;
            count += 1;
        }
    }
    Ok(count)
}

/// One message: runs its function while keeping it hidden, then deletes it, puts it back, or sets it aside.
async fn work(host: &Host, function: &Function, queue: &str, message: Message) {
    let queues = &host.app.queues;
    let mut message = message;
    // What was set aside once is not set aside again: it comes back, until somebody can do it (functions-host contract 5).
    let last = !queue.ends_with("-poison");
    if last && message.dequeue_count > MOST_TRIES {
        // Its workers died every time, without a word.
        tracing::error!(function = function.name, message = message.id, "received too often; moved to {queue}-poison");
        if let Err(error) = set_aside(host, queue, &message).await {
            tracing::warn!(queue, message = message.id, %error, "the message could not be put away");
        }
        return;
    }
    let job = dispatch::queue(host, function, message.text.clone());
    tokio::pin!(job);
    let result = loop {
        tokio::select! {
            result = &mut job => break result,
            () = tokio::time::sleep(HIDE / 3) => match queues.renew(queue, &message, HIDE).await {
                Ok(renewed) => message = renewed,
                // Somebody else has it now; both running is allowed, and only the last one deletes it.
                Err(QueueError::Gone) => tracing::warn!(queue, message = message.id, "the message was given to somebody else"),
                Err(error) => tracing::warn!(queue, message = message.id, %error, "the hiding could not be renewed"),
            },
        }
    };
    let outcome = match result {
        Ok(()) => queues.delete(queue, &message).await,
        Err(JobError::Fail(error)) => {
            tracing::error!(function = function.name, message = message.id, %error, "given up; it is not repeated");
            queues.delete(queue, &message).await
        }
        Err(JobError::Retry(error)) if last && message.dequeue_count >= MOST_TRIES => {
            tracing::error!(function = function.name, message = message.id, %error, "failed {MOST_TRIES} times; moved to {queue}-poison");
            set_aside(host, queue, &message).await
        }
        Err(JobError::Retry(error)) => {
            tracing::warn!(function = function.name, message = message.id, tries = message.dequeue_count, %error, "failed; it comes back");
            let wait = Duration::from_secs(2u64.pow(message.dequeue_count.min(6)));
            queues.renew(queue, &message, wait).await.map(drop)
        }
    };
    if let Err(error) = outcome {
        // The message comes back by itself when its hiding ends.
        tracing::warn!(queue, message = message.id, %error, "the message could not be put away");
    }
}

async fn set_aside(host: &Host, queue: &str, message: &Message) -> Result<(), QueueError> {
    host.app.queues.send(&poison::queue(queue), &message.text, Duration::ZERO).await?;
    host.app.queues.delete(queue, message).await
}
