//! The streamed answer: server-sent events in the order in which Azure sends them, each flushed by itself. The script
//! of a stream is written before it starts; walking along it books what was produced, and stops when nobody listens.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::calls::Running;
use super::chat::{Order, call_id, harmless, prompt_filter_results, stopped, usage};
use super::wording::Wording;
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Body};

#[derive(Debug)]
enum Step {
    /// One record, and the tokens that were produced for it.
    Record(Value, u64),
    /// `[DONE]`.
    Done,
    /// The connection breaks.
    Cut,
    /// The stream ends in good order, too early.
    End,
}

/// What goes wrong with one stream.
#[derive(Debug, Clone, Copy)]
enum Break {
    Cut,
    Error,
    NoDone,
}

pub fn streamed(running: Running, order: &Order, wording: &Wording) -> Answer {
    let steps = script(&running, order, wording);
    let mut reply = Response::new(Body::Stream(Box::pin(walk(running, steps))));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

fn breaks(simulator: &Simulator) -> Option<Break> {
    let faults = simulator.faults();
    if faults.take(|switches| &mut switches.ai_cut_next) {
        Some(Break::Cut)
    } else if faults.take(|switches| &mut switches.ai_error_in_stream_next) {
        Some(Break::Error)
    } else {
        faults.take(|switches| &mut switches.ai_no_done_next).then_some(Break::NoDone)
    }
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
    let mut steps = vec![Step::Record(
        json!({
            "id": "", "object": "", "created": 0, "model": "",
            "prompt_filter_results": prompt_filter_results(), "choices": [],
        }),
        0,
    )];
    for index in 0..order.choices {
        let role = spoken(index, json!({ "role": "assistant", "content": "", "refusal": null }), json!({}));
        steps.push(Step::Record(role, wording.reasoning));
    }
    let spoken_from = steps.len();
    for piece in &wording.pieces {
        for index in 0..order.choices {
            steps.push(Step::Record(spoken(index, piece.delta(&call_id(running, index)), harmless()), 1));
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
        steps.push(Step::Record(chunk(json!([choice]), Value::Null), 0));
    }
    let faults = running.simulator().faults();
    if order.include_usage && !faults.take(|switches| &mut switches.ai_no_usage_next) {
        let completion = wording.tokens() * order.choices;
        let usage = usage(running, completion, wording.reasoning * order.choices);
        steps.push(Step::Record(chunk(json!([]), usage), 0));
    }
    if let Some(what) = breaks(running.simulator()) {
        let after = faults.get().ai_cut_after_chunks.map(|after| usize::try_from(after).unwrap_or(usize::MAX));
        match (what, after) {
            (Break::NoDone, None) => {}
            (_, after) => {
                let all = spoken_to - spoken_from;
                steps.truncate(spoken_from + after.unwrap_or(all / 2).min(all));
            }
        }
        match what {
            Break::Cut => steps.push(Step::Cut),
            Break::NoDone => steps.push(Step::End),
            Break::Error => {
                let error = json!({
                    "message": "An error in the stream that was asked for", "type": "server_error", "param": null,
                    "code": "InternalServerError",
                });
                steps.extend([Step::Record(json!({ "error": error }), 0), Step::End]);
            }
        }
    } else {
        steps.push(Step::Done);
    }
    steps
}

/// Produces step by step, at the pace of the reader. Whoever hangs up drops this, and with it the running call.
fn walk(running: Running, steps: Vec<Step>) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    let first = true;
    stream::unfold((running, steps.into_iter(), first), |(mut running, mut steps, first)| async move {
        let step = steps.next()?;
        if !first {
            rest(&running).await;
        }
        let sent = match step {
            Step::Record(record, tokens) => {
                running.produced(tokens);
                Ok(Bytes::from(format!("data: {record}\n\n")))
            }
            Step::Done => {
                running.finished();
                Ok(Bytes::from_static(b"data: [DONE]\n\n"))
            }
            Step::Cut => {
                running.broken();
                Err(io::Error::other("cut, as was asked for"))
            }
            Step::End => {
                running.broken();
                return None;
            }
        };
        Some((sent, (running, steps, false)))
    })
}

/// The time between two records. Without a delay it is one turn of the scheduler, in which the server flushes what it
/// has: no two records travel as one because they were produced at once.
async fn rest(running: &Running) {
    match running.simulator().faults().get().ai_chunk_delay_ms {
        0 => tokio::task::yield_now().await,
        delay => tokio::time::sleep(Duration::from_millis(delay)).await,
    }
}
