//! One lead, as everybody here speaks of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::foundation::ids::LeadId;

/// Somebody who showed interest, as Microsoft describes them (marketplace contract 7.1). Any field may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub phone: String,
    pub country: String,
    pub company: String,
    /// The job title.
    pub title: String,
}

/// What people do with a lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    New,
    Contacted,
    Qualified,
    /// It became a customer.
    Converted,
    Disqualified,
}

/// A lead: one or more arrivals about the same person, offer and action within a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    pub id: LeadId,
    pub person: Person,
    /// The offer's id at Microsoft, as far as it is known.
    pub offer: String,
    pub offer_title: String,
    /// Such as `AzureMarketplace` (contract 7.4), as it came.
    pub source: String,
    /// Such as `INS` or `DNC` (contract 7.4), as it came.
    pub action: String,
    pub description: String,
    /// When the first and the last of its arrivals came.
    pub first: Timestamp,
    pub last: Timestamp,
    pub arrivals: u32,
    /// Microsoft says so for this person and offer: information only, never to be mailed.
    pub do_not_contact: bool,
    /// Sent by Partner Center to try the address (contract 7.3).
    pub test: bool,
    pub status: Status,
    /// Who of the publisher's people looks after it.
    pub owner: Option<String>,
    /// Counts what has changed of it and destinations can show, so not status and owner; a destination never gets an older
    /// state after a newer one.
    pub revision: u64,
}
