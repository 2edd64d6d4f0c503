//! The file that names the destinations of leads: what is wrong with it is said at once, and which offers go where.

use std::sync::Arc;

use mediagenie::foundation::clock::VirtualClock;
use mediagenie::foundation::outbound::{self, Fetcher};
use mediagenie::foundation::secret::Secret;
use mediagenie::leads::destinations::{Destinations, Kind, Tools};
use serde_json::{Value, json};

use crate::support::app::first_day;
use crate::support::leads::WEBHOOK_KEY;

fn parsed(text: &str) -> Result<Destinations, String> {
    let tools = Tools {
        http: outbound::client().unwrap(),
        fetcher: Arc::new(Fetcher::new(Vec::new()).unwrap()),
        clock: Arc::new(VirtualClock::at(first_day())),
        authority: "https://login.example".into(),
    };
    let keys = [("hook".to_owned(), Secret::new(WEBHOOK_KEY)), ("odd".to_owned(), Secret::new("not an address"))];
    Destinations::parse(text, &keys, &tools).map_err(|error| error.to_string())
}

#[test]
fn everything_wrong_with_the_file_is_said_at_once_with_its_place() {
    let file = json!({"colour": 1, "destinations": [
        {"name": "a b", "kind": "webhook", "url": "http://example.com/x", "key": "hook"},
        {"name": "hook", "kind": "webhook", "url": "https://10.0.0.1/x", "key": "odd", "offers": "all"},
        {"name": "hook", "kind": "dynamics", "url": "https://org.example", "tenant": "../x", "colour": "red", "key": "s3cret value in the wrong place",
            "mapping": {"subject": "{colour}", "x": [1]}},
        {"kind": "pigeon"},
        {"name": "sf", "kind": "salesforce", "url": "ftp://x", "client_id": "x", "key": "hook", "mapping": {"MediaGenie_Lead_Id__c": "{id}"}},
        {"name": "mail", "kind": "email", "host": "mail.example", "tls": "none", "port": 70000, "user": "me", "from": "nobody", "to": []},
        {"name": "teams", "kind": "teams", "key": "odd", "url": "https://x.example"},
        {"name": "hub", "kind": "hubspot", "key": "gone", "url": 7},
        "text",
    ]});
    let said = parsed(&file.to_string()).unwrap_err();
    for line in [
        "colour: is not known here",
        "destinations[0].name: has other characters",
        "destinations[0].url: uses plain http",
        "destinations[1].offers: expected a list of texts",
        "destinations[1].url: The address, or one that it leads to, is not on the public internet.",
        "destinations[1].key: is no secret of Standard Webhooks",
        "destinations[2].name: `hook` is taken already",
        "destinations[2].tenant: has characters",
        "destinations[2].client_id: is missing",
        "destinations[2].key: LEAD_KEYS has no key `…`",
        "destinations[2].mapping.subject: `{colour}` is no field of a lead",
        "destinations[2].mapping.x: expected a template",
        "destinations[2].colour: is not known here; there are: name, kind, offers, url, tenant, client_id, authority, key, mapping",
        "destinations[3].name: is missing",
        "destinations[3].kind: `pigeon` is not one of webhook, dynamics",
        "destinations[4].url: is not an address",
        "destinations[4].mapping.MediaGenie_Lead_Id__c: Salesforce takes",
        "destinations[5].tls: `none` is accepted for localhost only",
        "destinations[5].port: expected a port number",
        "destinations[5].user: user and key belong together",
        "destinations[5].from: is no mail address",
        "destinations[5].to: expected a list of mail addresses",
        "destinations[6].key: the workflow's address is not an address",
        "destinations[6].url: is not known here",
        "destinations[7].key: LEAD_KEYS has no key `gone`",
        "destinations[7].url: expected a text",
        "destinations[8]: expected an object",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
    assert_eq!(said.lines().count(), 27, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(parsed("{").unwrap_err().contains("it can not be read"));
    assert!(parsed("{}").unwrap_err().contains("expected a list"));
}

#[test]
fn a_destination_takes_the_offers_that_it_names_or_all() {
    let of = |name: &str, offers: Value| json!({"name": name, "kind": "webhook", "url": "https://crm.example/leads/", "key": "hook", "offers": offers});
    let file = json!({"destinations": [of("all", json!([])), of("one", json!(["offer1"])), of("none", Value::Null)]});
    let destinations = parsed(&file.to_string()).unwrap();
    let taking = |offer| destinations.taking(offer).map(|one| one.name.as_str()).collect::<Vec<_>>();
    assert_eq!((taking("offer1"), taking("other")), (vec!["all", "one", "none"], vec!["all", "none"]));
    assert_eq!(destinations.find("one").unwrap().kind, Kind::Webhook);
    assert!(destinations.find("two").is_none() && !format!("{destinations:?}").contains("whsec_"));
}
