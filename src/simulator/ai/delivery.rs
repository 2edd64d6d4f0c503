//! The way of an answer over the wire: whole, in pieces, or as a script of steps, and how faults break it. Walking along
//! a script books what was produced, and stops when nobody listens.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::Value;

use super::calls::Running;
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Body, reply};

/// Audio leaves in pieces of this size.
const PIECE: usize = 8 << 10;

#[derive(Debug)]
pub enum Step {
    /// One piece, and the tokens that were produced for it.
    Piece(Bytes, u64),
    /// The last piece of an answer that came to its end.
    Last(Bytes),
    /// The connection breaks.
    Cut,
    /// The answer ends in good order, too early.
    End,
}

/// What goes wrong with one stream.
#[derive(Debug, Clone, Copy)]
pub enum Break {
    Cut,
    Error,
    NoDone,
}

pub fn breaks(simulator: &Simulator) -> Option<Break> {
    let faults = simulator.faults();
    if faults.take(|switches| &mut switches.ai_cut_next) {
        Some(Break::Cut)
    } else if faults.take(|switches| &mut switches.ai_error_in_stream_next) {
        Some(Break::Error)
    } else {
        faults.take(|switches| &mut switches.ai_no_done_next).then_some(Break::NoDone)
    }
}

/// After how many of so many pieces of content an answer breaks. Without a number it is half way.
pub fn breaks_after(simulator: &Simulator, pieces: usize) -> usize {
    let after = simulator.faults().get().ai_cut_after_chunks;
    after.map_or(pieces / 2, |after| usize::try_from(after).unwrap_or(usize::MAX)).min(pieces)
}

/// A stream of events.
pub fn events(running: Running, steps: Vec<Step>) -> Answer {
    let mut answer = along(running, steps, "text/event-stream; charset=utf-8");
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// A whole answer in JSON.
pub fn whole(running: Running, answer: &Value) -> Answer {
    whole_text(running, "application/json; charset=utf-8", answer.to_string())
}

/// A whole answer on its way: to its end, or with the fault only half of it.
pub fn whole_text(mut running: Running, kind: &'static str, text: String) -> Answer {
    if !running.simulator().faults().take(|switches| &mut switches.ai_cut_next) {
        running.finished();
        return reply(200, kind, text).map(Body::Whole);
    }
    let mut half = Bytes::from(text);
    half.truncate(half.len() / 2);
    along(running, vec![Step::Piece(half, 0), Step::Cut], kind)
}

/// Bytes in several pieces. With the fault, `ai_cut_after_chunks` of them arrive, or half.
pub fn in_pieces(running: Running, kind: &'static str, bytes: Bytes) -> Answer {
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = bytes;
    while rest.len() > PIECE {
        steps.push(Step::Piece(rest.split_to(PIECE), 0));
    }
    steps.push(Step::Last(rest));
    let simulator = running.simulator().clone();
    if simulator.faults().take(|switches| &mut switches.ai_cut_next) {
        steps.truncate(breaks_after(&simulator, steps.len().saturating_sub(1)));
        steps.push(Step::Cut);
    }
    along(running, steps, kind)
}

fn along(running: Running, steps: Vec<Step>, kind: &'static str) -> Answer {
    let mut answer = Response::new(Body::Stream(Box::pin(walk(running, steps))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Produces step by step, at the pace of the reader. Whoever hangs up drops this, and with it the running call.
fn walk(running: Running, steps: Vec<Step>) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    let first = true;
    stream::unfold((running, steps.into_iter(), first), |(mut running, mut steps, first)| async move {
        let step = steps.next()?;
        if !first {
            rest(running.simulator()).await;
        }
        let sent = match step {
            Step::Piece(bytes, tokens) => {
                running.produced(tokens);
                Ok(bytes)
            }
            Step::Last(bytes) => {
                running.finished();
                Ok(bytes)
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

/// The time between two pieces. Without a delay it is one turn of the scheduler, in which the server flushes what it
/// has: no two pieces travel as one because they were produced at once.
pub async fn rest(simulator: &Simulator) {
    match simulator.faults().get().ai_chunk_delay_ms {
        0 => tokio::task::yield_now().await,
        delay => tokio::time::sleep(Duration::from_millis(delay)).await,
    }
}
