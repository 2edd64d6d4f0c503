//! Turns under way in this process, so that one subscription's thousand jobs do not keep out another one's single job.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::foundation::ids::SubscriptionId;

/// Of one subscription at the same time: three quarters of what `serve` works on, half of what the Functions host does.
const SHARE: u32 = 12;
/// Shortest and longest time for which a job is sent away.
const SOON: SignedDuration = SignedDuration::from_millis(100);
const LATE: SignedDuration = SignedDuration::from_mins(1);
/// What a turn takes, as long as none was seen.
const USUAL: SignedDuration = SignedDuration::from_millis(250);

#[derive(Debug, Default)]
struct Share {
    running: u32,
    /// How long a turn took of late, about.
    turn: SignedDuration,
    /// When those that were sent away come again.
    away: BinaryHeap<Reverse<Timestamp>>,
}

#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<SubscriptionId, Share>>);

/// A place among the turns, given back when it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    turns: &'a Turns,
    subscription: SubscriptionId,
}

impl Turns {
    /// A place for a turn; or how long its job should wait: as long as those that wait already take.
    pub fn enter(&self, subscription: SubscriptionId, now: Timestamp) -> Result<Place<'_>, Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = all.entry(subscription).or_default();
        while share.away.peek().is_some_and(|Reverse(back)| *back <= now) {
            share.away.pop();
        }
        if share.running < SHARE {
            share.running += 1;
            return Ok(Place { turns: self, subscription });
        }
        let turn = if share.turn.is_zero() { USUAL } else { share.turn };
        let before = i32::try_from(share.away.len() + 1).unwrap_or(i32::MAX);
        let wait = (turn / i32::try_from(SHARE).unwrap_or(1)).saturating_mul(before).clamp(SOON, LATE);
        share.away.push(Reverse(now + wait));
        Err(Duration::try_from(wait).unwrap_or_default())
    }
}

impl Place<'_> {
    /// Notes how long the turn took.
    pub fn leave(self, took: SignedDuration) {
        let mut all = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = all.get_mut(&self.subscription) {
            share.turn = (share.turn * 7 + took) / 8;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = all.get_mut(&self.subscription) {
            share.running = share.running.saturating_sub(1);
            if share.running == 0 {
                all.remove(&self.subscription);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscription_leaves_room_and_its_own_jobs_queue_up() {
        let (turns, now) = (Turns::default(), Timestamp::UNIX_EPOCH);
        let [one, other]: [SubscriptionId; 2] =
            [1, 2].map(|n| format!("00000000-0000-0000-0000-00000000000{n}").parse().unwrap());
        let mut places: Vec<_> = (0..SHARE).map(|_| turns.enter(one, now).unwrap()).collect();
        places.pop().unwrap().leave(SignedDuration::from_secs(96));
        places.push(turns.enter(one, now).unwrap());
        // An eighth of 96 s is what a turn takes by now; twelve at the same time make that one a second.
        let waits: Vec<u64> = (0..200).map(|_| turns.enter(one, now).unwrap_err().as_secs()).collect();
        assert_eq!((waits[0], waits[1], waits[2], waits[199]), (1, 2, 3, 60));
        assert!(turns.enter(other, now).is_ok(), "another one is let in at once");
        drop(places);
        assert!(turns.enter(one, now).is_ok());
    }
}
