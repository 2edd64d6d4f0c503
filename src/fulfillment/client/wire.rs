//! Reading what Microsoft sends: answers and webhooks. This is the one place that is lenient. Fields may be missing,
//! null, empty, padded, numbers as texts; unknown fields are passed over (marketplace contract 1.9, 3.2).

use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::ApiError;
use crate::foundation::ids::{OperationId, SubscriptionId};
use crate::fulfillment::model::facts::{Dimension, Facts, Party, Plan, Price, Status, Term};
use crate::fulfillment::model::operation::{Action, RemoteOperation, RemoteStatus, Source};

/// What a purchase token stands for.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub id: SubscriptionId,
    pub facts: Facts,
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn filled(value: &Value) -> Option<String> {
    Some(text(value)).filter(|text| !text.is_empty())
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| text(value).parse().ok())
}

/// A moment in any of the forms seen: with and without `Z`, with seven digits, a date alone. The year 1 is "none".
pub fn moment(value: &Value) -> Option<Timestamp> {
    let text = filled(value)?;
    let parsed = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp()))
        .or_else(|| text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp()));
    parsed.filter(|at| at.as_second() > -2_000_000_000)
}

fn party(value: &Value) -> Party {
    Party {
        tenant_id: text(&value["tenantId"]).parse().ok(),
        object_id: text(&value["objectId"]).parse().ok(),
        email: text(&value["emailId"]),
    }
}

pub fn id(value: &Value) -> Option<SubscriptionId> {
    text(&value["id"]).parse().ok()
}

/// A subscription object. None when it has no plan or status: then it is not one.
pub fn facts(value: &Value) -> Option<Facts> {
    let allowed: Vec<String> = value["allowedCustomerOperations"].as_array().into_iter().flatten().map(text).collect();
    let allows = |word: &str| allowed.iter().any(|given| given.eq_ignore_ascii_case(word));
    Some(Facts {
        name: text(&value["name"]),
        offer_id: text(&value["offerId"]),
        plan_id: filled(&value["planId"])?,
        quantity: whole(&value["quantity"]).filter(|quantity| *quantity > 0),
        status: Status::parse(&filled(&value["saasSubscriptionStatus"])?),
        beneficiary: party(&value["beneficiary"]),
        purchaser: party(&value["purchaser"]),
        term: Term {
            start: moment(&value["term"]["startDate"]),
            end: moment(&value["term"]["endDate"]),
            unit: text(&value["term"]["termUnit"]),
        },
        auto_renew: value["autoRenew"].as_bool().unwrap_or(false),
        is_free_trial: value["isFreeTrial"].as_bool().unwrap_or(false),
        is_test: value["isTest"].as_bool().unwrap_or(false) || text(&value["sessionMode"]) == "DryRun",
        may_update: allows("Update"),
        may_delete: allows("Delete"),
        created: moment(&value["created"]),
    })
}

/// The answer to Resolve: the outer fields are the fresher ones where both are there.
pub fn resolved(value: &Value) -> Option<Resolved> {
    let mut object = value["subscription"].clone();
    let object_map = object.as_object_mut()?;
    for (outer, inner) in [
        ("id", "id"),
        ("subscriptionName", "name"),
        ("offerId", "offerId"),
        ("planId", "planId"),
        ("quantity", "quantity"),
    ] {
        if filled(&value[outer]).is_some() {
            object_map.insert(inner.into(), value[outer].clone());
        }
    }
    Some(Resolved { id: id(&object)?, facts: facts(&object)? })
}

/// The continuation token of the next page, after checking that the link stays on the API's host: the contract's own
/// sample has a malformed link, and a foreign host must never be given our access token.
pub fn next_page(body: &Value, base: &str) -> Result<Option<String>, ApiError> {
    let Some(link) = filled(&body["@nextLink"]).or_else(|| filled(&body["nextLink"])) else { return Ok(None) };
    let tidy = link.rsplit_once("https:// ").map_or(link.as_str(), |(_, rest)| rest).trim();
    let foreign =
        || ApiError::Unavailable("the list of subscriptions continues on another host; it was not followed".into());
    let next = url::Url::parse(tidy).map_err(|_| foreign())?;
    let api = url::Url::parse(base).map_err(|_| foreign())?;
    if next.origin() != api.origin() {
        return Err(foreign());
    }
    Ok(next
        .query_pairs()
        .find(|(key, _)| key.eq_ignore_ascii_case("continuationToken"))
        .map(|(_, token)| token.into_owned()))
}

pub fn plans(body: &Value) -> Vec<Plan> {
    let price = |value: &Value| Price {
        currency: text(&value["currency"]),
        amount: text(&value["price"]),
        term_unit: text(&value["termUnit"]),
        included: value["meteredQuantityIncluded"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|unit| (text(&unit["dimensionId"]), text(&unit["units"])))
            .collect(),
    };
    let dimension = |value: &Value| Dimension {
        id: text(&value["id"]),
        name: text(&value["displayName"]),
        unit: text(&value["unitOfMeasure"]),
        currency: text(&value["currency"]),
        price_per_unit: text(&value["pricePerUnit"]),
    };
    let plan = |value: &Value| {
        let id = filled(&value["planId"])?;
        let components = &value["planComponents"];
        Some(Plan {
            name: filled(&value["displayName"]).unwrap_or_else(|| id.clone()),
            id,
            description: text(&value["description"]),
            per_seat: value["isPricePerSeat"].as_bool().unwrap_or(false),
            min_quantity: whole(&value["minQuantity"]),
            max_quantity: whole(&value["maxQuantity"]),
            has_free_trial: value["hasFreeTrials"].as_bool().unwrap_or(false),
            is_private: value["isPrivate"].as_bool().unwrap_or(false),
            prices: components["recurrentBillingTerms"].as_array().into_iter().flatten().map(price).collect(),
            dimensions: components["meteringDimensions"].as_array().into_iter().flatten().map(dimension).collect(),
        })
    };
    body["plans"].as_array().into_iter().flatten().filter_map(plan).collect()
}

/// The plans that can be chosen: those whose sale was stopped can be kept only.
pub fn plans_on_sale(body: &Value) -> Vec<Plan> {
    let mut on_sale = body.clone();
    if let Some(plans) = on_sale["plans"].as_array_mut() {
        plans.retain(|plan| !plan["isStopSell"].as_bool().unwrap_or(false));
    }
    plans(&on_sale)
}

pub fn operation(body: &Value) -> RemoteOperation {
    if !body.is_object() {
        return RemoteOperation::NotFound;
    }
    RemoteOperation::Found {
        status: RemoteStatus::parse(&text(&body["status"])),
        action: Action::parse(&text(&body["action"])),
        plan: filled(&body["planId"]),
        quantity: whole(&body["quantity"]),
    }
}

pub fn open_operations(body: &Value) -> Vec<(OperationId, Action, Option<String>, Option<u64>)> {
    let entry = |value: &Value| {
        Some((
            text(&value["id"]).parse().ok()?,
            Action::parse(&text(&value["action"])),
            filled(&value["planId"]),
            whole(&value["quantity"]),
        ))
    };
    body["operations"].as_array().into_iter().flatten().filter_map(entry).collect()
}

/// The operation id at the end of an `Operation-Location`, or alone.
pub fn operation_in(location: &str) -> Option<OperationId> {
    location.split(['?', '#']).next()?.trim_end_matches('/').rsplit('/').next()?.parse().ok()
}

/// A message for a person out of any of the error shapes: an object in two spellings, a JSON text, or none.
pub fn error_message(status: StatusCode, text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let message = body["message"]
        .as_str()
        .or_else(|| body["Error"]["Message"].as_str())
        .or_else(|| body["error"]["message"].as_str())
        .or_else(|| body.as_str());
    let message = message.unwrap_or("no message").chars().take(300).collect::<String>();
    format!("{message} (status {})", status.as_u16())
}

/// A webhook's body.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub operation: OperationId,
    pub subscription: SubscriptionId,
    pub action: Action,
    pub plan: Option<String>,
    pub quantity: Option<u64>,
    pub source: Source,
}

impl Webhook {
    /// Reads a webhook's body. The error names the field without which nothing can be done.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(body).map_err(|_| "the body")?;
        if !value.is_object() {
            return Err("the body");
        }
        // The emulator misspells the field.
        let source = filled(&value["operationRequestSource"])
            .or_else(|| filled(&value["operationRequestedSource"]))
            .unwrap_or_default();
        Ok(Self {
            operation: text(&value["id"]).parse().map_err(|_| "id")?,
            subscription: text(&value["subscriptionId"]).parse().map_err(|_| "subscriptionId")?,
            action: Action::parse(&filled(&value["action"]).ok_or("action")?),
            plan: filled(&value["planId"]),
            quantity: whole(&value["quantity"]),
            source: if source.eq_ignore_ascii_case("Partner") { Source::Partner } else { Source::Marketplace },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn padded_missing_and_odd_fields_are_read() {
        let read = facts(&json!({
            "planId": " silver ", "saasSubscriptionStatus": " Subscribed ", "quantity": "20", "beneficiary": {"puid": null, "emailId": null},
            "term": {"startDate": "2022-03-07T00:00:00", "endDate": "2023-03-06", "termUnit": "P1Y"}, "created": "2022-03-07T01:02:03.1234567Z",
            "lastModified": "0001-01-01T00:00:00", "somethingNew": {"a": 1}
        }))
        .unwrap();
        assert_eq!((read.plan_id.as_str(), read.status, read.quantity), ("silver", Status::Subscribed, Some(20)));
        assert_eq!(read.term.end.unwrap().to_string(), "2023-03-06T00:00:00Z");
        assert!(read.created.is_some());
        assert_eq!(moment(&json!("0001-01-01T00:00:00")), None);
    }

    #[test]
    fn the_minimal_webhook_is_enough() {
        let body = json!({"id": "be750acb-00aa-4a02-86bc-476cbe66d7fa", "activityId": "x", "subscriptionId": "37F9DEA2-4345-438f-b0bd-03d40d28c7e0",
            "operationRequestSource": "Azure", "timeStamp": "2018-12-01T00:00:00", "action": "Renew", "quantity": "", "planId": null});
        let read = Webhook::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (read.action, read.plan, read.quantity, read.source),
            (Action::Renew, None, None, Source::Marketplace)
        );
    }

    #[test]
    fn a_next_page_on_another_host_is_not_followed() {
        let base = "https://marketplaceapi.microsoft.com/api";
        let page = |link: &str| next_page(&json!({"@nextLink": link}), base);
        assert_eq!(page("https:// https://marketplaceapi.microsoft.com/api/saas/subscriptions/?continuationToken=a%2Bb&api-version=1").unwrap().as_deref(), Some("a+b"));
        assert!(page("https://evil.example/api?continuationToken=x").is_err());
        assert!(page("https://marketplaceapi.microsoft.com.evil.example/?continuationToken=x").is_err());
        assert_eq!(page("").unwrap(), None);
        assert_eq!(next_page(&Value::Null, base).unwrap(), None);
    }

    #[test]
    fn operation_ids_are_found_in_locations() {
        let id = "74dfb4db-c193-4891-827d-eb05fbdc64b0";
        for location in [
            format!("https://x/api/saas/subscriptions/s/operations/{id}?api-version=1"),
            id.to_owned(),
            format!("/operations/{id}/"),
        ] {
            assert_eq!(operation_in(&location).unwrap().to_string(), id, "{location}");
        }
        assert_eq!(operation_in("https://x/none"), None);
    }

    proptest! {
        #[test]
        fn rubbish_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Webhook::read(&bytes);
            let _ = error_message(StatusCode::BAD_REQUEST, &String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_types_in_any_field_are_borne(id in json_leaf(), action in json_leaf(), quantity in json_leaf(), status in json_leaf(), term in json_leaf()) {
            let body = json!({"id": id, "subscriptionId": id, "action": action, "quantity": quantity, "planId": action, "saasSubscriptionStatus": status, "term": term,
                "beneficiary": term, "allowedCustomerOperations": status});
            let _ = Webhook::read(body.to_string().as_bytes());
            let _ = facts(&body);
            let _ = resolved(&json!({"subscription": body, "quantity": quantity}));
            let _ = plans(&json!({"plans": [body]}));
        }
    }

    fn json_leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            Just(json!({"startDate": "9999-99-99", "tenantId": 7})),
            Just(json!([1, "Update", null])),
        ]
    }
}
