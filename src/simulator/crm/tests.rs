//! The simulated systems of sales refuse what the documents of the real ones do not show.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::foundation::clock::VirtualClock;
use crate::foundation::rng::SeededRandom;
use crate::simulator::{Delivery, SimulatorOptions};

const BASE: &str = "http://127.0.0.1:8090";

fn simulator() -> Simulator {
    Simulator::new(SimulatorOptions {
        clock: Arc::new(VirtualClock::at("2026-03-02T09:00:00Z".parse().unwrap())),
        random: Arc::new(SeededRandom::new(1)),
        base_url: BASE.to_owned(),
        product_url: "http://127.0.0.1:1".to_owned(),
        delivery: Delivery::Manual,
    })
}

struct Call {
    door: Door,
    params: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Call {
    /// Status, and the text of the answer.
    fn make(&self, simulator: &Simulator) -> (u16, String) {
        let named =
            |list: &[(&str, String)]| list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let query: HashMap<String, String> = form_urlencoded::parse(teams::QUERY.as_bytes()).into_owned().collect();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let (method, path) = (self.door.method(), String::new());
        let query = if self.door.system() == System::Teams { query } else { HashMap::new() };
        let request =
            Request { method, path, query, headers, body: self.body.clone().into(), params: named(&self.params) };
        let answer = answer(simulator, self.door, &request);
        let status = answer.status().as_u16();
        match answer.into_body() {
            Body::Whole(bytes) => (status, String::from_utf8(bytes.to_vec()).unwrap()),
            Body::Stream(_) => (status, String::new()),
        }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn param(mut self, name: &'static str, value: &str) -> Self {
        self.params = vec![(name, value.to_owned())];
        self
    }
}

/// A call that is as it should be, with a token.
fn good(simulator: &Simulator, system: System, body: Value) -> Call {
    let (door, params) = match system {
        System::Dynamics => {
            (Door::DynamicsRow, vec![("row", "leads(019cadc6-c190-7f12-83a4-1b9f4cd3fc39)".to_owned())])
        }
        System::Salesforce => (
            Door::SalesforceRecord,
            vec![("field", "MediaGenie_Lead_Id__c".to_owned()), ("value", "lead_1".to_owned())],
        ),
        System::HubSpot => (Door::HubSpotContacts, Vec::new()),
        System::Teams => (Door::Workflow, Vec::new()),
    };
    let token = if system == System::HubSpot { hubspot::TOKEN.to_owned() } else { simulator.crm_token(system) };
    let headers = vec![
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json".to_owned()),
        ("odata-version", "4.0".to_owned()),
        ("odata-maxversion", "4.0".to_owned()),
    ];
    Call { door, params, headers, body: body.to_string() }
}

fn bodies() -> Vec<(System, Value)> {
    let card = json!({"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "x"}]}]});
    vec![
        (System::Dynamics, json!({"subject": "x", "leadsourcecode": 8, "donotemail": true})),
        (System::Salesforce, json!({"LastName": "x", "Company": "y"})),
        (System::HubSpot, json!({"properties": {"email": "a@b.example"}})),
        (
            System::Teams,
            json!({"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]}),
        ),
    ]
}

#[test]
fn what_is_documented_is_taken_and_other_headers_and_tokens_are_not() {
    for (system, body) in bodies() {
        let simulator = simulator();
        let call = || good(&simulator, system, body.clone());
        assert!(call().header("content-type", "text/plain").make(&simulator).0 >= 400, "{system:?}");
        if system != System::Teams {
            assert_eq!(call().header("authorization", "Bearer other").make(&simulator).0, 401, "{system:?}");
            assert!(call().header("accept", "*/*").make(&simulator).0 >= 400, "{system:?}");
        }
        assert!(simulator.crm_records(system).is_empty(), "{system:?}");
        let (status, text) = call().make(&simulator);
        assert!((200..300).contains(&status), "{system:?}: {status} {text}");
        assert_eq!(simulator.crm_records(system).len(), 1, "{system:?}");
    }
}

#[test]
fn a_token_of_one_system_opens_no_other() {
    let simulator = simulator();
    let token = format!("Bearer {}", simulator.crm_token(System::Salesforce));
    let call = good(&simulator, System::Dynamics, json!({"subject": "x"})).header("authorization", &token);
    assert_eq!(call.make(&simulator).0, 401);
}

#[test]
fn values_that_do_not_fit_are_refused_in_the_systems_words() {
    let simulator = simulator();
    for (system, body, said) in [
        (System::Dynamics, json!({"firstname": "x"}), "0x80040203"),
        (System::Dynamics, json!({"subject": "x".repeat(301)}), "0x80044331"),
        (System::Dynamics, json!({"subject": "x", "colour": "red"}), "Invalid property 'colour'"),
        (System::Dynamics, json!({"subject": "x", "donotemail": "yes"}), "Cannot convert"),
        (System::Dynamics, json!({"subject": "x", "emailaddress1": "nobody"}), "Cannot convert"),
        (System::Dynamics, json!([]), "no object"),
        (System::Salesforce, json!({"LastName": "x"}), "REQUIRED_FIELD_MISSING"),
        (System::Salesforce, json!({"LastName": "x".repeat(81), "Company": "y"}), "STRING_TOO_LONG"),
        (System::Salesforce, json!({"LastName": "x", "Company": "y", "Colour__c": "red"}), "INVALID_FIELD"),
        (System::Salesforce, json!({"LastName": "x", "Company": "y", "Email": "a@b"}), "INVALID_EMAIL_ADDRESS"),
        (System::HubSpot, json!({"properties": {"email": "a b@c.example"}}), "VALIDATION_ERROR"),
        (System::HubSpot, json!({"properties": {"colour": "red"}}), "does not exist"),
        (System::HubSpot, json!({"properties": {"firstname": 1}}), "VALIDATION_ERROR"),
        (System::HubSpot, json!({"email": "a@b.example"}), "Invalid input JSON"),
        (System::Teams, json!({"text": "hello"}), "TriggerInputSchemaMismatch"),
        (
            System::Teams,
            json!({"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive",
            "content": {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "Marquee"}]}}]}),
            "unknown here",
        ),
        (System::Teams, json!({"type": "message", "attachments": ["x".repeat(30_000)]}), "RequestEntityTooLarge"),
    ] {
        let (status, text) = good(&simulator, system, body).make(&simulator);
        assert!((400..500).contains(&status) && text.contains(said), "{said}: {status} {text}");
    }
    let row = good(&simulator, System::Dynamics, json!({"subject": "x"})).param("row", "leads(1)");
    assert_eq!(row.make(&simulator).0, 404);
    let mut wrong = good(&simulator, System::Dynamics, json!({}));
    wrong.door = Door::DynamicsToken;
    assert_eq!(wrong.door.method(), Method::POST);
    assert_eq!(wrong.make(&simulator).0, 400);
}
