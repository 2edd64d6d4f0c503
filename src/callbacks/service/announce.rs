//! Something happened: it is written down, and has itself delivered.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Message, send};
use crate::app::App;
use crate::callbacks::model::event::{Event, EventKind, Owner};
use crate::callbacks::repo::{self, Open};
use crate::foundation::ids::EventId;
use crate::foundation::problem::Problem;
use crate::store::StoreError;

/// Writes an event down, once however often it is called with the same owner, kind, subject and time, and has it delivered
/// to the endpoints that want it now. Whoever calls it again after a failure loses nothing. Where an owner has no endpoint
/// at all, there is nobody to tell, now or later.
pub async fn announce(
    app: &App,
    owner: &Owner,
    kind: EventKind,
    subject: &str,
    at: Timestamp,
    data: Value,
) -> Result<(), Problem> {
    let event = Event::new(owner, kind, subject, at, &data, app.clock.now()).map_err(Problem::internal)?;
    tell(app, event).await.map(drop)
}

/// The same for an event that is made already.
pub async fn tell(app: &App, mut event: Event) -> Result<EventId, Problem> {
    let (owner, id) = (event.owner, event.id.clone());
    let known = match repo::event(app, &owner, &id).await? {
        Some((known, _)) => known,
        None => {
            let endpoints = repo::endpoints(app, &owner).await?;
            if endpoints.is_empty() {
                return Ok(id);
            }
            let live = endpoints.into_iter().filter(|endpoint| endpoint.disabled.is_none());
            let wants = live.filter(|endpoint| endpoint.wants(event.kind, &event.subject));
            event.to = wants.map(|endpoint| endpoint.id).collect();
            // Nobody listens: it is kept only for who will recover it.
            event.fanned_out = event.to.is_empty();
            if !event.fanned_out {
                repo::open(app, &Open::event(&event)).await?;
            }
            match repo::create_event(app, &event).await {
                Ok(()) => event,
                // Somebody announced it at the same time; a line of ours that is too many is removed by the timer.
                Err(StoreError::AlreadyExists) => match repo::event(app, &owner, &id).await? {
                    Some((known, _)) => known,
                    None => return Ok(id),
                },
                Err(error) => return Err(error.into()),
            }
        }
    };
    if !known.fanned_out {
        let message = Message { owner, endpoint: None, event: Some(id.clone()) };
        send(app, message, SignedDuration::ZERO).await;
    }
    Ok(id)
}
