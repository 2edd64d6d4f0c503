//! What every queue promises, one function a law. `tests/it/seams.rs` runs all of them on the embedded queue and on
//! Azure Queue Storage (Azurite). Hiding times are real seconds on Azure, so no law waits for one to pass: a message
//! is made visible by renewing it for no time at all.

use std::time::Duration;

use super::{MAX_TEXT, QueueError, Queues, poison};

const HIDE: Duration = Duration::from_secs(60);

/// All laws, in turn, in queues whose names begin with `scope`.
pub async fn all(queues: &dyn Queues, scope: &str) {
    a_sent_message_is_received_until_it_is_deleted(queues, &format!("{scope}-a")).await;
    a_stale_receipt_is_refused(queues, &format!("{scope}-b")).await;
    a_delayed_message_is_not_received_yet(queues, &format!("{scope}-c")).await;
    of_many_receivers_one_gets_the_message(queues, &format!("{scope}-d")).await;
    any_text_survives_and_too_much_is_refused(queues, &format!("{scope}-e")).await;
    peeking_shows_what_could_be_received_and_changes_nothing(queues, &format!("{scope}-f")).await;
    one_certain_message_is_replayed_once_or_removed(queues, &format!("{scope}-g")).await;
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_sent_message_is_received_until_it_is_deleted(queues: &dyn Queues, name: &str) {
    assert!(queues.receive(name, 1, HIDE).await.unwrap().is_empty(), "a queue that does not exist is empty");
    assert_eq!(queues.depth(name).await.unwrap(), 0);
    queues.send(name, "one", Duration::ZERO).await.unwrap();
    let first = queues.receive(name, 5, HIDE).await.unwrap().remove(0);
    assert_eq!((first.text.as_str(), first.dequeue_count), ("one", 1));
    assert!(queues.receive(name, 5, HIDE).await.unwrap().is_empty(), "a received message is hidden");
    let renewed = queues.renew(name, &first, Duration::ZERO).await.unwrap();
    assert_eq!(renewed.id, first.id);
    let again = queues.receive(name, 5, HIDE).await.unwrap().remove(0);
    assert_eq!((again.text.as_str(), again.dequeue_count), ("one", 2));
    assert_eq!(queues.depth(name).await.unwrap(), 1);
    queues.delete(name, &again).await.unwrap();
    assert_eq!(queues.depth(name).await.unwrap(), 0);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_stale_receipt_is_refused(queues: &dyn Queues, name: &str) {
    queues.send(name, "one", Duration::ZERO).await.unwrap();
    let first = queues.receive(name, 1, HIDE).await.unwrap().remove(0);
    let second = queues.renew(name, &first, HIDE).await.unwrap();
    assert!(matches!(queues.delete(name, &first).await, Err(QueueError::Gone)));
    assert!(matches!(queues.renew(name, &first, HIDE).await, Err(QueueError::Gone)));
    queues.delete(name, &second).await.unwrap();
    assert!(matches!(queues.delete(name, &second).await, Err(QueueError::Gone)));
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_delayed_message_is_not_received_yet(queues: &dyn Queues, name: &str) {
    queues.send(name, "later", HIDE).await.unwrap();
    queues.send(name, "now", Duration::ZERO).await.unwrap();
    let received = queues.receive(name, 5, HIDE).await.unwrap();
    assert_eq!(received.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["now"]);
    assert_eq!(queues.depth(name).await.unwrap(), 2);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn of_many_receivers_one_gets_the_message(queues: &dyn Queues, name: &str) {
    queues.send(name, "one", Duration::ZERO).await.unwrap();
    let tries = futures_util::future::join_all((0..8).map(|_| queues.receive(name, 4, HIDE))).await;
    assert_eq!(tries.into_iter().map(|received| received.unwrap().len()).sum::<usize>(), 1);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn any_text_survives_and_too_much_is_refused(queues: &dyn Queues, name: &str) {
    let text = "{\"id\":\"中文 😀 <x> & \\\" \"}";
    queues.send(name, text, Duration::ZERO).await.unwrap();
    assert_eq!(queues.receive(name, 1, HIDE).await.unwrap()[0].text, text);
    let huge = "x".repeat(MAX_TEXT + 1);
    assert!(matches!(queues.send(name, &huge, Duration::ZERO).await, Err(QueueError::TooLarge(_))));
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn peeking_shows_what_could_be_received_and_changes_nothing(queues: &dyn Queues, name: &str) {
    assert_eq!(queues.peek(name, 5).await.unwrap(), [], "a queue that does not exist is empty");
    let strange = "{\"id\":\"中文 😀\"}";
    for (text, delay) in [("one", Duration::ZERO), (strange, Duration::ZERO), ("later", HIDE)] {
        queues.send(name, text, delay).await.unwrap();
    }
    let seen = queues.peek(name, 5).await.unwrap();
    assert_eq!(seen.iter().map(|m| (m.text.as_str(), m.dequeue_count)).collect::<Vec<_>>(), [("one", 0), (strange, 0)]);
    assert!(seen[0].inserted <= seen[1].inserted && seen[0].id != seen[1].id);
    assert_eq!(queues.peek(name, 5).await.unwrap(), seen, "looking again shows the same");
    assert_eq!(queues.peek(name, 1).await.unwrap(), seen[..1]);
    let received = queues.receive(name, 1, HIDE).await.unwrap().remove(0);
    let rest = queues.peek(name, 5).await.unwrap();
    assert_eq!(rest.len(), 1, "what is hidden is not seen");
    assert_ne!(rest[0].id, received.id);
    queues.renew(name, &received, Duration::ZERO).await.unwrap();
    let seen = queues.peek(name, 5).await.unwrap();
    let again = seen.iter().find(|message| message.id == received.id).unwrap();
    assert_eq!((again.text.as_str(), again.dequeue_count), (received.text.as_str(), 1));
    assert_eq!(queues.depth(name).await.unwrap(), 3);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn one_certain_message_is_replayed_once_or_removed(queues: &dyn Queues, name: &str) {
    let aside = poison::queue(name);
    for text in ["a", "b", "c", "d"] {
        queues.send(&aside, text, Duration::ZERO).await.unwrap();
    }
    let seen = queues.peek(&aside, 32).await.unwrap();
    let id = |text: &str| seen.iter().find(|message| message.text == text).unwrap().id.as_str();
    assert!(poison::replay(queues, name, id("c")).await.unwrap());
    assert!(!poison::replay(queues, name, id("c")).await.unwrap(), "it is not there any more");
    assert!(poison::remove(queues, name, id("a")).await.unwrap());
    assert!(!poison::remove(queues, name, id("a")).await.unwrap());
    let mut left: Vec<String> = queues.peek(&aside, 32).await.unwrap().into_iter().map(|m| m.text).collect();
    left.sort();
    assert_eq!(left, ["b", "d"], "the others can be seen at once");
    assert_eq!(queues.receive(name, 5, HIDE).await.unwrap().iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(poison::replay_all(queues, name).await.unwrap(), 2);
    assert_eq!(queues.depth(&aside).await.unwrap(), 0);
    let mut back: Vec<String> = queues.receive(name, 5, HIDE).await.unwrap().into_iter().map(|m| m.text).collect();
    back.sort();
    assert_eq!(back, ["b", "d"]);
    assert_eq!(poison::replay_all(queues, name).await.unwrap(), 0);
}
