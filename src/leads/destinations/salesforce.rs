//! Salesforce: the object `Lead` by its REST API. An external id field holds our id of the lead, so that one request
//! makes the record or updates it.

use async_trait::async_trait;
use http::StatusCode;
use serde_json::{Map, Value};

use super::answer::{Answer, fields_named, later};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, fit};
use super::tokens::Tokens;
use super::{DeliveryError, Destination, Receipt};
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "Salesforce";
const VERSION: &str = "v62.0";
const EXTERNAL_ID: &str = "MediaGenie_Lead_Id__c";
const DEFAULT: &[(&str, &str)] = &[
    ("FirstName", "{first_name}"),
    ("LastName", "{last_name}"),
    ("Company", "{company}"),
    ("Email", "{email}"),
    ("Phone", "{phone}"),
    ("Title", "{title}"),
    ("Country", "{country}"),
    ("LeadSource", "{source}"),
    ("Description", "{offer_title}: {action}\n{description}"),
    ("HasOptedOutOfEmail", "{do_not_contact}"),
    ("DoNotCall", "{do_not_contact}"),
];
const LIMITS: &[(&str, usize)] = &[
    ("FirstName", 40),
    ("LastName", 80),
    ("Company", 255),
    ("Email", 80),
    ("Phone", 40),
    ("Title", 128),
    ("Country", 80),
    ("LeadSource", 255),
    ("Description", 32_000),
];
/// A lead there must have both, and Microsoft promises neither.
const REQUIRED: [&str; 2] = ["LastName", "Company"];
const INCOMPLETE: &str = "REQUIRED_FIELD_MISSING";
/// Refusals that are none: the day's limit, a record that somebody works on, and two requests at once that both found none.
const PASSES: [&str; 3] = ["REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE"];
const REMEDY: &str = "let the run-as user of the connected app use the API, create and edit leads, and edit all fields of the mapping and the external id";

#[derive(Debug)]
pub(super) struct Salesforce {
    /// My Domain.
    url: String,
    external_id: String,
    tokens: Tokens,
    mapping: Mapping,
}

impl Salesforce {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let url = entry.address("url", None);
        let client_id = entry.text("client_id", "the connected app's consumer key");
        let external_id = entry.optional("external_id").unwrap_or_else(|| EXTERNAL_ID.to_owned());
        let external_id = entry.word("external_id", external_id);
        let token = format!("{url}/services/oauth2/token");
        let tokens = Tokens::new(tools.caller(SYSTEM), token, client_id, entry.key(), None);
        let mapping = entry.mapping(DEFAULT);
        let twice = mapping.names().find(|name| *name == external_id || *name == "Id").map(str::to_owned);
        if let Some(name) = twice {
            entry.wrong(&format!("mapping.{name}"), "Salesforce takes the record's id from the address only");
        }
        Self { url, external_id, tokens, mapping }
    }
}

/// Errors are a list; the first one's code.
fn code(answer: &Answer) -> Option<&str> {
    answer.body[0]["errorCode"].as_str()
}

fn stand_in(record: &mut Map<String, Value>) {
    for name in REQUIRED {
        record.entry(name).or_insert_with(|| "unknown".into());
    }
}

impl Salesforce {
    async fn upsert(&self, lead: &Lead, record: &mut Map<String, Value>) -> Result<Answer, DeliveryError> {
        fit(record, LIMITS, "Email");
        let record = &*record;
        let address = format!("{}/services/data/{VERSION}/sobjects/Lead/{}/{}", self.url, self.external_id, lead.id);
        let request = |http: &reqwest::Client| {
            http.patch(&address)
                .header(http::header::ACCEPT, "application/json")
                // A rule that only warns shall not keep leads out; one that forbids still does.
                .header("Sforce-Duplicate-Rule-Header", "allowSave=true")
                .json(record)
        };
        let limited = |answer: &Answer| code(answer).is_some_and(|code| PASSES.contains(&code));
        let stale = |answer: &Answer| {
            answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN && !limited(answer)
        };
        self.tokens.call(request, stale).await
    }
}

#[async_trait]
impl Destination for Salesforce {
    async fn deliver(&self, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let mut record = self.mapping.record(lead);
        // What it has there is not replaced by a word that says nothing.
        if before.is_none() {
            stand_in(&mut record);
        }
        let mut answer = self.upsert(lead, &mut record).await?;
        if before.is_some() && code(&answer) == Some(INCOMPLETE) {
            // Deleted there: it is made anew.
            stand_in(&mut record);
            answer = self.upsert(lead, &mut record).await?;
        }
        if answer.status.is_success() {
            // Older versions answer an update without a body.
            let id = answer.body["id"].as_str().map(str::to_owned).or_else(|| before.map(|before| before.id.clone()));
            let link = id.as_ref().map(|id| format!("{}/lightning/r/Lead/{id}/view", self.url));
            return Ok(Receipt { id: id.unwrap_or_default(), link });
        }
        if let Some(code) = code(&answer).filter(|code| PASSES.contains(code)) {
            return Err(later(format!("{SYSTEM} answered {} ({code})", answer.status.as_u16())));
        }
        // Neither the mapping nor a right is what is missing here.
        let special = match code(&answer) {
            Some("DUPLICATES_DETECTED") => {
                Some("a duplicate rule forbids it; let the rule warn instead, or exclude the run-as user")
            }
            Some("CANNOT_UPDATE_CONVERTED_LEAD") => {
                Some("the lead was converted there and can not be changed any more")
            }
            _ => None,
        };
        if let (Some(help), Some(code)) = (special, code(&answer)) {
            return Err(DeliveryError::Refused {
                said: format!("{SYSTEM} answered {} ({code}); {help}", answer.status.as_u16()),
            });
        }
        let mut fields = fields_named(&answer, &self.mapping);
        if answer.status == StatusCode::NOT_FOUND && answer.body.to_string().contains(&self.external_id) {
            fields.push(self.external_id.clone());
        }
        Err(self.tokens.caller.verdict(&answer, code(&answer), &fields, REMEDY))
    }
}
