//! A lead, and destinations of every kind that lead to simulated counterparts.

use std::sync::Arc;

use jiff::Timestamp;
use mediagenie::foundation::clock::VirtualClock;
use mediagenie::foundation::ids::LeadId;
use mediagenie::foundation::outbound::{self, Fetcher};
use mediagenie::foundation::secret::Secret;
use mediagenie::leads::destinations::{DeliveryError, Destinations, Receipt, Tools};
use mediagenie::leads::model::lead::Status;
use mediagenie::leads::{Lead, Person};
use mediagenie::simulator::crm::System;
use mediagenie::simulator::{CrmRecord, Simulator};
use serde_json::{Value, json};

use super::app::{first_day, simulator};
use super::mail::{MailServer, PASSWORD, USER};
use super::receiver::Receiver;

pub const WEBHOOK_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
pub const CRMS: [&str; 4] = ["dynamics", "salesforce", "hubspot", "teams"];

pub struct World {
    pub clock: Arc<VirtualClock>,
    pub simulator: Simulator,
    pub receiver: Receiver,
    pub mail: MailServer,
    pub destinations: Destinations,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With a changed file.
    pub async fn with(change: impl Fn(&mut Value)) -> Self {
        let clock = Arc::new(VirtualClock::at(first_day()));
        let (simulator, _) = simulator(clock.clone(), 7).await;
        let (receiver, mail) = (Receiver::start().await, MailServer::start().await);
        let mut list = simulator.crm_config().destinations();
        list.push(json!({"name": "hook", "kind": "webhook", "url": receiver.url("/leads"), "key": "hook"}));
        list.push(json!({"name": "mail", "kind": "email", "host": "127.0.0.1", "port": mail.port, "tls": "none", "user": USER,
            "key": "mail", "from": "Leads <leads@mediagenie.example>", "to": ["sales@mediagenie.example", "Bo <bo@mediagenie.example>"]}));
        list.iter_mut().for_each(&change);
        let tools = Tools {
            http: outbound::client().unwrap(),
            fetcher: Arc::new(Fetcher::new(vec![receiver.host.clone()]).unwrap()),
            clock: clock.clone(),
            authority: "https://login.example".into(),
        };
        let config = simulator.crm_config();
        let keys = [
            ("dynamics", config.dynamics_secret.as_str()),
            ("salesforce", &config.salesforce_secret),
            ("hubspot", &config.hubspot_token),
            ("teams", &config.teams_address),
            ("hook", WEBHOOK_KEY),
            ("mail", PASSWORD),
            ("wrong", "whsec_d3JvbmcgYnV0IGxvbmcgZW5vdWdoIHRvIGJlIG9uZQ=="),
            ("nobody", "http://127.0.0.1:9/nobody"),
        ]
        .map(|(name, key)| (name.to_owned(), Secret::new(key)));
        let text = json!({ "destinations": list }).to_string();
        let destinations = Destinations::parse(&text, &keys, &tools).unwrap();
        Self { clock, simulator, receiver, mail, destinations }
    }

    pub async fn deliver(&self, name: &str, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        self.destinations.find(name).unwrap().destination.deliver(lead, before).await
    }

    pub fn records(&self, name: &str) -> Vec<CrmRecord> {
        let system = match name {
            "dynamics" => System::Dynamics,
            "salesforce" => System::Salesforce,
            "hubspot" => System::HubSpot,
            _ => System::Teams,
        };
        self.simulator.crm_records(system)
    }

    pub fn record(&self, name: &str) -> CrmRecord {
        let mut records = self.records(name);
        assert_eq!(records.len(), 1, "{name}: {records:?}");
        records.remove(0)
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn lead() -> Lead {
    let time = at("2026-03-02T08:00:00Z");
    Lead {
        id: LeadId::named(time, "ada"),
        person: Person {
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
            email: "ada@contoso.example".into(),
            phone: "+44 20 7946 0000".into(),
            country: "GB".into(),
            company: "Contoso".into(),
            title: "Analyst".into(),
        },
        offer: "mediagenie".into(),
        offer_title: "MediaGenie".into(),
        source: "AzureMarketplace".into(),
        action: "INS".into(),
        description: "wants a trial".into(),
        first: time,
        last: time,
        arrivals: 1,
        do_not_contact: false,
        test: false,
        status: Status::New,
        owner: None,
        revision: 1,
    }
}

/// What an error says must not name the person.
fn said(error: &DeliveryError) -> String {
    let text = error.to_string();
    for secret in ["ada", "lovelace", "contoso", "mail-secret", "sig="] {
        assert!(!text.to_lowercase().contains(secret), "{text}");
    }
    text
}

#[track_caller]
pub fn refused(outcome: Result<Receipt, DeliveryError>, with: &str) {
    let error = outcome.unwrap_err();
    let text = said(&error);
    assert!(matches!(error, DeliveryError::Refused { .. }) && text.contains(with), "{error:?} without {with}");
}

#[track_caller]
pub fn later(outcome: Result<Receipt, DeliveryError>, seconds: Option<u64>) {
    let error = outcome.unwrap_err();
    said(&error);
    let DeliveryError::Later { after, .. } = &error else { panic!("{error:?}") };
    assert_eq!(after.map(|after| after.as_secs()), seconds, "{error:?}");
}
