//! The destinations of this installation: read from `LEAD_DESTINATIONS_FILE`, checked whole, and made.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Destination;
use super::answer::Caller;
use super::dynamics::Dynamics;
use super::email::Email;
use super::entry::Entry;
use super::hubspot::HubSpot;
use super::salesforce::Salesforce;
use super::teams::Teams;
use super::webhook::Webhook;
use crate::foundation::clock::Clock;
use crate::foundation::outbound::Fetcher;
use crate::foundation::secret::Secret;

/// The systems that leads can go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A signed call to an address of the publisher's own.
    Webhook,
    /// Dynamics 365, and every other Dataverse with the table `lead`.
    Dynamics,
    Salesforce,
    /// Its contacts.
    #[serde(rename = "hubspot")]
    HubSpot,
    Email,
    Teams,
}

const KINDS: &[(&str, Kind)] = &[
    ("webhook", Kind::Webhook),
    ("dynamics", Kind::Dynamics),
    ("salesforce", Kind::Salesforce),
    ("hubspot", Kind::HubSpot),
    ("email", Kind::Email),
    ("teams", Kind::Teams),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// One destination, ready to be called.
#[derive(Debug)]
pub struct Configured {
    /// Unique; letters, digits, `-` and `_`.
    pub name: String,
    pub kind: Kind,
    /// Whose leads it takes; empty: all.
    pub offers: Vec<String>,
    pub destination: Box<dyn Destination>,
}

/// All destinations, in the order of the file.
#[derive(Debug, Default)]
pub struct Destinations(pub Vec<Configured>);

/// What destinations are made with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Follows no redirects.
    pub http: reqwest::Client,
    /// Reaches public addresses only.
    pub fetcher: Arc<Fetcher>,
    pub clock: Arc<dyn Clock>,
    /// Where Entra's tokens come from unless a destination says otherwise.
    pub authority: String,
}

impl Tools {
    pub(super) fn caller(&self, system: &'static str) -> Caller {
        Caller { http: self.http.clone(), clock: Arc::clone(&self.clock), system }
    }
}

/// All that is wrong with the file, each with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n  "))]
pub struct DestinationsError(pub Vec<String>);

impl Destinations {
    pub fn parse(text: &str, keys: &[(String, Secret)], tools: &Tools) -> Result<Self, DestinationsError> {
        let whole = |error: String| DestinationsError(vec![error]);
        let mut file: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| whole(format!("it can not be read: {error}")))?;
        let Some(Value::Array(entries)) = file.remove("destinations") else {
            return Err(whole("destinations: expected a list".to_owned()));
        };
        let mut errors: Vec<String> = file.keys().map(|field| format!("{field}: is not known here")).collect();
        let (mut list, mut names) = (Vec::new(), BTreeSet::new());
        for (index, entry) in entries.into_iter().enumerate() {
            let place = format!("destinations[{index}]");
            let Value::Object(fields) = entry else {
                errors.push(format!("{place}: expected an object"));
                continue;
            };
            list.extend(configured(Entry::new(place, fields, keys, &mut errors), &mut names, tools));
        }
        if errors.is_empty() { Ok(Self(list)) } else { Err(DestinationsError(errors)) }
    }

    /// Those that take leads of an offer.
    pub fn taking<'a>(&'a self, offer: &str) -> impl Iterator<Item = &'a Configured> {
        self.0.iter().filter(move |one| one.offers.is_empty() || one.offers.iter().any(|known| known == offer))
    }

    pub fn find(&self, name: &str) -> Option<&Configured> {
        self.0.iter().find(|one| one.name == name)
    }
}

fn configured(mut entry: Entry<'_>, names: &mut BTreeSet<String>, tools: &Tools) -> Option<Configured> {
    let name = entry.text("name", "a name of its own");
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) && name.len() <= 40;
    if !plain {
        entry.wrong("name", "has other characters than letters, digits, `-` and `_`, or more than 40");
    } else if !name.is_empty() && !names.insert(name.clone()) {
        entry.wrong("name", format_args!("`{name}` is taken already"));
    }
    let word = entry.text("kind", "one of webhook, dynamics, salesforce, hubspot, email, teams");
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == word) else {
        if !word.is_empty() {
            let known: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            entry.wrong("kind", format_args!("`{word}` is not one of {}", known.join(", ")));
        }
        // Its other fields can not be judged.
        return None;
    };
    let offers = entry.list("offers");
    let destination: Box<dyn Destination> = match kind {
        Kind::Webhook => Box::new(Webhook::read(&mut entry, tools)),
        Kind::Dynamics => Box::new(Dynamics::read(&mut entry, tools)),
        Kind::Salesforce => Box::new(Salesforce::read(&mut entry, tools)),
        Kind::HubSpot => Box::new(HubSpot::read(&mut entry, tools)),
        Kind::Email => Box::new(Email::read(&mut entry, tools)),
        Kind::Teams => Box::new(Teams::read(&mut entry, tools)),
    };
    entry.finish();
    Some(Configured { name, kind: *kind, offers, destination })
}
