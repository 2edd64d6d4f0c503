//! Leads for staff: the inbox, one lead with everything that is known of it, and the addresses at which leads arrive.

pub mod addresses;
pub mod inbox;
pub mod one;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::erasure::is_pseudonym;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::identity::Staff;
use crate::leads::{Actor, Forward, Listed, Status};
use crate::pages::{page, wrong};

const INBOX: &str = "/publisher/leads";
const ADDRESSES: &str = "/publisher/leads-addresses";
const STATUSES: [Status; 5] =
    [Status::New, Status::Contacted, Status::Qualified, Status::Converted, Status::Disqualified];

/// The word by which rows, forms and texts know it.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn status(text: &str) -> Option<Status> {
    STATUSES.into_iter().find(|status| word(status) == text)
}

fn actor(staff: &Staff) -> Actor {
    Actor { id: staff.user().object_id.to_string(), name: name(staff) }
}

/// As which the history and the owner of a lead know somebody.
fn name(staff: &Staff) -> String {
    let user = staff.user();
    if user.name.is_empty() { &user.email } else { &user.name }.clone()
}

/// The codes that are explained; any other is shown as it came.
const ACTIONS: [&str; 5] = ["INS", "PLT", "DNC", "Create", "StartTestDrive"];

/// The spelling by which the texts know an action.
fn action_key(action: &str) -> Option<&'static str> {
    ACTIONS.into_iter().find(|known| known.eq_ignore_ascii_case(action))
}

fn line_view(line: &Listed) -> Value {
    json!({
        "id": line.id, "kind": line.kind, "began": line.began, "last": line.last, "arrivals": line.arrivals,
        "name": line.name, "company": line.company, "email": line.email, "offer": line.offer,
        "offer_title": line.offer_title, "action": line.action, "action_key": action_key(&line.action),
        "status": line.status, "owner": line.owner, "do_not_contact": line.do_not_contact,
        "erased": is_pseudonym(&line.email),
    })
}

/// A way to a destination as a badge shows it.
fn badge(forward: &Forward) -> Value {
    json!({ "destination": forward.destination, "state": forward.state })
}

/// Whether a refusal is shown on the page of the form.
fn is_page(request: &Request, problem: &Problem) -> bool {
    !problem.status.is_server_error() && problem.status != StatusCode::NOT_FOUND && request.wants_page()
}

/// A form that was refused: which one, why, and what was typed.
struct Refused<'a> {
    form: &'a str,
    typed: &'a Form,
    problem: &'a Problem,
}

/// The page, with what was refused on top and its status.
fn answer(
    app: &App,
    request: &Request,
    staff: &Staff,
    template: &str,
    mut content: Value,
    refused: Option<Refused<'_>>,
) -> Result<Response, Problem> {
    content["error"] = Value::Null;
    let Some(Refused { form, typed, problem }) = refused else {
        return page(app, request, Some(&staff.session), template, content);
    };
    let mut error = wrong(problem);
    error["form"] = form.into();
    for field in ["offer", "title", "owner", "note", "of", "company", "tenant", "status"] {
        error["typed"][field] = typed.get(field).into();
    }
    content["error"] = error;
    let mut response = page(app, request, Some(&staff.session), template, content)?;
    *response.status_mut() = problem.status;
    Ok(response)
}
