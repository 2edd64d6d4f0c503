//! Microsoft's metering API (marketplace contract 5), on the fulfillment client's transport and token: the audience is
//! the marketplace for SaaS and for managed applications alike (5.6). Quantities leave as exact decimal text.

use std::collections::HashMap;
use std::fmt::Write as _;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::event::{Answer, UsageEvent, Verdict};
use super::model::hour::Hour;
use super::model::quantity::Quantity;
use super::model::resource::Resource;
use crate::app::App;
use crate::foundation::outbound::Patience;
use crate::fulfillment::ApiError;

/// Microsoft's limit for one batch.
pub const MOST_EVENTS: usize = 25;

type Key = (String, String, Hour);

/// One day of a resource's dimension as Microsoft has it (5.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUsage {
    /// Lower case.
    pub resource: String,
    pub dimension: String,
    pub plan: String,
    pub status: String,
    pub submitted: Quantity,
    pub processed: Quantity,
}

fn off() -> ApiError {
    ApiError::Denied("the marketplace is switched off (MARKETPLACE_MODE=false)".into())
}

/// Sends up to 25 events; one answer for each, in order. None: Microsoft's answer did not mention it.
pub async fn submit(app: &App, events: &[&UsageEvent]) -> Result<Vec<Option<Answer>>, ApiError> {
    let client = app.marketplace.as_ref().ok_or_else(off)?;
    let body = batch(events);
    let answer = client.exchange(Method::POST, "batchUsageEvent", "", Some(body), Patience::Rounds).await?;
    let Some(items) = answer["result"].as_array() else {
        return Err(ApiError::Unavailable("the answer to a batch of usage events has no results".into()));
    };
    // The order of the results is not promised.
    let mut answers: HashMap<Key, Answer> =
        items.iter().flat_map(|item| keys(item).into_iter().map(|key| (key, answer_of(item)))).collect();
    Ok(events.iter().map(|event| answers.remove(&own_key(event))).collect())
}

/// The batch as JSON text. Written here because quantities must keep every digit.
fn batch(events: &[&UsageEvent]) -> String {
    let mut text = String::from(r#"{"request":["#);
    for (index, event) in events.iter().enumerate() {
        let name = if matches!(event.resource, Resource::Uri(_)) { "resourceUri" } else { "resourceId" };
        let facts = json!({
            name: event.resource.to_string(), "dimension": event.dimension, "planId": event.plan,
            "effectiveStartTime": event.hour.start().to_string(),
        });
        let facts = facts.to_string();
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, r#"{comma}{{"quantity":{},{}"#, event.quantity, facts.trim_start_matches('{'));
    }
    text.push_str("]}");
    text
}

fn own_key(event: &UsageEvent) -> Key {
    (event.resource.to_string().to_lowercase(), event.dimension.to_lowercase(), event.hour)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The names under which an item may have been sent: an answer may carry `resourceId` and `resourceUri` both.
fn resources(item: &Value) -> impl Iterator<Item = String> + '_ {
    ["resourceId", "resourceUri"]
        .into_iter()
        .map(|name| text(item, name).to_lowercase())
        .filter(|name| !name.is_empty())
}

/// Times come back without a zone, and are UTC.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

fn keys(item: &Value) -> Vec<Key> {
    let Some(time) = time(text(item, "effectiveStartTime")) else { return Vec::new() };
    let dimension = text(item, "dimension").to_lowercase();
    resources(item).map(|resource| (resource, dimension.clone(), Hour::of(time))).collect()
}

fn answer_of(item: &Value) -> Answer {
    let status = text(item, "status").to_owned();
    let error = &item["error"];
    let details = error["details"].as_array().into_iter().flatten();
    let targets_time = details.clone().any(|detail| text(detail, "target") == "effectiveStartTime");
    let messages: Vec<&str> = std::iter::once(error)
        .chain(details)
        .map(|part| text(part, "message"))
        .filter(|said| !said.is_empty())
        .collect();
    let id = |value: &Value| text(value, "usageEventId").parse::<Uuid>().ok();
    let verdict = match status.as_str() {
        "Accepted" => Verdict::Accepted { quantity: Quantity::from_json(&item["quantity"]), id: id(item) },
        "Duplicate" => {
            let accepted = &error["additionalInfo"]["acceptedMessage"];
            Verdict::Duplicate { quantity: Quantity::from_json(&accepted["quantity"]), id: id(accepted) }
        }
        "Expired" => Verdict::Expired,
        "BadArgument" if targets_time => Verdict::Expired,
        "ResourceNotFound" => Verdict::NotFound,
        "ResourceNotAuthorized" => Verdict::NotAuthorized,
        "ResourceNotActive" => Verdict::NotActive,
        "InvalidDimension" => Verdict::InvalidDimension,
        "InvalidQuantity" | "BadArgument" => Verdict::Invalid,
        _ => Verdict::Error,
    };
    let message: String = messages.join(" ").chars().take(500).collect();
    Answer { verdict, status, message }
}

/// What Microsoft has booked for a day, such as `2026-03-02`.
pub async fn booked(app: &App, day: &str) -> Result<Vec<DayUsage>, ApiError> {
    let client = app.marketplace.as_ref().ok_or_else(off)?;
    let query = format!("&usageStartDate={day}&UsageEndDate={day}");
    let answer = client.exchange(Method::GET, "usageEvents", &query, None, Patience::Long).await?;
    let Some(rows) = answer.as_array() else {
        return Err(ApiError::Unavailable("the list of usage events is no list".into()));
    };
    let read = |row: &Value| {
        Some(DayUsage {
            resource: text(row, "usageResourceId").to_lowercase(),
            dimension: text(row, "dimension").to_owned(),
            plan: text(row, "planId").to_owned(),
            status: text(row, "reconStatus").to_owned(),
            submitted: Quantity::from_json(&row["submittedQuantity"])?,
            processed: Quantity::from_json(&row["processedQuantity"]).unwrap_or_default(),
        })
    };
    // The filter is ours as well: an answer for more days than asked must not be taken for one.
    let of_day = |row: &&Value| text(row, "usageDate").is_empty() || text(row, "usageDate").starts_with(day);
    rows.iter()
        .filter(of_day)
        .map(|row| {
            read(row)
                .ok_or_else(|| ApiError::Unavailable("an entry of the list of usage events has no quantity".into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shapes recorded from the real service (contract 5.2).
    #[test]
    fn recorded_answers_are_understood() {
        let duplicate = json!({"status": "Duplicate", "messageTime": "0001-01-01T00:00:00", "error": {"code": "Conflict", "message": "This usage event already exist.",
            "additionalInfo": {"acceptedMessage": {"usageEventId": "4d0c4bd0-9f21-4c0d-8c3c-0b5a2c8ae301", "status": "Duplicate", "quantity": 5.0}}},
            "resourceId": "37F9DEA2-4345-438F-B0BD-03D40D28C7E0", "quantity": 9.0, "dimension": "d", "effectiveStartTime": "2021-12-13T20:00:00", "planId": "p"});
        let answer = answer_of(&duplicate);
        assert!(matches!(answer.verdict, Verdict::Duplicate { quantity: Some(Quantity(5_000_000)), id: Some(_) }));
        assert_eq!(keys(&duplicate)[0].2.to_string(), "2021-12-13T20");
        let both = json!({"resourceId": "37F9DEA2-4345-438F-B0BD-03D40D28C7E0", "resourceUri": "/Subscriptions/x", "dimension": "D", "effectiveStartTime": "2021-12-13T20:00:00Z"});
        let names: Vec<_> =
            keys(&both).into_iter().map(|(resource, dimension, _)| format!("{resource} {dimension}")).collect();
        assert_eq!(names, ["37f9dea2-4345-438f-b0bd-03d40d28c7e0 d", "/subscriptions/x d"]);
        let expired = json!({"status": "Expired", "error": {"code": "BadArgument", "target": "usageEventRequest", "message": "One or more errors have occurred.",
            "details": [{"code": "BadArgument", "target": "effectiveStartTime", "message": "Too old."}]}, "dimension": "d"});
        let answer = answer_of(&expired);
        assert_eq!(answer.verdict, Verdict::Expired);
        assert_eq!(answer.message, "One or more errors have occurred. Too old.");
        assert_eq!(answer_of(&json!({"status": "SomethingNew"})).verdict, Verdict::Error);
        assert_eq!(answer_of(&json!({})).verdict, Verdict::Error);
    }
}
