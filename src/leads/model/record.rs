//! The row of a lead: what it is, what people decided about it, and its history.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::arrival::Arrival;
use super::lead::{Lead, Status};
use super::person::fill;
use super::wire::Reading;
use crate::foundation::hex::hex;
use crate::foundation::ids::{LeadId, TenantId};

/// Arrivals of the same person, offer and action within so long after the last one are one lead.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);
pub const LONGEST_NOTE: usize = 4_000;
const DO_NOT_CONTACT: &str = "DNC";

/// Somebody of the publisher's people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The object id in Entra.
    pub id: String,
    pub name: String,
}

/// The company that a person said it is; `tenant: None`: none of the customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Company {
    pub tenant: Option<TenantId>,
    pub by: Actor,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub lead: Lead,
    /// The arrival that it began with, and when that came; `lead.first` may be earlier, where a later one came before.
    pub origin: LeadId,
    pub began: Timestamp,
    /// Counts the writes of this row, also those that no destination is told of: the list knows by it what is newer.
    pub version: u64,
    pub duplicate_of: Option<LeadId>,
    pub company: Option<Company>,
    /// When the person was taken out of it.
    #[serde(default)]
    pub erased: Option<Timestamp>,
}

/// What a line of the list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Real,
    Test,
    DoNotContact,
    Duplicate,
    /// An arrival that can not be read as a lead.
    Quarantined,
}

impl Record {
    pub fn new(id: LeadId, arrival: &Arrival, reading: &Reading, offer: String) -> Self {
        let title = if arrival.offer_title.is_empty() { &reading.offer_title } else { &arrival.offer_title };
        let lead = Lead {
            id,
            person: reading.person.clone(),
            offer,
            offer_title: title.clone(),
            source: reading.source.clone(),
            action: reading.action.clone(),
            description: reading.description.clone(),
            first: arrival.received,
            last: arrival.received,
            arrivals: 1,
            do_not_contact: is_do_not_contact(&reading.action),
            test: reading.person.is_test(),
            status: Status::New,
            owner: None,
            revision: 1,
        };
        let (origin, began) = (arrival.id.clone(), arrival.received);
        Self { lead, origin, began, version: 1, duplicate_of: None, company: None, erased: None }
    }

    /// Counts another arrival. `true`: a destination would show something else now.
    pub fn merge(&mut self, arrival: &Arrival, reading: &Reading) -> bool {
        let lead = &mut self.lead;
        let mut changed = lead.person.fill(&reading.person);
        changed |= fill(&mut lead.offer_title, &reading.offer_title);
        changed |= fill(&mut lead.source, &reading.source);
        changed |= fill(&mut lead.description, &reading.description);
        lead.first = lead.first.min(arrival.received);
        lead.last = lead.last.max(arrival.received);
        lead.arrivals = lead.arrivals.saturating_add(1);
        if changed {
            lead.revision += 1;
        }
        changed
    }

    pub fn kind(&self) -> Kind {
        if self.lead.test {
            Kind::Test
        } else if self.duplicate_of.is_some() {
            Kind::Duplicate
        } else if is_do_not_contact(&self.lead.action) {
            Kind::DoNotContact
        } else {
            Kind::Real
        }
    }

    /// Whether destinations are told of it at all.
    pub fn is_forwarded(&self) -> bool {
        self.kind() == Kind::Real && self.erased.is_none()
    }
}

/// An action by which Microsoft only informs: the person asked for nothing and must not be mailed (contract 7.4).
pub fn is_do_not_contact(action: &str) -> bool {
    action.eq_ignore_ascii_case(DO_NOT_CONTACT)
}

/// What a lead is about, as a part of a key: the offer, or else its title.
pub fn about(offer: &str, title: &str) -> String {
    if offer.is_empty() { format!("title\n{}", title.trim().to_lowercase()) } else { offer.to_owned() }
}

/// What all leads of a person about an offer have in common, and nobody can read the person from.
pub fn acquaintance(identity: &str, offer: &str) -> String {
    hex(&Sha256::digest(format!("{identity}\n\n{offer}")))
}

/// An action as a part of a key, whatever its letters.
pub fn action_key(action: &str) -> String {
    hex(&Sha256::digest(action.to_lowercase())[..8])
}

/// Whether an arrival still belongs to a lead whose last one came then. Arrivals may be taken in another order than they
/// came in.
pub fn is_within(last: Timestamp, received: Timestamp) -> bool {
    last.duration_since(received).abs() <= WINDOW
}

/// A line of a lead's history. `actor`: None is ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: Option<Actor>,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    Arrived {
        arrival: LeadId,
    },
    Merged {
        arrival: LeadId,
        changed: bool,
    },
    /// Microsoft said so of this person and offer.
    DoNotContact,
    Status {
        from: Status,
        to: Status,
    },
    Owner {
        owner: Option<String>,
    },
    Note {
        text: String,
    },
    DuplicateOf {
        lead: LeadId,
    },
    NoDuplicate,
    Company {
        tenant: Option<TenantId>,
    },
    Forwarded {
        destination: String,
        revision: u64,
    },
    NeedsAttention {
        destination: String,
    },
    GivenUp {
        destination: String,
    },
    Resend {
        destination: String,
    },
    /// The person asked for it, or the time was over.
    Erased,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leads::model::arrival::{Channel, Raw, State, table_id};
    use crate::leads::model::lead::Person;

    fn arrival(second: i64) -> Arrival {
        let at = Timestamp::from_second(second).unwrap();
        Arrival {
            id: table_id("p", &second.to_string()),
            channel: Channel::Https,
            offer: "media".into(),
            offer_title: String::new(),
            received: at,
            kept: at,
            state: State::Pending,
            lead: None,
            raw: Raw::of(b"{}"),
        }
    }

    fn reading(email: &str, action: &str) -> Reading {
        let person = Person { email: email.into(), ..Person::default() };
        Reading { person, action: action.into(), ..Reading::default() }
    }

    #[test]
    fn a_merge_counts_and_raises_the_revision_only_where_something_shows() {
        let first = reading("a@b.c", "INS");
        let mut record = Record::new(arrival(100).id, &arrival(100), &first, "media".into());
        assert!(!record.merge(&arrival(50), &first));
        let mut newer = first.clone();
        newer.person.phone = "1".into();
        assert!(record.merge(&arrival(200), &newer));
        let lead = record.lead;
        assert_eq!((lead.arrivals, lead.revision, lead.person.phone.as_str()), (3, 2, "1"));
        assert_eq!((lead.first.as_second(), lead.last.as_second()), (50, 200));
    }

    #[test]
    fn tests_duplicates_and_those_not_to_be_contacted_are_forwarded_to_nobody() {
        let of =
            |email: &str, action: &str| Record::new(arrival(1).id, &arrival(1), &reading(email, action), String::new());
        assert_eq!(of("msft_test_1@test.com", "INS").kind(), Kind::Test);
        assert_eq!(of("a@b.c", "dnc").kind(), Kind::DoNotContact);
        let mut twin = of("a@b.c", "INS");
        assert!(twin.is_forwarded());
        twin.duplicate_of = Some(arrival(2).id);
        assert!(!twin.is_forwarded());
    }

    #[test]
    fn the_window_is_a_day_in_both_directions() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(is_within(at(0), at(86_400)) && is_within(at(86_400), at(0)) && !is_within(at(0), at(86_401)));
    }

    #[test]
    fn an_entry_reads_back_flat() {
        let what = What::Status { from: Status::New, to: Status::Qualified };
        let entry = Entry { at: Timestamp::UNIX_EPOCH, actor: None, what };
        let text = serde_json::to_value(&entry).unwrap();
        assert_eq!((text["what"].as_str(), text["to"].as_str()), (Some("status"), Some("qualified")));
        assert_eq!(serde_json::from_value::<Entry>(text).unwrap(), entry);
    }
}
