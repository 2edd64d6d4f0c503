//! The pages of the simulated marketplace: offers, purchases, webhooks, metered usage, and the controls for faults and
//! clock. Managed applications and leads have theirs in their own rooms.
//! Server-rendered, no scripts; every form answers with a redirect to the page it came from.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;
use http::header::CACHE_CONTROL;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use minijinja::{Environment, Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use uuid::Uuid;

use super::Simulator;
use super::analytics;
use super::catalogue::{self, OFFER_ID};
use super::control::ActOrder;
use super::faults::Switches;
use super::http::{Reply, Request, empty, html, redirect, reply, with_header};
use super::leads;
use super::managed_apps;
use super::millionths;
use super::model::{Operation, Subscription};
use super::people;
use super::state::{PurchaseOptions, Webhook};

pub const ROUTES: &[&str] = &[
    "/",
    "/simulator.css",
    "/subscribe",
    "/purchases",
    "/purchases/{id}",
    "/purchases/{id}/act",
    "/configure/{id}",
    "/webhooks",
    "/webhooks/{id}/deliver",
    "/usage",
    "/controls",
    "/controls/faults",
    "/controls/clear",
    "/controls/clock",
];

const STYLE: &str = include_str!("templates/simulator.css");

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    for (name, source) in [
        ("layout.html", include_str!("templates/layout.html")),
        ("offers.html", include_str!("templates/offers.html")),
        ("purchases.html", include_str!("templates/purchases.html")),
        ("purchase.html", include_str!("templates/purchase.html")),
        ("webhooks.html", include_str!("templates/webhooks.html")),
        ("usage.html", include_str!("templates/usage.html")),
        ("managed_apps.html", include_str!("templates/managed_apps.html")),
        ("analytics.html", include_str!("templates/analytics.html")),
        ("leads.html", include_str!("templates/leads.html")),
        ("log.html", include_str!("templates/log.html")),
        ("controls.html", include_str!("templates/controls.html")),
        ("sign_in.html", include_str!("templates/sign_in.html")),
        ("signed_out.html", include_str!("templates/signed_out.html")),
        ("problem.html", include_str!("templates/problem.html")),
    ] {
        environment.add_template(name, source).expect("the simulator's templates are well-formed");
    }
    environment
});

/// Renders one of the simulator's templates. They are part of the program, so a failure is shown as it is.
pub fn render(template: &str, values: Value) -> String {
    let page = TEMPLATES.get_template(template).and_then(|template| template.render(values));
    page.unwrap_or_else(|error| format!("<!doctype html><title>Simulated Microsoft</title><p>{error:#}"))
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Reply {
    let post = request.method == Method::POST;
    // Some routes have a parameter: the second part of the path is it.
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (post, parts.as_slice()) {
        (false, [""]) => offers(request),
        (false, ["simulator.css"]) => {
            with_header(reply(200, "text/css; charset=utf-8", STYLE), CACHE_CONTROL, "max-age=3600")
        }
        (true, ["subscribe"]) => subscribe(simulator, &request.form()),
        (false, ["purchases"]) => purchases(simulator),
        (false, ["purchases", _]) => purchase(simulator, request),
        (true, ["purchases", _, "act"]) => act(simulator, request),
        (false, ["configure", _]) => match request.id("id").and_then(|id| simulator.landing_url(id)) {
            Some(url) => redirect(&url),
            None => problem(404, "There is no such subscription."),
        },
        (false, ["webhooks"]) => webhooks(simulator),
        (true, ["webhooks", _, "deliver"]) => {
            simulator.deliver(request.id("id").unwrap_or_default()).await;
            back(&request.form(), "/webhooks")
        }
        (false, ["usage"]) => usage(simulator),
        (_, ["managed-apps", ..]) => managed_apps::page::answer(simulator, post, request).await,
        (_, ["analytics", ..]) => analytics::page::answer(simulator, post, request).await,
        (_, ["leads", ..]) => leads::page::answer(simulator, post, request).await,
        (false, ["controls"]) => controls(simulator),
        (true, ["controls", "faults"]) => set_faults(simulator, &request.form()),
        (true, ["controls", "clear"]) => {
            simulator.faults().clear();
            redirect("/controls")
        }
        (true, ["controls", "clock"]) => {
            simulator.advance(step(simulator.now(), request.form().get("days").map_or("", String::as_str)));
            redirect("/controls")
        }
        _ => empty(405),
    }
}

/// Anything that has a JSON form, for a template.
pub fn show<T: Serialize + ?Sized>(thing: &T) -> Value {
    fn convert(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::from(()),
            serde_json::Value::Bool(on) => Value::from(on),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Value::from(whole),
                None => Value::from(number.as_f64().unwrap_or_default()),
            },
            serde_json::Value::String(text) => Value::from(text),
            serde_json::Value::Array(items) => items.into_iter().map(convert).collect(),
            serde_json::Value::Object(map) => {
                Value::from_pairs(map.into_iter().map(|(key, value)| (key, convert(value))))
            }
        }
    }
    convert(serde_json::to_value(thing).unwrap_or_default())
}

fn problem(status: u16, why: &str) -> Reply {
    html(status, render("problem.html", context! { why }))
}

/// Where a form came from, if that is a page of ours.
fn back(form: &HashMap<String, String>, otherwise: &str) -> Reply {
    let to = form.get("back").map(String::as_str).filter(|to| to.starts_with('/') && !to.starts_with("//"));
    redirect(to.unwrap_or(otherwise))
}

fn offers(request: &Request) -> Reply {
    let everybody = people::people();
    let buyers: Vec<_> = everybody.iter().filter(|person| person.tenant_id != people::PUBLISHER_TENANT).collect();
    let buyers = show(&buyers);
    let plans = show(catalogue::PLANS);
    html(200, render("offers.html", context! { here => "offers", plans, buyers, problem => request.query("problem") }))
}

fn subscribe(simulator: &Simulator, form: &HashMap<String, String>) -> Reply {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let refuse = |why: &str| redirect(&format!("/?problem={}", utf8_percent_encode(why, NON_ALPHANUMERIC)));
    let Some(plan) = field("plan").and_then(catalogue::plan) else { return refuse("Choose a plan.") };
    let Some(buyer) = field("buyer").and_then(people::by_email) else { return refuse("Choose who buys.") };
    let quantity = match plan.seats {
        None => None,
        Some((least, most)) => match field("seats").and_then(|seats| seats.trim().parse::<u32>().ok()) {
            Some(seats) if (least..=most).contains(&seats) => Some(seats),
            _ => return refuse(&format!("{} takes {least} to {most} seats.", plan.name)),
        },
    };
    let options = PurchaseOptions {
        auto_activate: field("auto_activate").is_some(),
        csp: field("csp").is_some(),
        auto_renew: field("no_renewal").is_none(),
        term: field("term").filter(|term| plan.terms.iter().any(|known| known.unit == *term)).map(str::to_owned),
        ..PurchaseOptions::default()
    };
    let made = simulator.purchase(OFFER_ID, plan.id, quantity, &buyer, None, options);
    redirect(&format!("/purchases/{}", made.subscription_id))
}

/// A moment for people.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn facts(subscription: &Subscription) -> Value {
    let plan = catalogue::plan(&subscription.plan_id);
    context! {
        id => subscription.id.to_string(),
        name => &subscription.name,
        offer => &subscription.offer_id,
        plan => &subscription.plan_id,
        plan_name => plan.map_or(subscription.plan_id.as_str(), |plan| plan.name),
        seats => subscription.quantity,
        limits => plan.and_then(|plan| plan.seats).map(|(least, most)| vec![least, most]),
        status => show(&subscription.status),
        purchaser => show(&subscription.purchaser),
        beneficiary => show(&subscription.beneficiary),
        csp => subscription.csp,
        trial => subscription.free_trial,
        auto_renew => subscription.auto_renew,
        term => show(&subscription.view()["term"]),
        created => moment(subscription.created),
    }
}

fn operation_facts(operation: &Operation) -> Value {
    context! {
        id => operation.id.to_string(),
        action => operation.action.name(),
        plan => &operation.plan_id,
        seats => operation.quantity,
        status => show(&operation.status),
        source => show(&operation.source),
        at => moment(operation.created),
        error => &operation.error,
    }
}

/// A webhook with its attempts, for the delivery log.
fn webhook_facts(webhook: &Webhook, attempts: &HashMap<Uuid, Vec<Value>>) -> Value {
    context! {
        id => webhook.id.to_string(),
        subscription => webhook.subscription.to_string(),
        action => &webhook.action,
        state => show(&webhook.state),
        body => serde_json::to_string_pretty(&webhook.body).unwrap_or_default(),
        attempts => attempts.get(&webhook.id).cloned().unwrap_or_default(),
    }
}

/// The newest webhooks first, of one subscription or of all.
fn delivery_log(simulator: &Simulator, of: Option<Uuid>) -> Vec<Value> {
    const MOST: usize = 100;
    simulator.turn(|turn| {
        let mut attempts: HashMap<Uuid, Vec<Value>> = HashMap::new();
        for attempt in &turn.state.log {
            let shown = context! {
                at => moment(attempt.at), status => attempt.status,
                latency => attempt.latency_ms, error => &attempt.error,
            };
            attempts.entry(attempt.webhook_id).or_default().push(shown);
        }
        let chosen = turn.state.webhooks.iter().rev().filter(|hook| of.is_none_or(|id| hook.subscription == id));
        chosen.take(MOST).map(|webhook| webhook_facts(webhook, &attempts)).collect()
    })
}

fn purchases(simulator: &Simulator) -> Reply {
    let subscriptions: Vec<Value> = simulator.turn(|turn| {
        turn.settle_all();
        let books = &turn.state;
        books.order.iter().rev().take(200).filter_map(|id| books.subscriptions.get(id)).map(facts).collect()
    });
    html(200, render("purchases.html", context! { here => "purchases", subscriptions }))
}

fn purchase(simulator: &Simulator, request: &Request) -> Reply {
    let id = request.id("id").unwrap_or_default();
    let found = simulator.turn(|turn| {
        turn.settle(id);
        let found = turn.state.subscriptions.get(&id)?;
        let operations: Vec<Value> = found.operations.iter().rev().map(operation_facts).collect();
        Some((facts(found), operations, found.open_operation().is_some()))
    });
    let Some((subscription, operations, busy)) = found else {
        return problem(404, "There is no such subscription.");
    };
    let values = context! {
        here => "purchases", subscription, operations, busy,
        plans => show(catalogue::PLANS),
        webhooks => delivery_log(simulator, Some(id)),
        back => format!("/purchases/{id}"),
        problem => request.query("problem"),
    };
    html(200, render("purchase.html", values))
}

fn act(simulator: &Simulator, request: &Request) -> Reply {
    let id = request.id("id").unwrap_or_default();
    let form = request.form();
    let order = ActOrder {
        subscription: id,
        action: form.get("action").cloned().unwrap_or_default(),
        plan: form.get("plan").cloned(),
        quantity: form.get("seats").and_then(|seats| seats.trim().parse().ok()),
    };
    match order.action().and_then(|action| simulator.act(id, action)) {
        Ok(_) => redirect(&format!("/purchases/{id}")),
        Err(why) => redirect(&format!("/purchases/{id}?problem={}", utf8_percent_encode(&why, NON_ALPHANUMERIC))),
    }
}

fn webhooks(simulator: &Simulator) -> Reply {
    let webhooks = delivery_log(simulator, None);
    html(200, render("webhooks.html", context! { here => "webhooks", webhooks, back => "/webhooks" }))
}

/// Booked usage, the newest first.
fn usage(simulator: &Simulator) -> Reply {
    const MOST: usize = 500;
    let (all, usage): (usize, Vec<Value>) = simulator.turn(|turn| {
        let entries = turn.state.usage.entries();
        let shown = entries.iter().rev().take(MOST).map(|usage| {
            let id = Uuid::parse_str(&usage.resource).ok().filter(|id| turn.state.subscriptions.contains_key(id));
            context! {
                resource => &usage.resource,
                purchase => id.map(|id| id.to_string()),
                dimension => &usage.dimension,
                plan => &usage.plan,
                quantity => millionths::text(usage.quantity),
                hour => moment(usage.hour),
                booked => moment(usage.booked_at),
                status => usage.recon_status(turn.now).name(),
            }
        });
        (entries.len(), shown.collect())
    });
    html(200, render("usage.html", context! { here => "usage", usage, all }))
}

/// How far the clock is to be moved: a number of days, or `month` for the same day of the next month.
fn step(now: Timestamp, wanted: &str) -> SignedDuration {
    if wanted == "month" {
        let next = now.to_zoned(TimeZone::UTC).checked_add(Span::new().months(1));
        return next.map_or(SignedDuration::ZERO, |next| next.timestamp().duration_since(now));
    }
    SignedDuration::from_hours(24 * wanted.parse().unwrap_or(0_i64).clamp(0, 400))
}

fn controls(simulator: &Simulator) -> Reply {
    let values = context! {
        here => "controls",
        faults => show(&simulator.faults().get()),
        now => moment(simulator.now()),
        config => show(&simulator.config()),
    };
    html(200, render("controls.html", values))
}

/// The form shows all of the switches that make sense by hand; the rest stays as it is.
fn set_faults(simulator: &Simulator, form: &HashMap<String, String>) -> Reply {
    let number = |name: &str| form.get(name).and_then(|value| value.trim().parse::<u32>().ok()).unwrap_or(0);
    let on = |name: &str| form.contains_key(name);
    simulator.faults().change(|switches| {
        *switches = Switches {
            fail_next: number("fail_next"),
            fail_status: 500,
            throttle_next: number("throttle_next"),
            retry_after_seconds: 2,
            delay_milliseconds: number("delay_milliseconds").min(120_000).into(),
            webhook_delay_milliseconds: number("webhook_delay_milliseconds").min(600_000).into(),
            drop_next_webhooks: number("drop_next_webhooks"),
            activation_delay_seconds: number("activation_delay_seconds").into(),
            repeat_webhooks: on("repeat_webhooks"),
            reorder_webhooks: on("reorder_webhooks"),
            api_down: on("api_down"),
            keys_down: on("keys_down"),
            token_endpoint_down: on("token_endpoint_down"),
            deny_tokens: on("deny_tokens"),
            webhook_token_v1: on("webhook_token_v1"),
            metering_drop_answer_next: number("metering_drop_answer_next"),
            metering_accept_other_quantity_next: number("metering_accept_other_quantity_next"),
            metering_item_error_next: number("metering_item_error_next"),
            metering_down: on("metering_down"),
            metering_unauthorized_resources: on("metering_unauthorized_resources"),
            metering_status_override: form.get("metering_status_override").filter(|status| !status.is_empty()).cloned(),
            arm_fail_next: number("arm_fail_next"),
            arm_fail_status: 500,
            arm_throttle_next: number("arm_throttle_next"),
            arm_retry_after_seconds: 2,
            arm_down: on("arm_down"),
            identity_down: on("identity_down"),
            notification_delay_milliseconds: number("notification_delay_milliseconds").min(600_000).into(),
            notification_drop_next: number("notification_drop_next"),
            notification_repeat: on("notification_repeat"),
            notification_reorder: on("notification_reorder"),
            ai_down: on("ai_down"),
            ai_fail_next: number("ai_fail_next"),
            ai_fail_status: 429,
            ai_retry_after_ms: 2_000,
            ai_cut_next: number("ai_cut_next"),
            ai_batch_fail_next: number("ai_batch_fail_next"),
            ai_delay_ms: number("ai_delay_ms").min(120_000).into(),
            ai_chunk_delay_ms: number("ai_chunk_delay_ms").min(10_000).into(),
            ..switches.clone()
        };
    });
    redirect("/controls")
}
