//! Executions: made when a run falls due, and pending, running or completed by the clock alone.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::state::Turn;
use super::faults::ExecutionFault;
use super::reports::{Report, second};
use super::{Book, draw};

/// So long executions are remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(90 * 24);

#[derive(Debug, Clone)]
pub struct Execution {
    pub id: Uuid,
    pub report: Uuid,
    /// When it fell due.
    pub due: Timestamp,
    /// How long it takes.
    pub takes: SignedDuration,
    pub faults: Vec<ExecutionFault>,
    /// The name of its file, with the ending.
    pub file: String,
    pub called_back: bool,
    /// How much was planted when it was done: what is planted later is not in its file, not even at the same moment.
    pub planted: Option<usize>,
}

impl Execution {
    pub fn done_at(&self) -> Timestamp {
        self.due + self.takes
    }

    /// A third of its time it waits.
    pub fn status(&self, now: Timestamp) -> &'static str {
        let waits = self.takes / 3;
        if self.faults.contains(&ExecutionFault::NeverStarted) || now < self.due + waits {
            "Pending"
        } else if self.faults.contains(&ExecutionFault::Stuck) || now < self.done_at() {
            "Running"
        } else {
            "Completed"
        }
    }

    pub fn is_done(&self, now: Timestamp) -> bool {
        self.status(now) == "Completed"
    }

    /// `link` is the address of the file, without and with its signature.
    pub fn view(&self, report: &Report, now: Timestamp, link: Option<(String, String)>) -> Value {
        let (location, signed) = link.unzip();
        json!({
            "executionId": self.id, "reportId": report.id, "recurrenceInterval": report.interval,
            "recurrenceCount": report.count, "callbackUrl": report.callback, "callbackMethod": report.callback_method,
            "format": report.format, "executionStatus": self.status(now), "reportLocation": location,
            "reportAccessSecureLink": signed, "reportExpiryTime": null,
            "reportGeneratedTime": self.is_done(now).then(|| second(self.done_at())),
            // Three facts of v1.1 whose names are not documented (contract 1).
            "recurrenceCountRemaining": report.count.saturating_sub(report.runs).max(0),
            "endTime": report.end.map(second), "nextExecutionStartTime": report.next_run().map(second),
        })
    }
}

/// A name that may stand in an address.
fn file_name(report: &Report, id: Uuid) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}_{id}.{}", report.name.chars().map(plain).collect::<String>(), report.format)
}

impl Turn<'_> {
    /// Makes the executions that have fallen due by now, and ends those that are done.
    pub(in super::super) fn settle_reports(&mut self) {
        let now = self.now;
        let book = &mut self.state.analytics;
        let mut reports = std::mem::take(&mut book.reports);
        for report in &mut reports {
            while let Some(due) = report.next_run().filter(|due| *due <= now) {
                // A run that falls due while the report is paused is used up.
                if !report.paused {
                    book.execute(report, due);
                }
                report.runs += 1;
            }
        }
        book.reports = reports;
        book.executions.retain(|execution| now.duration_since(execution.due) < REMEMBERED);
        for execution in book.executions.iter_mut().filter(|one| one.planted.is_none() && one.is_done(now)) {
            let done = execution.done_at();
            execution.planted = Some(book.planted.iter().take_while(|planted| planted.at <= done).count());
        }
    }
}

impl Book {
    fn execute(&mut self, report: &Report, due: Timestamp) {
        let [high, low] = draw::halves(report.id);
        let id = draw::id(&[high, low, u64::try_from(due.as_second()).unwrap_or_default(), 9]);
        let dataset = super::query::read(&report.query).map(|query| query.dataset).unwrap_or_default();
        let (takes, faults) = (self.takes(), self.strikes(&dataset));
        self.executions.push(Execution {
            id,
            report: report.id,
            due,
            takes,
            faults,
            file: file_name(report, draw::id(&[high, low, u64::try_from(due.as_second()).unwrap_or_default(), 10])),
            called_back: false,
            planted: None,
        });
    }

    /// Takes the faults that wait for an execution of a dataset.
    fn strikes(&mut self, dataset: &str) -> Vec<ExecutionFault> {
        let mut strikes = Vec::new();
        for waiting in &mut self.waiting {
            let meant = waiting.dataset.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(dataset));
            if meant && waiting.executions > 0 {
                waiting.executions -= 1;
                strikes.push(waiting.fault.clone());
            }
        }
        self.waiting.retain(|waiting| waiting.executions > 0);
        strikes
    }
}
