//! From an event to its deliveries, and one try of one of them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use super::{Message, ROUNDS, change, send};
use crate::app::App;
use crate::callbacks::model::delivery::{Attempt, Delivery, HELD, Outcome, State, Turn, printable};
use crate::callbacks::model::endpoint::{Endpoint, Health};
use crate::callbacks::model::event::{Event, Owner};
use crate::callbacks::model::signature::sign;
use crate::callbacks::repo::{self, Open};
use crate::foundation::ids::{EndpointId, EventId};
use crate::foundation::outbound::{Posted, retry_after_or_date};
use crate::foundation::problem::Problem;
use crate::store::{Etag, StoreError};

/// Longest time for one try.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes that are read of an answer that is no success.
const MOST_READ: usize = 1024;
/// A message that comes so little before its time is sent again; any other was overtaken.
const NEARLY: SignedDuration = SignedDuration::from_secs(60);

/// Gives each endpoint of an event its delivery, and tries those whose time has come.
pub async fn fan_out(app: &App, owner: &Owner, id: &EventId) -> Result<(), Problem> {
    let Some(event) = prepare(app, owner, id).await? else { return Ok(()) };
    let tries = event.to.iter().map(|endpoint| attempt(app, owner, endpoint, id));
    join_all(tries).await.into_iter().collect()
}

/// Makes the deliveries of an event, if nobody has yet.
pub(super) async fn prepare(app: &App, owner: &Owner, id: &EventId) -> Result<Option<Event>, Problem> {
    for _ in 0..ROUNDS {
        let Some((mut event, etag)) = repo::event(app, owner, id).await? else { return Ok(None) };
        if event.fanned_out {
            return Ok(Some(event));
        }
        for endpoint in &event.to {
            let delivery = Delivery::new(&event, endpoint, app.clock.now());
            if repo::delivery(app, endpoint, id).await?.is_some() {
                continue;
            }
            repo::open(app, &Open::delivery(owner, &delivery)).await?;
            match repo::create_delivery(app, &delivery).await {
                // Another message made it; that line is too many, and the timer removes it.
                Ok(()) | Err(StoreError::AlreadyExists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        event.fanned_out = true;
        match repo::save_event(app, &event, etag).await {
            Ok(_) => {
                repo::close(app, &Open::event(&event)).await?;
                return Ok(Some(event));
            }
            // Another message did the same, or an endpoint recovers it.
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}

/// Tries a delivery, if its time has come and nobody else is at it.
pub async fn attempt(app: &App, owner: &Owner, endpoint: &EndpointId, id: &EventId) -> Result<(), Problem> {
    let Some((delivery, etag)) = repo::delivery(app, endpoint, id).await? else { return Ok(()) };
    match delivery.turn(app.clock.now()) {
        Turn::Mine => {}
        Turn::Held => return Ok(()),
        Turn::Early(left) => {
            if left < NEARLY {
                again_in(app, owner, &delivery, left).await;
            }
            return Ok(());
        }
        Turn::Over => return Ok(repo::close(app, &Open::delivery(owner, &delivery)).await?),
    }
    let found = repo::endpoint(app, owner, endpoint).await?.map(|(endpoint, _)| endpoint);
    let event = repo::event(app, owner, id).await?.map(|(event, _)| event);
    match (found.filter(|endpoint| endpoint.disabled.is_none()), event) {
        (Some(endpoint), Some(event)) => match app.trying.enter(&endpoint) {
            Some(_leave) => try_it(app, &endpoint, &event, delivery, etag).await,
            None => {
                let (was_due, mut delivery) = (delivery.due, delivery);
                delivery.postpone(byte(app), app.clock.now());
                settle(app, owner, was_due, &delivery, etag).await
            }
        },
        _ => {
            let mut delivery = delivery;
            delivery.give_up();
            settle(app, owner, delivery.due, &delivery, etag).await
        }
    }
}

async fn again_in(app: &App, owner: &Owner, delivery: &Delivery, wait: SignedDuration) {
    let (endpoint, event) = (Some(delivery.endpoint.clone()), Some(delivery.event.clone()));
    send(app, Message { owner: *owner, endpoint, event }, wait).await;
}

async fn try_it(
    app: &App,
    endpoint: &Endpoint,
    event: &Event,
    mut delivery: Delivery,
    etag: Etag,
) -> Result<(), Problem> {
    delivery.held = Some(app.clock.now() + HELD);
    let etag = match repo::save_delivery(app, &delivery, etag).await {
        Ok(etag) => etag,
        // Another message came at the same time.
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let outcome = post(app, endpoint, event).await;
    let health = match &outcome {
        outcome if outcome.success => Health::Fine,
        outcome if outcome.gone => Health::Gone,
        _ => Health::Failed,
    };
    let was_due = delivery.due;
    delivery.tell(outcome, byte(app), app.clock.now());
    // The delivery first: what arrived must not be sent again because of how the endpoint's row fares.
    settle(app, &event.owner, was_due, &delivery, etag).await?;
    note(app, endpoint, health).await;
    Ok(())
}

fn byte(app: &App) -> u8 {
    let mut byte = [0];
    app.random.fill(&mut byte);
    byte[0]
}

/// Writes down what came of a try, and sees to the next one.
async fn settle(app: &App, owner: &Owner, was_due: Timestamp, delivery: &Delivery, etag: Etag) -> Result<(), Problem> {
    let waits = delivery.state == State::Waiting;
    if waits {
        repo::open(app, &Open::delivery(owner, delivery)).await?;
    }
    match repo::save_delivery(app, delivery, etag).await {
        Ok(_) => {}
        // It took longer than a try may; whoever took over writes what holds.
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if waits {
        again_in(app, owner, delivery, delivery.due.duration_since(app.clock.now())).await;
    }
    if !waits || was_due != delivery.due {
        let line = Open { due: was_due, ..Open::delivery(owner, delivery) };
        repo::close(app, &line).await?;
    }
    Ok(())
}

/// Takes down how the endpoint fares. A failure to do so is none of the delivery.
async fn note(app: &App, endpoint: &Endpoint, health: Health) {
    if health == Health::Fine && endpoint.failing_since.is_none() {
        return;
    }
    let now = app.clock.now();
    let noted = change(app, &endpoint.owner, &endpoint.id, |endpoint| {
        let was_live = endpoint.disabled.is_none();
        let changed = endpoint.tell(health, now);
        Ok((changed, was_live && endpoint.disabled.is_some()))
    });
    match noted.await {
        Ok((_, false)) => {}
        Ok((endpoint, true)) => {
            tracing::warn!(owner = %endpoint.owner, endpoint = %endpoint.id, disabled = ?endpoint.disabled, "a callback endpoint is disabled");
        }
        Err(problem) => tracing::warn!(endpoint = %endpoint.id, %problem, "an endpoint's health was not written down"),
    }
}

/// One signed request.
async fn post(app: &App, endpoint: &Endpoint, event: &Event) -> Outcome {
    let at = app.clock.now();
    let began = tokio::time::Instant::now();
    let body = Bytes::from(event.body.clone());
    let answer = match headers(endpoint, event, at) {
        Some(headers) => app.fetcher.post(&endpoint.url, headers, body, PATIENCE, MOST_READ).await,
        None => return failed(at, 0, "The headers can not be made.".to_owned()),
    };
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match answer {
        Ok(answer) => answered(at, milliseconds, &answer),
        Err(error) => failed(at, milliseconds, error.to_string()),
    }
}

fn headers(endpoint: &Endpoint, event: &Event, at: Timestamp) -> Option<HeaderMap> {
    let seconds = at.as_second();
    let signature = sign(endpoint.signing(at), event.id.as_str(), seconds, &event.body);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(event.id.as_str()).ok()?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
    headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

fn failed(at: Timestamp, milliseconds: u64, error: String) -> Outcome {
    Outcome { attempt: Attempt { at, status: None, milliseconds, error }, success: false, gone: false, wait: None }
}

fn answered(at: Timestamp, milliseconds: u64, answer: &Posted) -> Outcome {
    let status = answer.status;
    let slow_down = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let error = if status.is_success() { String::new() } else { printable(&answer.beginning) };
    Outcome {
        attempt: Attempt { at, status: Some(status.as_u16()), milliseconds, error },
        success: status.is_success(),
        gone: status == StatusCode::GONE,
        wait: if slow_down { retry_after_or_date(&answer.headers, at) } else { None },
    }
}
