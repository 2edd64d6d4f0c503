//! Managed applications in the JSON control API, for browser tests and other processes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Simulator;
use super::super::control::read;
use super::super::http::Request;
use super::super::sending;
use super::{Deployment, Ending};

/// `POST /simulator/update-managed-app`, `patch-managed-app` and `delete-managed-app`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    application_id: String,
    /// Of an update.
    version: Option<String>,
    /// Of a patch.
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    fails: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneNotification {
    id: Uuid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    address: String,
}

/// Nothing for a verb that is not about managed applications.
pub async fn answer(simulator: &Simulator, request: &Request) -> Option<Result<Value, String>> {
    let apps = simulator.managed_apps();
    Some(match (request.method.as_str(), request.param("verb")) {
        ("GET", "managed-apps") => Ok(json!({
            "applications": apps.list(), "notifications": apps.notifications(), "log": apps.notification_log(),
        })),
        ("POST", "deploy-managed-app") => {
            read::<Deployment>(request).and_then(|order| apps.deploy(order)).map(|app| json!(app))
        }
        ("POST", "update-managed-app" | "patch-managed-app" | "delete-managed-app") => step(simulator, request),
        ("POST", "settle-managed-apps") => {
            apps.settle();
            Ok(json!({}))
        }
        ("POST", "deliver-notifications") => Ok(json!({ "delivered": apps.deliver_all().await })),
        ("POST", "deliver-notification") => match read::<OneNotification>(request) {
            Ok(order) => Ok(json!({ "outcome": apps.deliver(order.id).await })),
            Err(why) => Err(why),
        },
        ("POST", "drop-notification") => read::<OneNotification>(request).map(|order| {
            apps.drop_notification(order.id);
            json!({})
        }),
        ("POST", "notification-address") => read::<Address>(request).and_then(|order| {
            sending::near(simulator, &order.address)?;
            simulator.set_notification_address(&order.address);
            Ok(json!({}))
        }),
        _ => return None,
    })
}

fn step(simulator: &Simulator, request: &Request) -> Result<Value, String> {
    let (apps, step) = (simulator.managed_apps(), read::<Step>(request)?);
    let ending = Ending::failing(step.fails);
    let app = match request.param("verb") {
        "update-managed-app" => apps.update(&step.application_id, &step.version.ok_or("version is missing")?, ending),
        "patch-managed-app" => apps.patch(&step.application_id, step.tags.unwrap_or_default()),
        _ => apps.delete(&step.application_id, ending),
    }?;
    Ok(json!(app))
}
