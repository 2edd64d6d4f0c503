//! Reads notifications as Microsoft sends them (marketplace contract 6.2): the one place that is lenient.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::heard::{Event, Failure, Heard, Plan, What};
use crate::metering::model::resource::Resource;

/// Real bodies have about 1 kB; errors of deployments can be long.
const LONGEST_BODY: usize = 32 * 1024;
const LONGEST_MESSAGE: usize = 8 * 1024;
const MOST_DETAILS: usize = 20;
const LONGEST_ID: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    application_id: String,
    #[serde(default)]
    event_time: String,
    #[serde(default)]
    provisioning_state: String,
    #[serde(default)]
    billing_details: Value,
    #[serde(default)]
    plan: Option<Plan>,
    #[serde(default)]
    application_definition_id: Value,
    #[serde(default)]
    error: Value,
}

/// What is wrong with a body: the field, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {wrong}")]
pub struct Unreadable {
    pub field: &'static str,
    pub wrong: String,
}

fn cut(text: &str, longest: usize) -> String {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A time of Microsoft's; one without a zone is UTC.
fn time(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok().or_else(|| format!("{}Z", text.trim()).parse().ok())
}

/// `error` of a notification or of a resource; the details may be nested or missing.
pub fn failure(error: &Value) -> Option<Failure> {
    let object = error.as_object()?;
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).map(|text| cut(text, LONGEST_MESSAGE)).unwrap_or_default()
    };
    if object.is_empty() {
        return None;
    }
    let details = object.get("details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Some(Failure {
        code: text(error, "code"),
        message: text(error, "message"),
        details: details
            .iter()
            .take(MOST_DETAILS)
            .map(|detail| (text(detail, "code"), cut(&text(detail, "message"), LONGEST_MESSAGE / 8)))
            .collect(),
    })
}

/// `billingDetails.resourceUsageId`, which may be empty while nothing is provisioned.
pub fn usage_id(billing: &Value) -> Option<Uuid> {
    Uuid::try_parse(billing.get("resourceUsageId")?.as_str()?.trim()).ok()
}

/// A marketplace or service-catalog notification.
pub fn read(body: &[u8], received: Timestamp) -> Result<Heard, Unreadable> {
    let wrong = |field, wrong: &str| Unreadable { field, wrong: wrong.to_owned() };
    let parsed: Body = serde_json::from_slice(body)
        .map_err(|error| wrong("body", &format!("is no notification of a managed application: {error}")))?;
    for (field, value) in [("eventType", &parsed.event_type), ("provisioningState", &parsed.provisioning_state)] {
        if value.trim().is_empty() {
            return Err(wrong(field, "is missing"));
        }
    }
    let resource = Resource::uri(&parsed.application_id).map_err(|error| wrong("applicationId", &error.to_string()))?;
    let at = time(&parsed.event_time).ok_or_else(|| wrong("eventTime", "is no time such as 2026-03-02T09:00:00Z"))?;
    Ok(Heard {
        application: resource.to_string(),
        shown: format!("/{}", parsed.application_id.trim().trim_matches('/')),
        what: What::Notification(Event::read(parsed.event_type.trim(), parsed.provisioning_state.trim())),
        at,
        received,
        usage_id: usage_id(&parsed.billing_details),
        plan: parsed.plan.filter(|plan| !plan.name.is_empty()),
        definition: parsed.application_definition_id.as_str().filter(|id| !id.is_empty()).map(|id| cut(id, LONGEST_ID)),
        error: failure(&parsed.error),
        body: cut(&String::from_utf8_lossy(body), LONGEST_BODY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "subscriptions/37F9DEA2-4345-438F-B0BD-03D40D28C7E0/resourceGroups/Shop/providers/Microsoft.Solutions/applications/Genie";

    fn now() -> Timestamp {
        "2026-03-02T09:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_marketplace_notification_without_a_leading_slash_is_read() {
        let body = serde_json::json!({
            "eventType": "put", "applicationId": ID, "eventTime": "2026-03-02T08:59:58.1707163Z",
            "provisioningState": "Succeeded", "billingDetails": { "resourceUsageId": "37f9dea2-4345-438f-b0bd-03d40d28c7e1" },
            "plan": { "publisher": "p", "product": "offer", "name": "sku", "version": "1.0.1" },
        });
        let heard = read(body.to_string().as_bytes(), now()).unwrap();
        assert_eq!(heard.application, format!("/{}", ID.to_lowercase()));
        assert_eq!(heard.shown, format!("/{ID}"));
        assert_eq!(heard.what, What::Notification(Event::PutSucceeded));
        assert_eq!((heard.plan.unwrap().name.as_str(), heard.usage_id.is_some()), ("sku", true));
    }

    #[test]
    fn a_service_catalog_notification_with_an_error_of_a_megabyte_is_cut_and_kept() {
        let long = "错误 ".repeat(200_000);
        let body = serde_json::json!({
            "eventType": "DELETE", "applicationId": format!("/{ID}/"), "eventTime": "2026-03-02T08:59:58",
            "provisioningState": "Failed", "billingDetails": {}, "applicationDefinitionId": "/subscriptions/x",
            "error": { "code": "Locked", "message": long, "details": [{ "code": "Deep", "message": null }, 7] },
        });
        let heard = read(body.to_string().as_bytes(), now()).unwrap();
        assert_eq!(heard.what, What::Notification(Event::DeleteFailed));
        let error = heard.error.unwrap();
        assert!(error.message.len() <= LONGEST_MESSAGE && heard.body.len() <= LONGEST_BODY);
        assert_eq!((error.details.len(), error.details[0].0.as_str()), (2, "Deep"));
        assert!(heard.plan.is_none() && heard.definition.is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |body: serde_json::Value| read(body.to_string().as_bytes(), now()).unwrap_err().field;
        let whole = serde_json::json!({
            "eventType": "PUT", "applicationId": ID, "eventTime": "2026-03-02T08:59:58Z", "provisioningState": "Accepted",
        });
        for (name, bad) in [
            ("eventType", serde_json::json!(" ")),
            ("applicationId", serde_json::json!("/subscriptions/x")),
            ("eventTime", serde_json::json!("yesterday")),
            ("provisioningState", serde_json::json!("")),
        ] {
            let mut body = whole.clone();
            body[name] = bad;
            assert_eq!(field(body), name);
        }
        assert_eq!(field(serde_json::json!([1])), "body");
        assert_eq!(read(b"\xff\x00", now()).unwrap_err().field, "body");
    }

    #[test]
    fn combinations_that_nobody_named_are_kept_under_their_own_words() {
        let body = serde_json::json!({
            "eventType": "POST", "applicationId": ID, "eventTime": "2026-03-02T08:59:58Z", "provisioningState": "Moved",
        });
        let heard = read(body.to_string().as_bytes(), now()).unwrap();
        assert_eq!(heard.what, What::Notification(Event::Other("POST Moved".into())));
    }
}
