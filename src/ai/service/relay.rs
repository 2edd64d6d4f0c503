//! A stream on its way from the service to the customer. It ends in one of three ways: whole, recorded, with `[DONE]`;
//! broken by the service, with an error and unbilled; or without its customer, read on to its end for the usage.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::captures;
use super::meter::{self, Call};
use crate::ai::model::deployments::Deployment;
use crate::ai::model::stream::{Reading, Step, data};
use crate::ai::model::used::{Basis, Part, Used};
use crate::app::App;
use crate::foundation::web::Body;

/// Events that wait for a slow customer; then the service has to wait, too.
const WAITING: usize = 32;
/// Proxies cut silent streams (the Functions host after 240 s); SDKs pass comments over.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A service that says nothing for so long has broken off.
const SILENCE: Duration = Duration::from_secs(180);
/// A customer who takes nothing for so long counts as gone.
const STUCK: Duration = Duration::from_secs(120);
/// No stream lasts longer; a budget holds its part for a little more than that.
pub const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Bytes of a stream that are kept where its customer wants that.
const KEPT: usize = 100_000;
/// So long a stream is read on without its customer.
pub const DRAIN: Duration = Duration::from_secs(60);

/// A customer who has made the service wait so long altogether has himself to blame when it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins the relay; what it gives is the body of the answer.
pub fn start(
    app: Arc<App>,
    call: Call,
    deployment: Arc<Deployment>,
    response: reqwest::Response,
    reading: Reading,
    asked: u64,
) -> Body {
    let (sender, receiver) = channel(WAITING);
    tokio::spawn(async move { relay(&app, call, &deployment, response, reading, asked, sender).await });
    Body::Stream(Box::pin(body(receiver)))
}

/// A piece on its way to the customer.
enum Piece {
    Next(Bytes),
    Last(Bytes),
}

/// Where no last piece comes, because the relay itself came to an end, the connection breaks: SDKs take an answer that
/// just stops for a whole one.
fn body(mut receiver: Receiver<Piece>) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Sync {
    let mut ended = false;
    futures_util::stream::poll_fn(move |context| {
        if ended {
            return Poll::Ready(None);
        }
        receiver.poll_recv(context).map(|piece| {
            ended = !matches!(piece, Some(Piece::Next(_)));
            match piece {
                Some(Piece::Next(bytes) | Piece::Last(bytes)) => Some(Ok(bytes)),
                None => Some(Err(std::io::Error::other("the relay broke off"))),
            }
        })
    })
}

fn error(message: &str, code: &str) -> String {
    data(&json!({ "error": { "message": message, "type": "server_error", "param": null, "code": code } }).to_string())
}

/// How the service's side ended.
enum End {
    /// The last piece for the customer.
    Done(String),
    Broken(String),
    /// Nobody listens, and it takes too long.
    GivenUp,
}

async fn relay(
    app: &Arc<App>,
    call: Call,
    deployment: &Deployment,
    response: reqwest::Response,
    mut reading: Reading,
    asked: u64,
    customer: Sender<Piece>,
) {
    let mut events = response.bytes_stream().eventsource();
    let began = tokio::time::Instant::now();
    let mut kept = String::new();
    let mut gone: Option<tokio::time::Instant> = None;
    let mut silent = Duration::ZERO;
    // How long the service had to wait for the customer.
    let mut waited = Duration::ZERO;
    let end = loop {
        if gone.is_some_and(|since| since.elapsed() > DRAIN) {
            break End::GivenUp;
        }
        if began.elapsed() > LONGEST {
            break End::Broken("the stream lasts too long".to_owned());
        }
        let event = match tokio::time::timeout(HEARTBEAT, events.next()).await {
            Ok(event) => event,
            Err(_) => {
                silent += HEARTBEAT;
                if silent >= SILENCE {
                    break End::Broken("the service fell silent".to_owned());
                }
                if gone.is_none() && !send(&customer, Piece::Next(Bytes::from_static(b": ping\n\n"))).await {
                    gone = Some(tokio::time::Instant::now());
                }
                continue;
            }
        };
        silent = Duration::ZERO;
        match event {
            None => break End::Broken("the service ended the stream too early".to_owned()),
            Some(Err(error)) => break End::Broken(error.to_string()),
            Some(Ok(event)) => match noted(reading.take(&event.data), call.captured.is_some(), &mut kept) {
                Step::Forward(chunk) if gone.is_none() => {
                    let before = tokio::time::Instant::now();
                    if !send(&customer, Piece::Next(chunk.into())).await {
                        gone = Some(tokio::time::Instant::now());
                    }
                    waited += before.elapsed();
                }
                Step::Forward(_) | Step::Nothing => {}
                Step::Done(last) => break End::Done(last),
                Step::Broken(message) => break End::Broken(message),
            },
        }
    };
    let end = match end {
        // It did not break off by itself: nobody took what it said.
        End::Broken(_) if waited > PATIENCE => End::GivenUp,
        other => other,
    };
    // In a box of its own: what records is large, and a stream that is under way should not carry it along.
    Box::pin(finish(app, call, deployment, end, reading, asked, kept, gone.is_some(), customer)).await;
}

#[expect(clippy::too_many_arguments, reason = "everything that the relay knows")]
async fn finish(
    app: &Arc<App>,
    mut call: Call,
    deployment: &Deployment,
    end: End,
    reading: Reading,
    asked: u64,
    kept: String,
    gone: bool,
    customer: Sender<Piece>,
) {
    let billed = match (&end, reading.used()) {
        // A break is the service's fault, and nobody pays for it.
        (End::Broken(_), _) => None,
        (_, Some(used)) => Some((used.clone(), Basis::Upstream)),
        (_, None) => Some((Used::of(Part::Input, asked).and(Part::Output, reading.pieces()), Basis::Estimated)),
    };
    let recorded = match &billed {
        Some((used, basis)) => meter::record(app, &mut call, deployment, used, *basis).await.is_ok(),
        None => true,
    };
    captures::keep(app, &call, &kept).await;
    let usage = billed.as_ref().and_then(|(used, _)| reading.usage_chunk(used)).unwrap_or_default();
    if let End::Broken(message) = &end {
        tracing::warn!(request = %call.request, model = call.model, message, "a stream broke off");
    }
    // Nobody misses it if the customer has gone.
    send(&customer, Piece::Last(closing(end, recorded, gone, usage).into())).await;
}

/// What the customer gets at the end.
fn closing(end: End, recorded: bool, gone: bool, usage: String) -> String {
    match end {
        End::Broken(_) => error("The model broke off its answer; nothing is billed.", "upstream_stream_interrupted"),
        _ if !recorded => {
            error("The usage of this call could not be recorded; nothing is billed.", "metering_unavailable")
        }
        End::Done(last) if !gone => usage + &last,
        // Pieces are missing since nobody took them; who comes back must not believe that it was all.
        End::Done(_) | End::GivenUp => {
            error("The answer was not read in time; its rest is lost, and it is billed.", "read_too_slowly")
        }
    }
}

/// The step, with its text added to what is kept.
fn noted(step: Step, keep: bool, kept: &mut String) -> Step {
    if let Step::Forward(text) | Step::Done(text) = &step
        && keep
        && kept.len() < KEPT
    {
        kept.push_str(text);
    }
    step
}

/// Hands over a piece; `false` when nobody takes it.
pub async fn send<T>(customer: &Sender<T>, piece: T) -> bool {
    matches!(tokio::time::timeout(STUCK, customer.send(piece)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_recorded_answer_ends_as_one() {
        let done = || End::Done(data("[DONE]"));
        let ends = |end, recorded, gone| closing(end, recorded, gone, String::new());
        assert_eq!(ends(done(), true, false), data("[DONE]"));
        for (end, recorded, gone, code) in [
            (done(), true, true, "read_too_slowly"),
            (End::GivenUp, true, true, "read_too_slowly"),
            (done(), false, false, "metering_unavailable"),
            (done(), false, true, "metering_unavailable"),
            (End::Broken(String::new()), true, false, "upstream_stream_interrupted"),
        ] {
            let text = ends(end, recorded, gone);
            assert!(text.contains(code) && !text.contains("[DONE]"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_without_its_last_piece_breaks() {
        for whole in [true, false] {
            let (sender, receiver) = channel(WAITING);
            let _ = sender.send(Piece::Next("a".into())).await;
            if whole {
                let _ = sender.send(Piece::Last("b".into())).await;
            }
            drop(sender);
            let pieces: Vec<_> = body(receiver).collect().await;
            assert_eq!((pieces.len(), pieces[1].is_ok()), (2, whole));
        }
    }
}
