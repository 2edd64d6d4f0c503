//! One event on its way to one endpoint: its tries and when the next one is due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind};
use crate::foundation::ids::{EndpointId, EventId};

/// The waits after each failed try; after the last one there is no further try. As Standard Webhooks advises.
const WAITS: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];
/// The longest wait that a receiver can ask for.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);
/// A try is lost after so long without a word; well over the time that it may take.
pub const HELD: SignedDuration = SignedDuration::from_secs(60);
/// The queue's clock and ours may differ by so much.
const ABOUT: SignedDuration = SignedDuration::from_millis(100);
/// Tries that are remembered: two whole schedules.
const REMEMBERED: usize = 20;
/// Characters of an error that are kept.
const LONGEST_ERROR: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Delivered,
    Failed,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    /// None: there was no answer.
    pub status: Option<u16>,
    pub milliseconds: u64,
    /// The beginning of the answer, or what went wrong; empty after a success.
    pub error: String,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub attempt: Attempt,
    pub success: bool,
    /// It answered 410: there is no use in trying again.
    pub gone: bool,
    /// What the receiver asked for.
    pub wait: Option<Duration>,
}

/// What whoever holds a message may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Mine,
    /// Somebody else is trying it just now.
    Held,
    /// It is due in so long.
    Early(SignedDuration),
    Over,
}

/// The row of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub event: EventId,
    pub endpoint: EndpointId,
    pub kind: EventKind,
    pub subject: String,
    /// When it happened.
    pub at: Timestamp,
    pub state: State,
    /// When the next try is due, or the last one was.
    pub due: Timestamp,
    /// Whoever tries it has until then.
    pub held: Option<Timestamp>,
    /// Failed tries of this schedule; sending again begins anew.
    pub failures: u32,
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    pub fn new(event: &Event, endpoint: &EndpointId, now: Timestamp) -> Self {
        Self {
            event: event.id.clone(),
            endpoint: endpoint.clone(),
            kind: event.kind,
            subject: event.subject.clone(),
            at: event.at,
            state: State::Waiting,
            due: now,
            held: None,
            failures: 0,
            attempts: Vec::new(),
        }
    }

    pub fn turn(&self, now: Timestamp) -> Turn {
        match self.state {
            State::Delivered | State::Failed => Turn::Over,
            State::Waiting if self.is_held(now) => Turn::Held,
            State::Waiting if self.due > now + ABOUT => Turn::Early(self.due.duration_since(now)),
            State::Waiting => Turn::Mine,
        }
    }

    pub fn is_held(&self, now: Timestamp) -> bool {
        self.held.is_some_and(|until| until > now)
    }

    /// Takes down a try. `jitter`, a random byte, stretches the wait by up to a tenth, so that what failed together does not
    /// come back together.
    pub fn tell(&mut self, outcome: Outcome, jitter: u8, now: Timestamp) {
        self.held = None;
        self.attempts.push(outcome.attempt);
        let surplus = self.attempts.len().saturating_sub(REMEMBERED);
        self.attempts.drain(..surplus);
        if outcome.success {
            self.state = State::Delivered;
            return;
        }
        let wait = WAITS.get(self.failures as usize).filter(|_| !outcome.gone);
        self.failures += 1;
        let Some(wait) = wait else {
            self.state = State::Failed;
            return;
        };
        let stretched = *wait + *wait * i32::from(jitter) / (10 * i32::from(u8::MAX));
        let asked = outcome.wait.unwrap_or_default().min(LONGEST_WISH);
        self.due = now + stretched.max(SignedDuration::try_from(asked).unwrap_or_default());
    }

    /// Lets others go first, for one to five minutes.
    pub fn postpone(&mut self, jitter: u8, now: Timestamp) {
        self.due = now + SignedDuration::from_secs(60 + 240 * i64::from(jitter) / i64::from(u8::MAX));
    }

    /// Begins anew, whatever came of it before.
    pub fn again(&mut self, now: Timestamp) {
        (self.state, self.due, self.held, self.failures) = (State::Waiting, now, None, 0);
    }

    /// Ends it without a try, because its endpoint is told nothing any more.
    pub fn give_up(&mut self) {
        (self.state, self.held) = (State::Failed, None);
    }
}

/// The beginning of a foreign text, without what does not print.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(LONGEST_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callbacks::model::event::Owner;

    fn delivery() -> Delivery {
        let at = Timestamp::UNIX_EPOCH;
        let event = Event::new(&Owner::Publisher, EventKind::UsageLost, "x", at, &serde_json::Value::Null, at).unwrap();
        Delivery::new(&event, &"ep_00000000000000000000000000000001".parse().unwrap(), at)
    }

    fn outcome(status: u16, wait: Option<u64>) -> Outcome {
        let attempt =
            Attempt { at: Timestamp::UNIX_EPOCH, status: Some(status), milliseconds: 1, error: String::new() };
        let (success, gone) = (status < 300, status == 410);
        Outcome { attempt, success, gone, wait: wait.map(Duration::from_secs) }
    }

    #[test]
    fn ten_tries_over_three_days_and_then_it_has_failed() {
        let (mut delivery, mut now) = (delivery(), Timestamp::UNIX_EPOCH);
        let mut waits = Vec::new();
        while delivery.state == State::Waiting {
            delivery.tell(outcome(500, None), 0, now);
            waits.push(delivery.due.duration_since(now).as_secs());
            now = delivery.due;
        }
        assert_eq!(waits, [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, 0]);
        assert_eq!(delivery.attempts.len(), 10);
        delivery.again(now);
        for _ in 0..11 {
            delivery.tell(outcome(500, None), 0, now);
        }
        assert_eq!(delivery.attempts.len(), REMEMBERED);
    }

    #[test]
    fn a_wait_is_stretched_a_little_and_as_the_receiver_asks_up_to_a_day() {
        for (jitter, wish, seconds) in
            [(0, None, 5.0), (255, None, 5.5), (0, Some(3), 5.0), (255, Some(60), 60.0), (0, Some(999_999), 86400.0)]
        {
            let mut delivery = delivery();
            delivery.tell(outcome(503, wish), jitter, Timestamp::UNIX_EPOCH);
            assert_eq!(delivery.due.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64(), seconds);
        }
    }

    #[test]
    fn whoever_comes_second_too_early_or_too_late_does_nothing() {
        let (mut delivery, now) = (delivery(), Timestamp::UNIX_EPOCH);
        assert_eq!(delivery.turn(now), Turn::Mine);
        delivery.held = Some(now + HELD);
        assert_eq!((delivery.turn(now), delivery.turn(now + HELD)), (Turn::Held, Turn::Mine));
        delivery.tell(outcome(500, None), 0, now);
        assert_eq!(delivery.turn(now), Turn::Early(SignedDuration::from_secs(5)));
        delivery.tell(outcome(410, None), 0, now);
        assert_eq!((delivery.turn(now), delivery.state), (Turn::Over, State::Failed));
        delivery.again(now);
        delivery.tell(outcome(204, None), 0, now);
        assert_eq!(delivery.state, State::Delivered);
    }

    #[test]
    fn an_error_is_short_and_prints() {
        assert_eq!(printable(b"a\n\x00 b\t\x1b[31mred \xff"), "a b [31mred \u{fffd}");
        assert_eq!(printable("é".repeat(999).as_bytes()).chars().count(), LONGEST_ERROR);
    }
}
