//! What becomes of events: sent, answered, held, lost, found again.

use jiff::Timestamp;

use super::event::{Answer, LossReason, Proof, Settled, State, Verdict};
use super::ledger::{EventKey, Ledger};
use super::quantity::Quantity;

/// A difference between what was sent and what Microsoft has booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    pub key: EventKey,
    pub sent: Quantity,
    pub booked: Quantity,
}

impl Ledger {
    /// Marks what is to be sent now, at most `limit`, and gives the keys. Stored before the sending.
    pub fn prepare(&mut self, now: Timestamp, limit: usize) -> Vec<EventKey> {
        let due = self.events.iter().filter(|(_, event)| event.is_due(now)).map(|(key, _)| key.clone());
        let due: Vec<EventKey> = due.take(limit).collect();
        for key in &due {
            if let Some(event) = self.events.get_mut(key) {
                event.send();
            }
            self.touch(key);
        }
        due
    }

    fn touch(&mut self, key: &EventKey) {
        self.changed.events.insert(key.clone());
        self.changed.head = true;
    }

    /// Takes in Microsoft's answer. Some: it has booked another quantity than was sent.
    pub fn settle(&mut self, key: &EventKey, answer: &Answer, now: Timestamp, spread: u8) -> Option<Deviation> {
        let suspended = self.terms.suspended;
        let event = self.events.get_mut(key).filter(|event| !event.is_settled())?;
        let settled = event.settle(answer, suspended, now, spread);
        let too_late = answer.verdict == Verdict::Expired && now >= event.deadline();
        self.touch(key);
        if too_late {
            self.lose(key, LossReason::Expired, now);
        }
        self.booked(key, settled?)
    }

    /// Takes in that Microsoft turned out to have booked an event, also one that was given up.
    pub fn found(&mut self, key: &EventKey, now: Timestamp) {
        let Some(event) = self.events.get_mut(key) else { return };
        let lost = matches!(event.state, State::Lost { .. });
        if let State::Lost { reason, at } = event.state {
            event.lost_as = Some((reason, at));
        }
        if matches!(event.state, State::Accepted { .. } | State::Carried { .. }) {
            return;
        }
        let settled = event.accept(event.quantity, None, Proof::ReadBack, now);
        if lost {
            let parts = event.parts.clone();
            for part in parts {
                if let Some(booked) = self.account(part.period, part.segment, &key.1) {
                    booked.lost -= part.quantity;
                }
            }
            self.head.unlisted.insert(key.clone());
        }
        self.touch(key);
        self.booked(key, settled);
    }

    fn account(&mut self, period: Timestamp, segment: usize, dimension: &str) -> Option<&mut super::account::Booked> {
        self.changed.periods.insert(period);
        self.periods.get_mut(&period)?.booked_mut(segment, dimension)
    }

    /// Enters what Microsoft has booked into the accounts; what it has not is free to be claimed again.
    fn booked(&mut self, key: &EventKey, settled: Settled) -> Option<Deviation> {
        self.head.unsettled.remove(key);
        let event = self.events.get(key)?;
        let (parts, sent) = (event.parts.clone(), event.quantity);
        let mut left = settled.accepted;
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            let share = if last { left } else { left.min(part.quantity) };
            left -= share;
            if let Some(booked) = self.account(part.period, part.segment, &key.1) {
                booked.accepted += share;
                booked.claimed -= part.quantity - share;
            }
        }
        let history = self.head.history.entry(key.1.clone()).or_default();
        history.hours = history.hours.saturating_add(1);
        history.largest = history.largest.max(settled.accepted);
        (!settled.returned.is_zero()).then(|| Deviation { key: key.clone(), sent, booked: settled.accepted })
    }

    /// Takes an event back whose hour ended in a suspension: its units are free to be claimed with another hour.
    fn carry(&mut self, key: &EventKey, now: Timestamp) {
        let Some(event) = self.events.get_mut(key) else { return };
        event.state = State::Carried { at: now };
        let parts = event.parts.clone();
        for part in parts {
            if let Some(booked) = self.account(part.period, part.segment, &key.1) {
                booked.claimed -= part.quantity;
            }
        }
        self.head.unsettled.remove(key);
        self.touch(key);
    }

    /// Books an event as lost.
    pub fn lose(&mut self, key: &EventKey, reason: LossReason, now: Timestamp) {
        let Some(event) = self.events.get_mut(key).filter(|event| !event.is_settled()) else { return };
        event.state = State::Lost { reason, at: now };
        let parts = event.parts.clone();
        for part in parts {
            if let Some(booked) = self.account(part.period, part.segment, &key.1) {
                booked.lost += part.quantity;
            }
        }
        self.head.unsettled.remove(key);
        self.head.unlisted.insert(key.clone());
        self.touch(key);
    }

    /// Holds, releases and buries by the clock and the state of the subscription, and counts up warnings; at most
    /// `limit` events at a time. Gives the keys of events about which people are to be warned now.
    pub fn review(&mut self, now: Timestamp, limit: usize) -> Vec<EventKey> {
        let suspended = self.terms.suspended;
        let keys: Vec<EventKey> = self.head.unsettled.iter().cloned().collect();
        let mut warnings = Vec::new();
        for key in keys {
            if self.changed.events.len() >= limit {
                break;
            }
            let Some(event) = self.events.get_mut(&key) else { continue };
            if let Some(reason) = event.died(now) {
                // What Microsoft may have booked without our knowing is not sent a second time under another hour.
                let unsure = event.in_flight || event.doubt;
                if reason == LossReason::Suspended && self.terms.ended.is_none() && !unsure {
                    self.carry(&key, now);
                } else {
                    self.lose(&key, reason, now);
                }
                continue;
            }
            let mut changed = event.review(suspended, now);
            if let Some(level) = event.warning(now) {
                event.warned = level;
                changed = true;
                warnings.push(key.clone());
            }
            if changed {
                self.touch(&key);
            }
        }
        warnings
    }

    /// The line of a lost event stands in the loss ledger.
    pub fn listed(&mut self, key: &EventKey) {
        self.head.unlisted.remove(key);
        self.changed.head = true;
    }

    /// Nothing is left to do: the next record lists the resource again.
    pub fn unmark(&mut self) {
        self.tally.marked = false;
        self.changed.tally = true;
    }

    /// A member of staff sends an event again that was refused or held, with another plan if that was wrong. `false`:
    /// it is settled, suspended or dead.
    pub fn resend(&mut self, key: &EventKey, plan: Option<&str>, note: &str, now: Timestamp) -> bool {
        let suspended = self.terms.suspended;
        let Some(event) = self.events.get_mut(key) else { return false };
        let waits = matches!(event.state, State::Held { .. } | State::DeadLetter | State::Pending);
        if !waits || suspended || now >= event.deadline() {
            return false;
        }
        if let Some(plan) = plan.filter(|plan| *plan != event.plan) {
            // What Microsoft may have booked is asked about under the plan it was sent with.
            if event.in_flight || event.doubt {
                return false;
            }
            plan.clone_into(&mut event.plan);
            if let Some(terms) = self.terms.dimension(plan, &key.1) {
                (event.price, event.currency) = (terms.price, terms.currency);
            }
        }
        note.clone_into(&mut event.note);
        event.release(now);
        self.touch(key);
        true
    }

    /// A member of staff gives an event up. `false`: it is settled, or Microsoft may be booking it right now.
    pub fn write_off(&mut self, key: &EventKey, note: &str, now: Timestamp) -> bool {
        let Some(event) = self.events.get_mut(key).filter(|event| !event.is_settled() && !event.in_flight) else {
            return false;
        };
        note.clone_into(&mut event.note);
        self.lose(key, LossReason::WrittenOff, now);
        true
    }
}
