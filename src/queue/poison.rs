//! Messages that were set aside after their tries: replayed, one or all, or removed.
//!
//! No backend gives out one certain message. So some are received, hidden for a short time, the wanted one is acted on,
//! and the others are made visible at once. A process that dies in between leaves them hidden for that time and no longer.

use std::time::Duration;

use super::{Message, QueueError, Queues};

/// The most that a backend gives at once.
const BATCH: usize = 32;
/// How often it is asked for more when the wanted one was not among them.
const ROUNDS: usize = 10;
const HIDE: Duration = Duration::from_secs(30);
/// Messages replayed by one order: a thousand at once may be more than what they are for can bear.
const MOST: usize = 1000;

/// The queue in which messages of a queue are set aside, as the Functions host names it.
pub fn queue(queue: &str) -> String {
    format!("{queue}-poison")
}

/// Takes one certain message into our hands. None: it is not there, or in somebody else's hands.
async fn take(queues: &dyn Queues, aside: &str, id: &str) -> Result<Option<Message>, QueueError> {
    let (mut wanted, mut others) = (None, Vec::new());
    for _ in 0..ROUNDS {
        let received = queues.receive(aside, BATCH, HIDE).await?;
        let last = received.len() < BATCH;
        for message in received {
            if message.id == id {
                wanted = Some(message);
            } else {
                others.push(message);
            }
        }
        if wanted.is_some() || last {
            break;
        }
    }
    for message in &others {
        // One that can not be given back now comes back by itself.
        if let Err(error) = queues.renew(aside, message, Duration::ZERO).await {
            tracing::warn!(queue = aside, message = message.id, %error, "a message stays hidden for a moment");
        }
    }
    Ok(wanted)
}

/// Sends it first: a message that is there twice is harmless, one that is nowhere is not.
async fn send_back(queues: &dyn Queues, queue: &str, aside: &str, message: &Message) -> Result<(), QueueError> {
    queues.send(queue, &message.text, Duration::ZERO).await?;
    match queues.delete(aside, message).await {
        // It came back meanwhile, because this took too long; whoever replays it again does no harm.
        Err(QueueError::Gone) => Ok(()),
        other => other,
    }
}

/// Gives a message another five tries. `false`: it is not there any more.
pub async fn replay(queues: &dyn Queues, queue: &str, id: &str) -> Result<bool, QueueError> {
    let aside = self::queue(queue);
    match take(queues, &aside, id).await? {
        Some(message) => send_back(queues, queue, &aside, &message).await.map(|()| true),
        None => Ok(false),
    }
}

/// Gives all of them another five tries, and says how many they were.
pub async fn replay_all(queues: &dyn Queues, queue: &str) -> Result<usize, QueueError> {
    let (aside, mut replayed) = (self::queue(queue), 0);
    while replayed < MOST {
        let received = queues.receive(&aside, BATCH, HIDE).await?;
        if received.is_empty() {
            break;
        }
        for message in &received {
            send_back(queues, queue, &aside, message).await?;
            replayed += 1;
        }
    }
    Ok(replayed)
}

/// Removes a message for good. `false`: it is not there any more.
pub async fn remove(queues: &dyn Queues, queue: &str, id: &str) -> Result<bool, QueueError> {
    let aside = self::queue(queue);
    match take(queues, &aside, id).await? {
        Some(message) => queues.delete(&aside, &message).await.map(|()| true),
        None => Ok(false),
    }
}
