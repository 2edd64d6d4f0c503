//! One usage event: the quantity of a dimension in an hour's slot at Microsoft, frozen before it is sent, and what
//! Microsoft said. A slot is taken once and for all (contract 5.4), so a repeat always has the same quantity.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hour::Hour;
use super::quantity::Quantity;
use super::resource::Resource;

/// Where an event's units come from: an account, and how many of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub period: Timestamp,
    pub segment: usize,
    pub quantity: Quantity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// Microsoft takes nothing of a suspended subscription.
    Suspended,
    /// Far outside the customer's own history.
    Anomaly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Not taken by Microsoft within its 24 hours.
    Expired,
    /// Suspended until the 24 hours were over.
    Suspended,
    /// Refused, and not mended in time.
    Rejected,
    /// A member of staff gave it up.
    WrittenOff,
    /// The subscription ended and every hour before its end was booked already.
    NoFreeHour,
}

impl LossReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Rejected => "rejected",
            Self::WrittenOff => "written_off",
            Self::NoFreeHour => "no_free_hour",
        }
    }
}

/// How we learned that Microsoft has booked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    Accepted,
    Duplicate,
    ReadBack,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// To be sent, or sent without an answer.
    Pending,
    Held {
        why: HoldReason,
    },
    /// Refused for a reason that only a person can mend.
    DeadLetter,
    Accepted {
        quantity: Quantity,
        id: Option<Uuid>,
        at: Timestamp,
        proof: Proof,
    },
    Lost {
        reason: LossReason,
        at: Timestamp,
    },
    /// Its units went back and are billed with another hour: a suspension outlasted this one.
    Carried {
        at: Timestamp,
    },
}

/// The last thing that Microsoft said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub at: Timestamp,
    pub status: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEvent {
    pub resource: Resource,
    pub dimension: String,
    pub hour: Hour,
    pub plan: String,
    pub quantity: Quantity,
    pub parts: Vec<Part>,
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    pub currency: String,
    pub state: State,
    pub frozen: Timestamp,
    pub attempts: u32,
    /// Sent, and not answered yet.
    pub in_flight: bool,
    /// An earlier send got no answer: Microsoft may have booked it.
    pub doubt: bool,
    pub next_try: Timestamp,
    pub said: Option<Said>,
    /// Hours of age at which somebody was warned.
    #[serde(default)]
    pub warned: u8,
    /// It was given up before it turned out that Microsoft has booked it.
    #[serde(default)]
    pub lost_as: Option<(LossReason, Timestamp)>,
    /// Who of the staff did what about it, and why.
    #[serde(default)]
    pub note: String,
}

/// What Microsoft says about one event (contract 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted {
        quantity: Option<Quantity>,
        id: Option<Uuid>,
    },
    Duplicate {
        quantity: Option<Quantity>,
        id: Option<Uuid>,
    },
    Expired,
    NotFound,
    NotAuthorized,
    NotActive,
    InvalidDimension,
    Invalid,
    /// `Error`, or a word that the contract does not know.
    Error,
}

/// An answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    /// Microsoft's own words.
    pub status: String,
    pub message: String,
}

/// What follows from an answer for the accounts: so many units are booked, and so many are free to be claimed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub accepted: Quantity,
    pub returned: Quantity,
}

/// Events that may have been booked are still asked about this often after their deadline.
const TRIES_AFTER_DEADLINE: SignedDuration = SignedDuration::from_hours(1);
/// A hold for a person ends this long before the deadline.
const RELEASE_BEFORE: SignedDuration = SignedDuration::from_hours(1);

impl UsageEvent {
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Accepted { .. } | State::Lost { .. } | State::Carried { .. })
    }

    pub fn deadline(&self) -> Timestamp {
        self.hour.deadline()
    }

    /// Whether it is to be sent now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let in_time = now < self.deadline() || self.in_flight || self.doubt;
        self.state == State::Pending && self.next_try <= now && self.hour.start() <= now && in_time
    }

    /// Marks it as sent; stored before the sending.
    pub fn send(&mut self) {
        self.doubt |= self.in_flight;
        self.in_flight = true;
        self.attempts += 1;
    }

    /// The pause after a refusal that may pass: doubling from a minute to half an hour, and never more than a quarter
    /// of what is left before the deadline. `spread` is 0 to 255.
    fn pause(&self, now: Timestamp, spread: u8) -> SignedDuration {
        let doubled = 60_i64.saturating_mul(1 << self.attempts.min(5)).min(1800);
        let left = self.deadline().duration_since(now).as_secs().max(0) / 4;
        let seconds = doubled.min(left.max(60));
        // Between three quarters and all of it.
        SignedDuration::from_secs(seconds - seconds * i64::from(spread) / 1024)
    }

    /// Takes in an answer. Some: it is settled.
    pub fn settle(&mut self, answer: &Answer, suspended: bool, now: Timestamp, spread: u8) -> Option<Settled> {
        self.in_flight = false;
        self.said = Some(Said { at: now, status: answer.status.clone(), message: answer.message.clone() });
        let (quantity, id, proof) = match &answer.verdict {
            Verdict::Accepted { quantity, id } => (*quantity, *id, Proof::Accepted),
            Verdict::Duplicate { quantity, id } => (*quantity, *id, Proof::Duplicate),
            // What is suspended may also be called unknown.
            Verdict::NotActive | Verdict::NotFound if suspended => {
                self.state = State::Held { why: HoldReason::Suspended };
                return None;
            }
            Verdict::NotFound | Verdict::InvalidDimension | Verdict::Invalid => {
                self.state = State::DeadLetter;
                return None;
            }
            // Expired before our own deadline is a clock that goes wrong, here or there, and may be mended in time.
            Verdict::Expired | Verdict::NotAuthorized | Verdict::NotActive | Verdict::Error => {
                self.next_try = now + self.pause(now, spread);
                return None;
            }
        };
        Some(self.accept(quantity.unwrap_or(self.quantity), id, proof, now))
    }

    /// Microsoft has booked `quantity` in this slot.
    pub fn accept(&mut self, quantity: Quantity, id: Option<Uuid>, proof: Proof, now: Timestamp) -> Settled {
        self.in_flight = false;
        self.doubt = false;
        self.state = State::Accepted { quantity, id, at: now, proof };
        Settled { accepted: quantity, returned: self.quantity - quantity }
    }

    /// Holds and releases by the state of the subscription and the clock. `true`: something changed.
    pub fn review(&mut self, suspended: bool, now: Timestamp) -> bool {
        match self.state {
            State::Pending if suspended && !self.in_flight => {
                self.state = State::Held { why: HoldReason::Suspended };
                true
            }
            State::Held { why: HoldReason::Suspended } if !suspended => self.release(now),
            State::Held { why: HoldReason::Anomaly } if now >= self.deadline() - RELEASE_BEFORE => {
                self.state = if suspended { State::Held { why: HoldReason::Suspended } } else { State::Pending };
                self.next_try = now;
                true
            }
            _ => false,
        }
    }

    /// Sends it again at once.
    pub fn release(&mut self, now: Timestamp) -> bool {
        self.state = State::Pending;
        self.next_try = now;
        true
    }

    /// Whether the deadline has killed it. What Microsoft may have booked is asked about a little longer.
    pub fn died(&self, now: Timestamp) -> Option<LossReason> {
        let unsure = self.in_flight || self.doubt;
        let end = if unsure { self.deadline() + TRIES_AFTER_DEADLINE } else { self.deadline() };
        if self.is_settled() || now < end {
            return None;
        }
        Some(match self.state {
            State::Held { why: HoldReason::Suspended } => LossReason::Suspended,
            State::DeadLetter => LossReason::Rejected,
            _ => LossReason::Expired,
        })
    }

    /// The age of unsent usage at which people are told, in hours.
    pub fn warning(&self, now: Timestamp) -> Option<u8> {
        let age = now.duration_since(self.hour.start()).as_hours();
        let level = if age >= 12 {
            12
        } else if age >= 6 {
            6
        } else {
            0
        };
        (!self.is_settled() && level > self.warned).then_some(level)
    }

    /// What to do about it, for people: the likely cause of Microsoft's refusal.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self.said.as_ref()?.status.as_str() {
            "ResourceNotAuthorized" => {
                "The offer's technical configuration names another application (or tenant) than MARKETPLACE_CLIENT_ID. Compare both in Partner Center; it is tried again by itself."
            }
            "InvalidDimension" => {
                "This dimension is not enabled for the plan. Enable it in Partner Center and send again; dimensions added after publishing start as not enabled."
            }
            "ResourceNotFound" => {
                "Microsoft does not know the subscription, or it was never activated. Compare its id and its state in Partner Center."
            }
            "ResourceNotActive" => "Microsoft says that the subscription is not active. It is tried again by itself.",
            "Expired" => {
                "Microsoft finds the hour outside its 24 hours although it is not: compare this machine's clock."
            }
            "InvalidQuantity" | "BadArgument" => {
                "Microsoft finds the event malformed; its message says what. Mend and send again, or write it off."
            }
            _ => return None,
        })
    }
}
