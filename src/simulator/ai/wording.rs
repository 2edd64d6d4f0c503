//! What a simulated model says. It is cut into pieces, each of which counts as one token and is one record of a
//! stream; several choices say the same.

use serde_json::{Value, json};

/// So much of a question is repeated in its answer.
const REPEATED: usize = 200;

/// What the reasoning model thinks before it speaks.
const REASONING: u64 = 16;

/// So much is said before the filter stops it.
const BEFORE_FILTER: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// A tool call with its name, and no arguments yet.
    Tool(String),
    /// The arguments: an empty object.
    Arguments,
}

#[derive(Debug)]
pub struct Wording {
    pub pieces: Vec<Piece>,
    pub finish: &'static str,
    pub reasoning: u64,
}

/// The text of a message, whether it is plain or in parts, and how many pictures are with it.
pub fn text(message: &Value) -> (String, u64) {
    match message.get("content") {
        Some(Value::String(text)) => (text.clone(), 0),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            let pictures = parts.iter().filter(|part| part["type"] == "image_url").count();
            (texts.collect(), pictures as u64)
        }
        _ => (String::new(), 0),
    }
}

fn from_users(messages: &[Value]) -> impl DoubleEndedIterator<Item = String> {
    messages.iter().filter(|message| message["role"] == "user").map(|message| text(message).0)
}

/// Whether any user wrote it.
pub fn says(messages: &[Value], mark: &str) -> bool {
    from_users(messages).any(|text| text.contains(mark))
}

/// The answer to a request whose shape is known to be good.
pub fn compose(body: &Value, messages: &[Value], reasons: bool, limit: Option<u64>) -> Wording {
    let question = from_users(messages).next_back().unwrap_or_default();
    let (mut pieces, mut finish) = match tool(body, messages, &question) {
        Some(name) => (vec![Piece::Tool(name), Piece::Arguments], "tool_calls"),
        None => (words(body, &question), "stop"),
    };
    let limit = limit.unwrap_or(u64::MAX);
    let reasoning = if reasons { REASONING.min(limit) } else { 0 };
    let room = usize::try_from(limit - reasoning).unwrap_or(usize::MAX);
    if pieces.len() > room {
        pieces.truncate(room);
        finish = "length";
    }
    if says(messages, "[filtered]") {
        pieces.truncate(BEFORE_FILTER);
        finish = "content_filter";
    }
    Wording { pieces, finish, reasoning }
}

/// The first tool, if the user asks for one. A tool's result is answered in words, so that a caller comes to an end.
fn tool(body: &Value, messages: &[Value], question: &str) -> Option<String> {
    let asked = question.contains("tool") && body["tool_choice"] != "none";
    let answered = messages.last().is_some_and(|message| message["role"] == "tool");
    let name = body.get("tools")?.get(0)?.pointer("/function/name")?.as_str()?;
    (asked && !answered).then(|| name.to_owned())
}

fn words(body: &Value, question: &str) -> Vec<Piece> {
    let kind = body.pointer("/response_format/type").and_then(Value::as_str);
    if matches!(kind, Some("json_object" | "json_schema")) {
        return vec![Piece::Text(r#"{"simulated":true}"#.to_owned())];
    }
    let repeated: String = question.chars().take(REPEATED).collect();
    let answer = format!("This is a simulated answer to: {repeated}");
    answer.split_inclusive(' ').map(|word| Piece::Text(word.to_owned())).collect()
}

impl Piece {
    /// As it travels in a stream.
    pub fn delta(&self, call_id: &str) -> Value {
        match self {
            Piece::Text(text) => json!({ "content": text }),
            Piece::Tool(name) => {
                let call = json!({
                    "index": 0, "id": call_id, "type": "function", "function": { "name": name, "arguments": "" },
                });
                json!({ "tool_calls": [call] })
            }
            Piece::Arguments => json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{}" } }] }),
        }
    }
}

impl Wording {
    /// All pieces together, as a whole answer has them.
    pub fn message(&self, call_id: &str) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
        if let Some(Piece::Tool(name)) = self.pieces.first() {
            let arguments = if self.pieces.contains(&Piece::Arguments) { "{}" } else { "" };
            let function = json!({ "name": name, "arguments": arguments });
            message["tool_calls"] = json!([{ "id": call_id, "type": "function", "function": function }]);
            return message;
        }
        message["content"] = self.text().into();
        message
    }

    /// What is said, without tools.
    pub fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// What one choice costs.
    pub fn tokens(&self) -> u64 {
        self.pieces.len() as u64 + self.reasoning
    }
}
