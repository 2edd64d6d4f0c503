//! Verbs: what is held, a request, its work, and what the timer does.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::{Request, State};
use super::repo;
use crate::app::App;
use crate::callbacks::{self, Owner};
use crate::foundation::erasure::Erasure;
use crate::foundation::ids::{ObjectId, PrivacyId};
use crate::foundation::problem::Problem;
use crate::identity::{self, api_keys};
use crate::store::StoreError;
use crate::{fulfillment, leads, managed_apps};

const QUEUE: &str = "privacy";

/// The text of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub request: PrivacyId,
}

/// An e-mail address that somebody typed.
fn address(text: &str) -> Result<String, Problem> {
    let email = text.trim().to_lowercase();
    let whole = email.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'));
    let plain = email.len() <= 320 && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if whole && plain {
        return Ok(email);
    }
    Err(Problem::bad_request("invalid_email", "This is no e-mail address.")
        .field("email")
        .remedy("Enter an address such as name@example.com."))
}

/// Everything that is held of a person, by e-mail address.
pub async fn held(app: &App, email: &str) -> Result<Value, Problem> {
    let email = address(email)?;
    let (leads, subscriptions) =
        (leads::privacy::held(app, &email).await?, fulfillment::privacy::held(app, &email).await?);
    Ok(json!({ "email": email, "at": app.clock.now(), "leads": leads, "subscriptions": subscriptions }))
}

/// Writes down that a person is to be taken out, and has it done.
pub async fn request(app: &App, email: &str, by: ObjectId) -> Result<Request, Problem> {
    let email = address(email)?;
    let now = app.clock.now();
    let request = Request {
        id: PrivacyId::new(now, &*app.random),
        email: Some(email),
        token: Erasure::token(&*app.random),
        requested: now,
        by,
        state: State::Open,
        leads: 0,
        rows: 0,
    };
    repo::create(app, &request).await?;
    send(app, &request.id).await?;
    Ok(request)
}

async fn send(app: &App, id: &PrivacyId) -> Result<(), Problem> {
    let text = json!(Message { request: id.clone() }).to_string();
    Ok(app.queues.send(QUEUE, &text, Duration::ZERO).await?)
}

/// Every request, newest first.
pub async fn requests(app: &App) -> Result<Vec<Request>, StoreError> {
    repo::requests(app).await
}

/// Goes through everything once. What it takes out is not found again, so it may run twice and die anywhere.
pub async fn work(app: &App, id: &PrivacyId) -> Result<(), Problem> {
    let Some((mut request, etag)) = repo::request(app, id).await? else { return Ok(()) };
    // Done, but whoever did it may have died before the store forgot.
    let Some(email) = request.email.clone() else { return Ok(app.rows.forget().await?) };
    let subscriptions = fulfillment::privacy::of_person(app, &email).await?;
    let ids = fulfillment::privacy::object_ids(&subscriptions, &email);
    let mut erasure = ids.iter().fold(Erasure::new(&request.token, &email), |erasure, id| erasure.object_id(id.0));
    for name in fulfillment::privacy::names(app, &subscriptions, &ids).await? {
        erasure = erasure.string(&name);
    }
    request.rows += managed_apps::erase(app, &erasure).await?;
    // Anybody of a tenant can make keys, and they name their maker.
    for id in fulfillment::privacy::all(app).await? {
        request.rows += api_keys::erase_maker(app, id, &email, &erasure).await?;
    }
    request.leads += leads::privacy::erase(app, &email, &erasure).await?;
    let (ended, living): (Vec<_>, Vec<_>) = subscriptions.into_iter().partition(fulfillment::privacy::has_ended);
    for row in &ended {
        request.rows += api_keys::erase(app, row.id, &erasure).await?;
        request.rows += callbacks::erase(app, &Owner::Subscription(row.id), &erasure).await?;
        // Last: by it the others are found.
        request.rows += fulfillment::privacy::erase(app, row.id, &erasure).await?;
    }
    if living.is_empty() {
        request.rows += identity::end_all(app, &email).await?;
        request.email = None;
        request.state = State::Done { at: app.clock.now() };
    } else {
        request.state = State::Waiting { subscriptions: living.iter().map(|row| row.id).collect() };
    }
    match repo::save(app, &request, etag).await {
        // Somebody else did the same.
        Ok(()) | Err(StoreError::Precondition) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(app.rows.forget().await?)
}

/// What the timer does: goes on with what is not done, and takes the people out of leads whose time is over.
pub async fn keep(app: &App) -> Result<usize, Problem> {
    for request in repo::requests(app).await?.into_iter().filter(|request| request.email.is_some()) {
        send(app, &request.id).await?;
    }
    let mut erased = 0;
    let days = app.settings.lead_retention_days;
    if days > 0 {
        let before = app.clock.now() - SignedDuration::from_hours(24 * i64::from(days));
        erased = leads::privacy::expire(app, before).await?;
    }
    // Also what an earlier run took out and could not finish.
    app.rows.forget().await?;
    Ok(erased)
}
