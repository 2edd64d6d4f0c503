//! Load on a gateway, as cheap as it can be made: one HTTP/1.1 connection per caller, requests made before, answers read
//! and not parsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::upstream::FILLING;
use crate::Process;

/// Before the measured time: connections are made, caches are warm.
const WARM: Duration = Duration::from_millis(400);

/// Something that answers chats.
pub struct Subject {
    pub name: &'static str,
    pub port: u16,
    pub path: String,
    /// Of each customer; callers take them in turn.
    pub headers: Vec<HeaderMap>,
    /// None: it lives in this process.
    pub process: Option<Process>,
    /// In the open loop and the streams, which would only drown the others.
    pub fast: bool,
    /// Answers with status 200, read to their end.
    pub answered: AtomicU64,
}

impl Subject {
    pub fn request(&self, caller: usize, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::post(&self.path).body(Full::new(body)).unwrap();
        request.headers_mut().clone_from(&self.headers[caller % self.headers.len()]);
        request
    }

    pub fn memory(&self) -> Option<f64> {
        self.process.as_ref().map(crate::memory)
    }

    /// Seconds of processor time that the process has had, in ticks of 10 ms.
    fn cpu(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.as_ref()?.0.id())).ok()?;
        // The name before may have blanks of its own.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = |at| fields.split_whitespace().nth(at)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / 100.0)
    }

    /// What measures processor time per answer from here on, in microseconds.
    fn meter(&self) -> impl FnOnce() -> Option<f64> {
        let before = (self.cpu(), self.answered.load(Ordering::Relaxed));
        move || {
            let answers = self.answered.load(Ordering::Relaxed) - before.1;
            Some((self.cpu()? - before.0?) * 1e6 / answers as f64)
        }
    }
}

/// The body of a chat, 1 kB long.
pub fn chat() -> Bytes {
    body(false, "Tell me about foxes. ", 1024)
}

pub fn body(stream: bool, order: &str, length: usize) -> Bytes {
    let text = |filling: &str| {
        format!(
            r#"{{"model":"bench","messages":[{{"role":"system","content":"You are an assistant."}},{{"role":"user","content":"{order}{filling}"}}],"temperature":0.5,"max_tokens":256,"stream":{stream}}}"#
        )
    };
    let room = length.saturating_sub(text("").len());
    let filling: String = FILLING.chars().cycle().take(room).collect();
    text(&filling).into()
}

pub type Connection = SendRequest<Full<Bytes>>;

pub async fn connect(port: u16) -> Option<Connection> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(async move {
        // A connection that breaks shows in the answer that does not come.
        let _ = connection.await;
    });
    Some(sender)
}

/// Sends on a connection that is made anew when it was closed.
pub async fn send(
    connection: &mut Option<Connection>,
    port: u16,
    request: Request<Full<Bytes>>,
) -> Option<Response<Incoming>> {
    let usable = match connection {
        Some(known) => known.ready().await.is_ok(),
        None => false,
    };
    if !usable {
        *connection = connect(port).await;
    }
    let answer = connection.as_mut()?.send_request(request).await;
    if answer.is_err() {
        *connection = None;
    }
    answer.ok()
}

/// A chat to its end; `true` when it was answered.
async fn ask(subject: &Subject, connection: &mut Option<Connection>, request: Request<Full<Bytes>>) -> bool {
    let Some(answer) = send(connection, subject.port, request).await else { return false };
    let fine = answer.status() == 200;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            *connection = None;
            return false;
        }
    }
    if fine {
        subject.answered.fetch_add(1, Ordering::Relaxed);
    }
    fine
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub per_second: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub failed: u64,
    /// Microseconds of the gateway's processor time for each answer: of all figures the one that a busy machine changes
    /// least.
    pub cpu: Option<f64>,
}

/// The value below which a share of them lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn measured(mut times: Vec<f64>, failed: u64, length: Duration) -> Measured {
    times.sort_by(f64::total_cmp);
    let per_second = times.len() as f64 / length.as_secs_f64();
    Measured { per_second, p50: percentile(&times, 0.5), p99: percentile(&times, 0.99), failed, cpu: None }
}

/// Each caller sends its next request when the last one was answered.
pub async fn closed(subject: &Arc<Subject>, callers: usize, length: Duration) -> Measured {
    let cpu = subject.meter();
    let from = Instant::now() + WARM;
    let until = from + length;
    let work = |caller| {
        let (subject, body) = (Arc::clone(subject), chat());
        tokio::spawn(async move {
            let (mut times, mut failed, mut connection) = (Vec::new(), 0, None);
            loop {
                let request = subject.request(caller, body.clone());
                let started = Instant::now();
                if started >= until {
                    return (times, failed);
                }
                let fine = ask(&subject, &mut connection, request).await;
                let ended = Instant::now();
                if !fine {
                    failed += 1;
                } else if started >= from && ended <= until {
                    times.push((ended - started).as_secs_f64() * 1000.0);
                }
            }
        })
    };
    let measured = gather((0..callers).map(work).collect(), length).await;
    Measured { cpu: cpu(), ..measured }
}

/// Requests at a fixed rate, whether answers come or not; a time counts from when its request *should* have been sent.
pub async fn open(subject: &Arc<Subject>, per_second: f64, length: Duration) -> Measured {
    const CALLERS: usize = 128;
    let cpu = subject.meter();
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    let from = Instant::now() + WARM;
    for caller in 0..CALLERS {
        let (sender, mut due): (_, UnboundedReceiver<Instant>) = unbounded_channel();
        senders.push(sender);
        let (subject, body) = (Arc::clone(subject), chat());
        workers.push(tokio::spawn(async move {
            let (mut times, mut failed, mut connection) = (Vec::new(), 0, connect(subject.port).await);
            while let Some(intended) = due.recv().await {
                if !ask(&subject, &mut connection, subject.request(caller, body.clone())).await {
                    failed += 1;
                } else if intended >= from {
                    times.push(intended.elapsed().as_secs_f64() * 1000.0);
                }
            }
            (times, failed)
        }));
    }
    // The runtime's timers are a millisecond coarse, which is more than what is measured.
    std::thread::spawn(move || {
        let began = Instant::now();
        for number in 0_u32.. {
            let intended = began + Duration::from_secs_f64(f64::from(number) / per_second);
            if intended >= from + length {
                return;
            }
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            if senders[number as usize % CALLERS].send(intended).is_err() {
                return;
            }
        }
    });
    let measured = gather(workers, length).await;
    Measured { cpu: cpu(), ..measured }
}

async fn gather(workers: Vec<tokio::task::JoinHandle<(Vec<f64>, u64)>>, length: Duration) -> Measured {
    let (mut times, mut failed) = (Vec::new(), 0);
    for worker in workers {
        let (some, bad) = worker.await.unwrap();
        times.extend(some);
        failed += bad;
    }
    measured(times, failed, length)
}

/// Whether a chat is answered now.
pub async fn works(subject: &Subject) -> bool {
    let mut connection = None;
    let asking = ask(subject, &mut connection, subject.request(0, chat()));
    tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap_or(false)
}
