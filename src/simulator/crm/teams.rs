//! A workflow of Teams that posts an Adaptive Card in a channel.

use serde_json::{Map, Value};

use super::{System, refused};
use crate::simulator::http::{Reply, Request, empty};
use crate::simulator::{Simulator, lock};

/// Whoever knows it may post.
pub const QUERY: &str = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=simulated-teams-signature";
/// Of a message.
const LARGEST: usize = 28 * 1024;

/// Why something is no card.
fn wrong(message: &Value) -> Option<&'static str> {
    let Some([attachment]) = message["attachments"].as_array().map(Vec::as_slice) else { return Some("no attachment") };
    let card = &attachment["content"];
    if message["type"] != "message" || attachment["contentType"] != "application/vnd.microsoft.card.adaptive" {
        return Some("no message with a card");
    }
    if card["type"] != "AdaptiveCard" || !["1.2", "1.3", "1.4", "1.5"].iter().any(|known| card["version"] == *known) {
        return Some("no Adaptive Card of a version that is shown");
    }
    let Some(body) = card["body"].as_array().filter(|body| !body.is_empty()) else { return Some("no body") };
    let is_run = |run: &Value| run["type"] == "TextRun" && run["text"].is_string();
    let is_block = |block: &Value| match block["type"].as_str() {
        Some("TextBlock") => block["text"].is_string(),
        Some("RichTextBlock") => block["inlines"].as_array().is_some_and(|runs| runs.iter().all(is_run)),
        _ => false,
    };
    (!body.iter().all(is_block)).then_some("an element that is unknown here")
}

pub fn post(simulator: &Simulator, request: &Request) -> Reply {
    let refuse = |status, code: &str, message: &str| refused(System::Teams, status, code, message);
    if request.query("sig") != Some("simulated-teams-signature") || request.query("api-version").is_none() {
        return refuse(401, "DirectApiAuthorizationRequired", "The signature is missing or wrong.");
    }
    if request.header("content-type") != Some("application/json") {
        return refuse(400, "TriggerInputSchemaMismatch", "no JSON");
    }
    if request.body.len() > LARGEST {
        return refuse(413, "RequestEntityTooLarge", "too large");
    }
    let message = request.json();
    if let Some(why) = wrong(&message) {
        return refuse(400, "TriggerInputSchemaMismatch", why);
    }
    let card = message["attachments"][0]["content"].clone();
    let mut books = lock(&simulator.0.crm);
    let id = books.records.len().to_string();
    books.add(System::Teams, id, String::new(), Map::from_iter([("card".to_owned(), card)]));
    empty(202)
}
