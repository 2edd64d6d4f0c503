//! The API keys of a subscription: list, create, revoke, rotate. A secret is in the answer to the form that made it and
//! nowhere else: not in an address, not in a log, not on the next load.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::captures;
use super::subscriptions::own;
use super::view::subscription_view;
use super::{budgets, key_terms};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::secret::Secret;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::api_keys::{self, LONGEST_NAME, MARK, MOST_KEYS};
use crate::identity::{Customer, KeyTerms, Scope, StoredKey};
use crate::pages::page;

/// So long does a key live on after its successor was made.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// The lifetimes to choose from, in days; besides them a key may live for ever.
const LIFETIMES: [i64; 3] = [30, 90, 365];
const FOR_EVER: &str = "never";

/// A key that was made a moment ago, with its secret.
struct Made {
    secret: Secret,
    key: StoredKey,
    replaced: Option<Replaced>,
}

/// What became of the key that a new one takes the place of.
struct Replaced {
    prefix: String,
    /// `false`: its end could not be written down; it lives on as before.
    ending: bool,
    /// Whether the new key has its budget, too; none where there is none.
    budget: Option<bool>,
}

/// What an answer says besides the list.
enum News<'a> {
    None,
    Made(Box<Made>),
    /// The form, the key it was about (none for a new one), and what is wrong with it.
    Refused(&'static str, &'a str, &'a Form, &'a Problem),
}

/// `GET /portal/subscriptions/{id}/keys`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    show(&app, &request, &customer, &row, News::None).await
}

/// `POST /portal/subscriptions/{id}/keys`. The answer is the page with the secret; what would be behind a redirect could
/// not show it.
pub async fn create(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let made = match wanted(&app, &form) {
        Ok((name, terms)) => make(&app, &customer, &row, name, terms).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok((secret, key)) => {
            show(&app, &request, &customer, &row, News::Made(Box::new(Made { secret, key, replaced: None }))).await
        }
        Err(problem) => refused(&app, &request, &customer, &row, "create", "", &form, problem).await,
    }
}

/// `POST /portal/subscriptions/{id}/keys/{prefix}/revoke`: at once, and for good.
pub async fn revoke(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let key = named(&app, &request, &row).await?;
    if form.get("confirm") != "yes" {
        let problem = Problem::bad_request("key_not_confirmed", "The key was not revoked.")
            .field("confirm")
            .remedy("Tick the box to confirm.");
        return refused(&app, &request, &customer, &row, "revoke", &key.prefix, &form, problem).await;
    }
    if !api_keys::end(&app, row.id, &key.prefix, SignedDuration::ZERO).await? {
        return Err(Problem::not_found());
    }
    Ok(uncached(redirect(&format!("{}?revoked={}", address(&row), key.prefix))))
}

/// `POST /portal/subscriptions/{id}/keys/{prefix}/rotate`: a new key of the same name that may do the same; the old one
/// ends a day later.
pub async fn rotate(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let old = named(&app, &request, &row).await?;
    let made = match expiry(&app, &form) {
        _ if !old.is_live(app.clock.now()) => {
            Err(Problem::conflict("key_not_live", "The key has ended already.").remedy("Create a new key instead."))
        }
        Ok(expires) => {
            make(&app, &customer, &row, &old.name, KeyTerms { expires, capture_until: None, ..old.terms.clone() }).await
        }
        Err(problem) => Err(problem),
    };
    let (secret, key) = match made {
        Ok(made) => made,
        Err(problem) => return refused(&app, &request, &customer, &row, "rotate", &old.prefix, &form, problem).await,
    };
    // The new key is there; whoever made it gets its secret, even if the old one can not be ended now.
    let ending = api_keys::end(&app, row.id, &old.prefix, OVERLAP).await.unwrap_or_else(|error| {
        tracing::warn!(subscription = %row.id, key = old.prefix, %error, "a rotated key was not given its end");
        false
    });
    let budget = match budgets::inherit(&app, &row, &old.prefix, &key.prefix).await {
        Ok(inherited) => inherited.then_some(true),
        Err(error) => {
            tracing::warn!(subscription = %row.id, key = old.prefix, %error, "a rotated key's budget was not passed on");
            Some(false)
        }
    };
    let replaced = Some(Replaced { prefix: old.prefix, ending, budget });
    show(&app, &request, &customer, &row, News::Made(Box::new(Made { secret, key, replaced }))).await
}

fn address(row: &Subscription) -> String {
    format!("/portal/subscriptions/{}/keys", row.id)
}

/// The key that the address names, if the subscription has it.
async fn named(app: &App, request: &Request, row: &Subscription) -> Result<StoredKey, Problem> {
    let keys = api_keys::list(app, row.id).await?;
    keys.into_iter().find(|key| key.prefix == request.param("prefix")).ok_or_else(Problem::not_found)
}

/// A new key's name and what it may do, as the form says.
fn wanted<'a>(app: &App, form: &'a Form) -> Result<(&'a str, KeyTerms), Problem> {
    let name = form.get("name");
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request("invalid_key_name", "The name is missing or too long.")
            .field("name")
            .remedy(format!("Enter 1 to {LONGEST_NAME} characters.")));
    }
    let (expires, limits) = (expiry(app, form)?, key_terms::limits(form)?);
    Ok((name, KeyTerms { expires, scopes: key_terms::scopes(form), limits, capture_until: None }))
}

/// When a key that is made now will end; None: never.
fn expiry(app: &App, form: &Form) -> Result<Option<Timestamp>, Problem> {
    Ok(lifetime(form.get("expires"))?.map(|lifetime| app.clock.now() + lifetime))
}

/// None: for ever.
fn lifetime(text: &str) -> Result<Option<SignedDuration>, Problem> {
    if text.is_empty() || text == FOR_EVER {
        return Ok(None);
    }
    let days = text.parse().ok().filter(|days| LIFETIMES.contains(days));
    days.map(|days: i64| Some(SignedDuration::from_hours(24 * days))).ok_or_else(|| {
        Problem::bad_request("invalid_key_expiry", "A key can not expire then.")
            .field("expires")
            .remedy("Choose one of the options.")
    })
}

async fn make(
    app: &App,
    customer: &Customer,
    row: &Subscription,
    name: &str,
    terms: KeyTerms,
) -> Result<(Secret, StoredKey), Problem> {
    if row.facts.status != Status::Subscribed {
        return Err(Problem::conflict("keys_need_active", "Only an active subscription can have new keys.")
            .remedy("The page of the subscription says what can be done."));
    }
    let user = customer.user();
    let by = if user.email.is_empty() { &user.name } else { &user.email };
    api_keys::create(app, row.id, name, by, terms).await?.ok_or_else(|| {
        Problem::conflict("too_many_keys", format!("There are {MOST_KEYS} live keys already."))
            .remedy("Revoke a key that is not used any more, then try again.")
    })
}

/// A form that was refused, as part of the page, with what was typed still in it.
#[expect(clippy::too_many_arguments, reason = "a form, what it is about, and who sent it")]
async fn refused(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    what: &'static str,
    prefix: &str,
    form: &Form,
    problem: Problem,
) -> Result<Response, Problem> {
    if problem.status.is_server_error() || !request.wants_page() {
        return Err(problem);
    }
    let mut response = show(app, request, customer, row, News::Refused(what, prefix, form, &problem)).await?;
    *response.status_mut() = problem.status;
    Ok(response)
}

async fn show(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    news: News<'_>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let known = api_keys::list(app, row.id).await;
    // A secret is shown even when the list can not be read: nobody could get it again.
    let listed = known.is_ok();
    let mut keys = match (known, &news) {
        (Err(_), News::Made(made)) => vec![made.key.clone()],
        (known, _) => known?,
    };
    // What is over stands last.
    keys.sort_by_key(|key| !key.is_live(now));
    let revoked = request.query("revoked");
    let revoked = keys.iter().find(|key| key.revoked.is_some() && Some(&key.prefix) == revoked.as_ref());
    let mut content = json!({
        "s": subscription_view(row, &[]),
        "address": address(row),
        "keys": keys.iter().map(|key| view(key, now)).collect::<Vec<_>>(),
        "all_listed": listed,
        "live": keys.iter().filter(|key| key.is_live(now)).count(),
        "most": MOST_KEYS,
        "longest_name": LONGEST_NAME,
        "lifetimes": LIFETIMES,
        "all_scopes": Scope::ALL,
        "all_limits": key_terms::LIMITS,
        "most_limit": key_terms::MOST,
        "capture_hours": captures::HOURS,
        "api": app.settings.absolute("/v1"),
        "sample": sample(&app.settings.absolute("/v1")),
        "revoked": revoked.map(|key| view(key, now)),
        "made": Value::Null,
        "error": Value::Null,
    });
    match news {
        News::None => {}
        News::Made(made) => {
            let Made { secret, key, replaced } = *made;
            let mut made = view(&key, now);
            made["secret"] = secret.expose().into();
            made["replaced"] = json!(
                replaced.map(|old| json!({ "shown": shown(&old.prefix), "ending": old.ending, "budget": old.budget }))
            );
            content["made"] = made;
        }
        News::Refused(what, prefix, form, problem) => {
            content["error"] = json!({
                "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field,
                "form": what, "prefix": prefix, "name": form.get("name"), "expires": form.get("expires"),
                "terms": key_terms::typed(form),
            });
        }
    }
    page(app, request, Some(&customer.session), "portal_keys.html", content)
}

/// A call that works as it stands, once the key is put in.
fn sample(api: &str) -> String {
    format!(
        r#"curl {api}/chat/completions \
  -H "Authorization: Bearer <key>" \
  -H "Content-Type: application/json" \
  -d '{{"model": "chat", "messages": [{{"role": "user", "content": "Hello"}}]}}'"#
    )
}

/// What everybody may see of a key.
fn shown(prefix: &str) -> String {
    format!("{MARK}-{prefix}-…")
}

fn view(key: &StoredKey, now: Timestamp) -> Value {
    let state = match key.revoked {
        Some(_) => "revoked",
        None if key.is_live(now) => "live",
        None => "expired",
    };
    // Its successor is offered the same lifetime.
    let days = key.terms.expires.map(|end| (end.duration_since(key.created).as_hours() + 12) / 24);
    json!({
        "prefix": key.prefix,
        "shown": shown(&key.prefix),
        "name": key.name,
        "state": state,
        "created": key.created,
        "created_by": key.created_by,
        "last_used": key.last_used,
        "expires": key.terms.expires,
        "terms": key_terms::view(&key.terms),
        "capture_until": key.terms.capture_until.filter(|until| *until > now),
        "revoked": key.revoked,
        "days": days.filter(|days| LIFETIMES.contains(days)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_as_long_as_one_of_the_offers_or_for_ever() {
        for (text, days) in [("", None), ("never", None), ("30", Some(30)), ("90", Some(90)), ("365", Some(365))] {
            let wanted = days.map(|days| SignedDuration::from_hours(24 * days));
            assert_eq!(lifetime(text).unwrap(), wanted, "{text}");
        }
        for text in ["0", "-30", "31", "30 days", "x"] {
            let problem = lifetime(text).unwrap_err();
            assert_eq!((problem.status, problem.field), (http::StatusCode::BAD_REQUEST, Some("expires")), "{text}");
        }
    }
}
