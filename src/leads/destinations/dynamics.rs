//! Dynamics 365 Sales: the table `lead` of a Dataverse, by its Web API 9.2. Our id of the lead is the row's key, so that
//! one request makes the row or updates it.

use async_trait::async_trait;
use http::StatusCode;
use uuid::Uuid;

use super::answer::{Answer, fields_named, later};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::{Mapping, fit};
use super::tokens::Tokens;
use super::{DeliveryError, Destination, Receipt};
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "Dynamics 365";
const DEFAULT: &[(&str, &str)] = &[
    ("subject", "{offer_title}: {action}"),
    ("firstname", "{first_name}"),
    ("lastname", "{last_name}"),
    ("emailaddress1", "{email}"),
    ("telephone1", "{phone}"),
    ("companyname", "{company}"),
    ("jobtitle", "{title}"),
    ("address1_country", "{country}"),
    ("description", "{description}"),
    ("donotemail", "{do_not_contact}"),
    ("donotphone", "{do_not_contact}"),
    ("donotbulkemail", "{do_not_contact}"),
];
/// As the table comes; a longer text is refused there.
const LIMITS: &[(&str, usize)] = &[
    ("subject", 300),
    ("firstname", 50),
    ("lastname", 50),
    ("emailaddress1", 100),
    ("telephone1", 50),
    ("companyname", 100),
    ("jobtitle", 100),
    ("address1_country", 80),
    ("description", 2000),
];
/// Two requests at once both found no row; the next one finds it.
const MADE_MEANWHILE: &str = "0x80040237";
const REMEDY: &str = "give the application user of client_id a security role that may create and write leads";

#[derive(Debug)]
pub(super) struct Dynamics {
    /// Of the organisation.
    url: String,
    tokens: Tokens,
    mapping: Mapping,
}

impl Dynamics {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let url = entry.address("url", None);
        let tenant = entry.text("tenant", "the id of the tenant that the organisation belongs to");
        let tenant = entry.word("tenant", tenant);
        let client_id = entry.text("client_id", "the id of the app registration");
        let authority = entry.address("authority", Some(&tools.authority));
        let tokens = Tokens::new(
            tools.caller(SYSTEM),
            format!("{authority}/{tenant}/oauth2/v2.0/token"),
            client_id,
            entry.key(),
            Some(format!("{url}/.default")),
        );
        Self { url, tokens, mapping: entry.mapping(DEFAULT) }
    }
}

/// Our ids are UUIDs behind a mark. They begin with the time, which Dataverse likes best in keys.
fn key(lead: &Lead) -> Result<Uuid, DeliveryError> {
    let tail = lead.id.as_str().rsplit('_').next().unwrap_or_default();
    Uuid::try_parse(tail).map_err(|_| DeliveryError::Refused { said: "the lead's id is none of ours".to_owned() })
}

#[async_trait]
impl Destination for Dynamics {
    async fn deliver(&self, lead: &Lead, _before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let key = key(lead)?;
        let mut record = self.mapping.record(lead);
        record.entry("subject").or_insert_with(|| "Lead from the marketplace".into());
        fit(&mut record, LIMITS, "emailaddress1");
        let address = format!("{}/api/data/v9.2/leads({key})", self.url);
        let request = |http: &reqwest::Client| {
            http.patch(&address)
                .header(http::header::ACCEPT, "application/json")
                .header("OData-MaxVersion", "4.0")
                .header("OData-Version", "4.0")
                .json(&record)
        };
        // A role that was given a moment ago counts for new tokens only.
        let stale = |answer: &Answer| matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let answer = self.tokens.call(request, stale).await?;
        if !answer.status.is_success() {
            let code = answer.body["error"]["code"].as_str();
            if code == Some(MADE_MEANWHILE) {
                return Err(later(format!("{SYSTEM} answered {} ({MADE_MEANWHILE})", answer.status.as_u16())));
            }
            return Err(self.tokens.caller.verdict(&answer, code, &fields_named(&answer, &self.mapping), REMEDY));
        }
        let link = format!("{}/main.aspx?pagetype=entityrecord&etn=lead&id={key}", self.url);
        Ok(Receipt { id: key.to_string(), link: Some(link) })
    }
}
