//! Chat completions: what a request must look like, what it costs, and the whole answer. Streams are in `stream`.

use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::models::{Ability, Model, deployment};
use super::refusal::{blocked, coded, invalid};
use super::stream::streamed;
use super::wording::{Wording, compose, says, text};
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

const MOST_MESSAGES: usize = 2048;
const MOST_TOOLS: usize = 128;
const MOST_CHOICES: u64 = 8;

/// What a picture counts, whatever its size.
const PICTURE: u64 = 85;

/// A request that was understood.
#[derive(Debug)]
pub struct Order {
    pub deployment: String,
    pub model: Model,
    pub choices: u64,
    pub limit: Option<u64>,
    pub streamed: bool,
    pub include_usage: bool,
}

/// The figure that callers can compute themselves; no tokenizer is behind it.
pub fn prompt_tokens(messages: &[Value]) -> u64 {
    let one = |message: &Value| {
        let (text, pictures) = text(message);
        3 + (text.chars().count() as u64).div_ceil(4) + PICTURE * pictures
    };
    3 + messages.iter().map(one).sum::<u64>()
}

pub async fn answer(
    simulator: &Simulator,
    family: Family,
    knows_stream_options: bool,
    request: &Request,
) -> Result<Answer, Reply> {
    let body = request.json();
    let order = read(family, knows_stream_options, request, &body)?;
    let messages = messages(&body)?;
    let prompt = prompt_tokens(messages);
    let mut running =
        Running::begin(simulator, &order.deployment, AiKind::Chat, order.streamed, &body["messages"], prompt);
    pause(simulator).await;
    if says(messages, "[blocked]") {
        running.blocked();
        return Err(blocked());
    }
    let wording = compose(&body, messages, order.model == Model::Reasoning, order.limit);
    if order.streamed {
        return Ok(streamed(running, &order, &wording));
    }
    let completion = wording.tokens() * order.choices;
    running.produced(completion);
    let mut answer = whole_answer(&running, &order, &wording);
    if !simulator.faults().take(|switches| &mut switches.ai_no_usage_next) {
        answer["usage"] = usage(&running, completion, wording.reasoning * order.choices);
    }
    Ok(whole(running, &answer))
}

fn messages(body: &Value) -> Result<&[Value], Reply> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| invalid("messages must be a list that is not empty.", "messages".into()))?;
    if messages.len() > MOST_MESSAGES {
        return Err(invalid("There are more than 2048 messages.", "messages".into()));
    }
    let known = |message: &Value| {
        let role = message.get("role").and_then(Value::as_str);
        matches!(role, Some("system" | "developer" | "user" | "assistant" | "tool" | "function"))
    };
    match messages.iter().position(|message| !known(message)) {
        Some(at) => Err(invalid("The message has no role, or an unknown one.", format!("messages[{at}].role").into())),
        None => Ok(messages),
    }
}

fn read(family: Family, knows_stream_options: bool, request: &Request, body: &Value) -> Result<Order, Reply> {
    if !body.is_object() {
        return Err(invalid("The body is not a JSON object.", Value::Null));
    }
    let (deployment, model) = deployment(family, request, body["model"].as_str(), Ability::Chat)?;
    let streamed = flag(body, "stream")?;
    let options = body.get("stream_options").filter(|options| !options.is_null());
    if options.is_some() && !knows_stream_options {
        return Err(invalid("Unrecognized request argument supplied: stream_options", Value::Null));
    }
    if options.is_some() && !streamed {
        let message = "stream_options is only allowed together with stream.";
        return Err(invalid(message, "stream_options".into()));
    }
    if body.get("tools").and_then(Value::as_array).is_some_and(|tools| tools.len() > MOST_TOOLS) {
        return Err(invalid("There are more than 128 tools.", "tools".into()));
    }
    let choices = number(body, "n")?.unwrap_or(1);
    if choices > MOST_CHOICES {
        return Err(invalid("n is larger than the simulator allows.", "n".into()));
    }
    let include_usage = options.map_or(Ok(false), |options| flag(options, "include_usage"))?;
    Ok(Order { deployment, model, choices, limit: limit(body, model)?, streamed, include_usage })
}

pub fn flag(body: &Value, name: &str) -> Result<bool, Reply> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(invalid(&format!("{name} must be true or false."), name.into())),
    }
}

/// A whole number from 1.
pub fn number(body: &Value, name: &str) -> Result<Option<u64>, Reply> {
    let sent = body.get(name).filter(|sent| !sent.is_null());
    let read = |sent: &Value| sent.as_u64().filter(|number| *number > 0);
    let refused = || invalid(&format!("{name} must be a whole number from 1."), name.into());
    sent.map(|sent| read(sent).ok_or_else(refused)).transpose()
}

fn limit(body: &Value, model: Model) -> Result<Option<u64>, Reply> {
    let (old, new) = (number(body, "max_tokens")?, number(body, "max_completion_tokens")?);
    if old.is_some() && model == Model::Reasoning {
        let message = "max_tokens is not supported with this model. Use max_completion_tokens instead.";
        return Err(coded(400, "unsupported_parameter".into(), message, "max_tokens".into()));
    }
    if old.is_some() && new.is_some() {
        let message = "max_tokens and max_completion_tokens exclude each other.";
        return Err(invalid(message, "max_tokens".into()));
    }
    Ok(old.or(new))
}

/// What the filter found in something harmless.
pub fn harmless() -> Value {
    let safe = json!({ "filtered": false, "severity": "safe" });
    json!({ "hate": safe, "self_harm": safe, "sexual": safe, "violence": safe })
}

/// What the filter found in something that it stopped.
pub fn stopped() -> Value {
    let mut found = harmless();
    found["hate"] = json!({ "filtered": true, "severity": "high" });
    found
}

pub fn prompt_filter_results() -> Value {
    let mut found = harmless();
    found["jailbreak"] = json!({ "detected": false, "filtered": false });
    json!([{ "prompt_index": 0, "content_filter_results": found }])
}

pub fn usage(running: &Running, completion: u64, reasoning: u64) -> Value {
    json!({
        "prompt_tokens": running.prompt_tokens, "completion_tokens": completion,
        "total_tokens": running.prompt_tokens + completion,
        "prompt_tokens_details": { "cached_tokens": running.cached_tokens, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// The id of a choice's tool call.
pub fn call_id(running: &Running, choice: u64) -> String {
    format!("call_sim{}_{choice}", running.number())
}

fn whole_answer(running: &Running, order: &Order, wording: &Wording) -> Value {
    let filter = if wording.finish == "content_filter" { stopped() } else { harmless() };
    let choice = |index: u64| {
        json!({
            "index": index, "finish_reason": wording.finish, "logprobs": null,
            "message": wording.message(&call_id(running, index)), "content_filter_results": filter,
        })
    };
    json!({
        "id": format!("chatcmpl-sim{}", running.number()), "object": "chat.completion",
        "created": running.at.as_second(), "model": order.model.version(), "system_fingerprint": "fp_simulated",
        "service_tier": "default", "prompt_filter_results": prompt_filter_results(),
        "choices": (0..order.choices).map(choice).collect::<Vec<_>>(),
    })
}
