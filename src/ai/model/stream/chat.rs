//! The chunks of a chat.

use serde_json::{Value, json};

use super::{Step, data};
use crate::ai::model::deployments::Kind;
use crate::ai::model::usage;
use crate::ai::model::used::Used;

/// What is known of a stream so far.
#[derive(Debug, Clone, Default)]
pub struct ChatStream {
    /// The name that the customer used.
    model: String,
    /// Whether the customer asked for usage.
    wants_usage: bool,
    pub used: Option<Used>,
    /// Chunks with content.
    pub pieces: u64,
    /// Of the last chunk, for one of our own.
    id: String,
    created: i64,
}

impl ChatStream {
    pub fn new(model: &str, wants_usage: bool) -> Self {
        Self { model: model.to_owned(), wants_usage, ..Self::default() }
    }

    /// Takes in the data of one event.
    pub fn take(&mut self, text: &str) -> Step {
        let text = text.trim();
        if text == "[DONE]" {
            if self.id.is_empty() && self.pieces == 0 && self.used.is_none() {
                return Step::Broken("the service ended the stream before it began".to_owned());
            }
            return Step::Done(data(text));
        }
        let Ok(mut chunk) = serde_json::from_str::<Value>(text) else {
            return Step::Broken("the service sent something that is no JSON".to_owned());
        };
        if !chunk["error"].is_null() {
            let message = chunk["error"]["message"].as_str().unwrap_or("the service broke off").to_owned();
            return Step::Broken(message);
        }
        if let Some(used) = usage::tokens(Kind::Chat, &chunk["usage"]) {
            self.used = Some(used);
        }
        if let Some(id) = chunk["id"].as_str().filter(|id| !id.is_empty()) {
            (self.id, self.created) = (id.to_owned(), chunk["created"].as_i64().unwrap_or(0));
        }
        let choices = chunk["choices"].as_array().cloned().unwrap_or_default();
        for choice in &choices {
            let delta = &choice["delta"];
            self.pieces += u64::from(
                delta["content"].as_str().is_some_and(|text| !text.is_empty()) || !delta["tool_calls"].is_null(),
            );
        }
        if choices.is_empty() {
            // Azure's first chunk about the prompt's filter has nothing for the customer; the last one has the usage.
            let last = !chunk["usage"].is_null();
            if !last || !self.wants_usage {
                return Step::Nothing;
            }
        }
        let Some(fields) = chunk.as_object_mut() else {
            return Step::Broken("the service sent something that is no chunk".to_owned());
        };
        fields.insert("model".to_owned(), self.model.clone().into());
        if self.wants_usage {
            fields.entry("usage").or_insert(Value::Null);
        } else {
            fields.remove("usage");
        }
        // An end by the content filter may come without a delta, which SDKs read without looking.
        for choice in fields.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(choice) = choice.as_object_mut() else {
                return Step::Broken("the service sent something that is no chunk".to_owned());
            };
            if choice.get("delta").is_none_or(Value::is_null) {
                choice.insert("delta".to_owned(), json!({}));
            }
        }
        Step::Forward(data(&chunk.to_string()))
    }

    /// The chunk that tells a usage which the service did not tell, if it was asked for.
    pub fn usage_chunk(&self, used: &Used) -> Option<String> {
        let usage = usage::shown(Kind::Chat, used);
        let chunk = json!({ "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model, "choices": [], "usage": usage });
        (self.wants_usage && self.used.is_none()).then(|| data(&chunk.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::model::used::Part;

    #[test]
    fn chunks_go_on_with_our_model_and_usage_only_where_it_was_asked_for() {
        let filter = r#"{"id":"","object":"","created":0,"model":"","prompt_filter_results":[],"choices":[]}"#;
        let content = r#"{"id":"c","object":"chat.completion.chunk","model":"gpt-x","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#;
        let end = r#"{"id":"c","model":"gpt-x","choices":[{"index":0,"finish_reason":"content_filter"}]}"#;
        let usage = r#"{"id":"c","model":"gpt-x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
        for wants in [false, true] {
            let mut stream = ChatStream::new("chat", wants);
            assert_eq!(stream.take(filter), Step::Nothing);
            let Step::Forward(text) = stream.take(content) else { panic!() };
            let chunk: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(
                (chunk["model"].as_str(), chunk.as_object().unwrap().contains_key("usage")),
                (Some("chat"), wants)
            );
            let Step::Forward(text) = stream.take(end) else { panic!() };
            assert!(text.contains(r#""delta":{}"#), "{text}");
            assert_eq!(matches!(stream.take(usage), Step::Forward(_)), wants);
            assert_eq!(stream.take("[DONE]"), Step::Done("data: [DONE]\n\n".into()));
            assert_eq!((stream.used.unwrap().get(Part::Output), stream.pieces), (2, 1));
        }
        let mut stream = ChatStream::new("chat", false);
        assert_eq!(stream.take(r#"{"error":{"message":"too busy"}}"#), Step::Broken("too busy".into()));
        assert!(matches!(stream.take("<html>"), Step::Broken(_)));
        assert!(matches!(stream.take(r#"{"choices":[5]}"#), Step::Broken(_)));
    }
}
