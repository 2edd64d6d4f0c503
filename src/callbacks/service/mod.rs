//! Verbs: announcing, delivering, the endpoints and their history, and what picks up that which came to a stop.

pub mod announce;
pub mod deliver;
pub mod endpoints;
pub mod history;
pub mod recover;
pub mod trying;
pub mod upkeep;

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::model::endpoint::Endpoint;
use super::model::event::Owner;
use super::repo;
use crate::app::App;
use crate::foundation::ids::{EndpointId, EventId};
use crate::foundation::problem::Problem;
use crate::store::StoreError;

const QUEUE: &str = "callbacks";
/// How often a write is tried whose row others write, too.
const ROUNDS: usize = 8;

/// A message: an event to fan out, a delivery to try (with an endpoint), or events to recover (an endpoint alone).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub owner: Owner,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
}

impl From<repo::Open> for Message {
    fn from(open: repo::Open) -> Self {
        Self { owner: open.owner, endpoint: open.endpoint, event: open.event }
    }
}

/// Sends what goes on with something open. When that fails, the timer finds the line of what is open.
async fn send(app: &App, message: Message, delay: SignedDuration) {
    let delay = Duration::try_from(delay).unwrap_or_default();
    let sent = match serde_json::to_string(&message) {
        Ok(text) => app.queues.send(QUEUE, &text, delay).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::warn!(?message, error, "the message of a callback was not sent; the timer will find it");
    }
}

/// What a message asks for.
pub async fn work(app: &App, message: Message) -> Result<(), Problem> {
    let owner = message.owner;
    match (message.endpoint, message.event) {
        (None, Some(event)) => deliver::fan_out(app, &owner, &event).await,
        (Some(endpoint), Some(event)) => deliver::attempt(app, &owner, &endpoint, &event).await,
        (Some(endpoint), None) => recover::slice(app, &owner, &endpoint).await,
        (None, None) => Ok(()),
    }
}

fn unknown() -> Problem {
    Problem::new(http::StatusCode::NOT_FOUND, "endpoint_not_found", "There is no such endpoint.")
}

/// Changes an endpoint's row, whoever else writes it meanwhile. `false` from `with`: nothing is to be written.
async fn change<T>(
    app: &App,
    owner: &Owner,
    id: &EndpointId,
    mut with: impl FnMut(&mut Endpoint) -> Result<(bool, T), Problem>,
) -> Result<(Endpoint, T), Problem> {
    let mut round = 0;
    loop {
        let (mut endpoint, etag) = repo::endpoint(app, owner, id).await?.ok_or_else(unknown)?;
        let (changed, told) = with(&mut endpoint)?;
        if !changed {
            return Ok((endpoint, told));
        }
        round += 1;
        match repo::save_endpoint(app, &endpoint, etag).await {
            Ok(_) => return Ok((endpoint, told)),
            Err(StoreError::Precondition) if round < ROUNDS => {}
            Err(error) => return Err(error.into()),
        }
    }
}
