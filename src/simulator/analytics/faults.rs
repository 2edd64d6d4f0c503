//! What goes wrong in the analytics API: switches beside the others of the simulator, and faults that strike the next
//! executions of a dataset.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::super::Simulator;
use super::super::http::{Reply, with_header};
use super::api::refusal;
use http::header::RETRY_AFTER;

/// All off is the calm world.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyticsSwitches {
    /// The next so many calls answer `fail_status`.
    pub fail_next: u32,
    pub fail_status: u16,
    /// The next so many calls answer 429 with `Retry-After: retry_after_seconds`.
    pub throttle_next: u32,
    pub retry_after_seconds: u32,
    /// All calls answer 503. Files can still be had.
    pub down: bool,
    /// Every token is refused with 403: the role is missing.
    pub deny: bool,
    /// The next so many reports are refused as if there were 50 active ones.
    pub refuse_reports_next: u32,
    /// The next so many reports with ExecuteNow are refused as if there had been 5 in this hour.
    pub refuse_execute_now_next: u32,
    /// The next so many queries are refused as if there were 100.
    pub refuse_queries_next: u32,
    /// Names in answers begin with a capital letter.
    pub pascal_case: bool,
    /// LAST_MONTH and its like are whole months before this one.
    pub calendar_spans: bool,
    /// The next so many links that are handed out have expired.
    pub expired_links_next: u32,
    /// The next so many links that are handed out lead to another host.
    pub foreign_links_next: u32,
    /// What becomes of the next downloads, one after the other.
    pub downloads: VecDeque<DownloadFault>,
}

/// What becomes of one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadFault {
    /// Nothing.
    Fine,
    /// The connection breaks in the middle.
    Cut,
    /// The connection breaks after so many bytes.
    CutAfter(u64),
    /// Answers this status.
    Fail(u16),
    /// 429 with `Retry-After` of so many seconds.
    Throttle(u32),
}

/// What is wrong with one execution or its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionFault {
    /// It runs for ever.
    Stuck,
    /// It is pending for ever.
    NeverStarted,
    /// The file ends in the middle of a row, though nothing else says so.
    Truncated,
    /// Not a byte.
    Empty,
    HeaderOnly,
    /// A page of HTML.
    Html,
    /// A byte order mark is in front.
    Bom,
    /// Lines end with CR and LF; without this they end with LF.
    Crlf,
    /// One line so, the next otherwise.
    MixedLineEnds,
    /// Tabs, whatever was asked for.
    Tsv,
    LowerHeader,
    UpperHeader,
    /// The column is called otherwise in the file.
    RenamedColumn(String, String),
    /// The column is missing in the file.
    RemovedColumn(String),
    /// A column that nobody asked for is the first.
    AddedColumn(String),
}

/// A fault that waits for executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Nothing for any dataset.
    #[serde(default)]
    pub dataset: Option<String>,
    pub fault: ExecutionFault,
    /// So many executions.
    #[serde(default = "once")]
    pub executions: u32,
}

fn once() -> u32 {
    1
}

/// What strikes before a call is looked at.
pub fn strike(simulator: &Simulator) -> Option<Reply> {
    let switches = simulator.faults().get().analytics;
    let faults = simulator.faults();
    if switches.down {
        return Some(refusal(503, "Service unavailable"));
    }
    if faults.take(|switches| &mut switches.analytics.throttle_next) {
        let seconds = switches.retry_after_seconds.to_string();
        return Some(with_header(refusal(429, "Too many requests"), RETRY_AFTER, &seconds));
    }
    if faults.take(|switches| &mut switches.analytics.fail_next) {
        let status = if switches.fail_status == 0 { 500 } else { switches.fail_status };
        return Some(refusal(status, "Service unavailable"));
    }
    None
}
