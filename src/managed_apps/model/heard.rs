//! One thing that was heard of a managed application: a notification of Microsoft's, or what Azure Resource Manager
//! answered when it was asked.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::foundation::hex::hex;
use crate::foundation::ids::InvalidId;
use crate::metering::model::resource::Resource;

/// Clocks differ by less than this; a time further ahead is no time of an event.
pub const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Of the names in a plan; Azure's are shorter.
const LONGEST_NAME: usize = 200;

/// An application's address as a key of ours: the same as in metering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApplicationKey(String);

impl ApplicationKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ApplicationKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let tail = text.strip_prefix("uri-").ok_or(InvalidId("ApplicationKey"))?;
        let plain = tail.len() == 32 && tail.bytes().all(|b| b.is_ascii_hexdigit());
        if plain { Ok(Self(text.to_owned())) } else { Err(InvalidId("ApplicationKey")) }
    }
}

/// The plan of an offer (marketplace contract 6.2: `product` is the offer, `name` the plan).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    #[serde(default, deserialize_with = "text")]
    pub publisher: String,
    #[serde(default, deserialize_with = "text")]
    pub product: String,
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    #[serde(default, deserialize_with = "text")]
    pub version: String,
}

/// A short text; what is null or no text is none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().map(|text| text.chars().take(LONGEST_NAME).collect()).unwrap_or_default())
}

/// Why something failed, in Azure's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
    /// Code and message of each detail.
    #[serde(default)]
    pub details: Vec<(String, String)>,
}

/// A notification's `eventType` with its `provisioningState` (contract 6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    PutAccepted,
    PutSucceeded,
    PutFailed,
    PatchSucceeded,
    DeleteDeleting,
    DeleteDeleted,
    DeleteFailed,
    /// A combination that the contract does not name; kept, and without effect.
    Other(String),
}

impl Event {
    /// Microsoft's two words in any letter case.
    pub fn read(event_type: &str, state: &str) -> Self {
        match (event_type.to_ascii_uppercase().as_str(), state.to_ascii_lowercase().as_str()) {
            ("PUT", "accepted") => Self::PutAccepted,
            ("PUT", "succeeded") => Self::PutSucceeded,
            ("PUT", "failed") => Self::PutFailed,
            ("PATCH", "succeeded") => Self::PatchSucceeded,
            ("DELETE", "deleting") => Self::DeleteDeleting,
            ("DELETE", "deleted") => Self::DeleteDeleted,
            ("DELETE", "failed") => Self::DeleteFailed,
            _ => Self::Other(format!("{event_type} {state}").chars().take(80).collect()),
        }
    }

    /// As people know it.
    pub fn name(&self) -> &str {
        match self {
            Self::PutAccepted => "PUT Accepted",
            Self::PutSucceeded => "PUT Succeeded",
            Self::PutFailed => "PUT Failed",
            Self::PatchSucceeded => "PATCH Succeeded",
            Self::DeleteDeleting => "DELETE Deleting",
            Self::DeleteDeleted => "DELETE Deleted",
            Self::DeleteFailed => "DELETE Failed",
            Self::Other(name) => name,
        }
    }

    /// Which of two at the same moment comes first.
    fn rank(&self) -> u8 {
        match self {
            Self::Other(_) => 0,
            Self::PutAccepted => 1,
            Self::PatchSucceeded => 2,
            Self::PutSucceeded => 3,
            Self::PutFailed => 4,
            Self::DeleteDeleting => 5,
            Self::DeleteFailed => 6,
            Self::DeleteDeleted => 7,
        }
    }
}

/// What Azure Resource Manager says of the application's resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// `provisioningState` as it came.
    Found {
        state: String,
    },
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Notification(Event),
    Reading(Reading),
}

/// A row of what was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The application's address in Azure, in lower case.
    pub application: String,
    /// The same as it came, for people.
    pub shown: String,
    pub what: What,
    /// When it happened, as the sender says; of a reading: when we asked.
    pub at: Timestamp,
    pub received: Timestamp,
    pub usage_id: Option<Uuid>,
    pub plan: Option<Plan>,
    /// The definition in a service catalog, which has no plan.
    pub definition: Option<String>,
    pub error: Option<Failure>,
    /// The notification as it came, as far as it fits.
    #[serde(default)]
    pub body: String,
}

impl Heard {
    /// Where it stands in the order of things. A time that lies ahead of ours counts as the time at which it came.
    pub fn when(&self) -> Timestamp {
        if self.at > self.received + SKEW { self.received } else { self.at }
    }

    /// What it is called: the notification's words, or the state that Azure told.
    pub fn name(&self) -> &str {
        match &self.what {
            What::Notification(event) => event.name(),
            What::Reading(Reading::Found { state }) => state,
            What::Reading(Reading::Gone) => "",
        }
    }

    /// Sent by a button of ours, to try the address: it is about an application that can not exist.
    pub fn is_test(&self) -> bool {
        self.application.starts_with("/subscriptions/00000000-0000-0000-0000-000000000000/")
    }

    /// Under which it is stored.
    pub fn application_key(&self) -> ApplicationKey {
        ApplicationKey(Resource::Uri(self.application.clone()).key())
    }

    pub(super) fn order(&self) -> (Timestamp, u8, Timestamp) {
        let rank = match &self.what {
            What::Notification(event) => event.rank(),
            What::Reading(_) => 8,
        };
        (self.when(), rank, self.at)
    }

    /// The same thing heard twice has the same key: Microsoft's deliveries carry no id (contract 6.4).
    pub fn key(&self) -> String {
        let what = match &self.what {
            What::Notification(event) => event.name(),
            What::Reading(_) => "reading",
        };
        let name = hex(&Sha256::digest(format!("{what}\n{}", self.at))[..8]);
        format!("heard:{:016}:{name}", self.at.as_microsecond().clamp(0, 9_999_999_999_999_999))
    }
}
