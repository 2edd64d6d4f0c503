//! What the two batch services share: how far a job is by the clock, how many requests are let through, lists in pages,
//! and the jobs that are kept.
//!
//! The clock is business time, so that a test may move either clock. Nothing happens by itself: a job is looked at when
//! somebody asks for it, and is then as far as the time says.

use std::collections::VecDeque;
use std::sync::Arc;

use http::header::RETRY_AFTER;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

use super::refusal::Shape;
use super::speech_batch::Transcription;
use super::synthesis_batch::Synthesis;
use crate::simulator::http::{Reply, Request, with_header};
use crate::simulator::{Simulator, lock};

/// When a job begins to run and when it is done, unless the switches say otherwise.
const BEGINS_MS: u64 = 2_000;
const DONE_MS: u64 = 5_000;

/// So many requests in such a time, at each of the two services.
const REQUESTS: usize = 100;
const WINDOW: SignedDuration = SignedDuration::from_secs(10);

/// So many entries of a list are shown at once, so that everybody has to turn pages.
const ENTRIES_A_PAGE: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    NotStarted,
    Running,
    Succeeded,
    Failed,
}

/// What will become of a job, and when. It is settled when the job is accepted.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub created: Timestamp,
    begins: Timestamp,
    done: Timestamp,
    /// From then on there is no such job.
    gone: Timestamp,
    fails: bool,
}

impl Course {
    /// The job is kept for so many hours after it is done.
    pub fn begin(simulator: &Simulator, hours: i64) -> Self {
        let switches = simulator.faults().get();
        let fails = simulator.faults().take(|switches| &mut switches.ai_batch_fail_next);
        let created = simulator.now();
        let after = |milliseconds: u64| {
            let wait = SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX));
            created.saturating_add(wait).unwrap_or(Timestamp::MAX)
        };
        let begins = after(switches.ai_batch_begins_ms.unwrap_or(BEGINS_MS));
        let done = after(switches.ai_batch_done_ms.unwrap_or(DONE_MS)).max(begins);
        let gone = done.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
        Self { created, begins, done, gone, fails }
    }

    pub fn status(&self, now: Timestamp) -> Status {
        match (now < self.begins, now < self.done, self.fails) {
            (true, _, _) => Status::NotStarted,
            (_, true, _) => Status::Running,
            (_, _, true) => Status::Failed,
            _ => Status::Succeeded,
        }
    }

    /// When it came to be as it is.
    pub fn last_action(&self, status: Status) -> Timestamp {
        match status {
            Status::NotStarted => self.created,
            Status::Running => self.begins,
            Status::Succeeded | Status::Failed => self.done,
        }
    }

    fn kept(&self, now: Timestamp) -> bool {
        now < self.gone
    }
}

/// Why a job failed as a whole.
pub fn failure() -> Value {
    json!({ "code": "InternalServerError", "message": "The job failed, as was asked for." })
}

/// The two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Transcription,
    Synthesis,
}

/// The jobs in order of creation, and when the last requests came.
#[derive(Debug, Default)]
pub struct Batches {
    pub transcriptions: Vec<Arc<Transcription>>,
    pub syntheses: Vec<Arc<Synthesis>>,
    asked_of_transcriptions: VecDeque<Timestamp>,
    asked_of_syntheses: VecDeque<Timestamp>,
}

/// Looks at the jobs at this moment; those whose time is over are gone.
pub fn batches<T>(simulator: &Simulator, look: impl FnOnce(&mut Batches) -> T) -> T {
    let now = simulator.now();
    let mut books = lock(&simulator.0.ai);
    let batches = &mut books.batches;
    batches.transcriptions.retain(|job| job.course().kept(now));
    batches.syntheses.retain(|job| job.course().kept(now));
    look(batches)
}

/// Lets a request in, or says when to come back. Who is turned away is not counted.
pub fn admit(simulator: &Simulator, batch: Batch, shape: Shape) -> Result<(), Reply> {
    let now = simulator.now();
    batches(simulator, |batches| {
        let asked = match batch {
            Batch::Transcription => &mut batches.asked_of_transcriptions,
            Batch::Synthesis => &mut batches.asked_of_syntheses,
        };
        // Also those of the future, where the clock went back.
        asked.retain(|at| *at <= now && now.duration_since(*at) < WINDOW);
        if asked.len() < REQUESTS {
            asked.push_back(now);
            return Ok(());
        }
        let wait = asked.front().map_or(WINDOW, |first| WINDOW - now.duration_since(*first));
        let seconds = wait.as_millis().max(1).unsigned_abs().div_ceil(1_000);
        let reply = shape.numbered(429, "There were more than 100 requests in 10 seconds.");
        Err(with_header(reply, RETRY_AFTER, &seconds.to_string()))
    })
}

/// A part of a list that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    skip: usize,
    top: Option<usize>,
}

impl Page {
    /// Nothing, when the numbers are none. The services do not call the size of a page by the same name.
    pub fn asked(request: &Request, top: &str) -> Option<Self> {
        let number = |name: &str| request.query(name).map(str::parse::<usize>).transpose().ok();
        let (skip, top) = (number("skip")?.unwrap_or(0), number(top)?);
        (top != Some(0)).then_some(Self { skip, top })
    }

    /// The entries of this page, and where the next one begins.
    pub fn of<T>(self, all: Vec<T>) -> (Vec<T>, Option<usize>) {
        let size = self.top.unwrap_or(ENTRIES_A_PAGE).min(ENTRIES_A_PAGE);
        let next = self.skip.saturating_add(size);
        let more = (next < all.len()).then_some(next);
        (all.into_iter().skip(self.skip).take(size).collect(), more)
    }

    /// The address of the next page.
    pub fn link(self, address: &str, skip: usize, top: &str, more: &[(&str, &str)]) -> String {
        let mut link = format!("{address}&skip={skip}");
        if let Some(size) = self.top {
            link.push_str(&format!("&{top}={size}"));
        }
        for (name, value) in more {
            link.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_where_the_list_ends() {
        let page = |skip, top| Page { skip, top };
        assert_eq!(page(0, None).of(vec![1, 2, 3]), (vec![1, 2], Some(2)));
        assert_eq!(page(2, None).of(vec![1, 2, 3]), (vec![3], None));
        assert_eq!(page(0, Some(1)).of(vec![1, 2]), (vec![1], Some(1)));
        assert_eq!(page(0, Some(100)).of(vec![1, 2]), (vec![1, 2], None));
        assert_eq!(page(usize::MAX, None).of(vec![1]), (vec![], None));
        assert_eq!(
            page(0, Some(7)).link("a?b=c", 2, "top", &[("filter", "d eq 'e'")]),
            "a?b=c&skip=2&top=7&filter=d%20eq%20%27e%27"
        );
    }
}
