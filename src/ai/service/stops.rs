//! The emergency stop: staff take a model, or a customer's calls, out of service at once, on every instance within
//! seconds.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `AiStops` | `all` | `model-<hex>` or `subscription-<id>` | who stopped it, when and why |

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::recent::Recent;
use crate::store::{self, RowRange, StoreError, Table, Write};

const STOPS: Table = Table("AiStops");
const ALL: &str = "all";

/// What is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Model(String),
    Subscription(SubscriptionId),
}

impl Target {
    fn row(&self) -> String {
        match self {
            Self::Model(name) => format!("model-{}", hex(name.as_bytes())),
            Self::Subscription(id) => format!("subscription-{id}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub target: Target,
    pub since: Timestamp,
    pub by: String,
    pub reason: String,
}

/// The list as it was read a moment ago.
pub type Stops = Recent<(), Arc<[Stop]>>;

pub async fn list(app: &App) -> Result<Vec<Stop>, StoreError> {
    let page = app.rows.query(STOPS, ALL, &RowRange::all(), 1000).await?;
    page.rows.iter().map(store::decode).collect()
}

fn forget(app: &App) {
    if let Some(ai) = &app.ai {
        ai.stops.forget(&());
    }
}

/// Stops a target; who stops it again gives another reason.
pub async fn stop(app: &App, stop: &Stop) -> Result<(), StoreError> {
    app.rows.write(STOPS, ALL, vec![Write::upsert(stop.target.row(), stop)?]).await?;
    forget(app);
    Ok(())
}

/// Lets a target go on.
pub async fn resume(app: &App, target: &Target) -> Result<(), StoreError> {
    app.rows.write(STOPS, ALL, vec![Write::Delete { key: target.row(), etag: None }]).await?;
    forget(app);
    Ok(())
}

/// Refuses what is stopped.
pub async fn check(app: &App, model: &str, subscription: SubscriptionId) -> Result<(), Problem> {
    let Some(ai) = &app.ai else { return Ok(()) };
    let now = app.clock.now();
    let stops = match ai.stops.get(&(), now) {
        Some(stops) => stops,
        None => {
            let stops: Arc<[Stop]> = list(app).await?.into();
            ai.stops.put((), Arc::clone(&stops), now);
            stops
        }
    };
    for stop in stops.iter() {
        match &stop.target {
            Target::Model(name) if name == model => {
                let title = "This model is out of service at the moment.";
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "model_stopped", title)
                    .remedy("Use another model; the operator of this service has stopped it.")
                    .field("model")
                    .final_answer());
            }
            Target::Subscription(id) if *id == subscription => {
                return Err(Problem::forbidden("access_stopped", "The calls of this subscription are stopped.")
                    .remedy("Ask the support of this service."));
            }
            _ => {}
        }
    }
    Ok(())
}
