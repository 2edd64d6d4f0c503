//! The marketplace's metering API over HTTP (marketplace contract, section 5): single events, batches, and reading
//! back what was booked. The rules are in `usage.rs`; callers are let in as at the fulfillment API.

use std::collections::BTreeMap;

use http::Method;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Simulator;
use super::catalogue::{self, OFFER_ID};
use super::fulfillment;
use super::http::{Reply, Request, json_reply};
use super::millionths;
use super::model::seven_digits;
use super::state::Turn;
use super::usage::{BookedUsage, ReconStatus, Verdict, moment};

/// The paths of the API.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    One,
    Batch,
    ReadBack,
}

pub const ROUTES: &[(&str, Door)] =
    &[("/api/usageEvent", Door::One), ("/api/batchUsageEvent", Door::Batch), ("/api/usageEvents", Door::ReadBack)];

const LARGEST_BATCH: usize = 25;

pub async fn answer(simulator: &Simulator, door: Door, request: &Request) -> Reply {
    let label = match (door, request.method == Method::POST, request.method == Method::GET) {
        (Door::One, true, _) => Some("usage"),
        (Door::Batch, true, _) => Some("usage.batch"),
        (Door::ReadBack, _, true) => Some("usage.list"),
        _ => None,
    };
    fulfillment::call(simulator, label, request, |turn| serve(turn, door, request)).await
}

fn serve(turn: &mut Turn<'_>, door: Door, request: &Request) -> Reply {
    let switches = turn.faults.get();
    if switches.metering_down || switches.metering_down_until.is_some_and(|until| turn.now < until) {
        return json_reply(503, &json!({ "message": "The service is unavailable" }));
    }
    let reply = match door {
        Door::ReadBack => return read_back(turn, request),
        Door::One => one(turn, &request.json()),
        Door::Batch => batch(turn, &request.json()),
    };
    if turn.faults.take(|switches| &mut switches.metering_drop_answer_next) {
        return json_reply(500, &json!({ "message": "The answer was lost, as was asked for" }));
    }
    reply
}

/// The common shape of what is wrong with a request or an item.
fn bad_argument(target: &str, why: &str) -> Value {
    json!({
        "code": "BadArgument", "message": "One or more errors have occurred.", "target": "usageEventRequest",
        "details": [{ "code": "BadArgument", "message": why, "target": target }],
    })
}

fn explain(status: &str) -> &'static str {
    match status {
        "Duplicate" => "This usage event already exist.",
        "Expired" => "The effectiveStartTime is in the future or more than 24 hours ago.",
        "ResourceNotFound" => "The resource is not found or not active.",
        "ResourceNotAuthorized" => "The token's application may not send usage for this resource.",
        "ResourceNotActive" => "The resource is suspended or was never activated.",
        "InvalidDimension" => "The dimension is not enabled for this plan.",
        "InvalidQuantity" => "The quantity has to be greater than 0, and no finer than a millionth.",
        "BadArgument" => "The field is missing or malformed.",
        _ => "An internal error occurred.",
    }
}

fn conflict(accepted: Option<Value>) -> Value {
    let mut error = json!({ "code": "Conflict", "message": explain("Duplicate") });
    if let Some(accepted) = accepted {
        error["additionalInfo"] = json!({ "acceptedMessage": accepted });
    }
    error
}

/// What is wrong, by the status of the item.
fn error(status: &str, target: &str) -> Value {
    match status {
        "Duplicate" => conflict(None),
        "ResourceNotAuthorized" => json!({ "code": "Forbidden", "message": explain(status) }),
        "Error" => json!({ "code": "InternalServerError", "message": explain(status) }),
        _ => bad_argument(target, explain(status)),
    }
}

fn with_z(at: Timestamp) -> String {
    at.to_string()
}

/// Observed in batches: the zone is missing.
fn without_z(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).datetime().to_string()
}

/// Booked usage as a message, with the resource's name in the field it was sent in.
fn message(usage: &BookedUsage, status: &str, time: fn(Timestamp) -> String) -> Value {
    let (resource, name) = match &usage.resource_uri {
        Some(uri) => ("resourceUri", uri),
        None if Uuid::parse_str(&usage.resource).is_ok() => ("resourceId", &usage.resource),
        None => ("resourceUri", &usage.resource),
    };
    json!({
        "usageEventId": usage.usage_event_id, "status": status, "messageTime": seven_digits(usage.booked_at),
        resource: name, "quantity": millionths::json(usage.quantity), "dimension": usage.dimension,
        "effectiveStartTime": time(usage.effective_start), "planId": usage.plan,
    })
}

/// Microsoft gives the names of resources back as they were sent.
fn accepted(usage: &BookedUsage, item: &Value) -> Value {
    let mut message = message(usage, "Accepted", with_z);
    for name in ["resourceId", "resourceUri"] {
        if let Some(sent) = item.get(name).filter(|sent| !sent.is_null()) {
            message[name] = sent.clone();
        }
    }
    message
}

fn one(turn: &mut Turn<'_>, item: &Value) -> Reply {
    match turn.take_usage(item, false) {
        Verdict::Accepted(usage) => json_reply(200, &accepted(&usage, item)),
        Verdict::Duplicate(usage) => json_reply(409, &conflict(Some(message(&usage, "Duplicate", with_z)))),
        Verdict::Refused(status, target) => {
            let code = match status.as_ref() {
                "Duplicate" => 409,
                "ResourceNotAuthorized" => 403,
                "Error" => 500,
                _ => 400,
            };
            json_reply(code, &error(&status, target))
        }
    }
}

/// The results are in the opposite order of the events: Microsoft promises none, and callers must not count on one.
fn batch(turn: &mut Turn<'_>, body: &Value) -> Reply {
    let Some(items) = body.get("request").and_then(Value::as_array).filter(|items| !items.is_empty()) else {
        return json_reply(400, &bad_argument("request", "The request holds no usage events."));
    };
    if items.len() > LARGEST_BATCH {
        return json_reply(400, &bad_argument("request", "A batch holds at most 25 usage events."));
    }
    let mut results: Vec<Value> = items.iter().map(|item| batch_result(turn, item)).collect();
    results.reverse();
    json_reply(200, &json!({ "count": results.len(), "result": results }))
}

fn batch_result(turn: &mut Turn<'_>, item: &Value) -> Value {
    let (status, error) = match turn.take_usage(item, true) {
        Verdict::Accepted(usage) => return accepted(&usage, item),
        Verdict::Duplicate(usage) => ("Duplicate".into(), conflict(Some(message(&usage, "Duplicate", without_z)))),
        Verdict::Refused(status, target) => {
            let error = error(&status, target);
            (status, error)
        }
    };
    // Observed: what was not booked may have no time of its own.
    let mut result = json!({ "status": status, "messageTime": "0001-01-01T00:00:00", "error": error });
    for name in ["resourceId", "resourceUri", "quantity", "dimension", "effectiveStartTime", "planId"] {
        if let Some(sent) = item.get(name) {
            result[name] = sent.clone();
        }
    }
    if let Some(at) = item.get("effectiveStartTime").and_then(Value::as_str).and_then(moment) {
        result["effectiveStartTime"] = without_z(at).into();
    }
    result
}

/// One row of the read-back stands for all usage with the same key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RowKey<'a> {
    day: Date,
    resource: &'a str,
    dimension: &'a str,
    plan: &'a str,
    recon: ReconStatus,
}

/// In millionths.
#[derive(Default)]
struct RowSums {
    submitted: i128,
    processed: i128,
    count: u64,
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// A bare array by day. Both ends of the range are whole days and belong to it.
fn read_back(turn: &Turn<'_>, request: &Request) -> Reply {
    let refuse = |name: &str| json_reply(400, &bad_argument(name, "A date or a date and time is needed here."));
    let Some(first) = request.query("usageStartDate").and_then(moment).map(day_of) else {
        return refuse("usageStartDate");
    };
    let last = match request.query("UsageEndDate").filter(|text| !text.is_empty()).map(moment) {
        None => Date::MAX,
        Some(Some(end)) => day_of(end),
        Some(None) => return refuse("UsageEndDate"),
    };
    let wanted = |name: &str, value: &str| request.query(name).is_none_or(|only| only.is_empty() || only == value);
    let mut rows: BTreeMap<RowKey<'_>, RowSums> = BTreeMap::new();
    for usage in turn.state.usage.entries() {
        let key = RowKey {
            day: day_of(usage.hour),
            resource: &usage.resource,
            dimension: &usage.dimension,
            plan: &usage.plan,
            recon: usage.recon_status(turn.now),
        };
        let chosen = (first..=last).contains(&key.day)
            && wanted("offerId", offer_of(turn, key.resource).0)
            && wanted("planId", key.plan)
            && wanted("dimension", key.dimension)
            && wanted("reconStatus", key.recon.name());
        if chosen {
            let sums = rows.entry(key).or_default();
            sums.submitted = sums.submitted.saturating_add(usage.quantity);
            sums.processed = sums.processed.saturating_add(usage.processed(turn.now));
            sums.count += 1;
        }
    }
    json_reply(200, &rows.iter().map(|(key, sums)| row(turn, key, sums)).collect())
}

/// Offer id and type. How Microsoft names the type of a managed app's offer was not recorded.
fn offer_of<'a>(turn: &'a Turn<'_>, resource: &str) -> (&'a str, &'static str) {
    match Uuid::parse_str(resource) {
        Ok(id) if turn.state.managed.by_usage_id(id).is_some() => {
            (turn.state.managed.by_usage_id(id).map_or("", |app| app.product.as_str()), "ManagedApplication")
        }
        Ok(id) => (turn.state.subscriptions.get(&id).map_or("", |found| found.offer_id.as_str()), "SaaS"),
        Err(_) => (OFFER_ID, "ManagedApplication"),
    }
}

fn row(turn: &Turn<'_>, key: &RowKey<'_>, sums: &RowSums) -> Value {
    let (offer, offer_type) = offer_of(turn, key.resource);
    json!({
        "usageDate": with_z(midnight(key.day)), "usageResourceId": key.resource, "dimension": key.dimension,
        "planId": key.plan, "planName": catalogue::plan(key.plan).map_or("", |plan| plan.name),
        // Observed: names may be empty.
        "offerId": offer, "offerName": "", "offerType": offer_type, "azureSubscriptionId": Uuid::nil(),
        "reconStatus": key.recon, "submittedQuantity": millionths::json(sums.submitted),
        "processedQuantity": millionths::json(sums.processed), "submittedCount": sums.count,
    })
}

fn midnight(day: Date) -> Timestamp {
    let start = day.to_datetime(civil::Time::midnight()).to_zoned(TimeZone::UTC);
    start.map(|start| start.timestamp()).unwrap_or_default()
}
