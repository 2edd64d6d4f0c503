//! Simulated systems of sales, to which leads are forwarded: a Dataverse with the table `lead`, Salesforce, HubSpot, and
//! a workflow of Teams.
//!
//! This file owns the way in, the faults, and the books: which tokens were handed out and which records are held. What a
//! request must look like is in a file for each system. They are stricter than the real ones: whatever the documents do
//! not show is refused. Refusals repeat what was sent, as real ones may, so that a caller who passes them on is found out.

mod config;
mod dynamics;
mod hubspot;
mod salesforce;
mod teams;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::http::{Answer, Body, Reply, Request, json_reply, with_header};
use super::{Simulator, lock};

pub use config::CrmConfig;

/// Tokens live so long.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    Dynamics,
    Salesforce,
    HubSpot,
    Teams,
}

#[derive(Debug, Clone, Copy)]
pub enum Door {
    DynamicsToken,
    DynamicsRow,
    SalesforceToken,
    SalesforceRecord,
    HubSpotContacts,
    HubSpotContact,
    Workflow,
}

pub const ROUTES: &[(&str, Door)] = &[
    ("/crm/login/{tenant}/oauth2/v2.0/token", Door::DynamicsToken),
    ("/crm/dynamics/api/data/v9.2/{row}", Door::DynamicsRow),
    ("/crm/salesforce/services/oauth2/token", Door::SalesforceToken),
    ("/crm/salesforce/services/data/v62.0/sobjects/Lead/{field}/{value}", Door::SalesforceRecord),
    ("/crm/hubspot/crm/v3/objects/contacts", Door::HubSpotContacts),
    ("/crm/hubspot/crm/v3/objects/contacts/{id}", Door::HubSpotContact),
    ("/crm/teams/workflows/leads/triggers/manual/paths/invoke", Door::Workflow),
];

impl Door {
    fn system(self) -> System {
        match self {
            Self::DynamicsToken | Self::DynamicsRow => System::Dynamics,
            Self::SalesforceToken | Self::SalesforceRecord => System::Salesforce,
            Self::HubSpotContacts | Self::HubSpotContact => System::HubSpot,
            Self::Workflow => System::Teams,
        }
    }

    fn method(self) -> Method {
        match self {
            Self::DynamicsRow | Self::SalesforceRecord | Self::HubSpotContact => Method::PATCH,
            _ => Method::POST,
        }
    }

    fn gives_tokens(self) -> bool {
        matches!(self, Self::DynamicsToken | Self::SalesforceToken)
    }

    fn label(self) -> &'static str {
        match self {
            Self::DynamicsToken => "crm.dynamics.token",
            Self::DynamicsRow => "crm.dynamics",
            Self::SalesforceToken => "crm.salesforce.token",
            Self::SalesforceRecord => "crm.salesforce",
            Self::HubSpotContacts => "crm.hubspot.create",
            Self::HubSpotContact => "crm.hubspot.update",
            Self::Workflow => "crm.teams",
        }
    }
}

/// What a system holds: a lead, a contact, a card.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrmRecord {
    pub system: System,
    /// Its id there.
    pub id: String,
    /// What the caller knows it by; empty where there is nothing.
    pub key: String,
    pub fields: Map<String, Value>,
    /// How often it was written.
    pub writes: u32,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    tokens: BTreeMap<String, (System, Timestamp)>,
    records: Vec<CrmRecord>,
}

impl Books {
    fn find(&mut self, system: System, is: impl Fn(&CrmRecord) -> bool) -> Option<&mut CrmRecord> {
        self.records.iter_mut().find(|record| record.system == system && is(record))
    }

    fn add(&mut self, system: System, id: String, key: String, fields: Map<String, Value>) {
        self.records.push(CrmRecord { system, id, key, fields, writes: 1 });
    }
}

impl CrmRecord {
    fn change(&mut self, fields: Map<String, Value>) {
        self.fields.extend(fields);
        self.writes += 1;
    }
}

impl Simulator {
    /// What the systems of sales hold, in order of arrival.
    pub fn crm_records(&self, system: System) -> Vec<CrmRecord> {
        lock(&self.0.crm).records.iter().filter(|record| record.system == system).cloned().collect()
    }

    pub(super) fn crm_view(&self) -> Value {
        json!({ "records": lock(&self.0.crm).records })
    }

    /// Everything there is deleted by somebody.
    pub fn crm_clear(&self) {
        lock(&self.0.crm).records.clear();
    }

    /// Tokens of these systems stop working.
    pub fn crm_revoke_tokens(&self) {
        lock(&self.0.crm).tokens.clear();
    }

    fn crm_token(&self, system: System) -> String {
        let token = format!("crm-{}", self.secret());
        let until = self.base_now() + TOKEN_LIFE;
        lock(&self.0.crm).tokens.insert(token.clone(), (system, until));
        token
    }

    fn crm_accepts(&self, system: System, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let books = lock(&self.0.crm);
        let known = token.and_then(|token| books.tokens.get(token));
        known.is_some_and(|(of, until)| *of == system && *until > self.base_now())
    }
}

pub fn answer(simulator: &Simulator, door: Door, request: &Request) -> Answer {
    if request.method != door.method() {
        return refused(door.system(), 405, "METHOD_NOT_ALLOWED", "This method is not allowed here.").map(Body::Whole);
    }
    simulator.count(door.label());
    if let Some(reply) = fault(simulator, door, request) {
        return reply.map(Body::Whole);
    }
    let reply = match door {
        Door::DynamicsToken => dynamics::token(simulator, request),
        Door::DynamicsRow => dynamics::upsert(simulator, request),
        Door::SalesforceToken => salesforce::token(simulator, request),
        Door::SalesforceRecord => salesforce::upsert(simulator, request),
        Door::HubSpotContacts => hubspot::create(simulator, request),
        Door::HubSpotContact => hubspot::update(simulator, request),
        Door::Workflow => teams::post(simulator, request),
    };
    if !door.gives_tokens() && simulator.faults().take(|switches| &mut switches.crm_cut_next) {
        return cut();
    }
    reply.map(Body::Whole)
}

/// It was done, and the answer breaks off.
fn cut() -> Answer {
    let pieces = [Ok(Bytes::from_static(b"{\"id\":")), Err(std::io::Error::other("cut, as was asked for"))];
    let mut answer = Response::new(Body::Stream(Box::pin(stream::iter(pieces))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn fault(simulator: &Simulator, door: Door, request: &Request) -> Option<Reply> {
    if door.gives_tokens() {
        let down = simulator.faults().get().token_endpoint_down;
        return down.then(|| json_reply(503, &json!({ "error": "temporarily_unavailable" })));
    }
    if !simulator.faults().take(|switches| &mut switches.crm_fail_next) {
        return None;
    }
    let switches = simulator.faults().get();
    let code = switches.crm_fail_code.as_deref().unwrap_or("ASKED_FOR");
    let echo = format!("A fault that was asked for: {}", String::from_utf8_lossy(&request.body));
    let reply = refused(door.system(), switches.crm_fail_status, code, &echo);
    let reply = match &switches.crm_retry_after {
        Some(wait) => with_header(reply, RETRY_AFTER, wait),
        None => reply,
    };
    Some(if (300..400).contains(&switches.crm_fail_status) {
        with_header(reply, LOCATION, &format!("{}/", simulator.base_url()))
    } else {
        reply
    })
}

/// A refusal in the system's shape.
fn refused(system: System, status: u16, code: &str, message: &str) -> Reply {
    let body = match system {
        System::Dynamics | System::Teams => json!({ "error": { "code": code, "message": message } }),
        System::Salesforce => json!([{ "errorCode": code, "message": message, "fields": [] }]),
        System::HubSpot => {
            json!({ "status": "error", "category": code, "message": message, "correlationId": "simulated", "policyName": code })
        }
    };
    json_reply(status, &body)
}

/// What is wrong with a field, in the system's words.
type Wrong = (&'static str, String);

/// Whether a request says what it sends and what it takes.
fn speaks_json(request: &Request) -> bool {
    let is = |name: &str| request.header(name).is_some_and(|kind| kind.starts_with("application/json"));
    is("content-type") && is("accept")
}

fn object(request: &Request) -> Option<Map<String, Value>> {
    match request.json() {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c))
    };
    matches!(text.split_once('@'), Some((name, host)) if plain(name) && plain(host) && host.contains('.') && !host.contains('@'))
}
