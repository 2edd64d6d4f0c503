//! The page "Managed applications" of the simulated marketplace: deploy, update, delete, and what the publisher was told.

use std::collections::HashMap;

use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::Simulator;
use super::super::catalogue;
use super::super::http::{Reply, Request, empty, html, redirect};
use super::super::pages::{moment, render, show};
use super::super::sending;
use super::{AppKind, Deployment, Ending, IdSpelling, ManagedApp, Notification, NotificationAttempt};

pub const ROUTES: &[&str] = &[HOME, "/managed-apps/deploy", "/managed-apps/act", "/managed-apps/address", DELIVER];

const HOME: &str = "/managed-apps";
const DELIVER: &str = "/managed-apps/deliver";
/// So many notifications are shown, the newest first.
const MOST: usize = 100;

pub async fn answer(simulator: &Simulator, post: bool, request: &Request) -> Reply {
    let form = request.form();
    let done = match (post, request.path.trim_end_matches('/')) {
        (false, HOME) => return page(simulator, request.query("problem")),
        (true, "/managed-apps/deploy") => deploy(simulator, &form),
        (true, "/managed-apps/act") => act(simulator, &form),
        (true, "/managed-apps/address") => address(simulator, &form),
        (true, DELIVER) => {
            let id = form.get("id").and_then(|id| id.parse().ok()).unwrap_or_default();
            simulator.managed_apps().deliver(id).await;
            Ok(())
        }
        _ => return empty(405),
    };
    match done {
        Ok(()) => redirect(HOME),
        Err(why) => redirect(&format!("{HOME}?problem={}", utf8_percent_encode(&why, NON_ALPHANUMERIC))),
    }
}

fn deploy(simulator: &Simulator, form: &HashMap<String, String>) -> Result<(), String> {
    let usual = Deployment::default();
    let field = |name: &str| form.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let order = Deployment {
        name: field("name"),
        kind: if form.contains_key("service_catalog") { AppKind::ServiceCatalog } else { AppKind::MarketPlace },
        plan: field("plan").unwrap_or(usual.plan),
        version: field("version").unwrap_or(usual.version),
        region: field("region").unwrap_or(usual.region),
        publisher_access: !form.contains_key("no_access"),
        provisioning_fails: form.contains_key("fails"),
        no_leading_slash: form.contains_key("odd_ids"),
        spelling: if form.contains_key("odd_ids") { IdSpelling::Changing } else { IdSpelling::AsDeployed },
        ..Deployment::default()
    };
    simulator.managed_apps().deploy(order).map(|_| ())
}

fn act(simulator: &Simulator, form: &HashMap<String, String>) -> Result<(), String> {
    let apps = simulator.managed_apps();
    let field = |name: &str| form.get(name).map_or("", |value| value.trim());
    let ending = Ending::failing(form.contains_key("fails"));
    let id = field("id");
    match field("action") {
        "update" if field("version").is_empty() => return Err("Name the version.".into()),
        "update" => apps.update(id, field("version"), ending)?,
        "patch" => apps.patch(id, [("changed".to_owned(), simulator.now().to_string())].into())?,
        "delete" => apps.delete(id, ending)?,
        _ => return Err("There is no such action.".into()),
    };
    Ok(())
}

fn address(simulator: &Simulator, form: &HashMap<String, String>) -> Result<(), String> {
    let address = form.get("address").map_or("", |address| address.trim());
    if !address.is_empty() {
        sending::near(simulator, address)?;
    }
    simulator.set_notification_address(address);
    Ok(())
}

fn page(simulator: &Simulator, problem: Option<&str>) -> Reply {
    let apps = simulator.managed_apps();
    let (all, notifications, log) = (apps.list(), apps.notifications(), apps.notification_log());
    let applications: Vec<Value> = all.iter().rev().map(facts).collect();
    let told: Vec<Value> = notifications.iter().rev().take(MOST).map(|one| notification(one, &log)).collect();
    let values = context! {
        here => "managed-apps", problem, applications, notifications => told,
        plans => show(catalogue::PLANS),
        usual => context! { version => Deployment::default().version, region => Deployment::default().region },
        address => simulator.turn(|turn| turn.state.managed.address.clone()),
        sample => format!("{}/marketplace/managed-app?sig=…", simulator.product_url()),
    };
    html(200, render("managed_apps.html", values))
}

fn facts(app: &ManagedApp) -> Value {
    context! {
        app => show(app),
        deployed => moment(app.created),
        deleted => app.deleted.map(moment),
        busy => matches!(app.provisioning_state.name(), "Accepted" | "Deleting"),
    }
}

fn notification(one: &Notification, log: &[NotificationAttempt]) -> Value {
    let attempts: Vec<Value> = log
        .iter()
        .filter(|attempt| attempt.notification == one.id)
        .map(|attempt| {
            context! {
                at => moment(attempt.at), status => attempt.status, latency => attempt.latency_ms,
                error => &attempt.error,
            }
        })
        .collect();
    context! {
        id => one.id.to_string(), event => one.event_type, provisioning => one.provisioning_state.name(),
        application => &one.application_id, state => show(&one.state), attempts,
        body => serde_json::to_string_pretty(&one.body).unwrap_or_default(),
    }
}
