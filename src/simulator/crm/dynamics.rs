//! A Dataverse: tokens for its app, and rows of the table `lead` by their key.

use http::header::HeaderName;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{System, Wrong, is_address, object, refused, speaks_json};
use crate::simulator::http::{Reply, Request, empty, json_reply, with_header};
use crate::simulator::{Simulator, lock};

pub const TENANT: &str = "77777777-7777-4777-8777-777777777777";
pub const CLIENT_ID: &str = "88888888-8888-4888-8888-888888888888";
pub const SECRET: &str = "simulated-dynamics-secret";

/// Columns that take text, with the longest one.
const TEXTS: &[(&str, usize)] = &[
    ("subject", 300),
    ("firstname", 50),
    ("lastname", 50),
    ("emailaddress1", 100),
    ("telephone1", 50),
    ("companyname", 100),
    ("jobtitle", 100),
    ("address1_country", 80),
    ("description", 2000),
    ("mobilephone", 20),
];
const FLAGS: &[&str] = &["donotemail", "donotphone", "donotbulkemail"];
/// Options and whole numbers.
const NUMBERS: &[&str] = &["leadsourcecode", "leadqualitycode", "numberofemployees"];

pub fn token(simulator: &Simulator, request: &Request) -> Reply {
    let form = request.form();
    let is = |name: &str, value: &str| form.get(name).is_some_and(|found| found == value);
    let scope = format!("{}/crm/dynamics/.default", simulator.base_url());
    let refuse = |status, code: &str| {
        let said = format!("AADSTS: {code} ({:?})", form.get("client_secret"));
        json_reply(status, &json!({ "error": code, "error_description": said }))
    };
    if request.param("tenant") != TENANT || !is("grant_type", "client_credentials") {
        refuse(400, "invalid_request")
    } else if !is("client_id", CLIENT_ID) {
        refuse(400, "unauthorized_client")
    } else if !is("client_secret", SECRET) {
        refuse(401, "invalid_client")
    } else if !is("scope", &scope) {
        refuse(400, "invalid_scope")
    } else {
        let token = simulator.crm_token(System::Dynamics);
        json_reply(200, &json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": token }))
    }
}

fn wrong(fields: &Map<String, Value>) -> Option<Wrong> {
    for (name, value) in fields {
        let text = TEXTS.iter().find(|(known, _)| known == name);
        let fits = match text {
            Some((_, most)) => match value.as_str() {
                Some(text) if text.encode_utf16().count() > *most => {
                    return Some((
                        "0x80044331",
                        format!(
                            "A validation error occurred. The length of the '{name}' attribute of the 'lead' entity exceeded the maximum allowed length of '{most}': {text}"
                        ),
                    ));
                }
                Some(text) if name == "emailaddress1" => is_address(text),
                found => found.is_some_and(|text| !text.is_empty()),
            },
            None if FLAGS.contains(&name.as_str()) => value.is_boolean(),
            None if NUMBERS.contains(&name.as_str()) => value.is_i64(),
            None => {
                return Some((
                    "0x80048d19",
                    format!(
                        "Error identified in Payload provided by the user for Entity :'leads': Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM.lead'."
                    ),
                ));
            }
        };
        if !fits {
            return Some(("0x80048d19", format!("Cannot convert the value of '{name}': {value}")));
        }
    }
    None
}

pub fn upsert(simulator: &Simulator, request: &Request) -> Reply {
    let refuse = |status, code: &str, message: &str| refused(System::Dynamics, status, code, message);
    if !simulator.crm_accepts(System::Dynamics, request) {
        return refuse(401, "0x80040220", "The token is not valid.");
    }
    let version = |name: &str| request.header(name) == Some("4.0");
    if !speaks_json(request) || !version("odata-version") || !version("odata-maxversion") {
        return refuse(400, "0x80060888", "The headers are not those of the Web API.");
    }
    let row = request.param("row");
    let key =
        row.strip_prefix("leads(").and_then(|rest| rest.strip_suffix(')')).and_then(|key| Uuid::parse_str(key).ok());
    let Some(key) = key else {
        return refuse(404, "0x80060888", "Resource not found for the segment.");
    };
    let Some(fields) = object(request) else {
        return refuse(400, "0x80048d19", "The body is no object.");
    };
    if let Some((code, message)) = wrong(&fields) {
        return refuse(400, code, &message);
    }
    let id = key.to_string();
    let mut books = lock(&simulator.0.crm);
    match books.find(System::Dynamics, |record| record.id == id) {
        Some(record) => record.change(fields),
        None if !fields.contains_key("subject") => return refuse(400, "0x80040203", "subject is missing"),
        None => books.add(System::Dynamics, id.clone(), id, fields),
    }
    let address = format!("{}/crm/dynamics/api/data/v9.2/leads({key})", simulator.base_url());
    with_header(
        with_header(empty(204), HeaderName::from_static("odata-version"), "4.0"),
        HeaderName::from_static("odata-entityid"),
        &address,
    )
}
