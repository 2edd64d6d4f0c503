//! Queries and reports: what is kept of them, and the rules by which they are taken (analytics contract 4.2 to 4.6, 5
//! and 6).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::super::state::Turn;
use super::Book;

const ACTIVE_REPORTS: usize = 50;
const EXECUTE_NOW: usize = 5;
const EXECUTE_NOW_WITHIN: SignedDuration = SignedDuration::from_mins(60);
const QUERIES: usize = 100;
const LONGEST: usize = 256;
const LEAD: SignedDuration = SignedDuration::from_hours(4);
const INTERVALS: std::ops::RangeInclusive<i64> = 4..=2_160;
/// `user`: a number, sent as text.
const USER: &str = "142344300";

#[derive(Debug, Clone)]
pub struct StoredQuery {
    /// Not always a GUID.
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub text: String,
    pub system: bool,
    pub created: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Report {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub query_id: String,
    pub query: String,
    pub created: Timestamp,
    pub modified: Option<Timestamp>,
    pub execute_now: bool,
    /// Instead of the query's time span.
    pub query_range: (Option<Timestamp>, Option<Timestamp>),
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    /// Hours.
    pub interval: i64,
    pub count: i64,
    pub callback: Option<String>,
    pub callback_method: Option<&'static str>,
    pub format: &'static str,
    pub paused: bool,
    /// How many runs have fallen due, and when the next one does.
    pub runs: i64,
}

/// Status and message.
pub type Refused = (u16, String);

fn bad(why: impl Into<String>) -> Refused {
    (400, why.into())
}

/// `2026-03-01T06:00:00Z`
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl StoredQuery {
    pub fn view(&self) -> Value {
        json!({
            "queryId": self.id, "name": self.name, "description": self.description, "query": self.text,
            "type": if self.system { "system" } else { "userDefined" }, "user": USER,
            "createdTime": second(self.created), "modifiedTime": null,
        })
    }
}

impl Report {
    /// When the next run falls due; nothing when there is none.
    pub fn next_run(&self) -> Option<Timestamp> {
        let hours = SignedDuration::from_hours(self.interval.max(0).saturating_mul(self.runs));
        let next = self.start.checked_add(hours).ok()?;
        let left = self.runs < self.count && self.end.is_none_or(|end| next <= end);
        left.then_some(next)
    }

    /// One that is executed now is inactive from the start (contract 4.5).
    pub fn status(&self) -> &'static str {
        match (self.execute_now || self.next_run().is_none(), self.paused) {
            (true, _) => "Inactive",
            (false, true) => "Paused",
            (false, false) => "Active",
        }
    }

    pub fn view(&self) -> Value {
        json!({
            "reportId": self.id, "reportName": self.name, "description": self.description, "queryId": self.query_id,
            "query": self.query, "user": USER, "createdTime": second(self.created),
            "modifiedTime": self.modified.map(second), "executeNow": self.execute_now,
            "queryStartTime": self.query_range.0.map(second), "queryEndTime": self.query_range.1.map(second),
            "startTime": second(self.start), "endTime": self.end.map(second), "reportStatus": self.status(),
            "recurrenceInterval": self.interval, "recurrenceCount": self.count, "callbackUrl": self.callback,
            "callbackMethod": self.callback_method, "format": self.format,
        })
    }
}

/// A body whose names may be written in any letter case.
struct Order<'a>(&'a Value);

impl<'a> Order<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        let fields = self.0.as_object()?;
        let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    fn must(&self, name: &str) -> Result<&'a str, Refused> {
        self.text(name).ok_or_else(|| bad(format!("{name} has a null or missing value")))
    }

    /// A time in exactly one pattern.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let read = value.as_str().and_then(exact);
        read.map(Some).ok_or_else(|| bad(format!("{name} should follow format yyyy-MM-ddTHH:mm:ssZ")))
    }
}

fn exact(text: &str) -> Option<Timestamp> {
    let pattern = "0000-00-00T00:00:00Z";
    let alike = |(one, other): (u8, u8)| if other == b'0' { one.is_ascii_digit() } else { one == other };
    let fits = text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(alike);
    fits.then(|| text.parse().ok()).flatten()
}

fn described(order: &Order<'_>, name: &str) -> Result<Option<String>, Refused> {
    let description = order.text("Description").map(str::to_owned);
    let long = |text: &str| text.chars().count() > LONGEST;
    if long(name) || description.as_deref().is_some_and(long) {
        return Err(bad("Limit ReportName and Description length to 256"));
    }
    Ok(description)
}

/// What a new report and a changed one have in common.
fn delivery(order: &Order<'_>, report: &mut Report) -> Result<(), Refused> {
    report.name = order.must("ReportName")?.to_owned();
    report.description = described(order, &report.name)?;
    if report.name.contains(';') {
        return Err(bad("Invalid character (;) in ReportName"));
    }
    report.format = match order.text("Format").map(str::to_ascii_lowercase).as_deref() {
        None | Some("csv") => "csv",
        Some("tsv") => "tsv",
        Some("string") => return Err(bad("Requested value 'string' not found.")),
        Some(_) => return Err(bad("Report format should be csv/tsv")),
    };
    report.callback = order.text("CallbackUrl").map(str::to_owned);
    if let Some(callback) = &report.callback
        && !Url::parse(callback).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return Err(bad(format!("Requested value '{callback}' not found.")));
    }
    report.callback_method = match order.text("CallbackMethod").map(str::to_ascii_uppercase).as_deref() {
        None => report.callback.as_ref().map(|_| "POST"),
        Some("POST") => Some("POST"),
        Some("GET") => Some("GET"),
        Some(_) => return Err(bad("CallbackMethod can only be GET or POST")),
    };
    Ok(())
}

fn schedule(order: &Order<'_>, now: Timestamp, report: &mut Report) -> Result<(), Refused> {
    report.start = order.time("StartTime")?.ok_or_else(|| bad("StartTime has a null or missing value"))?;
    report.end = order.time("EndTime")?;
    if report.start < now + LEAD {
        return Err(bad("Report start time should be at least 4 hours from current UTC time"));
    }
    if report.end.is_some_and(|end| end <= report.start) {
        return Err(bad("EndTime should be greater than StartTime"));
    }
    let interval = order.get("RecurrenceInterval").and_then(Value::as_i64);
    report.interval = interval
        .filter(|hours| INTERVALS.contains(hours))
        .ok_or_else(|| bad("Recurrence Interval must be between 4 and 2160"))?;
    let count = order.get("RecurrenceCount").and_then(Value::as_i64).filter(|count| *count > 0);
    report.count = count.ok_or_else(|| bad("Recurrence count has to be a positive integer value"))?;
    report.runs = 0;
    Ok(())
}

impl Turn<'_> {
    pub(super) fn create_query(&mut self, body: &Value) -> Result<StoredQuery, Refused> {
        let order = Order(body);
        let name = order.must("Name")?.to_owned();
        let text = order.must("Query")?.to_owned();
        let description = described(&order, &name)?;
        let book = &self.state.analytics;
        book.bound(&text).map_err(bad)?;
        let full = self.faults.take(|switches| &mut switches.analytics.refuse_queries_next);
        if full || book.queries.iter().filter(|query| !query.system).count() >= QUERIES {
            return Err(bad("Number of queries exceeded the limit of 100"));
        }
        let id = self.id().to_string();
        let query = StoredQuery { id, name, description, text, system: false, created: self.now };
        self.state.analytics.queries.push(query.clone());
        Ok(query)
    }

    pub(super) fn create_report(&mut self, body: &Value) -> Result<Report, Refused> {
        let order = Order(body);
        let mut report = Report {
            id: self.id(),
            name: String::new(),
            description: None,
            query_id: String::new(),
            query: String::new(),
            created: self.now,
            modified: None,
            execute_now: order.get("ExecuteNow").and_then(Value::as_bool).unwrap_or(false),
            query_range: (None, None),
            start: self.now,
            end: None,
            interval: -1,
            count: 1,
            callback: None,
            callback_method: None,
            format: "csv",
            paused: false,
            runs: 0,
        };
        delivery(&order, &mut report)?;
        let wanted = order.must("QueryId")?;
        let query = self.state.analytics.queries.iter().find(|query| query.id.eq_ignore_ascii_case(wanted));
        let query = query.ok_or_else(|| bad("Invalid QueryId"))?;
        (report.query_id, report.query) = (query.id.clone(), query.text.clone());
        if report.execute_now {
            self.execute_now(&order, &mut report)?;
        } else {
            schedule(&order, self.now, &mut report)?;
            let full = self.faults.take(|switches| &mut switches.analytics.refuse_reports_next);
            let active = self.state.analytics.reports.iter().filter(|report| report.status() == "Active").count();
            if full || active >= ACTIVE_REPORTS {
                return Err(bad(format!("User {USER} exceeded its report creation quota of 50 active reports")));
            }
        }
        self.state.analytics.reports.push(report.clone());
        self.settle_reports();
        Ok(report)
    }

    fn execute_now(&mut self, order: &Order<'_>, report: &mut Report) -> Result<(), Refused> {
        // A wrong date is an internal error here, not a bad request (contract 4.5).
        let time = |name| order.time(name).map_err(|_| ());
        let (Ok(from), Ok(to)) = (time("QueryStartTime"), time("QueryEndTime")) else {
            let id = self.id();
            return Err((500, format!("Internal error encountered while creating report. Correlation ID {id}")));
        };
        report.query_range = (from, to);
        let now = self.now;
        let full = self.faults.take(|switches| &mut switches.analytics.refuse_execute_now_next);
        let log = &mut self.state.analytics.executed_now;
        log.retain(|at| now.duration_since(*at) < EXECUTE_NOW_WITHIN);
        if full || log.len() >= EXECUTE_NOW {
            return Err(bad(format!("User {USER} exceeded its ExecuteNow report creation quota of 5 reports/60 mins")));
        }
        log.push(now);
        Ok(())
    }

    pub(super) fn update_report(&mut self, id: &str, body: &Value) -> Result<Report, Refused> {
        self.settle_reports();
        let now = self.now;
        let report = self.state.analytics.report_mut(id)?;
        if report.execute_now {
            return Err(bad("A report with ExecuteNow cannot be updated"));
        }
        let order = Order(body);
        order.must("Format")?;
        let mut changed = report.clone();
        delivery(&order, &mut changed)?;
        schedule(&order, now, &mut changed)?;
        changed.modified = Some(now);
        *report = changed.clone();
        Ok(changed)
    }

    pub(super) fn pause_report(&mut self, id: &str, on: bool) -> Result<Report, Refused> {
        self.settle_reports();
        let now = self.now;
        let report = self.state.analytics.report_mut(id)?;
        report.paused = on;
        report.modified = Some(now);
        Ok(report.clone())
    }

    pub(super) fn delete_report(&mut self, id: &str) -> Result<Report, Refused> {
        self.settle_reports();
        let report = self.state.analytics.report_mut(id)?.clone();
        self.state.analytics.forget(report.id);
        Ok(report)
    }

    pub(super) fn delete_query(&mut self, id: &str) -> Result<StoredQuery, Refused> {
        let queries = &mut self.state.analytics.queries;
        let place = queries.iter().position(|query| query.id.eq_ignore_ascii_case(id));
        match place {
            Some(place) if queries[place].system => Err(bad("A system query cannot be deleted")),
            Some(place) => Ok(queries.remove(place)),
            None => Err(nothing()),
        }
    }
}

/// The answer where a filter meets nothing.
pub fn nothing() -> Refused {
    (404, "No item found with given filters".to_owned())
}

impl Book {
    fn report_mut(&mut self, id: &str) -> Result<&mut Report, Refused> {
        let found = self.reports.iter_mut().find(|report| report.id.to_string().eq_ignore_ascii_case(id));
        found.ok_or_else(nothing)
    }

    /// A report with its executions and files.
    pub(super) fn forget(&mut self, report: Uuid) {
        self.reports.retain(|one| one.id != report);
        self.executions.retain(|execution| execution.report != report);
        let left: Vec<Uuid> = self.executions.iter().map(|execution| execution.id).collect();
        self.files.retain(|execution, _| left.contains(execution));
    }
}
