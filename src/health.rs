//! Health: is the process alive, and can it do its work.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached};
use crate::{fulfillment, metering};

/// `GET /health/live`: the process answers. Touches nothing else.
pub async fn live(_app: Arc<App>, _request: Request) -> Result<Response, Problem> {
    Ok(uncached(json(StatusCode::OK, &json!({ "status": "live", "version": env!("CARGO_PKG_VERSION") }))))
}

/// One thing that we depend on.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: &'static str,
    pub error: Option<String>,
    /// When what we hold was fetched, where something is held.
    pub since: Option<Timestamp>,
    /// Without it no request can be served; the others only make the service poorer.
    pub vital: bool,
    pub detail: Value,
}

/// Asks everything that we depend on; also what `mediagenie doctor` shows.
pub async fn checks(app: &App) -> Vec<Check> {
    let (store, queue, keys, token) = tokio::join!(app.rows.check(), queue(app), keys(app), token(app));
    let store = Check {
        name: "store",
        error: store.err().map(|error| error.to_string()),
        since: None,
        vital: true,
        detail: Value::Null,
    };
    [Some(store), Some(queue), keys, token, usage(app).await].into_iter().flatten().collect()
}

async fn queue(app: &App) -> Check {
    let poison_queue = format!("{}-poison", fulfillment::QUEUE);
    let (waiting, poison) = tokio::join!(app.queues.depth(fulfillment::QUEUE), app.queues.depth(&poison_queue));
    let error = waiting.as_ref().err().map(ToString::to_string);
    let detail = json!({ "waiting": waiting.ok(), "poison": poison.ok() });
    Check { name: "queue", error, since: None, vital: true, detail }
}

/// Whether usage reaches Microsoft. A failure or two pass by themselves; an hour of them is for a person.
async fn usage(app: &App) -> Option<Check> {
    app.marketplace.as_ref()?;
    let (error, since, detail) = match metering::submission(app).await {
        Ok(submission) => {
            let broken = submission.failures >= 3;
            (submission.error.filter(|_| broken), submission.succeeded, json!({ "failures": submission.failures }))
        }
        Err(error) => (Some(error.to_string()), None, Value::Null),
    };
    Some(Check { name: "usage_submission", error, since, vital: false, detail })
}

async fn keys(app: &App) -> Option<Check> {
    let tenant = app.settings.marketplace.as_ref()?.tenant_id.to_string();
    let (webhook, sign_in) = tokio::join!(app.keys.tenant(&tenant), app.keys.tenant("common"));
    let error = webhook.err().or(sign_in.err()).map(|error| error.to_string());
    Some(Check {
        name: "sign_in_keys",
        error,
        since: app.keys.fetched(&tenant).await,
        vital: false,
        detail: Value::Null,
    })
}

async fn token(app: &App) -> Option<Check> {
    let tokens = app.marketplace.as_ref()?.tokens();
    let error = tokens.current().await.err().map(|error| error.to_string());
    let age = tokens.age().await;
    Some(Check {
        name: "marketplace_token",
        error,
        since: age.map(|(fetched, _)| fetched),
        vital: false,
        detail: json!({ "expires": age.map(|(_, end)| end) }),
    })
}

/// `GET /health/ready`: 200 when requests can be served, 503 when not. "degraded" is 200: Microsoft being away must not
/// take us out of rotation too, for our pages say what is wrong.
pub async fn ready(app: Arc<App>, _request: Request) -> Result<Response, Problem> {
    let checks = checks(&app).await;
    let down = checks.iter().any(|check| check.vital && check.error.is_some());
    let degraded = checks.iter().any(|check| check.error.is_some());
    let now = app.clock.now();
    let mut states = serde_json::Map::new();
    for check in &checks {
        if let Some(error) = &check.error {
            tracing::warn!(check = check.name, %error, "not ready");
        }
        let state = if check.error.is_some() { "failing" } else { "ok" };
        let age = check.since.map(|since| now.duration_since(since).as_secs());
        // What exactly is wrong stands in the log: this answer is for everybody.
        states.insert(check.name.into(), json!({ "state": state, "age_seconds": age, "detail": check.detail }));
    }
    let status = if down {
        "down"
    } else if degraded {
        "degraded"
    } else {
        "ready"
    };
    let code = if down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(uncached(json(code, &json!({ "status": status, "checks": states }))))
}
