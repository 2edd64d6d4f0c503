//! Salesforce: tokens of the client-credentials flow, and leads by an external id.

use serde_json::{Map, Value, json};

use super::{System, Wrong, is_address, object, refused, speaks_json};
use crate::simulator::http::{Reply, Request, json_reply};
use crate::simulator::{Simulator, lock};

pub const CLIENT_ID: &str = "3MVG9.simulated.consumer.key";
pub const SECRET: &str = "simulated-salesforce-secret";
const EXTERNAL_ID: &str = "MediaGenie_Lead_Id__c";

const TEXTS: &[(&str, usize)] = &[
    ("FirstName", 40),
    ("LastName", 80),
    ("Company", 255),
    ("Email", 80),
    ("Phone", 40),
    ("Title", 128),
    ("Country", 80),
    ("LeadSource", 255),
    ("Description", 32_000),
    ("Rating", 255),
];
const FLAGS: &[&str] = &["HasOptedOutOfEmail", "DoNotCall"];

pub fn token(simulator: &Simulator, request: &Request) -> Reply {
    let form = request.form();
    let is = |name: &str, value: &str| form.get(name).is_some_and(|found| found == value);
    let refuse = |code: &str| json_reply(400, &json!({ "error": code, "error_description": code }));
    if !is("grant_type", "client_credentials") {
        refuse("unsupported_grant_type")
    } else if !is("client_id", CLIENT_ID) {
        refuse("invalid_client_id")
    } else if !is("client_secret", SECRET) {
        refuse("invalid_client")
    } else {
        let address = format!("{}/crm/salesforce", simulator.base_url());
        // It does not say how long.
        json_reply(
            200,
            &json!({ "access_token": simulator.crm_token(System::Salesforce), "instance_url": address, "token_type": "Bearer",
                "issued_at": simulator.base_now().as_millisecond().to_string(), "signature": "simulated" }),
        )
    }
}

fn wrong(fields: &Map<String, Value>) -> Option<Wrong> {
    for (name, value) in fields {
        if FLAGS.contains(&name.as_str()) && value.is_boolean() {
            continue;
        }
        let Some((_, most)) = TEXTS.iter().find(|(known, _)| known == name) else {
            return Some(("INVALID_FIELD", format!("No such column '{name}' on sobject of type Lead")));
        };
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
            return Some(("JSON_PARSER_ERROR", format!("Cannot deserialize {value} of {name}")));
        };
        if text.encode_utf16().count() > *most {
            return Some(("STRING_TOO_LONG", format!("{name}: data value too large: {text} (max length={most})")));
        }
        if name == "Email" && !is_address(text) {
            return Some(("INVALID_EMAIL_ADDRESS", format!("Email: invalid email address: {text}")));
        }
    }
    None
}

pub fn upsert(simulator: &Simulator, request: &Request) -> Reply {
    let refuse = |status, code: &str, message: &str| refused(System::Salesforce, status, code, message);
    if !simulator.crm_accepts(System::Salesforce, request) {
        return refuse(401, "INVALID_SESSION_ID", "Session expired or invalid");
    }
    if !speaks_json(request) {
        return refuse(415, "UNSUPPORTED_MEDIA_TYPE", "The headers are not those of the REST API.");
    }
    if request.param("field") != EXTERNAL_ID {
        let message =
            format!("Provided external ID field does not exist or is not accessible: {}", request.param("field"));
        return refuse(404, "NOT_FOUND", &message);
    }
    let Some(fields) = object(request) else {
        return refuse(400, "JSON_PARSER_ERROR", "The body is no object.");
    };
    if let Some((code, message)) = wrong(&fields) {
        return refuse(400, code, &message);
    }
    let key = request.param("value").to_owned();
    let mut books = lock(&simulator.0.crm);
    let count = books.records.len();
    let (id, created) = match books.find(System::Salesforce, |record| record.key == key) {
        Some(record) => {
            record.change(fields);
            (record.id.clone(), false)
        }
        None => {
            let missing: Vec<&str> =
                ["LastName", "Company"].into_iter().filter(|name| !fields.contains_key(*name)).collect();
            if !missing.is_empty() {
                let said = format!("Required fields are missing: [{}]", missing.join(", "));
                return refuse(400, "REQUIRED_FIELD_MISSING", &said);
            }
            let id = format!("00Q{count:015}");
            books.add(System::Salesforce, id.clone(), key, fields);
            (id, true)
        }
    };
    let status = if created { 201 } else { 200 };
    json_reply(status, &json!({ "id": id, "success": true, "errors": [], "created": created }))
}
