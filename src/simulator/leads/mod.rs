//! Leads as Microsoft sends them to an HTTPS endpoint (marketplace contract, section 7.1): the bodies that were seen in
//! the field, the test lead of Partner Center, and whatever a hostile test wants to send.
//!
//! It owns: what a lead says (`Lead`), sending it, and the page to do so by hand (`page`).

pub mod page;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Simulator;
use super::people::Person;
use super::sending;
use super::state::Turn;

/// So many sent leads are remembered for the page.
const REMEMBERED: usize = 100;

/// A lead before it is sent. The default is a person of Contoso who has got the offer in the marketplace.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    person: Map<String, Value>,
    facts: Map<String, Value>,
    details: &'static str,
    raw: Option<String>,
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

impl Default for Lead {
    fn default() -> Self {
        Self::of(&Person::contoso_buyer())
    }
}

impl Lead {
    pub fn of(person: &Person) -> Self {
        let (first, last) = person.name.split_once(' ').unwrap_or((&person.name, ""));
        Self {
            person: map(json!({
                "FirstName": first, "LastName": last, "Email": person.email, "Phone": "16175555555",
                "Country": "USA", "Company": person.organisation, "Title": "Esquire",
            })),
            facts: map(json!({
                "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": "MediaGenie", "Description": " ",
            })),
            details: "UserDetails",
            raw: None,
        }
    }

    /// What Partner Center sends on "Validate" and on every publishing (contract 7.3). The number is the moment in .NET's
    /// ticks.
    pub fn test(at: Timestamp) -> Self {
        const TICKS_TO_1970: i128 = 621_355_968_000_000_000;
        let mark = format!("MSFT_TEST_{}", at.as_nanosecond() / 100 + TICKS_TO_1970);
        Self {
            person: map(json!({
                "FirstName": mark, "LastName": mark, "Email": format!("{mark}@test.com"), "Phone": "1234567890",
                "Country": "US", "Company": mark, "Title": mark,
            })),
            facts: map(json!({
                "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": mark, "Description": mark,
            })),
            details: "userDetails",
            raw: None,
        }
    }

    /// Another value of any field, such as `Email` or `OfferTitle`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let facts = ["LeadSource", "ActionCode", "OfferTitle", "Description"];
        let part = if facts.contains(&field) { &mut self.facts } else { &mut self.person };
        part.insert(field.to_owned(), value.into());
        self
    }

    /// A field is missing; `UserDetails` leaves out the person.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        if field.eq_ignore_ascii_case("UserDetails") {
            self.person.clear();
        }
        self.person.remove(field);
        self.facts.remove(field);
        self
    }

    #[must_use]
    pub fn action(self, code: &str) -> Self {
        self.with("ActionCode", code)
    }

    /// The object of the person is spelled `userDetails`, as in the FAQ, or `UserDetails`, as in the schema.
    #[must_use]
    pub fn small_user_details(mut self, on: bool) -> Self {
        self.details = if on { "userDetails" } else { "UserDetails" };
        self
    }

    /// This text is sent instead of any lead.
    #[must_use]
    pub fn raw(body: impl Into<String>) -> Self {
        Self { raw: Some(body.into()), ..Self::default() }
    }

    /// What is sent.
    pub fn body(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut body = Map::new();
        if !self.person.is_empty() {
            body.insert(self.details.to_owned(), self.person.clone().into());
        }
        body.extend(self.facts.clone());
        Value::Object(body).to_string()
    }
}

/// What a lead address answered. Microsoft's own reading of it is not documented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadAnswer {
    /// Nothing when there was no answer; then `error` says why.
    pub status: Option<u16>,
    pub body: String,
    pub error: Option<String>,
}

/// A lead that was sent.
#[derive(Debug, Clone, Serialize)]
pub struct SentLead {
    /// Business time.
    pub at: Timestamp,
    pub address: String,
    pub body: String,
    pub answer: LeadAnswer,
}

/// The lead address, if it is known, and what was sent to it and to others.
#[derive(Default)]
pub struct Book {
    pub address: Option<String>,
    sent: Vec<SentLead>,
}

impl Book {
    /// What was sent last, the oldest first.
    pub fn sent(&self) -> &[SentLead] {
        &self.sent
    }
}

impl Turn<'_> {
    fn remember_lead(&mut self, sent: SentLead) {
        let book = &mut self.state.leads;
        book.sent.push(sent);
        let extra = book.sent.len().saturating_sub(REMEMBERED);
        book.sent.drain(..extra);
    }
}

impl Simulator {
    /// The address of "Customer leads" that the forms begin with.
    pub fn set_lead_address(&self, url: &str) {
        self.turn(|turn| turn.state.leads.address = Some(url.trim().to_owned()).filter(|url| !url.is_empty()));
    }

    /// Sends a lead once, as Microsoft does: no signature, no token, no second attempt.
    pub async fn send_lead(&self, address: &str, lead: &Lead) -> LeadAnswer {
        let body = lead.body();
        let answer = sending::post(self, address.trim(), body.clone()).await;
        let answer = LeadAnswer { status: answer.status, body: answer.body, error: answer.error };
        let address = address.trim().to_owned();
        self.turn(|turn| turn.remember_lead(SentLead { at: turn.now, address, body, answer: answer.clone() }));
        answer
    }

    /// The leads that were sent last, the oldest first.
    pub fn sent_leads(&self) -> Vec<SentLead> {
        self.turn(|turn| turn.state.leads.sent.clone())
    }
}
