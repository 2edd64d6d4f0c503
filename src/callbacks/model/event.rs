//! What happened, and to whom it may be told.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::foundation::ids::{EndpointId, EventId, InvalidId, SubscriptionId};

/// So long are events and their deliveries kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The largest body, as Standard Webhooks advises.
pub const LARGEST: usize = 20 * 1000;
const PUBLISHER: &str = "publisher";

/// Whose endpoints are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Publisher,
    Subscription(SubscriptionId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher => f.write_str(PUBLISHER),
            Self::Subscription(id) => id.fmt(f),
        }
    }
}

impl FromStr for Owner {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == PUBLISHER { Ok(Self::Publisher) } else { text.parse().map(Self::Subscription) }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What kind of thing happened: the `type` of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "job.succeeded")]
    JobSucceeded,
    #[serde(rename = "job.partially_succeeded")]
    JobPartiallySucceeded,
    #[serde(rename = "job.failed")]
    JobFailed,
    #[serde(rename = "job.cancelled")]
    JobCancelled,
    #[serde(rename = "subscription.changed")]
    SubscriptionChanged,
    #[serde(rename = "usage.lost")]
    UsageLost,
    #[serde(rename = "lead.arrived")]
    LeadArrived,
    #[serde(rename = "managed_app.changed")]
    ManagedAppChanged,
    /// Sent by a button to one endpoint, which its subject names.
    #[serde(rename = "webhook.test")]
    Test,
}

impl EventKind {
    /// What an endpoint can choose among; a test is sent to whoever asks for it.
    const CHOICE: [Self; 8] = [
        Self::JobSucceeded,
        Self::JobPartiallySucceeded,
        Self::JobFailed,
        Self::JobCancelled,
        Self::SubscriptionChanged,
        Self::UsageLost,
        Self::LeadArrived,
        Self::ManagedAppChanged,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::JobSucceeded => "job.succeeded",
            Self::JobPartiallySucceeded => "job.partially_succeeded",
            Self::JobFailed => "job.failed",
            Self::JobCancelled => "job.cancelled",
            Self::SubscriptionChanged => "subscription.changed",
            Self::UsageLost => "usage.lost",
            Self::LeadArrived => "lead.arrived",
            Self::ManagedAppChanged => "managed_app.changed",
            Self::Test => "webhook.test",
        }
    }

    /// What an owner's endpoints may choose: customers hear of their jobs, the publisher of everything.
    pub fn choice(owner: &Owner) -> &'static [Self] {
        match owner {
            Owner::Publisher => &Self::CHOICE,
            Owner::Subscription(_) => &Self::CHOICE[..4],
        }
    }

    pub fn is_for(self, owner: &Owner) -> bool {
        self == Self::Test || Self::choice(owner).contains(&self)
    }
}

/// The row of an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub owner: Owner,
    pub kind: EventKind,
    pub subject: String,
    pub at: Timestamp,
    /// What is sent, to the byte: it is signed anew for each try.
    pub body: String,
    /// The endpoints that it is for; those that recovered it later stand here, too, so that their deliveries end with it.
    pub to: Vec<EndpointId>,
    /// Whether each of them has its delivery.
    pub fanned_out: bool,
    pub ends: Timestamp,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: EventKind,
    timestamp: Timestamp,
    data: &'a Value,
}

#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("an event of the kind {} is nothing for {owner}", kind.name())]
    NotTheirs { kind: EventKind, owner: Owner },
    #[error("a callback of {0} bytes is over the limit of {LARGEST}")]
    TooLarge(usize),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Event {
    pub fn new(
        owner: &Owner,
        kind: EventKind,
        subject: &str,
        at: Timestamp,
        data: &Value,
        now: Timestamp,
    ) -> Result<Self, EventError> {
        if !kind.is_for(owner) {
            return Err(EventError::NotTheirs { kind, owner: *owner });
        }
        // Not every receiver reads nine decimals.
        let timestamp = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let body = serde_json::to_string(&Body { r#type: kind, timestamp, data })?;
        if body.len() > LARGEST {
            return Err(EventError::TooLarge(body.len()));
        }
        Ok(Self {
            id: id(owner, kind, subject, at),
            owner: *owner,
            kind,
            subject: subject.to_owned(),
            at,
            body,
            to: Vec::new(),
            fanned_out: false,
            ends: now + KEPT,
        })
    }

    /// When it was written down.
    pub fn announced(&self) -> Timestamp {
        self.ends - KEPT
    }
}

/// The same event has the same id, whoever announces it and however often.
fn id(owner: &Owner, kind: EventKind, subject: &str, at: Timestamp) -> EventId {
    // Ids carry milliseconds; the finer part tells two changes within one apart.
    EventId::named(at, &format!("{owner}\n{}\n{subject}\n{at}", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_event_is_the_same_only_with_the_same_owner_kind_subject_and_time() {
        let customer = Owner::Subscription(SubscriptionId(uuid::Uuid::from_u128(7)));
        let one = id(&customer, EventKind::JobFailed, "job_1", at(1));
        assert_eq!(one, id(&customer, EventKind::JobFailed, "job_1", at(1)));
        let others = [
            id(&Owner::Publisher, EventKind::JobFailed, "job_1", at(1)),
            id(&customer, EventKind::JobSucceeded, "job_1", at(1)),
            id(&customer, EventKind::JobFailed, "job_2", at(1)),
            id(&customer, EventKind::JobFailed, "job_1", at(2)),
        ];
        assert!(others.iter().all(|other| *other != one));
        assert!(one < others[3], "ids sort by time");
    }

    #[test]
    fn a_body_has_type_timestamp_and_data_in_this_order() {
        let data = serde_json::json!({ "job": "job_1" });
        let event = Event::new(&Owner::Publisher, EventKind::UsageLost, "x", at(0), &data, at(0)).unwrap();
        assert_eq!(event.body, r#"{"type":"usage.lost","timestamp":"1970-01-01T00:00:00Z","data":{"job":"job_1"}}"#);
    }

    #[test]
    fn customers_hear_of_their_jobs_only_and_bodies_are_thin() {
        let customer = Owner::Subscription(SubscriptionId(uuid::Uuid::from_u128(7)));
        let new = |kind, data: &Value| Event::new(&customer, kind, "x", at(0), data, at(0));
        assert!(new(EventKind::JobCancelled, &Value::Null).is_ok() && new(EventKind::Test, &Value::Null).is_ok());
        for kind in [EventKind::SubscriptionChanged, EventKind::ManagedAppChanged, EventKind::LeadArrived] {
            assert!(matches!(new(kind, &Value::Null), Err(EventError::NotTheirs { .. })));
        }
        let large = Value::String("x".repeat(LARGEST));
        assert!(matches!(new(EventKind::JobFailed, &large), Err(EventError::TooLarge(_))));
    }

    #[test]
    fn kinds_and_owners_read_back() {
        for kind in EventKind::CHOICE.into_iter().chain([EventKind::Test]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        for owner in [Owner::Publisher, Owner::Subscription(SubscriptionId(uuid::Uuid::from_u128(7)))] {
            assert_eq!(owner.to_string().parse::<Owner>().unwrap(), owner);
        }
    }
}
