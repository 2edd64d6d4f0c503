//! A request for erasure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::foundation::ids::{ObjectId, PrivacyId, SubscriptionId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Somebody is at it, or will be.
    Open,
    /// These subscriptions still live.
    Waiting {
        subscriptions: Vec<SubscriptionId>,
    },
    Done {
        at: Timestamp,
    },
}

/// The row of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: PrivacyId,
    /// None when it is done: then nobody knows any more whose it was.
    pub email: Option<String>,
    /// What the pseudonym is made of.
    pub token: String,
    pub requested: Timestamp,
    /// Who of the publisher's people entered it.
    pub by: ObjectId,
    #[serde(flatten)]
    pub state: State,
    /// In how many leads and arrivals, and in how many other rows, the person was.
    pub leads: usize,
    pub rows: usize,
}
