//! The page "Leads" of the simulated marketplace: send one by hand and see what the publisher answered; and the same
//! verb of the control API.

use std::collections::HashMap;

use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::super::Simulator;
use super::super::control::read;
use super::super::http::{Reply, Request, empty, html, redirect};
use super::super::pages::{moment, render, show};
use super::super::people;
use super::super::sending;
use super::{Lead, LeadAnswer};

pub const ROUTES: &[&str] = &["/leads", "/leads/send"];

/// Codes that Microsoft is known to send (contract 7.4).
const ACTIONS: &[(&str, &str)] = &[
    ("INS", "got the offer, or a free trial"),
    ("PLT", "contact me"),
    ("DNC", "do not contact"),
    ("Create", "bought in the Azure portal"),
    ("StartTestDrive", "test drive started"),
];

pub async fn answer(simulator: &Simulator, post: bool, request: &Request) -> Reply {
    match (post, request.path.trim_end_matches('/')) {
        (false, "/leads") => page(simulator, request.query("problem")),
        (true, "/leads/send") => match send(simulator, &request.form()).await {
            Ok(_) => redirect("/leads"),
            Err(why) => redirect(&format!("/leads?problem={}", utf8_percent_encode(&why, NON_ALPHANUMERIC))),
        },
        _ => empty(405),
    }
}

async fn send(simulator: &Simulator, form: &HashMap<String, String>) -> Result<LeadAnswer, String> {
    let field = |name: &str| form.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let address = field("address").ok_or("Name the address.")?;
    sending::near(simulator, address)?;
    simulator.set_lead_address(address);
    let lead = if form.contains_key("test") {
        Lead::test(simulator.now())
    } else {
        let person = field("person").and_then(people::by_email).ok_or("Choose a person.")?;
        Lead::of(&person)
            .with("OfferTitle", field("offer").unwrap_or_default())
            .action(field("action").unwrap_or_default())
            .small_user_details(form.contains_key("small"))
    };
    Ok(simulator.send_lead(address, &lead).await)
}

fn page(simulator: &Simulator, problem: Option<&str>) -> Reply {
    let sent = simulator.sent_leads();
    let sent: Vec<Value> = sent
        .iter()
        .rev()
        .map(|one| {
            context! {
                at => moment(one.at), address => &one.address, answer => show(&one.answer),
                good => one.answer.status.is_some_and(|status| (200..300).contains(&status)), body => &one.body,
            }
        })
        .collect();
    let values = context! {
        here => "leads", problem, sent, people => show(&people::people()), actions => show(ACTIONS),
        address => simulator.turn(|turn| turn.state.leads.address.clone()),
    };
    html(200, render("leads.html", values))
}

/// `POST /simulator/lead`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    address: String,
    /// Sent as it is; a text is sent as that text. Nothing for the default lead.
    lead: Option<serde_json::Value>,
    /// The test lead of Partner Center.
    #[serde(default)]
    test: bool,
}

pub async fn control(simulator: &Simulator, request: &Request) -> Result<serde_json::Value, String> {
    let order = read::<Order>(request)?;
    sending::near(simulator, &order.address)?;
    let lead = match order.lead {
        Some(_) if order.test => return Err("lead and test exclude each other".into()),
        None if order.test => Lead::test(simulator.now()),
        None => Lead::default(),
        Some(serde_json::Value::String(text)) => Lead::raw(text),
        Some(body) => Lead::raw(body.to_string()),
    };
    Ok(json!(simulator.send_lead(&order.address, &lead).await))
}
