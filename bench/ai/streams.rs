//! Streams through a gateway: how long each piece is under way, and what an open stream costs in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;

use super::load::{Subject, body, percentile, send};
use super::upstream::now;

#[derive(Debug, Clone, Copy, Default)]
pub struct Pieces {
    /// Milliseconds from the service's sending to the caller's receiving.
    pub p50: f64,
    pub p99: f64,
    pub count: usize,
    pub failed: u64,
}

/// Takes the stamps out of what has arrived so far, and leaves what may be the beginning of one.
fn stamps(text: &mut Vec<u8>, arrived: u64, delays: &mut Vec<f64>) {
    let mut done = 0;
    while let Some(at) = text[done..].windows(2).position(|pair| pair == b"t=").map(|at| at + done + 2) {
        let Some(length) = text[at..].iter().position(|byte| *byte == b';') else { break };
        if let Some(sent) = std::str::from_utf8(&text[at..at + length]).ok().and_then(|text| text.parse::<u64>().ok()) {
            delays.push(arrived.saturating_sub(sent) as f64 / 1e6);
        }
        done = at + length;
    }
    // Twenty-four bytes hold every stamp; `[DONE]` is looked for by its own length.
    done = done.max(text.len().saturating_sub(24));
    text.drain(..done);
}

/// One stream to its end; None when it broke.
pub async fn one(
    subject: &Subject,
    caller: usize,
    pieces: u64,
    every: Duration,
    begun: &AtomicU64,
) -> Option<Vec<f64>> {
    let order = format!("pieces={pieces};every={}; ", every.as_millis());
    let answer = send(&mut None, subject.port, subject.request(caller, body(true, &order, 1024))).await?;
    if answer.status() != 200 {
        return None;
    }
    let mut body = answer.into_body();
    let (mut text, mut delays, mut whole, mut first) = (Vec::new(), Vec::new(), false, true);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        let arrived = now();
        if std::mem::take(&mut first) {
            begun.fetch_add(1, Ordering::Relaxed);
        }
        text.extend_from_slice(&data);
        whole = whole || text.windows(6).any(|window| window == b"[DONE]");
        stamps(&mut text, arrived, &mut delays);
    }
    if whole && delays.len() as u64 == pieces {
        subject.answered.fetch_add(1, Ordering::Relaxed);
        return Some(delays);
    }
    None
}

/// Opens streams one after the other within the time of one piece, so that their pieces do not come in one crowd.
fn start(
    subject: &Arc<Subject>,
    count: u32,
    pieces: u64,
    every: Duration,
    within: Duration,
    begun: &Arc<AtomicU64>,
) -> Vec<tokio::task::JoinHandle<Option<Vec<f64>>>> {
    let open = |caller: u32| {
        let (subject, begun) = (Arc::clone(subject), Arc::clone(begun));
        tokio::spawn(async move {
            tokio::time::sleep(within * caller / count).await;
            one(&subject, caller as usize, pieces, every, &begun).await
        })
    };
    (0..count).map(open).collect()
}

/// Many streams at the same time, a piece every 50 ms in each.
pub async fn pieces(subject: &Arc<Subject>, streams: u32, pieces: u64) -> Pieces {
    let every = Duration::from_millis(50);
    let begun = Arc::default();
    let (mut delays, mut failed) = (Vec::new(), 0);
    for stream in start(subject, streams, pieces, every, 4 * every, &begun) {
        match stream.await.unwrap() {
            Some(some) => delays.extend(some),
            None => failed += 1,
        }
    }
    delays.sort_by(f64::total_cmp);
    Pieces { p50: percentile(&delays, 0.5), p99: percentile(&delays, 0.99), count: delays.len(), failed }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// MiB.
    pub before: f64,
    pub open: f64,
    pub after: f64,
    /// Streams that were open when it was measured.
    pub streams: u64,
    pub failed: u64,
}

/// The memory of a gateway while it holds this many open streams, each with a piece every second.
pub async fn memory(subject: &Arc<Subject>, streams: u32) -> Memory {
    let rss = || subject.memory().unwrap_or_default();
    let begun: Arc<AtomicU64> = Arc::default();
    let mut memory = Memory { before: rss(), ..Memory::default() };
    let open = start(subject, streams, 20, Duration::from_secs(1), Duration::from_secs(6), &begun);
    for _ in 0..130 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        memory.open = memory.open.max(rss());
    }
    memory.streams = begun.load(Ordering::Relaxed);
    for stream in open {
        memory.failed += u64::from(stream.await.unwrap().is_none());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    memory.after = rss();
    memory
}
