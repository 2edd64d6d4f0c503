//! Sending again: one delivery, or all that an endpoint did not get since a time.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::endpoints::live;
use super::{Message, ROUNDS, change, send};
use crate::app::App;
use crate::callbacks::model::delivery::{Delivery, State};
use crate::callbacks::model::endpoint::{Endpoint, Recovery};
use crate::callbacks::model::event::{Event, EventKind, KEPT, Owner};
use crate::callbacks::repo::{self, Open};
use crate::foundation::ids::{EndpointId, EventId};
use crate::foundation::problem::Problem;
use crate::store::StoreError;

/// Events that one message looks at.
const SLICE: usize = 50;

/// What should be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Whatever came of it before.
    Any,
    /// Only what the endpoint did not get.
    Missed,
}

/// Sends one event to an endpoint again, now, whatever came of it before; the schedule begins anew.
pub async fn resend(app: &App, owner: &Owner, id: &EndpointId, event: &str) -> Result<(), Problem> {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "event_not_found", "The event is not kept any more.");
    let event: EventId = event.parse().map_err(|_| gone())?;
    let (endpoint, _) = repo::endpoint(app, owner, id).await?.ok_or_else(super::unknown)?;
    live(&endpoint)?;
    let (event, _) = repo::event(app, owner, &event).await?.ok_or_else(gone)?;
    // An id from elsewhere must not lead an event to an endpoint that it is not for.
    let delivery = repo::delivery(app, id, &event.id).await?.ok_or_else(gone)?.0;
    if delivery.is_held(app.clock.now()) {
        return Err(Problem::conflict("delivery_under_way", "The event is being sent at this moment.")
            .remedy("Look again in a minute."));
    }
    again(app, &endpoint, &event, Which::Any).await
}

/// Has everything sent again that the endpoint did not get since a time: what failed, what waits for a later try, and what
/// happened while it was disabled or not there yet. What it got is not repeated.
pub async fn recover(app: &App, owner: &Owner, id: &EndpointId, since: Timestamp) -> Result<(), Problem> {
    let now = app.clock.now();
    if since > now || now.duration_since(since) > KEPT {
        return Err(Problem::bad_request("invalid_since", "Events are kept for 30 days.")
            .field("since")
            .remedy("Enter a day of the last 30 days."));
    }
    repo::open(app, &Open::recovery(owner, id, now)).await?;
    change(app, owner, id, |endpoint| {
        live(endpoint)?;
        endpoint.recovery = Some(Recovery { since, after: None, due: now });
        Ok((true, ()))
    })
    .await?;
    send(app, Message { owner: *owner, endpoint: Some(id.clone()), event: None }, SignedDuration::ZERO).await;
    Ok(())
}

/// Looks at some events of a recovery, and passes it on.
pub async fn slice(app: &App, owner: &Owner, id: &EndpointId) -> Result<(), Problem> {
    let Some((endpoint, _)) = repo::endpoint(app, owner, id).await? else { return Ok(()) };
    let Some(recovery) = endpoint.recovery.clone() else { return Ok(()) };
    let (events, more) = match live(&endpoint) {
        Ok(()) => repo::events(app, owner, recovery.after.as_ref(), SLICE).await?,
        Err(_) => (Vec::new(), false),
    };
    let wanted = |event: &&Event| event.kind != EventKind::Test && endpoint.wants(event.kind, &event.subject);
    let recent: Vec<&Event> = events.iter().take_while(|event| event.at >= recovery.since).collect();
    for event in recent.iter().copied().filter(wanted) {
        again(app, &endpoint, event, Which::Missed).await?;
    }
    let next = recent.last().filter(|_| more && recent.len() == events.len()).map(|last| Recovery {
        after: Some(last.id.clone()),
        due: app.clock.now(),
        ..recovery.clone()
    });
    if let Some(next) = &next {
        repo::open(app, &Open::recovery(owner, id, next.due)).await?;
    }
    let (_, passed_on) = change(app, owner, id, |endpoint| {
        // Another message may have passed it on, or somebody asked for a new one.
        let ours = endpoint.recovery.as_ref() == Some(&recovery);
        if ours {
            endpoint.recovery.clone_from(&next);
        }
        Ok((ours, ours && next.is_some()))
    })
    .await?;
    if next.as_ref().is_none_or(|next| next.due != recovery.due) {
        repo::close(app, &Open::recovery(owner, id, recovery.due)).await?;
    }
    if passed_on {
        send(app, Message { owner: *owner, endpoint: Some(id.clone()), event: None }, SignedDuration::ZERO).await;
    }
    Ok(())
}

/// Makes a delivery due now, if it is one of those meant.
async fn again(app: &App, endpoint: &Endpoint, event: &Event, which: Which) -> Result<(), Problem> {
    let (owner, now) = (&event.owner, app.clock.now());
    for _ in 0..ROUNDS {
        let known = repo::delivery(app, &endpoint.id, &event.id).await?;
        let written = match known {
            None => {
                belongs(app, event, &endpoint.id).await?;
                let delivery = Delivery::new(event, &endpoint.id, now);
                repo::open(app, &Open::delivery(owner, &delivery)).await?;
                repo::create_delivery(app, &delivery).await
            }
            Some((delivery, _)) if which == Which::Missed && delivery.state == State::Delivered => return Ok(()),
            // It is being tried, or will be at once.
            Some((delivery, _)) if delivery.is_held(now) => return Ok(()),
            Some((delivery, _)) if delivery.state == State::Waiting && delivery.due <= now => return Ok(()),
            Some((mut delivery, etag)) => {
                let was = Open::delivery(owner, &delivery);
                delivery.again(now);
                repo::open(app, &Open::delivery(owner, &delivery)).await?;
                let written = repo::save_delivery(app, &delivery, etag).await.map(drop);
                if written.is_ok() && was.due != now {
                    repo::close(app, &was).await?;
                }
                written
            }
        };
        match written {
            Ok(()) => {
                let (endpoint, event) = (Some(endpoint.id.clone()), Some(event.id.clone()));
                send(app, Message { owner: *owner, endpoint, event }, SignedDuration::ZERO).await;
                return Ok(());
            }
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}

/// Names the endpoint among those of the event, so that the delivery ends with it.
async fn belongs(app: &App, event: &Event, endpoint: &EndpointId) -> Result<(), Problem> {
    for _ in 0..ROUNDS {
        let Some((mut stored, etag)) = repo::event(app, &event.owner, &event.id).await? else { return Ok(()) };
        if stored.to.contains(endpoint) {
            return Ok(());
        }
        stored.to.push(endpoint.clone());
        match repo::save_event(app, &stored, etag).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}
