//! HubSpot: contacts by the CRM API v3, with a private app's token. A contact is known by its id there once we have it,
//! else by its e-mail address; one without an address is made anew.

use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Caller, fields_named};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, fit};
use super::{DO_NOT_CONTACT, DeliveryError, Destination, Receipt};
use crate::foundation::secret::Secret;
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "HubSpot";
const API: &str = "https://api.hubapi.com";
const MESSAGE: &str = "message";
const DEFAULT: &[(&str, &str)] = &[
    ("email", "{email}"),
    ("firstname", "{first_name}"),
    ("lastname", "{last_name}"),
    ("phone", "{phone}"),
    ("company", "{company}"),
    ("jobtitle", "{title}"),
    ("country", "{country}"),
    (MESSAGE, "{offer_title}: {action}\n{description}"),
];
/// Of a property of the kind text; an address has less.
const MOST: usize = 65_536;
const MOST_ADDRESS: usize = 254;
/// How long a day's limit is waited for where nothing says more.
const HOUR: Duration = Duration::from_secs(60 * 60);
const REMEDY: &str = "check the private app's token in LEAD_KEYS and its scopes crm.objects.contacts.read and .write";
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'@').remove(b'.').remove(b'-').remove(b'_');

#[derive(Debug)]
pub(super) struct HubSpot {
    url: String,
    key: Secret,
    /// The account's id, for links.
    portal: Option<String>,
    caller: Caller,
    mapping: Mapping,
}

impl HubSpot {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let portal = entry.optional("portal").map(|portal| entry.word("portal", portal));
        Self {
            url: entry.address("url", Some(API)),
            key: entry.key(),
            portal,
            caller: tools.caller(SYSTEM),
            mapping: entry.mapping(DEFAULT),
        }
    }

    async fn send(&self, method: Method, path: &str, properties: &Map<String, Value>) -> Result<Answer, DeliveryError> {
        let request = self.caller.http.request(method, format!("{}/crm/v3/objects/contacts{path}", self.url));
        let request = request
            .bearer_auth(self.key.expose())
            .header(http::header::ACCEPT, "application/json")
            .json(&json!({ "properties": properties }));
        self.caller.send(request).await
    }

    fn outcome(&self, answer: &Answer) -> Result<Receipt, DeliveryError> {
        if answer.status.is_success() {
            let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
            let link = self.portal.as_ref().filter(|_| !id.is_empty());
            let link = link.map(|portal| format!("https://app.hubspot.com/contacts/{portal}/contact/{id}"));
            return Ok(Receipt { id, link });
        }
        let code = answer.body["category"].as_str().or_else(|| answer.body["errorType"].as_str());
        let mut error = self.caller.verdict(answer, code, &fields_named(answer, &self.mapping), REMEDY);
        if let DeliveryError::Later { after: after @ None, .. } = &mut error
            && answer.body["policyName"] == "DAILY"
        {
            *after = Some(HOUR);
        }
        Err(error)
    }
}

/// Properties are texts.
fn properties(mut record: Map<String, Value>) -> Map<String, Value> {
    for value in record.values_mut() {
        if !value.is_string() {
            *value = value.to_string().into();
        }
    }
    let limits: Vec<(String, usize)> =
        record.keys().map(|name| (name.clone(), if name == "email" { MOST_ADDRESS } else { MOST })).collect();
    let limits: Vec<(&str, usize)> = limits.iter().map(|(name, most)| (name.as_str(), *most)).collect();
    fit(&mut record, &limits, "email");
    record
}

#[async_trait]
impl Destination for HubSpot {
    async fn deliver(&self, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let mut record = self.mapping.record(lead);
        // Contacts have no field of their own that we may write for it.
        if lead.do_not_contact && self.mapping.names().any(|name| name == MESSAGE) {
            let said = record.get(MESSAGE).and_then(Value::as_str).unwrap_or_default();
            record.insert(MESSAGE.to_owned(), format!("{DO_NOT_CONTACT}\n{said}").trim().into());
        }
        let properties = properties(record);
        if let Some(before) = before.filter(|before| !before.id.is_empty()) {
            let path = format!("/{}", utf8_percent_encode(&before.id, SEGMENT));
            let answer = self.send(Method::PATCH, &path, &properties).await?;
            // Deleted there, or merged with another one that has the address.
            if !matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
                return self.outcome(&answer);
            }
        }
        let answer = self.send(Method::POST, "", &properties).await?;
        let email = properties.get("email").and_then(Value::as_str);
        let (StatusCode::CONFLICT, Some(email)) = (answer.status, email) else { return self.outcome(&answer) };
        let path = format!("/{}?idProperty=email", utf8_percent_encode(email, SEGMENT));
        self.outcome(&self.send(Method::PATCH, &path, &properties).await?)
    }
}
