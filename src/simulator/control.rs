//! The JSON control API under `/simulator/`, for browser tests and other processes. Bodies and answers are JSON; a
//! refusal is `{"message": ...}` with status 400.

use http::Method;
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Simulator;
use super::analytics;
use super::faults::Switches;
use super::http::{Reply, Request, json_reply};
use super::leads;
use super::managed_apps;
use super::millionths;
use super::model::{Action, Subscription};
use super::people::{self, Person};
use super::state::PurchaseOptions;

/// `POST /simulator/purchase`. Only the plan is required; people are named by their address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurchaseOrder {
    #[serde(default = "default_offer")]
    offer: String,
    plan: String,
    quantity: Option<u32>,
    buyer: Option<String>,
    beneficiary: Option<String>,
    term: Option<String>,
    name: Option<String>,
    #[serde(default)]
    auto_activate: bool,
    #[serde(default)]
    free_trial: bool,
    #[serde(default)]
    csp: bool,
    #[serde(default)]
    preview: bool,
    #[serde(default)]
    private_offer: bool,
    #[serde(default = "yes")]
    auto_renew: bool,
}

fn default_offer() -> String {
    super::catalogue::OFFER_ID.to_owned()
}

fn yes() -> bool {
    true
}

/// `POST /simulator/act`: an action by its name on the wire, `plan` or `quantity` where it takes one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActOrder {
    pub subscription: Uuid,
    pub action: String,
    pub plan: Option<String>,
    pub quantity: Option<u32>,
}

impl ActOrder {
    pub fn action(self) -> Result<Action, String> {
        Ok(match self.action.as_str() {
            "ChangePlan" => Action::ChangePlan(self.plan.ok_or("plan is missing")?),
            "ChangeQuantity" => Action::ChangeQuantity(self.quantity.ok_or("quantity is missing")?),
            "Suspend" => Action::Suspend,
            "Reinstate" => Action::Reinstate,
            "Renew" => Action::Renew,
            "Unsubscribe" => Action::Unsubscribe,
            "Subscribe" => Action::Subscribe,
            _ => Action::Unknown(self.action),
        })
    }
}

/// `POST /simulator/advance`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    #[serde(default)]
    days: i64,
    #[serde(default)]
    seconds: i64,
}

/// `POST /simulator/managed-app`: for usage only. `deploy-managed-app` gives an app a life.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManagedApp {
    resource_uri: String,
    plan: String,
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Reply {
    let verb = request.param("verb");
    let outcome = match (request.method.clone(), verb) {
        (Method::GET, "config") => Ok(json!(simulator.config())),
        (Method::GET, "people") => Ok(json!(people::people())),
        (Method::GET, "subscriptions") => Ok(subscriptions(simulator)),
        (Method::GET, "webhooks") => {
            Ok(json!({ "pending": simulator.pending_webhooks(), "log": simulator.webhook_log() }))
        }
        (Method::GET, "webhook-token") => Ok(json!({ "token": simulator.webhook_token() })),
        (Method::GET, "usage") => Ok(usage(simulator)),
        (Method::GET, "ai-config") => Ok(json!(simulator.ai_config())),
        (Method::GET, "ai-calls") => Ok(json!({ "calls": simulator.ai_calls() })),
        (Method::GET, "crm-config") => Ok(json!(simulator.crm_config())),
        (Method::GET, "crm") => Ok(simulator.crm_view()),
        (Method::GET, "faults") => Ok(json!(simulator.faults().get())),
        (Method::POST, "purchase") => read(request).and_then(|order| purchase(simulator, order)),
        (Method::POST, "act") => read::<ActOrder>(request).and_then(|order| {
            let subscription = order.subscription;
            let operation = simulator.act(subscription, order.action()?)?;
            Ok(json!({ "operation": operation }))
        }),
        (Method::POST, "managed-app") => read::<ManagedApp>(request).map(|app| {
            simulator.register_managed_app(&app.resource_uri, &app.plan);
            json!({})
        }),
        (Method::POST, "deliver-all") => Ok(json!({ "delivered": simulator.deliver_all().await })),
        (Method::POST, "settle") => {
            simulator.settle_operations();
            Ok(json!({}))
        }
        (Method::POST, "faults") => read::<Switches>(request).map(|switches| {
            simulator.faults().set(switches);
            json!(simulator.faults().get())
        }),
        (Method::POST, "advance") => read::<Advance>(request).and_then(|by| {
            let seconds = by.days.checked_mul(86_400).and_then(|days| days.checked_add(by.seconds));
            simulator.advance(SignedDuration::from_secs(seconds.ok_or("too far")?));
            Ok(json!({ "now": simulator.now().to_string() }))
        }),
        (Method::POST, "rotate-keys") => {
            simulator.rotate_keys();
            Ok(json!({}))
        }
        (Method::POST, "lead") => leads::page::control(simulator, request).await,
        _ => match managed_apps::control::answer(simulator, request).await {
            Some(outcome) => outcome,
            None => match analytics::control::answer(simulator, request).await {
                Some(outcome) => outcome,
                None => return json_reply(404, &json!({ "message": "The control API has no such verb." })),
            },
        },
    };
    match outcome {
        Ok(body) => json_reply(200, &body),
        Err(why) => json_reply(400, &json!({ "message": why })),
    }
}

/// The body as an order.
pub fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
}

fn subscriptions(simulator: &Simulator) -> Value {
    simulator.turn(|turn| {
        turn.settle_all();
        let books = &turn.state;
        let all = books.order.iter().filter_map(|id| books.subscriptions.get(id));
        json!({ "subscriptions": all.map(Subscription::view).collect::<Vec<_>>() })
    })
}

/// Quantities are decimal text.
fn usage(simulator: &Simulator) -> Value {
    simulator.turn(|turn| {
        let all = turn.state.usage.entries().iter().map(|usage| {
            json!({
                "resource": usage.resource, "dimension": usage.dimension, "hour": usage.hour, "plan": usage.plan,
                "quantity": millionths::text(usage.quantity), "usage_event_id": usage.usage_event_id,
                "booked_at": usage.booked_at, "recon_status": usage.recon_status(turn.now),
            })
        });
        json!({ "usage": all.collect::<Vec<_>>() })
    })
}

fn purchase(simulator: &Simulator, order: PurchaseOrder) -> Result<Value, String> {
    let person = |email: String| people::by_email(&email).ok_or(format!("there is nobody called {email}"));
    let buyer = order.buyer.map_or_else(|| Ok(Person::contoso_buyer()), person)?;
    let beneficiary = order.beneficiary.map(person).transpose()?;
    let options = PurchaseOptions {
        auto_activate: order.auto_activate,
        free_trial: order.free_trial,
        csp: order.csp,
        auto_renew: order.auto_renew,
        term: order.term,
        preview: order.preview,
        private_offer: order.private_offer,
        name: order.name,
    };
    let made = simulator.purchase(&order.offer, &order.plan, order.quantity, &buyer, beneficiary.as_ref(), options);
    Ok(json!(made))
}
