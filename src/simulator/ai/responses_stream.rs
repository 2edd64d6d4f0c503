//! The stream of the Responses API: events with names and numbers. The last one carries the whole answer; there is no
//! `[DONE]`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::calls::Running;
use super::delivery::{Break, Step, breaks, breaks_after, events};
use super::responses::{Order, output};
use super::wording::{Piece, Wording};
use crate::simulator::http::Answer;

/// The events so far.
#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    number: u64,
}

impl Script {
    fn bytes(&mut self, kind: &str, mut event: Value) -> Bytes {
        event["type"] = kind.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))
    }

    fn add(&mut self, kind: &str, event: Value, tokens: u64) {
        let bytes = self.bytes(kind, event);
        self.steps.push(Step::Piece(bytes, tokens));
    }
}

pub fn streamed(running: Running, order: &Order, wording: &Wording, told: bool) -> Answer {
    let steps = script(&running, order, wording, told);
    events(running, steps)
}

fn script(running: &Running, order: &Order, wording: &Wording, told: bool) -> Vec<Step> {
    let mut script = Script::default();
    let begun = order.begun(running);
    script.add("response.created", json!({ "response": begun }), 0);
    script.add("response.in_progress", json!({ "response": begun }), 0);
    let items = output(running, wording);
    let mut spoken = 0..0;
    for (index, item) in items.iter().enumerate() {
        let thought = item["type"] == "reasoning";
        let added = json!({ "output_index": index, "item": added(item) });
        script.add("response.output_item.added", added, if thought { wording.reasoning } else { 0 });
        if !thought {
            spoken = content(&mut script, index, item, wording);
        }
        script.add("response.output_item.done", json!({ "output_index": index, "item": item }), 0);
    }
    let answer = order.answer(running, wording, told);
    let end = format!("response.{}", answer["status"].as_str().unwrap_or_default());
    let Some(what) = breaks(running.simulator()) else {
        let last = script.bytes(&end, json!({ "response": answer }));
        script.steps.push(Step::Last(last));
        return script.steps;
    };
    let to_its_end = matches!(what, Break::NoDone) && running.simulator().faults().get().ai_cut_after_chunks.is_none();
    if !to_its_end {
        script.steps.truncate(spoken.start + breaks_after(running.simulator(), spoken.len()));
        script.number = script.steps.len() as u64;
    }
    match what {
        Break::Cut => script.steps.push(Step::Cut),
        Break::NoDone => script.steps.push(Step::End),
        Break::Error => {
            let message = "An error in the stream that was asked for";
            script.add("error", json!({ "code": "server_error", "message": message, "param": null }), 0);
            script.steps.push(Step::End);
        }
    }
    script.steps
}

/// An item before anything is in it.
fn added(item: &Value) -> Value {
    let mut item = item.clone();
    match item["type"].as_str() {
        Some("message") => item["content"] = json!([]),
        Some("function_call") => item["arguments"] = "".into(),
        _ => return item,
    }
    item["status"] = "in_progress".into();
    item
}

/// What fills an item; answers where its deltas are among the steps.
fn content(script: &mut Script, index: usize, item: &Value, wording: &Wording) -> std::ops::Range<usize> {
    let at = |more: Value| {
        let mut event = json!({ "item_id": item["id"], "output_index": index });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        event
    };
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let tool = item["type"] == "function_call";
    if !tool {
        let event = at(json!({ "content_index": 0, "part": part("") }));
        script.add("response.content_part.added", event, 0);
    }
    let start = script.steps.len();
    for piece in &wording.pieces {
        match piece {
            Piece::Text(text) => {
                let event = at(json!({ "content_index": 0, "delta": text, "logprobs": [] }));
                script.add("response.output_text.delta", event, 1);
            }
            // The name came with the item; the token is counted here.
            Piece::Tool(_) => script.add("response.function_call_arguments.delta", at(json!({ "delta": "" })), 1),
            Piece::Arguments => {
                script.add("response.function_call_arguments.delta", at(json!({ "delta": "{}" })), 1);
            }
        }
    }
    let deltas = start..script.steps.len();
    if tool {
        let event = at(json!({ "name": item["name"], "arguments": item["arguments"] }));
        script.add("response.function_call_arguments.done", event, 0);
    } else {
        let text = wording.text();
        let event = at(json!({ "content_index": 0, "text": text, "logprobs": [] }));
        script.add("response.output_text.done", event, 0);
        script.add("response.content_part.done", at(json!({ "content_index": 0, "part": part(&text) })), 0);
    }
    deltas
}
