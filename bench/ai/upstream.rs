//! The model service of the measuring: it answers every chat at once, or with a stream of pieces that each carry the time
//! when they were sent, and keeps a book of what it has counted for whom.
//!
//! The first part of the path says for whom: `/onwards/v1/chat/completions`. How a stream is to be stands in the prompt,
//! which every gateway hands on: `pieces=40;every=50;` (milliseconds).

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds on the clock that the stamps in streams have.
pub fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap()
}

/// What was answered to the end.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sum {
    pub calls: u64,
    pub tokens: u64,
}

/// The service; clones are the same one.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub port: u16,
    books: Arc<Mutex<HashMap<String, Sum>>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { port: listener.local_addr().unwrap().port(), books: Arc::default() };
        let upstream = this.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let upstream = upstream.clone();
                let service = service_fn(move |request| answer(upstream.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        this
    }

    pub fn sum(&self, whom: &str) -> Sum {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).get(whom).copied().unwrap_or_default()
    }

    /// Books one more call, and gives its tokens: not the same for each, so that a sum tells which calls are in it.
    fn book(&self, whom: &str) -> (u64, u64) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if !books.contains_key(whom) {
            books.insert(whom.to_owned(), Sum::default());
        }
        let sum = books.get_mut(whom).unwrap();
        sum.calls += 1;
        let tokens = (200 + sum.calls % 7, 80 + sum.calls % 11);
        sum.tokens += tokens.0 + tokens.1;
        tokens
    }
}

/// The number that follows a name in a text.
pub fn number(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = text.windows(name.len()).position(|window| window == name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).unwrap().parse().ok()
}

async fn answer(upstream: Upstream, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let whom = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    let chat = request.uri().path().ends_with("/chat/completions");
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::builder().status(400).body(Answer::Whole(None)).unwrap());
    };
    let body = body.to_bytes();
    if !chat {
        // Gateways that look around.
        let body = Bytes::from_static(br#"{"object":"list","data":[]}"#);
        return Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Answer::Whole(Some(body)))
            .unwrap());
    }
    let streams = [&br#""stream":true"#[..], br#""stream": true"#];
    if streams.iter().any(|wanted| body.windows(wanted.len()).any(|window| window == *wanted)) {
        let every = Duration::from_millis(number(&body, b"every=").unwrap_or(50));
        let mut beat = tokio::time::interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let left = number(&body, b"pieces=").unwrap_or(40);
        let stream = Answer::Stream { upstream, whom, beat, left: Some(left) };
        return Ok(Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(stream).unwrap());
    }
    let (input, output) = upstream.book(&whom);
    let text = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1750000000,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{FILLING}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{},"system_fingerprint":"fp_bench"}}"#,
        usage(input, output)
    );
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Answer::Whole(Some(text.into())))
        .unwrap())
}

fn usage(input: u64, output: u64) -> String {
    let total = input + output;
    format!(
        r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0}}}}"#
    )
}

/// Makes a whole answer about 1 kB long.
pub const FILLING: &str = "The quick brown fox jumps over the lazy dog, and the dog thinks about it for a while. It was \
    not the first time, and it will not be the last: there are many foxes in this forest, all of them are brown, and \
    none of them has ever learned to walk around a dog. So the dog lies where it lies, and the foxes jump as they \
    always have, and in the evening somebody writes it down to have a text that has every letter of the alphabet at \
    least once, and enough of them to be as long as an answer usually is.";

fn piece(delta: &str, finish: &str, more: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n{more}"
    )
}

enum Answer {
    Whole(Option<Bytes>),
    /// `left` is None at the end.
    Stream {
        upstream: Upstream,
        whom: String,
        beat: Interval,
        left: Option<u64>,
    },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match &mut *self {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { left: None, .. } => return Poll::Ready(None),
            Self::Stream { upstream, whom, beat, left: left @ Some(_) } => {
                ready!(beat.poll_tick(context));
                let pieces = left.unwrap_or_default();
                if pieces > 0 {
                    *left = Some(pieces - 1);
                    piece(&format!(r#"{{"role":"assistant","content":"t={}; fox"}}"#, now()), "null", "")
                } else {
                    *left = None;
                    let (input, output) = upstream.book(whom);
                    let last = format!(
                        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench\",\"choices\":[],\"usage\":{}}}\n\ndata: [DONE]\n\n",
                        usage(input, output)
                    );
                    piece("{}", "\"stop\"", &last)
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Stream { left: None, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}
