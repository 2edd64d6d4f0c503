//! The typed events of the Responses API.

use serde_json::Value;

use super::Step;
use crate::ai::model::deployments::Kind;
use crate::ai::model::usage;
use crate::ai::model::used::Used;

/// What is known of a stream so far.
#[derive(Debug, Clone)]
pub struct ResponseStream {
    /// The name that the customer used.
    model: String,
    pub used: Option<Used>,
    pub pieces: u64,
}

impl ResponseStream {
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), used: None, pieces: 0 }
    }

    pub fn take(&mut self, data: &str) -> Step {
        let Ok(mut event) = serde_json::from_str::<Value>(data) else {
            return Step::Broken("the service sent something that is no JSON".to_owned());
        };
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let said = |value: &Value| value["message"].as_str().unwrap_or("the service broke off").to_owned();
        if kind == "error" {
            return Step::Broken(said(&event));
        }
        if !event["error"].is_null() {
            return Step::Broken(said(&event["error"]));
        }
        if kind == "response.failed" {
            return Step::Broken(said(&event["response"]["error"]));
        }
        self.pieces += u64::from(kind.ends_with(".delta"));
        if let Some(used) = usage::tokens(Kind::Responses, &event["response"]["usage"]) {
            self.used = Some(used);
        }
        if event["response"].is_object() {
            event["response"]["model"] = self.model.clone().into();
        }
        let text = format!("event: {kind}\ndata: {event}\n\n");
        match kind.as_str() {
            "response.completed" | "response.incomplete" => Step::Done(text),
            _ => Step::Forward(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::model::used::Part;

    #[test]
    fn the_terminal_event_ends_the_stream_and_tells_the_usage() {
        let mut stream = ResponseStream::new("chat");
        let created = r#"{"type":"response.created","sequence_number":0,"response":{"model":"gpt-x","usage":null}}"#;
        let Step::Forward(text) = stream.take(created) else { panic!() };
        assert!(text.starts_with("event: response.created\ndata: ") && text.contains(r#""model":"chat""#), "{text}");
        assert!(matches!(stream.take(r#"{"type":"response.output_text.delta","delta":"Hi"}"#), Step::Forward(_)));
        let end = r#"{"type":"response.completed","response":{"model":"gpt-x","usage":{"input_tokens":9,"output_tokens":2}}}"#;
        assert!(matches!(stream.take(end), Step::Done(_)));
        assert_eq!((stream.used.unwrap().get(Part::Output), stream.pieces), (2, 1));
        for broken in [
            r#"{"type":"error","message":"no"}"#,
            r#"{"error":{"message":"no"}}"#,
            r#"{"type":"response.failed","response":{"error":{"message":"no"}}}"#,
        ] {
            assert_eq!(ResponseStream::new("chat").take(broken), Step::Broken("no".into()));
        }
        assert!(matches!(ResponseStream::new("chat").take("<html>"), Step::Broken(_)));
    }
}
