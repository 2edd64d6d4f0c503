//! Limits by the minute and of calls at the same time. They are counted in this process: with several instances each
//! has limits of its own (as Azure API Management counts, too), because asking a store before every call would cost more
//! than the limit protects. What must never be overrun is a budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::ai::model::limits::{Bucket, Left};
use crate::identity::Limits;

/// Subjects remembered at the same time; one that is forgotten begins with a full bucket.
const REMEMBERED: usize = 20_000;
/// More than any call takes: what a caller names beyond it would be lost in the buckets' rounding.
const MOST_TOKENS: u64 = 1_000_000_000;

#[derive(Debug)]
struct Subject {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    running: u32,
}

#[derive(Debug, Default)]
pub struct Gate(Mutex<HashMap<String, Subject>>);

/// Which limit holds a call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Requests { limit: u32, wait: Duration },
    Tokens { limit: u32, wait: Duration },
    Parallel { limit: u32 },
}

/// A call that is inside. It leaves by being dropped.
#[derive(Debug)]
pub struct Inside {
    gate: Arc<Gate>,
    subjects: Vec<(String, Limits)>,
    /// What was taken from the buckets, until it is known what was used.
    tokens: Option<u64>,
    entered: Timestamp,
    /// What is left of the tightest limits, for the answer's headers.
    pub requests_left: Option<Left>,
    pub tokens_left: Option<Left>,
}

impl Gate {
    /// Lets a call in that will take about `tokens`, if every subject's limits allow it.
    pub fn enter(
        self: &Arc<Self>,
        subjects: Vec<(String, Limits)>,
        tokens: u64,
        now: Timestamp,
    ) -> Result<Inside, Full> {
        let tokens = tokens.min(MOST_TOKENS);
        let subjects: Vec<_> = subjects.into_iter().filter(|(_, limits)| *limits != Limits::default()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, subject| subject.running > 0);
        }
        let mut requests_left: Option<Left> = None;
        let mut tokens_left: Option<Left> = None;
        let tighter = |known: Option<Left>, this: Left| match known {
            Some(known) if known.remaining <= this.remaining => Some(known),
            _ => Some(this),
        };
        for (index, (name, limits)) in subjects.iter().enumerate() {
            let subject = known.entry(name.clone()).or_insert(Subject { requests: None, tokens: None, running: 0 });
            let full = subject.admit(limits, tokens, now);
            if let Err(full) = full {
                // What was taken from the subjects before goes back.
                for (name, limits) in &subjects[..index] {
                    if let Some(subject) = known.get_mut(name) {
                        subject.give_back(limits, tokens, now);
                    }
                }
                return Err(full);
            }
            if let (Some(limit), Some(bucket)) = (limits.requests_per_minute, &subject.requests) {
                requests_left = tighter(requests_left, bucket.left(limit));
            }
            if let (Some(limit), Some(bucket)) = (limits.tokens_per_minute, &subject.tokens) {
                tokens_left = tighter(tokens_left, bucket.left(limit));
            }
        }
        Ok(Inside { gate: Arc::clone(self), subjects, tokens: Some(tokens), entered: now, requests_left, tokens_left })
    }
}

impl Subject {
    fn admit(&mut self, limits: &Limits, tokens: u64, now: Timestamp) -> Result<(), Full> {
        if let Some(limit) = limits.parallel.filter(|limit| self.running >= *limit) {
            return Err(Full::Parallel { limit });
        }
        if let Some(limit) = limits.requests_per_minute {
            let bucket = self.requests.get_or_insert_with(|| Bucket::full(limit, now));
            bucket.take(1, limit, now).map_err(|wait| Full::Requests { limit, wait })?;
        }
        if let Some(limit) = limits.tokens_per_minute {
            let bucket = self.tokens.get_or_insert_with(|| Bucket::full(limit, now));
            if let Err(wait) = bucket.take(tokens, limit, now) {
                if let (Some(limit), Some(bucket)) = (limits.requests_per_minute, &mut self.requests) {
                    bucket.correct(1, 0, limit, now);
                }
                return Err(Full::Tokens { limit, wait });
            }
        }
        self.running += 1;
        Ok(())
    }

    fn give_back(&mut self, limits: &Limits, tokens: u64, now: Timestamp) {
        self.running = self.running.saturating_sub(1);
        if let (Some(limit), Some(bucket)) = (limits.requests_per_minute, &mut self.requests) {
            bucket.correct(1, 0, limit, now);
        }
        if let (Some(limit), Some(bucket)) = (limits.tokens_per_minute, &mut self.tokens) {
            bucket.correct(tokens, 0, limit, now);
        }
    }
}

impl Inside {
    /// Mends the estimate of tokens, once it is known.
    pub fn correct(&mut self, used: u64, now: Timestamp) {
        let Some(taken) = self.tokens.take() else { return };
        let mut known = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, limits) in &self.subjects {
            if let (Some(limit), Some(bucket)) =
                (limits.tokens_per_minute, known.get_mut(name).and_then(|subject| subject.tokens.as_mut()))
            {
                bucket.correct(taken, used, limit, now);
            }
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // A call that came to nothing used none: its estimate may be any number that the caller liked to name.
        self.correct(0, self.entered);
        let mut known = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, _) in &self.subjects {
            if let Some(subject) = known.get_mut(name) {
                subject.running = subject.running.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_takes_nothing_and_one_that_ends_makes_room() {
        let now = Timestamp::UNIX_EPOCH;
        let gate = Arc::new(Gate::default());
        let limits =
            |requests, tokens, parallel| Limits { requests_per_minute: requests, tokens_per_minute: tokens, parallel };
        let subjects = |key| vec![("s".to_owned(), limits(Some(3), None, None)), ("k".to_owned(), key)];
        let one = gate.enter(subjects(limits(None, None, Some(1))), 0, now).unwrap();
        assert_eq!(one.requests_left.unwrap().remaining, 2);
        let full = gate.enter(subjects(limits(None, None, Some(1))), 0, now).unwrap_err();
        assert_eq!(full, Full::Parallel { limit: 1 });
        drop(one);
        let tokens = limits(Some(9), Some(100), Some(1));
        let mut two = gate.enter(subjects(tokens.clone()), 90, now).unwrap();
        two.correct(10, now);
        drop(two);
        assert_eq!(gate.enter(subjects(tokens.clone()), 80, now).unwrap().requests_left.unwrap().remaining, 0);
        assert!(matches!(gate.enter(subjects(tokens), 1, now), Err(Full::Requests { limit: 3, .. })));
        // A refused call that asked for more than there is leaves no debt behind.
        let lone = || vec![("lone".to_owned(), limits(None, Some(100), None))];
        drop(gate.enter(lone(), u64::MAX, now).unwrap());
        assert_eq!(gate.enter(lone(), 1, now).unwrap().tokens_left.unwrap().remaining, 99);
        assert!(gate.enter(vec![("free".to_owned(), Limits::default())], 1_000_000, now).is_ok());
    }
}
