//! The streamed chat: server-sent events in the order in which Azure sends them, each flushed by itself. The script of a
//! stream is written before it starts.

use bytes::Bytes;
use serde_json::{Value, json};

use super::calls::Running;
use super::chat::{Order, call_id, harmless, prompt_filter_results, stopped, usage};
use super::delivery::{Break, Step, breaks, breaks_after, events};
use super::wording::Wording;
use crate::simulator::http::Answer;

/// One record, and the tokens that were produced for it.
fn record(record: &Value, tokens: u64) -> Step {
    Step::Piece(Bytes::from(format!("data: {record}\n\n")), tokens)
}

pub fn streamed(running: Running, order: &Order, wording: &Wording) -> Answer {
    let steps = script(&running, order, wording);
    events(running, steps)
}

fn script(running: &Running, order: &Order, wording: &Wording) -> Vec<Step> {
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": format!("chatcmpl-sim{}", running.number()), "object": "chat.completion.chunk",
            "created": running.at.as_second(), "model": order.model.version(), "system_fingerprint": "fp_simulated",
            "choices": choices,
        });
        if order.include_usage {
            chunk["usage"] = usage;
        }
        chunk
    };
    let spoken = |index: u64, delta: Value, filter: Value| {
        let choice = json!({
            "index": index, "delta": delta, "finish_reason": null, "logprobs": null, "content_filter_results": filter,
        });
        chunk(json!([choice]), Value::Null)
    };
    // Observed: the first record has none of its fields filled.
    let mut steps = vec![record(
        &json!({
            "id": "", "object": "", "created": 0, "model": "",
            "prompt_filter_results": prompt_filter_results(), "choices": [],
        }),
        0,
    )];
    for index in 0..order.choices {
        let role = spoken(index, json!({ "role": "assistant", "content": "", "refusal": null }), json!({}));
        steps.push(record(&role, wording.reasoning));
    }
    let spoken_from = steps.len();
    for piece in &wording.pieces {
        for index in 0..order.choices {
            steps.push(record(&spoken(index, piece.delta(&call_id(running, index)), harmless()), 1));
        }
    }
    let spoken_to = steps.len();
    for index in 0..order.choices {
        let choice = if wording.finish == "content_filter" {
            // Observed: what the filter ended has no delta.
            json!({ "index": index, "finish_reason": wording.finish, "content_filter_results": stopped() })
        } else {
            json!({ "index": index, "delta": {}, "finish_reason": wording.finish, "content_filter_results": {} })
        };
        steps.push(record(&chunk(json!([choice]), Value::Null), 0));
    }
    let faults = running.simulator().faults();
    if order.include_usage && !faults.take(|switches| &mut switches.ai_no_usage_next) {
        let completion = wording.tokens() * order.choices;
        let usage = usage(running, completion, wording.reasoning * order.choices);
        steps.push(record(&chunk(json!([]), usage), 0));
    }
    if let Some(what) = breaks(running.simulator()) {
        let to_its_end = matches!(what, Break::NoDone) && faults.get().ai_cut_after_chunks.is_none();
        if !to_its_end {
            steps.truncate(spoken_from + breaks_after(running.simulator(), spoken_to - spoken_from));
        }
        match what {
            Break::Cut => steps.push(Step::Cut),
            Break::NoDone => steps.push(Step::End),
            Break::Error => {
                let error = json!({
                    "message": "An error in the stream that was asked for", "type": "server_error", "param": null,
                    "code": "InternalServerError",
                });
                steps.extend([record(&json!({ "error": error }), 0), Step::End]);
            }
        }
    } else {
        steps.push(Step::Last(Bytes::from_static(b"data: [DONE]\n\n")));
    }
    steps
}
