//! Azure Resource Manager under `/arm`: who may call, which faults strike, and how one managed application looks
//! (marketplace contract, section 6.3). Listing them is Azure Resource Graph, in `graph`.

use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::super::Simulator;
use super::super::http::{Reply, Request, json_reply, with_header};
use super::super::state::Turn;
use super::super::{lock, people};
use super::graph;
use super::identity::{PRINCIPAL_ID, Wrong};

pub const ROUTE: &str = "/arm/{*path}";

const API_VERSIONS: &[&str] = &["2017-09-01", "2018-06-01", "2019-07-01", "2021-07-01"];

/// An error in ARM's shape.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    json_reply(status, &json!({ "error": { "code": code, "message": message } }))
}

/// What a path means, in lower case: ARM compares without regard to case.
enum Target {
    Application { subscription: String, group: String, name: String },
    Graph,
}

fn target(path: &str) -> Option<Target> {
    let parts: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().to_lowercase())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [
            "arm",
            "subscriptions",
            subscription,
            "resourcegroups",
            group,
            "providers",
            "microsoft.solutions",
            "applications",
            name,
        ] => Some(Target::Application {
            subscription: (*subscription).to_owned(),
            group: (*group).to_owned(),
            name: (*name).to_owned(),
        }),
        ["arm", "providers", "microsoft.resourcegraph", "resources"] => Some(Target::Graph),
        _ => None,
    }
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Reply {
    let (target, label) = match target(&request.path) {
        Some(target @ Target::Application { .. }) if request.method == Method::GET => (target, "arm.application"),
        Some(Target::Graph) if request.method == Method::POST => (Target::Graph, "arm.graph"),
        Some(_) => return error(405, "MethodNotAllowed", "The simulated Azure Resource Manager has no such method."),
        None => return error(404, "InvalidResourceType", "The simulated Azure Resource Manager has no such resource."),
    };
    simulator.count(label);
    let delay = simulator.faults().get().arm_delay_milliseconds;
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let reply = fault(simulator).or_else(|| refuse_caller(simulator, request)).unwrap_or_else(|| match &target {
        Target::Application { subscription, group, name } => {
            let version = refuse_version(request, API_VERSIONS);
            version.unwrap_or_else(|| simulator.turn(|turn| application(turn, subscription, group, name)))
        }
        Target::Graph => {
            let version = refuse_version(request, graph::API_VERSIONS);
            version.unwrap_or_else(|| simulator.turn(|turn| graph::answer(turn, &request.json())))
        }
    });
    let reply = with_header(reply, HeaderName::from_static("x-ms-request-id"), &simulator.new_id().to_string());
    with_header(reply, HeaderName::from_static("x-ms-correlation-request-id"), &simulator.new_id().to_string())
}

fn fault(simulator: &Simulator) -> Option<Reply> {
    let (faults, switches) = (simulator.faults(), simulator.faults().get());
    if switches.arm_down {
        return Some(error(503, "ServiceUnavailable", "The service is unavailable."));
    }
    if faults.take(|switches| &mut switches.arm_throttle_next) {
        let reply = error(429, "TooManyRequests", "The request is being throttled.");
        return Some(with_header(reply, RETRY_AFTER, &switches.arm_retry_after_seconds.to_string()));
    }
    let strikes = faults.take(|switches| &mut switches.arm_fail_next);
    strikes.then(|| error(switches.arm_fail_status, "InternalServerError", "A fault that was asked for."))
}

fn refuse_caller(simulator: &Simulator, request: &Request) -> Option<Reply> {
    let header = request.header(AUTHORIZATION.as_str());
    let token =
        header.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (code, why) = match token.map(|(_, token)| token.trim()) {
        None => ("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing or invalid."),
        Some(token) => match lock(&simulator.0.identity).judge_for_arm(token, simulator.base_now()) {
            Ok(()) => return None,
            Err(Wrong::Unknown) => ("InvalidAuthenticationToken", "The access token is invalid."),
            Err(Wrong::Expired) => ("ExpiredAuthenticationToken", "The access token expiry UTC time is in the past."),
            Err(Wrong::Audience) => (
                "InvalidAuthenticationTokenAudience",
                "The access token has been obtained for wrong audience or resource.",
            ),
        },
    };
    let challenge = format!(
        "Bearer authorization_uri=\"{}/{}\", error=\"invalid_token\", error_description=\"{why}\"",
        simulator.base_url(),
        people::PUBLISHER_TENANT
    );
    Some(with_header(error(401, code, why), WWW_AUTHENTICATE, &challenge))
}

fn refuse_version(request: &Request, known: &[&str]) -> Option<Reply> {
    let Some(version) = request.query("api-version").filter(|version| !version.is_empty()) else {
        let why = "The api-version query parameter (?api-version=) is required for all requests.";
        return Some(error(400, "MissingApiVersionParameter", why));
    };
    if known.contains(&version) {
        return None;
    }
    let why = format!("The api-version '{version}' is invalid. The supported versions are '{}'.", known.join(","));
    Some(error(400, "InvalidApiVersionParameter", &why))
}

fn application(turn: &mut Turn<'_>, subscription: &str, group: &str, name: &str) -> Reply {
    turn.settle_apps();
    let id = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{}/{name}", super::model::TYPE);
    let book = &turn.state.managed;
    let Some(app) = book.current(&id) else {
        let live = book.all().iter().any(|app| {
            let same = app.subscription.to_string() == subscription && app.resource_group.eq_ignore_ascii_case(group);
            same && !app.group_deleted
        });
        return if live { not_found(group, name) } else { no_group(group) };
    };
    if !app.publisher_access {
        let why = format!(
            "The client '{PRINCIPAL_ID}' with object id '{PRINCIPAL_ID}' does not have authorization to perform action \
             'Microsoft.Solutions/applications/read' over scope '{}' or the scope is invalid. If access was recently \
             granted, please refresh your credentials.",
            app.application_id
        );
        return error(403, "AuthorizationFailed", &why);
    }
    match (app.is_deleted(), app.group_deleted) {
        (true, true) => no_group(group),
        (true, false) => not_found(group, name),
        _ => json_reply(200, &app.resource()),
    }
}

fn not_found(group: &str, name: &str) -> Reply {
    let why = format!(
        "The Resource 'Microsoft.Solutions/applications/{name}' under resource group '{group}' was not found. For more \
         details please go to https://aka.ms/ARMResourceNotFoundFix"
    );
    error(404, "ResourceNotFound", &why)
}

fn no_group(group: &str) -> Reply {
    error(404, "ResourceGroupNotFound", &format!("Resource group '{group}' could not be found."))
}
