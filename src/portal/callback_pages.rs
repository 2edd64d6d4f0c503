//! The pages of callback endpoints, for whoever owns them: customers in the portal, the publisher in the staff's pages. A
//! secret is in the answer to the form that made it and nowhere else.

use http::StatusCode;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::app::App;
use crate::callbacks::{self, Endpoint, EventKind, KEPT, MOST_ENDPOINTS, Owner, State, Told, Wanted};
use crate::foundation::problem::Problem;
use crate::foundation::secret::Secret;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::Session;
use crate::pages::page;

const PAGE: usize = 20;
/// A try that is due so soon, or was, is waited for by the page.
const SOON: SignedDuration = SignedDuration::from_secs(10);

/// Whose endpoints these are, and where their pages stand.
pub struct Place<'a> {
    pub owner: Owner,
    /// Of the list.
    pub address: String,
    pub session: &'a Session,
    pub may_act: bool,
    pub may_create: bool,
    /// The subscription, as pages show it; null for the publisher.
    pub subscription: Value,
}

/// What an answer says besides the page.
enum News<'a> {
    None,
    Made(Secret),
    /// The form that was refused, what was typed, and what is wrong with it.
    Refused(&'a str, &'a Form, &'a Problem),
}

/// The endpoints of the place.
pub async fn list(app: &App, request: &Request, place: &Place<'_>) -> Result<Response, Problem> {
    show_list(app, request, place, None, News::None).await
}

/// A new endpoint. The answer is the page with its secret; what would be behind a redirect could not show it.
pub async fn create(app: &App, request: &Request, place: &Place<'_>, form: &Form) -> Result<Response, Problem> {
    let chosen = EventKind::choice(&place.owner).iter().map(|kind| kind.name());
    let wanted = Wanted {
        url: form.get("url").to_owned(),
        description: form.get("description").to_owned(),
        kinds: chosen.filter(|name| !form.get(&format!("kind-{name}")).is_empty()).map(str::to_owned).collect(),
    };
    let made = if place.may_create {
        callbacks::create(app, &place.owner, &wanted).await
    } else {
        Err(Problem::conflict("callbacks_need_active", "Only an active subscription can have new endpoints.")
            .remedy("The page of the subscription says what can be done."))
    };
    match made {
        Ok((secret, endpoint)) => show_list(app, request, place, Some(&endpoint), News::Made(secret)).await,
        Err(problem) if is_page(request, &problem) => {
            show_list(app, request, place, None, News::Refused("create", form, &problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// One endpoint with its deliveries.
pub async fn one(app: &App, request: &Request, place: &Place<'_>) -> Result<Response, Problem> {
    let endpoint = callbacks::endpoint(app, &place.owner, request.param("endpoint")).await?;
    show_one(app, request, place, &endpoint, News::None).await
}

/// What a button of that page asks for.
pub async fn act(app: &App, request: &Request, place: &Place<'_>, form: &Form) -> Result<Response, Problem> {
    let (owner, action) = (&place.owner, request.param("action"));
    let endpoint = callbacks::endpoint(app, owner, request.param("endpoint")).await?;
    let id = &endpoint.id;
    let done = match action {
        "rotate" => match callbacks::rotate(app, owner, id).await {
            Ok((secret, endpoint)) => return show_one(app, request, place, &endpoint, News::Made(secret)).await,
            Err(problem) => Err(problem),
        },
        "enable" | "disable" => callbacks::switch(app, owner, id, action == "enable").await.map(drop),
        "delete" if form.get("confirm") != "yes" => {
            Err(Problem::bad_request("endpoint_not_confirmed", "The endpoint was not deleted.")
                .field("confirm")
                .remedy("Tick the box to confirm."))
        }
        "delete" => callbacks::delete(app, owner, id).await,
        "test" => callbacks::send_test(app, owner, id).await.map(drop),
        "resend" => callbacks::resend(app, owner, id, form.get("event")).await,
        "recover" => match since(form.get("since")) {
            Ok(since) => callbacks::recover(app, owner, id, since).await,
            Err(problem) => Err(problem),
        },
        _ => return Err(Problem::not_found()),
    };
    match done {
        Ok(()) if action == "delete" => Ok(uncached(redirect(&format!("{}?deleted", place.address)))),
        Ok(()) => Ok(uncached(redirect(&format!("{}/{id}?done={action}", place.address)))),
        Err(problem) if is_page(request, &problem) => {
            show_one(app, request, place, &endpoint, News::Refused(action, form, &problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// A day, from its beginning, or a time.
fn since(text: &str) -> Result<Timestamp, Problem> {
    let day = text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|day| day.timestamp());
    text.parse().ok().or(day).ok_or_else(|| {
        Problem::bad_request("invalid_since", "This is no time.")
            .field("since")
            .remedy("Enter a day of the last 30 days.")
    })
}

fn is_page(request: &Request, problem: &Problem) -> bool {
    !problem.status.is_server_error() && problem.status != StatusCode::NOT_FOUND && request.wants_page()
}

async fn show_list(
    app: &App,
    request: &Request,
    place: &Place<'_>,
    made: Option<&Endpoint>,
    news: News<'_>,
) -> Result<Response, Problem> {
    let endpoints = callbacks::endpoints(app, &place.owner).await?;
    let mut content = frame(place);
    content["endpoints"] = endpoints.iter().map(view).collect();
    content["kinds"] = EventKind::choice(&place.owner).iter().map(|kind| kind.name()).collect();
    content["most"] = MOST_ENDPOINTS.into();
    content["deleted"] = request.query("deleted").is_some().into();
    content["endpoint"] = made.map(view).unwrap_or_default();
    answer(app, request, place, "callbacks.html", content, news)
}

async fn show_one(
    app: &App,
    request: &Request,
    place: &Place<'_>,
    endpoint: &Endpoint,
    news: News<'_>,
) -> Result<Response, Problem> {
    let after = request.query("after");
    let now = app.clock.now();
    let (told, more) = callbacks::deliveries(app, endpoint, after.as_deref(), PAGE).await?;
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().to_string();
    let mut content = frame(place);
    content["endpoint"] = view(endpoint);
    content["old_until"] = json!(endpoint.secrets.iter().filter_map(|held| held.until).filter(|end| *end > now).max());
    content["deliveries"] = told.iter().map(|told| delivery_view(told, now)).collect();
    content["next"] = json!(told.last().filter(|_| more).map(|told| &told.delivery.event));
    content["first"] = after.is_none().into();
    content["busy"] = (endpoint.recovery.is_some() || told.iter().any(|told| is_busy(told, now))).into();
    content["done"] = json!(request.query("done"));
    content["earliest"] = day(now - KEPT + SignedDuration::from_hours(24)).into();
    content["today"] = day(now).into();
    answer(app, request, place, "callback.html", content, news)
}

fn frame(place: &Place<'_>) -> Value {
    json!({
        "s": place.subscription, "address": place.address, "may_act": place.may_act, "may_create": place.may_create,
        "secret": null, "error": null,
    })
}

fn answer(
    app: &App,
    request: &Request,
    place: &Place<'_>,
    template: &str,
    mut content: Value,
    news: News<'_>,
) -> Result<Response, Problem> {
    let mut status = StatusCode::OK;
    match news {
        News::None => {}
        News::Made(secret) => content["secret"] = secret.expose().into(),
        News::Refused(what, form, problem) => {
            status = problem.status;
            let kinds: Vec<&str> = EventKind::choice(&place.owner)
                .iter()
                .map(|kind| kind.name())
                .filter(|name| !form.get(&format!("kind-{name}")).is_empty())
                .collect();
            content["error"] = json!({
                "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field,
                "form": what, "url": form.get("url"), "description": form.get("description"), "kinds": kinds,
                "since": form.get("since"),
            });
        }
    }
    let mut response = page(app, request, Some(place.session), template, content)?;
    *response.status_mut() = status;
    Ok(response)
}

/// An endpoint without its secrets.
fn view(endpoint: &Endpoint) -> Value {
    let state = match (endpoint.disabled, endpoint.failing_since) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "failing",
        (None, None) => "live",
    };
    json!({
        "id": endpoint.id, "url": endpoint.url, "description": endpoint.description, "kinds": endpoint.kinds,
        "created": endpoint.created, "state": state, "disabled": endpoint.disabled,
        "failing_since": endpoint.failing_since, "recovering": endpoint.recovery.as_ref().map(|recovery| recovery.since),
    })
}

fn delivery_view(told: &Told, now: Timestamp) -> Value {
    let delivery = &told.delivery;
    json!({
        "event": delivery.event, "kind": delivery.kind, "subject": delivery.subject, "at": delivery.at,
        "state": delivery.state, "held": delivery.is_held(now), "next": delivery.due,
        "attempts": delivery.attempts.iter().rev().collect::<Vec<_>>(), "body": told.body,
    })
}

/// Whether there is news in a moment.
fn is_busy(told: &Told, now: Timestamp) -> bool {
    let delivery = &told.delivery;
    delivery.state == State::Waiting && delivery.due <= now + SOON && delivery.due > now - SOON * 3
}
