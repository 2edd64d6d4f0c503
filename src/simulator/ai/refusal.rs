//! Refusals in Azure's shapes: `{"error": {...}}` with codes that are text also where they are numbers, and at Azure
//! Speech flat or plain text.

use http::header::{HeaderName, RETRY_AFTER};
use serde_json::{Value, json};

use crate::simulator::http::{Reply, json_reply, reply, with_header};

/// A gateway's refusal: code and message, nothing else.
pub fn numbered(status: u16, message: &str) -> Reply {
    json_reply(status, &json!({ "error": { "code": status.to_string(), "message": message } }))
}

/// The model's refusal of a request; `param` names what is wrong with it.
pub fn invalid(message: &str, param: Value) -> Reply {
    coded(400, Value::Null, message, param)
}

/// A refusal that has a name.
pub fn coded(status: u16, code: Value, message: &str, param: Value) -> Reply {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
    json_reply(status, &json!({ "error": error }))
}

pub fn unknown_deployment() -> Reply {
    let message = "The API deployment for this resource does not exist. A new one needs a few minutes to appear.";
    json_reply(404, &json!({ "error": { "code": "DeploymentNotFound", "message": message } }))
}

pub fn wrong_operation(deployment: &str) -> Reply {
    let message = format!("The operation does not work with the model behind {deployment}.");
    json_reply(400, &json!({ "error": { "code": "OperationNotSupported", "message": message } }))
}

/// The prompt was blocked. Usage is not told, although the look at the prompt is charged.
pub fn blocked() -> Reply {
    let results = json!({
        "hate": { "filtered": true, "severity": "high" }, "jailbreak": { "detected": false, "filtered": false },
        "self_harm": { "filtered": false, "severity": "safe" }, "sexual": { "filtered": false, "severity": "safe" },
        "violence": { "filtered": false, "severity": "safe" },
    });
    let error = json!({
        "message": "The prompt was blocked by the simulated content filter.",
        "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        // Observed: neither of the two names is the one of the specification.
        "innererror": { "code": "ResponsibleAIPolicyViolation", "content_filter_result": results },
    });
    json_reply(400, &json!({ "error": error }))
}

/// A fault that was asked for. A 429 says in both units when to come back.
pub fn failed(shape: Shape, status: u16, retry_after_ms: u64) -> Reply {
    let reply = shape.numbered(status, "A fault that was asked for");
    if status != 429 {
        return reply;
    }
    let reply = with_header(reply, RETRY_AFTER, &retry_after_ms.div_ceil(1_000).to_string());
    with_header(reply, HeaderName::from_static("retry-after-ms"), &retry_after_ms.to_string())
}

/// A refusal of Azure Speech where it speaks JSON: flat.
pub fn flat(status: u16, code: &str, message: &str, inner: Option<&str>) -> Reply {
    let mut body = json!({ "code": code, "message": message });
    if let Some(inner) = inner {
        body["innerError"] = json!({ "code": inner, "message": message });
    }
    json_reply(status, &body)
}

/// A refusal of Azure Speech where it does not.
pub fn plain(status: u16, message: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", message.to_owned())
}

/// A refusal of Azure AI Vision: what is really wrong is inside.
pub fn unseen(inner: &str, message: &str) -> Reply {
    let error = json!({
        "code": "InvalidRequest", "message": message, "innererror": { "code": inner, "message": message },
    });
    json_reply(400, &json!({ "error": error }))
}

/// The shapes in which the services refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Below `error`.
    Nested,
    Flat,
    Plain,
}

impl Shape {
    /// A refusal that has only a number.
    pub fn numbered(self, status: u16, message: &str) -> Reply {
        match self {
            Shape::Nested => numbered(status, message),
            Shape::Flat => flat(status, &status.to_string(), message, None),
            Shape::Plain => plain(status, message),
        }
    }
}
