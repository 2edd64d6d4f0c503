//! HubSpot: contacts, one for each e-mail address.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{CrmRecord, System, Wrong, is_address, object, refused, speaks_json};
use crate::simulator::http::{Reply, Request, json_reply};
use crate::simulator::{Simulator, lock};

pub const TOKEN: &str = "pat-simulated-hubspot-token";

const PROPERTIES: &[&str] = &[
    "email",
    "firstname",
    "lastname",
    "phone",
    "company",
    "jobtitle",
    "country",
    "message",
    "hs_lead_status",
    "website",
];

/// The properties of a request, or why it is refused.
fn properties(request: &Request) -> Result<Map<String, Value>, Reply> {
    let refuse = |status, (code, message): Wrong| Err(refused(System::HubSpot, status, code, &message));
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return refuse(401, ("INVALID_AUTHENTICATION", "Authentication credentials not found.".to_owned()));
    }
    let invalid = |message: String| refuse(400, ("VALIDATION_ERROR", message));
    let body = object(request).filter(|body| speaks_json(request) && body.keys().eq(["properties"]));
    let Some(Some(Value::Object(properties))) = body.map(|mut body| body.remove("properties")) else {
        return invalid("Invalid input JSON".to_owned());
    };
    for (name, value) in &properties {
        if !PROPERTIES.contains(&name.as_str()) {
            return invalid(format!("Property values were not valid: Property \"{name}\" does not exist"));
        }
        match value.as_str() {
            Some(text) if name == "email" && !is_address(text) => {
                return invalid(format!("Email address {text} is invalid"));
            }
            Some(_) => {}
            None => return invalid(format!("{name} is no text: {value}")),
        }
    }
    Ok(properties)
}

fn view(record: &CrmRecord) -> Value {
    json!({ "id": record.id, "properties": record.fields, "archived": false })
}

fn email(fields: &Map<String, Value>) -> String {
    fields.get("email").and_then(Value::as_str).unwrap_or_default().to_lowercase()
}

fn taken(id: &str) -> Reply {
    refused(System::HubSpot, 409, "CONFLICT", &format!("Contact already exists. Existing ID: {id}"))
}

pub fn create(simulator: &Simulator, request: &Request) -> Reply {
    let properties = match properties(request) {
        Ok(properties) => properties,
        Err(refusal) => return refusal,
    };
    let key = email(&properties);
    let mut books = lock(&simulator.0.crm);
    if let Some(known) = books.find(System::HubSpot, |record| !key.is_empty() && record.key == key) {
        return taken(&known.id);
    }
    let id = (1000 + books.records.len()).to_string();
    books.add(System::HubSpot, id, key, properties);
    json_reply(201, &books.records.last().map(view).unwrap_or_default())
}

pub fn update(simulator: &Simulator, request: &Request) -> Reply {
    let properties = match properties(request) {
        Ok(properties) => properties,
        Err(refusal) => return refusal,
    };
    let named = percent_decode_str(request.param("id")).decode_utf8_lossy().to_lowercase();
    let by_email = match request.query("idProperty") {
        Some("email") => true,
        None => false,
        Some(_) => return refused(System::HubSpot, 400, "VALIDATION_ERROR", "no such idProperty"),
    };
    let mut books = lock(&simulator.0.crm);
    let is = |record: &CrmRecord| if by_email { record.key == named } else { record.id == named };
    let Some(id) = books.find(System::HubSpot, is).map(|record| record.id.clone()) else {
        return refused(System::HubSpot, 404, "OBJECT_NOT_FOUND", "resource not found");
    };
    let key = email(&properties);
    if let Some(other) = books.find(System::HubSpot, |record| !key.is_empty() && record.key == key && record.id != id) {
        return taken(&other.id);
    }
    let Some(record) = books.find(System::HubSpot, |record| record.id == id) else {
        return refused(System::HubSpot, 404, "OBJECT_NOT_FOUND", "resource not found");
    };
    record.change(properties);
    if !key.is_empty() {
        record.key = key;
    }
    json_reply(200, &view(record))
}
