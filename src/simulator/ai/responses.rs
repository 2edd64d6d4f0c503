//! The Responses API: the same models and words as chat, in other clothes. Nothing is stored: an answer can not be asked
//! for again, nor built upon. Its stream is in `responses_stream`.

use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::chat::{flag, number, prompt_tokens};
use super::delivery::whole;
use super::models::{Ability, Model, deployment};
use super::refusal::{blocked, coded, invalid};
use super::responses_stream::streamed;
use super::wording::{Piece, Wording, compose, says};
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

/// What an answer is made from.
#[derive(Debug)]
pub struct Order {
    pub model: Model,
    body: Value,
    limit: Option<u64>,
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let body = request.json();
    if !body.is_object() {
        return Err(invalid("The body is not a JSON object.", Value::Null));
    }
    let (name, model) = deployment(Family::V1, request, body["model"].as_str(), Ability::Chat)?;
    if let Some(previous) = body["previous_response_id"].as_str() {
        let message = format!("Previous response with id '{previous}' not found.");
        return Err(coded(400, "previous_response_not_found".into(), &message, "previous_response_id".into()));
    }
    if flag(&body, "background")? {
        return Err(invalid("The simulator does not answer in the background.", "background".into()));
    }
    let (stream, limit) = (flag(&body, "stream")?, number(&body, "max_output_tokens")?);
    let chat = as_chat(&body).ok_or_else(|| invalid("The input has no accepted form.", "input".into()))?;
    let messages = chat["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let prompt = prompt_tokens(messages);
    let mut running = Running::begin(simulator, &name, AiKind::Response, stream, &chat["messages"], prompt);
    pause(simulator).await;
    if says(messages, "[blocked]") {
        running.blocked();
        return Err(blocked());
    }
    let wording = compose(&chat, messages, model == Model::Reasoning, limit);
    let order = Order { model, body, limit };
    let told = !simulator.faults().take(|switches| &mut switches.ai_no_usage_next);
    if stream {
        return Ok(streamed(running, &order, &wording, told));
    }
    running.produced(wording.tokens());
    let answer = order.answer(&running, &wording, told);
    Ok(whole(running, &answer))
}

/// The request as chat would have it. Nothing, when the input is empty or of no accepted form.
fn as_chat(body: &Value) -> Option<Value> {
    let mut messages = Vec::new();
    if let Some(instructions) = body["instructions"].as_str() {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    match &body["input"] {
        Value::String(text) if !text.is_empty() => messages.push(json!({ "role": "user", "content": text })),
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                messages.push(message(item)?);
            }
        }
        _ => return None,
    }
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let functions = tools.iter().filter(|tool| tool["type"] == "function");
    let functions: Vec<Value> = functions.map(|tool| json!({ "function": { "name": tool["name"] } })).collect();
    Some(json!({
        "messages": messages, "tools": functions, "tool_choice": body["tool_choice"],
        "response_format": body.pointer("/text/format"),
    }))
}

fn message(item: &Value) -> Option<Value> {
    match item["type"].as_str() {
        None | Some("message") => {
            let role = item["role"].as_str().filter(|role| ["user", "assistant", "system", "developer"].contains(role));
            let content = match &item["content"] {
                Value::String(text) => Value::from(text.as_str()),
                Value::Array(parts) => parts.iter().map(part).collect(),
                _ => return None,
            };
            Some(json!({ "role": role?, "content": content }))
        }
        Some("function_call_output") => Some(json!({ "role": "tool", "content": item["output"] })),
        Some("function_call" | "reasoning") => Some(json!({ "role": "assistant", "content": "" })),
        Some(_) => None,
    }
}

fn part(part: &Value) -> Value {
    if part["type"] == "input_image" { json!({ "type": "image_url" }) } else { part.clone() }
}

impl Order {
    /// Before a word is spoken.
    pub fn begun(&self, running: &Running) -> Value {
        json!({
            "id": format!("resp_sim{}", running.number()), "object": "response",
            "created_at": running.at.as_second(), "status": "in_progress", "background": false, "error": null,
            "incomplete_details": null, "instructions": self.body.get("instructions"), "max_output_tokens": self.limit,
            "model": self.model.version(), "output": [], "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null }, "store": self.body["store"] != false,
            "temperature": 1.0, "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [],
            "top_p": 1.0, "truncation": "disabled", "usage": null, "user": null, "metadata": {},
        })
    }

    /// At its end. Without `told` it does not say what it cost.
    pub fn answer(&self, running: &Running, wording: &Wording, told: bool) -> Value {
        let mut answer = self.begun(running);
        let reason = match wording.finish {
            "length" => Some("max_output_tokens"),
            "content_filter" => Some("content_filter"),
            _ => None,
        };
        answer["status"] = if reason.is_some() { "incomplete" } else { "completed" }.into();
        if let Some(reason) = reason {
            answer["incomplete_details"] = json!({ "reason": reason });
        }
        answer["output"] = output(running, wording).into();
        if told {
            answer["usage"] = json!({
                "input_tokens": running.prompt_tokens,
                "input_tokens_details": { "cached_tokens": running.cached_tokens },
                "output_tokens": wording.tokens(),
                "output_tokens_details": { "reasoning_tokens": wording.reasoning },
                "total_tokens": running.prompt_tokens + wording.tokens(),
            });
        }
        answer
    }
}

/// The items: what was thought, and what was said or which tool is to be called.
pub fn output(running: &Running, wording: &Wording) -> Vec<Value> {
    let number = running.number();
    let mut items = Vec::new();
    if wording.reasoning > 0 {
        items.push(json!({ "type": "reasoning", "id": format!("rs_sim{number}"), "summary": [] }));
    }
    let status = if matches!(wording.finish, "stop" | "tool_calls") { "completed" } else { "incomplete" };
    match wording.pieces.first() {
        None => {}
        Some(Piece::Tool(name)) => {
            let arguments = if wording.pieces.contains(&Piece::Arguments) { "{}" } else { "" };
            items.push(json!({
                "type": "function_call", "id": format!("fc_sim{number}"), "call_id": format!("call_sim{number}_0"),
                "name": name, "arguments": arguments, "status": status,
            }));
        }
        Some(_) => items.push(json!({
            "type": "message", "id": format!("msg_sim{number}"), "role": "assistant", "status": status,
            "content": [{ "type": "output_text", "text": wording.text(), "annotations": [], "logprobs": [] }],
        })),
    }
    items
}
