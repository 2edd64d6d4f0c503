//! The marketplace's fulfillment and operations API over HTTP, under `/api` (marketplace contract, sections 1 and
//! 2): who may call, which faults strike, and the shape of each answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Simulator;
use super::catalogue;
use super::http::{Reply, Request, empty, json_reply, with_header};
use super::model::Status;
use super::publisher::Refused;
use super::state::Turn;

const API_VERSION: &str = "2018-08-31";

/// The paths of the API.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    Resolve,
    Activate,
    List,
    One,
    Plans,
    Operations,
    Operation,
}

pub const ROUTES: &[(&str, Door)] = &[
    ("/api/saas/subscriptions/resolve", Door::Resolve),
    ("/api/saas/subscriptions", Door::List),
    ("/api/saas/subscriptions/", Door::List),
    ("/api/saas/subscriptions/{id}", Door::One),
    ("/api/saas/subscriptions/{id}/activate", Door::Activate),
    ("/api/saas/subscriptions/{id}/listAvailablePlans", Door::Plans),
    ("/api/saas/subscriptions/{id}/operations", Door::Operations),
    ("/api/saas/subscriptions/{id}/operations/{operation}", Door::Operation),
];

fn label(door: Door, method: &Method) -> Option<&'static str> {
    Some(match (door, method.as_str()) {
        (Door::Resolve, "POST") => "resolve",
        (Door::Activate, "POST") => "activate",
        (Door::List, "GET") => "list",
        (Door::One, "GET") => "get",
        (Door::One, "PATCH") => "patch",
        (Door::One, "DELETE") => "delete",
        (Door::Plans, "GET") => "plans",
        (Door::Operations, "GET") => "operations",
        (Door::Operation, "GET") => "operation.get",
        (Door::Operation, "PATCH") => "operation.patch",
        _ => return None,
    })
}

pub async fn answer(simulator: &Simulator, door: Door, request: &Request) -> Reply {
    let label = label(door, &request.method);
    let serve = |turn: &mut Turn<'_>| serve(simulator, turn, label.unwrap_or_default(), request);
    call(simulator, label, request, serve).await
}

/// What every call to the marketplace has in common: it is counted by its label, faults strike, the caller has to
/// prove who it is. Without a label the method is not allowed.
pub async fn call(
    simulator: &Simulator,
    label: Option<&'static str>,
    request: &Request,
    serve: impl FnOnce(&mut Turn<'_>) -> Reply,
) -> Reply {
    let reply = match label {
        Some(label) => {
            simulator.count(label);
            let delay = simulator.faults().get().delay_milliseconds;
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            fault(simulator)
                .or_else(|| refuse_caller(simulator, request))
                .or_else(|| refuse_version(request))
                .unwrap_or_else(|| simulator.turn(serve))
        }
        None => json_reply(405, &message("The method is not allowed here")),
    };
    echo(simulator, request, reply)
}

/// Microsoft makes up the two tracing headers where the caller sent none, and echoes them always.
fn echo(simulator: &Simulator, request: &Request, mut reply: Reply) -> Reply {
    for name in ["x-ms-requestid", "x-ms-correlationid"] {
        let value = request.header(name).map_or_else(|| simulator.new_id().to_string(), str::to_owned);
        reply = with_header(reply, HeaderName::from_static(name), &value);
    }
    reply
}

fn fault(simulator: &Simulator) -> Option<Reply> {
    let switches = simulator.faults().get();
    if switches.api_down {
        return Some(json_reply(503, &message("The service is unavailable")));
    }
    if simulator.faults().take(|switches| &mut switches.throttle_next) {
        let reply = json_reply(429, &message("Too many requests"));
        return Some(with_header(reply, RETRY_AFTER, &switches.retry_after_seconds.to_string()));
    }
    simulator
        .faults()
        .take(|switches| &mut switches.fail_next)
        .then(|| json_reply(switches.fail_status, &message("A fault that was asked for")))
}

fn refuse_caller(simulator: &Simulator, request: &Request) -> Option<Reply> {
    let Some(header) = request.header(AUTHORIZATION.as_str()) else {
        return Some(json_reply(401, &message("The Authorization header is missing")));
    };
    let scheme_and_token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let good = scheme_and_token.is_some_and(|(_, token)| simulator.accepts_access_token(token.trim()));
    if good && !simulator.faults().get().deny_tokens {
        return None;
    }
    // Seen in the field: one JSON string, not an object.
    let why = "The token is not valid, or the offer is published with another application id.";
    Some(json_reply(403, &Value::String(why.into())))
}

/// A missing or wrong version has an error shape of its own.
fn refuse_version(request: &Request) -> Option<Reply> {
    let (code, message) = match request.query("api-version") {
        Some(API_VERSION) => return None,
        None | Some("") => ("ApiVersionUnspecified", "An API version is required, but was not specified."),
        Some(_) => ("UnsupportedApiVersion", "The API version that was asked for is not supported."),
    };
    Some(json_reply(400, &json!({ "Error": { "Code": code, "Message": message } })))
}

fn message(text: &str) -> Value {
    json!({ "message": text })
}

fn problem(status: u16, code: &str, text: &str, target: &str) -> Reply {
    json_reply(status, &json!({ "code": code, "message": text, "target": target, "details": [] }))
}

fn refused(Refused(status, text): Refused) -> Reply {
    let code = match status {
        400 => "BadRequest",
        404 => "EntityNotFound",
        409 => "Conflict",
        _ => "InternalServerError",
    };
    problem(status, code, text, "subscription")
}

fn not_found() -> Reply {
    problem(404, "EntityNotFound", "The subscription was not found", "subscriptionId")
}

fn serve(simulator: &Simulator, turn: &mut Turn<'_>, label: &str, request: &Request) -> Reply {
    if label == "resolve" {
        return resolve(turn, request);
    }
    if label == "list" {
        return list(simulator, turn, request);
    }
    let Some(id) = request.id("id") else {
        return problem(400, "BadArgument", "The subscription id is not a GUID", "subscriptionId");
    };
    let operation = request.id("operation").unwrap_or_default();
    match label {
        "activate" => turn.activate(id, &request.json()).map_or_else(refused, |()| empty(200)),
        "get" => {
            turn.settle(id);
            turn.state.subscriptions.get(&id).map_or_else(not_found, |found| json_reply(200, &found.view()))
        }
        "plans" => plans(turn, id, request.query("planId")),
        "patch" => accepted(simulator, id, turn.change(id, &request.json())),
        "delete" => accepted(simulator, id, turn.cancel(id)),
        "operations" => json_reply(200, &turn.outstanding(id)),
        "operation.get" => match turn.look_at_operation(id, operation) {
            Some(view) => json_reply(200, &view),
            // Documented as 404, observed as 400.
            None if turn.faults.get().unknown_operation_is_404 => {
                problem(404, "EntityNotFound", "The operation was not found", "operationId")
            }
            None => problem(400, "BadRequest", "The operation was not found", "operationId"),
        },
        _ => turn.word_on_operation(id, operation, &request.json()).map_or_else(refused, |()| empty(200)),
    }
}

fn resolve(turn: &mut Turn<'_>, request: &Request) -> Reply {
    let Some(token) = request.header("x-ms-marketplace-token").filter(|token| !token.is_empty()) else {
        return problem(400, "HeaderNotPresent", "The marketplace token header is missing", "x-ms-marketplace-token");
    };
    let Some(id) = turn.resolve(token) else {
        let why = "Failed to decrypt the token, or it has expired";
        return problem(400, "InvalidValue", why, "x-ms-marketplace-token");
    };
    turn.settle(id);
    let Some(found) = turn.state.subscriptions.get(&id) else { return not_found() };
    let view = found.view();
    let mut body = json!({
        "id": id, "subscriptionName": found.name, "offerId": found.offer_id, "planId": found.plan_id,
    });
    if let Some(quantity) = view.get("quantity") {
        body["quantity"] = quantity.clone();
    }
    body["subscription"] = view;
    json_reply(200, &body)
}

/// All subscriptions, the ended ones too. Nothing sold yet is an empty body.
fn list(simulator: &Simulator, turn: &mut Turn<'_>, request: &Request) -> Reply {
    turn.settle_all();
    let continuation = request.query("continuationToken").filter(|token| !token.is_empty());
    let start = match continuation {
        None => 0,
        Some(token) => {
            let decoded = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded.and_then(|text| text.parse::<usize>().ok()) {
                Some(start) => start,
                None => return problem(400, "BadArgument", "The continuation token is not valid", "continuationToken"),
            }
        }
    };
    if turn.state.order.is_empty() {
        return empty(200);
    }
    let size = simulator.page_size();
    let page = turn.state.order.iter().skip(start).take(size);
    let views: Vec<Value> =
        page.filter_map(|id| turn.state.subscriptions.get(id)).map(super::model::Subscription::view).collect();
    let mut body = json!({ "subscriptions": views });
    let next = start.saturating_add(size);
    if next < turn.state.order.len() {
        let base = turn.faults.get().next_link_base.unwrap_or_else(|| simulator.api_url());
        let token = URL_SAFE_NO_PAD.encode(next.to_string());
        body["@nextLink"] =
            format!("{base}/saas/subscriptions/?continuationToken={token}&api-version={API_VERSION}").into();
    } else if continuation.is_some() {
        // The last page of several carries an empty link, a single page none: both are seen.
        body["@nextLink"] = "".into();
    }
    json_reply(200, &body)
}

fn plans(turn: &mut Turn<'_>, id: Uuid, only: Option<&str>) -> Reply {
    turn.settle(id);
    let Some(found) = turn.state.subscriptions.get(&id) else { return not_found() };
    if found.status == Status::Unsubscribed {
        return json_reply(403, &Value::String("The subscription was unsubscribed.".into()));
    }
    let plans: Vec<Value> = catalogue::PLANS
        .iter()
        .filter(|plan| only.is_none_or(|only| only == plan.id))
        .map(|plan| {
            let mut view = plan.view();
            if let Some(offer) = found.private_offer.filter(|_| only == Some(found.plan_id.as_str())) {
                view["sourceOffers"] = json!([{ "externalId": offer }]);
            }
            view
        })
        .collect();
    json_reply(200, &json!({ "plans": plans }))
}

fn accepted(simulator: &Simulator, id: Uuid, outcome: Result<Uuid, Refused>) -> Reply {
    match outcome {
        Ok(operation) => {
            let base = simulator.api_url();
            let location = format!("{base}/saas/subscriptions/{id}/operations/{operation}?api-version={API_VERSION}");
            let reply = with_header(empty(202), HeaderName::from_static("operation-location"), &location);
            with_header(reply, HeaderName::from_static("operation-id"), &operation.to_string())
        }
        Err(why) => refused(why),
    }
}
