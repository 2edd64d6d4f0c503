//! Endpoints: made, given a new secret, switched, removed.

use http::StatusCode;
use serde_json::json;

use super::announce::tell;
use super::deliver::prepare;
use super::{change, unknown};
use crate::app::App;
use crate::callbacks::model::endpoint::{Disabled, Endpoint, MOST_ENDPOINTS, MOST_SECRETS, Reason, Signing};
use crate::callbacks::model::event::{Event, EventKind, Owner};
use crate::callbacks::model::signature;
use crate::callbacks::repo;
use crate::foundation::ids::{EndpointId, EventId};
use crate::foundation::outbound::FetchError;
use crate::foundation::problem::Problem;
use crate::foundation::secret::Secret;

pub const LONGEST_URL: usize = 2_000;
pub const LONGEST_DESCRIPTION: usize = 100;

/// What a new endpoint should be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub url: String,
    pub description: String,
    /// None chosen: all.
    pub kinds: Vec<String>,
}

/// The endpoints of an owner, the oldest first.
pub async fn endpoints(app: &App, owner: &Owner) -> Result<Vec<Endpoint>, Problem> {
    Ok(repo::endpoints(app, owner).await?)
}

/// The endpoint of an id, if the owner has it.
pub async fn endpoint(app: &App, owner: &Owner, id: &str) -> Result<Endpoint, Problem> {
    let id: EndpointId = id.parse().map_err(|_| unknown())?;
    Ok(repo::endpoint(app, owner, &id).await?.ok_or_else(unknown)?.0)
}

/// Makes an endpoint. The secret is in the answer and is shown nowhere else.
pub async fn create(app: &App, owner: &Owner, wanted: &Wanted) -> Result<(Secret, Endpoint), Problem> {
    let kinds = kinds(owner, &wanted.kinds)?;
    if wanted.description.chars().count() > LONGEST_DESCRIPTION || wanted.description.chars().any(char::is_control) {
        return Err(Problem::bad_request("invalid_description", "The description is too long.")
            .field("description")
            .remedy(format!("Enter at most {LONGEST_DESCRIPTION} characters.")));
    }
    check(app, &wanted.url)?;
    if repo::endpoints(app, owner).await?.len() >= MOST_ENDPOINTS {
        return Err(Problem::conflict("too_many_endpoints", format!("There are {MOST_ENDPOINTS} endpoints already."))
            .remedy("Delete an endpoint that is not used any more, then try again."));
    }
    let (secret, now) = (secret(app), app.clock.now());
    let endpoint = Endpoint {
        id: EndpointId::new(now, &*app.random),
        owner: *owner,
        url: wanted.url.clone(),
        description: wanted.description.clone(),
        kinds,
        secrets: vec![Signing { secret: secret.clone(), until: None }],
        created: now,
        disabled: None,
        failing_since: None,
        recovery: None,
    };
    repo::create_endpoint(app, &endpoint).await?;
    Ok((secret, endpoint))
}

fn secret(app: &App) -> Secret {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    signature::secret(&bytes)
}

fn kinds(owner: &Owner, chosen: &[String]) -> Result<Option<Vec<EventKind>>, Problem> {
    let all = EventKind::choice(owner);
    let found: Option<Vec<EventKind>> =
        chosen.iter().map(|name| all.iter().find(|kind| kind.name() == name).copied()).collect();
    let mut found = found.ok_or_else(|| {
        Problem::bad_request("unknown_event", "There is no such event.")
            .field("kinds")
            .remedy("Choose among the events that are offered.")
    })?;
    found.sort_unstable();
    found.dedup();
    Ok(if found.is_empty() { None } else { Some(found) })
}

/// The rule of outward addresses, in words for whoever typed this one.
fn check(app: &App, url: &str) -> Result<(), Problem> {
    let wrong = |title: String| {
        Problem::bad_request("invalid_endpoint_url", title).field("url").remedy(
            "Enter an address of the public internet that begins with https:// and has no user name or password.",
        )
    };
    if url.is_empty() || url.len() > LONGEST_URL {
        return Err(wrong(format!("The address is missing or longer than {LONGEST_URL} characters.")));
    }
    match app.fetcher.check(url) {
        // A name is seen through when it is called; of this one everybody knows what it stands for.
        Ok(url) if url.scheme() == "https" && url.domain() == Some("localhost") => {
            Err(wrong(FetchError::Private.to_string()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Gives an endpoint a new secret; the old one signs along for a day.
pub async fn rotate(app: &App, owner: &Owner, id: &EndpointId) -> Result<(Secret, Endpoint), Problem> {
    let (secret, now) = (secret(app), app.clock.now());
    let (endpoint, ()) = change(app, owner, id, |endpoint| {
        if endpoint.rotate(secret.clone(), now) {
            return Ok((true, ()));
        }
        let title = format!("The endpoint has {MOST_SECRETS} secrets that sign at present.");
        Err(Problem::conflict("too_many_secrets", title)
            .remedy("Try again when one of them has ended; that takes a day."))
    })
    .await?;
    Ok((secret, endpoint))
}

/// Enables or disables an endpoint. What happens while it is disabled is not sent later, unless it is recovered.
pub async fn switch(app: &App, owner: &Owner, id: &EndpointId, on: bool) -> Result<Endpoint, Problem> {
    let now = app.clock.now();
    let (endpoint, ()) = change(app, owner, id, |endpoint| {
        if endpoint.disabled.is_none() == on {
            return Ok((false, ()));
        }
        if on {
            (endpoint.disabled, endpoint.failing_since) = (None, None);
        } else {
            endpoint.disabled = Some(Disabled { at: now, why: Reason::Asked });
        }
        Ok((true, ()))
    })
    .await?;
    Ok(endpoint)
}

/// Removes an endpoint with its secrets. Its deliveries end with their events.
pub async fn delete(app: &App, owner: &Owner, id: &EndpointId) -> Result<(), Problem> {
    Ok(repo::forget_endpoint(app, owner, id).await?)
}

/// An endpoint to which something can be sent.
pub(super) fn live(endpoint: &Endpoint) -> Result<(), Problem> {
    match endpoint.disabled {
        None => Ok(()),
        Some(_) => Err(Problem::new(StatusCode::CONFLICT, "endpoint_disabled", "The endpoint is disabled.")
            .remedy("Enable it first.")),
    }
}

/// Sends a test event to one endpoint, whatever events it has chosen.
pub async fn send_test(app: &App, owner: &Owner, id: &EndpointId) -> Result<EventId, Problem> {
    let endpoint = endpoint(app, owner, id.as_str()).await?;
    live(&endpoint)?;
    let now = app.clock.now();
    let data = json!({ "endpoint": id, "message": "This is a test." });
    let event = Event::new(owner, EventKind::Test, id.as_str(), now, &data, now).map_err(Problem::internal)?;
    let event = tell(app, event).await?;
    // Whoever asked for it sees at once that it waits; the message does the rest.
    prepare(app, owner, &event).await?;
    Ok(event)
}
