//! A lead on its way to a destination: one row, a schedule of tries, and whose turn it is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::foundation::ids::LeadId;
use crate::leads::destinations::{DeliveryError, Receipt};

/// Waits after the first failures; then [`LAST_WAIT`] again and again.
const WAITS: [SignedDuration; 6] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(8),
];
const LAST_WAIT: SignedDuration = SignedDuration::from_hours(12);
/// What has failed for so long is given up.
const PATIENCE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A destination's wish for a pause is obeyed up to this.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);
/// Whoever tries has the row for so long. A try is over well before ([`LONGEST_TRY`]), also where the store takes its time
/// with the row, so there are never two at a time.
pub const HELD: SignedDuration = SignedDuration::from_mins(5);
pub const LONGEST_TRY: Duration = Duration::from_secs(90);
/// A message may come so much before its time.
const ABOUT: SignedDuration = SignedDuration::from_millis(500);
const REMEMBERED: usize = 20;
const LONGEST_ERROR: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Sent,
    /// Refused: somebody has to mend something, and then send it again.
    NeedsAttention,
    GivenUp,
}

/// One try. `error`: None is success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub revision: u64,
    pub error: Option<String>,
}

/// What whoever holds a message may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Mine,
    /// Somebody else is at it.
    Held,
    /// It is due in so long.
    Early(SignedDuration),
    Over,
}

/// The row of a lead's way to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub lead: LeadId,
    pub destination: String,
    pub state: State,
    /// The newest revision that the destination has taken; 0: none.
    pub sent_revision: u64,
    pub receipt: Option<Receipt>,
    /// When the next try is due, or the last one was.
    pub due: Timestamp,
    /// Whoever tries it has it until then.
    pub held: Option<Timestamp>,
    /// Failures since it was last sent or begun anew, and when the first of them was.
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
    pub attempts: Vec<Attempt>,
}

impl Forward {
    pub fn new(lead: &LeadId, destination: &str, now: Timestamp) -> Self {
        Self {
            lead: lead.clone(),
            destination: destination.to_owned(),
            state: State::Waiting,
            sent_revision: 0,
            receipt: None,
            due: now,
            held: None,
            failures: 0,
            failing_since: None,
            attempts: Vec::new(),
        }
    }

    pub fn turn(&self, now: Timestamp) -> Turn {
        match self.state {
            State::Waiting if self.is_held(now) => Turn::Held,
            State::Waiting if self.due > now + ABOUT => Turn::Early(self.due.duration_since(now)),
            State::Waiting => Turn::Mine,
            State::Sent | State::NeedsAttention | State::GivenUp => Turn::Over,
        }
    }

    pub fn is_held(&self, now: Timestamp) -> bool {
        self.held.is_some_and(|until| until > now)
    }

    /// Begins anew, whatever came of it before.
    pub fn again(&mut self, now: Timestamp) {
        (self.state, self.due, self.held) = (State::Waiting, now, None);
        (self.failures, self.failing_since) = (0, None);
    }

    /// Whether the destination has the lead, and nobody tries to tell it of this revision, or has tried.
    pub fn is_ignorant_of(&self, revision: u64) -> bool {
        matches!(self.state, State::NeedsAttention | State::GivenUp)
            && self.sent_revision > 0
            && self.attempts.last().is_none_or(|last| last.revision < revision)
    }

    /// Ends it without a try.
    pub fn give_up(&mut self, why: &str, now: Timestamp) {
        self.remember(now, self.sent_revision, Some(why));
        (self.state, self.held) = (State::GivenUp, None);
    }

    /// Takes down a try of a revision. `jitter`, a random byte, stretches the wait by up to a tenth, so that what failed
    /// together does not come back together.
    pub fn tell(&mut self, outcome: Result<Receipt, DeliveryError>, revision: u64, jitter: u8, now: Timestamp) {
        self.held = None;
        let error = match outcome {
            Ok(receipt) => {
                self.remember(now, revision, None);
                (self.state, self.sent_revision, self.receipt) = (State::Sent, revision, Some(receipt));
                (self.failures, self.failing_since) = (0, None);
                return;
            }
            Err(error) => error,
        };
        self.remember(now, revision, Some(&error.to_string()));
        let after = match error {
            DeliveryError::Refused { .. } => {
                self.state = State::NeedsAttention;
                return;
            }
            DeliveryError::Later { after, .. } => after.unwrap_or_default().min(LONGEST_WISH),
        };
        let since = *self.failing_since.get_or_insert(now);
        let wait = WAITS.get(self.failures as usize).copied().unwrap_or(LAST_WAIT);
        let stretched = wait + wait * i32::from(jitter) / (10 * i32::from(u8::MAX));
        self.failures += 1;
        let due = now + stretched.max(SignedDuration::try_from(after).unwrap_or_default());
        if due.duration_since(since) > PATIENCE {
            self.state = State::GivenUp;
        } else {
            self.due = due;
        }
    }

    fn remember(&mut self, at: Timestamp, revision: u64, error: Option<&str>) {
        let error = error.map(|error| error.chars().take(LONGEST_ERROR).collect());
        self.attempts.push(Attempt { at, revision, error });
        let surplus = self.attempts.len().saturating_sub(REMEMBERED);
        self.attempts.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leads::model::arrival::table_id;

    fn forward() -> Forward {
        Forward::new(&table_id("a", "b"), "crm", Timestamp::UNIX_EPOCH)
    }

    fn later(after: Option<u64>) -> Result<Receipt, DeliveryError> {
        Err(DeliveryError::Later { said: "busy".into(), after: after.map(Duration::from_secs) })
    }

    #[test]
    fn tries_come_ever_later_for_two_weeks_and_then_it_is_given_up() {
        let (mut forward, mut now) = (forward(), Timestamp::UNIX_EPOCH);
        let mut waits = Vec::new();
        while forward.state == State::Waiting {
            now = forward.due;
            forward.tell(later(None), 1, 0, now);
            waits.push(forward.due.duration_since(now).as_secs());
        }
        assert_eq!(waits[..7], [5, 60, 300, 1800, 7200, 28800, 43200]);
        assert!(waits[7..waits.len() - 1].iter().all(|wait| *wait == 43200));
        assert_eq!(forward.state, State::GivenUp);
        let days = now.duration_since(Timestamp::UNIX_EPOCH).as_hours() / 24;
        assert_eq!((days, forward.attempts.len()), (13, REMEMBERED));
        forward.again(now);
        assert_eq!((forward.turn(now), forward.failing_since), (Turn::Mine, None));
    }

    #[test]
    fn a_wish_is_obeyed_where_it_is_longer_up_to_a_day() {
        for (jitter, wish, seconds) in
            [(0, None, 5.0), (255, None, 5.5), (0, Some(3), 5.0), (255, Some(60), 60.0), (0, Some(999_999), 86400.0)]
        {
            let mut forward = forward();
            forward.tell(later(wish), 1, jitter, Timestamp::UNIX_EPOCH);
            assert_eq!(forward.due.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64(), seconds);
        }
    }

    #[test]
    fn whoever_comes_second_too_early_or_too_late_does_nothing() {
        let (mut forward, now) = (forward(), Timestamp::UNIX_EPOCH);
        forward.held = Some(now + HELD);
        assert_eq!((forward.turn(now), forward.turn(now + HELD)), (Turn::Held, Turn::Mine));
        forward.tell(later(None), 1, 0, now);
        assert_eq!(forward.turn(now), Turn::Early(SignedDuration::from_secs(5)));
        forward.tell(Ok(Receipt::default()), 3, 0, now);
        assert_eq!((forward.turn(now), forward.sent_revision), (Turn::Over, 3));
        forward.again(now);
        forward.tell(Err(DeliveryError::Refused { said: "no such field".into() }), 4, 0, now);
        assert_eq!((forward.state, forward.sent_revision), (State::NeedsAttention, 3));
        assert_eq!(forward.attempts.last().unwrap().error.as_deref(), Some("no such field"));
    }
}
