//! The API over HTTP (analytics contract, sections 3, 4 and 6): who may call, which faults strike, and one envelope
//! around every answer.

use http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::Simulator;
use super::super::http::{Reply, Request, json_reply};
use super::super::state::Turn;
use super::executions::Execution;
use super::reports::{Refused, Report, StoredQuery, nothing};
use super::tables::TABLES;
use super::world::World;
use super::{Book, blob, faults, query, system, view};

pub const ROUTE: &str = "/insights/v1.1/cmp/{*path}";
/// Under the simulator's address.
pub const BASE: &str = "/insights/v1.1/cmp";

/// Rows of a test query.
const TESTED: usize = 10;

fn envelope(status: u16, message: &str, value: Vec<Value>) -> Value {
    json!({
        "value": value, "nextLink": null, "totalCount": value.len(), "message": message, "statusCode": status,
        "dataRedacted": false,
    })
}

/// An error in the envelope.
pub fn refusal(status: u16, message: &str) -> Reply {
    json_reply(status, &envelope(status, message, Vec::new()))
}

type Outcome = Result<(Vec<Value>, &'static str), Refused>;

pub fn answer(simulator: &Simulator, request: &Request) -> Reply {
    let method = request.method.as_str();
    let path: Vec<&str> = request.param("path").split('/').filter(|part| !part.is_empty()).collect();
    let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let id = path.last().copied().unwrap_or_default();
    let label = match (method, lower.as_slice()) {
        ("GET", ["scheduleddataset"]) => "analytics.datasets",
        ("POST", ["scheduledqueries"]) => "analytics.query.create",
        ("GET", ["scheduledqueries"]) => "analytics.query.list",
        ("GET", ["scheduledqueries", "testqueryresult"]) => "analytics.query.test",
        ("DELETE", ["scheduledqueries", _]) => "analytics.query.delete",
        ("POST", ["scheduledreport"]) => "analytics.report.create",
        ("GET", ["scheduledreport"]) => "analytics.report.list",
        ("PUT", ["scheduledreport", "pause", _]) => "analytics.report.pause",
        ("PUT", ["scheduledreport", "resume", _]) => "analytics.report.resume",
        ("PUT", ["scheduledreport", _]) => "analytics.report.update",
        ("DELETE", ["scheduledreport", _]) => "analytics.report.delete",
        ("GET", ["scheduledreport", "execution", _]) => "analytics.executions",
        _ => return refusal(404, "Resource not found"),
    };
    simulator.count(label);
    let struck = faults::strike(simulator).or_else(|| refuse_caller(simulator, request));
    let reply = struck.unwrap_or_else(|| {
        let outcome = match label {
            "analytics.query.test" => test(simulator, request),
            label => simulator.turn(|turn| serve(simulator, turn, label, id, request)),
        };
        match outcome {
            Ok((value, message)) => json_reply(200, &envelope(200, message, value)),
            Err((status, message)) => refusal(status, &message),
        }
    });
    if simulator.faults().get().analytics.pascal_case { capitals(&reply) } else { reply }
}

/// The same answer with names that begin with a capital letter.
fn capitals(reply: &Reply) -> Reply {
    fn change(value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(change).collect(),
            Value::Object(fields) => {
                let capital = |name: String| {
                    let mut letters = name.chars();
                    letters
                        .next()
                        .map(|first| first.to_ascii_uppercase())
                        .into_iter()
                        .chain(letters)
                        .collect::<String>()
                };
                let changed: Map<String, Value> =
                    fields.into_iter().map(|(name, value)| (capital(name), change(value))).collect();
                Value::Object(changed)
            }
            other => other,
        }
    }
    let mut changed =
        json_reply(reply.status().as_u16(), &change(serde_json::from_slice(reply.body()).unwrap_or_default()));
    changed.headers_mut().extend(reply.headers().clone());
    changed
}

fn refuse_caller(simulator: &Simulator, request: &Request) -> Option<Reply> {
    let header = request.header(AUTHORIZATION.as_str()).unwrap_or_default();
    let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let now = simulator.base_now();
    if !token.is_some_and(|(_, token)| simulator.issued().accepts_for_analytics(token.trim(), now)) {
        return Some(refusal(401, "Unauthorized"));
    }
    simulator.faults().get().analytics.deny.then(|| refusal(403, "Forbidden"))
}

fn serve(simulator: &Simulator, turn: &mut Turn<'_>, label: &str, id: &str, request: &Request) -> Outcome {
    turn.settle_reports();
    turn.state.analytics.with_system_queries();
    let one = |report: Report, message| Ok((vec![report.view()], message));
    match label {
        "analytics.datasets" => datasets(&turn.state.analytics, request),
        "analytics.query.create" => {
            let query = turn.create_query(&body(request)?)?;
            Ok((vec![query.view()], "Query created successfully"))
        }
        "analytics.query.list" => queries(&turn.state.analytics, request),
        "analytics.query.delete" => Ok((vec![turn.delete_query(id)?.view()], "Query deleted successfully")),
        "analytics.report.create" => one(turn.create_report(&body(request)?)?, "Report created successfully"),
        "analytics.report.list" => reports(&turn.state.analytics, request),
        "analytics.report.update" => one(turn.update_report(id, &body(request)?)?, "Report updated successfully"),
        "analytics.report.pause" => one(turn.pause_report(id, true)?, "Report paused successfully"),
        "analytics.report.resume" => one(turn.pause_report(id, false)?, "Report resumed successfully"),
        "analytics.report.delete" => one(turn.delete_report(id)?, "Report deleted successfully"),
        _ => executions(simulator, turn, id, request),
    }
}

fn body(request: &Request) -> Result<Value, Refused> {
    let body = request.json();
    if body.is_object() { Ok(body) } else { Err((400, "The request body has a null or missing value".to_owned())) }
}

fn wanted<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let found = request.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

fn one_of(list: Option<&str>, value: &str) -> bool {
    list.is_none_or(|list| list.split(';').any(|one| one.trim().eq_ignore_ascii_case(value)))
}

/// An empty list is a 404 here.
fn some(value: Vec<Value>, message: &'static str) -> Outcome {
    if value.is_empty() { Err(nothing()) } else { Ok((value, message)) }
}

fn datasets(book: &Book, request: &Request) -> Outcome {
    let name = wanted(request, "datasetName");
    let found = TABLES.iter().filter(|table| one_of(name, table.name));
    some(found.map(|table| view::entry(table, &book.drift(table))).collect(), "Dataset fetched successfully")
}

fn queries(book: &Book, request: &Request) -> Outcome {
    let on = |name: &str, usual| wanted(request, name).map_or(usual, |value| value.eq_ignore_ascii_case("true"));
    let (system, only) = (on("includeSystemQueries", true), on("includeOnlySystemQueries", false));
    let (id, name) = (wanted(request, "queryId"), wanted(request, "queryName"));
    let found = book.queries.iter().filter(|query| {
        let kind = if query.system { system || only } else { !only };
        kind && one_of(id, &query.id) && one_of(name, &query.name)
    });
    some(found.map(StoredQuery::view).collect(), "Queries fetched successfully")
}

fn reports(book: &Book, request: &Request) -> Outcome {
    let (id, name) = (wanted(request, "reportId"), wanted(request, "reportName"));
    let query = wanted(request, "queryId");
    let found = book.reports.iter().filter(|report| {
        one_of(id, &report.id.to_string()) && one_of(name, &report.name) && one_of(query, &report.query_id)
    });
    some(found.map(Report::view).collect(), "Reports fetched successfully")
}

fn executions(simulator: &Simulator, turn: &mut Turn<'_>, ids: &str, request: &Request) -> Outcome {
    const STATUSES: &[&str] = &["Pending", "Running", "Paused", "Completed"];
    let now = turn.now;
    let status = wanted(request, "executionStatus").unwrap_or("Completed");
    // A list is documented, and was seen to fail (contract 10).
    if !STATUSES.iter().any(|known| known.eq_ignore_ascii_case(status)) {
        return Err((400, format!("Requested value '{status}' not found.")));
    }
    let latest = wanted(request, "getLatestExecution").is_none_or(|value| !value.eq_ignore_ascii_case("false"));
    let only = wanted(request, "executionId");
    let ids = percent_encoding::percent_decode_str(ids).decode_utf8_lossy().into_owned();
    let book = &turn.state.analytics;
    let reports: Vec<Report> =
        book.reports.iter().filter(|report| one_of(Some(&ids), &report.id.to_string())).cloned().collect();
    if reports.is_empty() {
        return Err(nothing());
    }
    let mut found: Vec<(Execution, Report)> = Vec::new();
    for report in reports {
        let mut own: Vec<Execution> = book
            .executions
            .iter()
            .filter(|one| {
                let meant = one.report == report.id && one_of(only, &one.id.to_string());
                meant && one.status(now).eq_ignore_ascii_case(status)
            })
            .cloned()
            .collect();
        own.sort_by_key(|execution| std::cmp::Reverse(execution.due));
        own.truncate(if latest { 1 } else { usize::MAX });
        found.extend(own.into_iter().map(|execution| (execution, report.clone())));
    }
    let value: Vec<Value> = found
        .into_iter()
        .map(|(execution, report)| {
            let link = execution.is_done(now).then(|| blob::link(simulator, turn, &execution));
            execution.view(&report, now, link)
        })
        .collect();
    if value.is_empty() {
        let why = "There are no executions that have occurred for the given filter conditions.";
        return Err((404, format!("{why} Please recheck the reportId or executionId.")));
    }
    Ok((value, ""))
}

/// The first rows at once, for whoever wants to know whether a query is good.
fn test(simulator: &Simulator, request: &Request) -> Outcome {
    let refuse = |why: String| (400, why);
    let (text, given) = (wanted(request, "exportQuery"), wanted(request, "queryId"));
    let calendar = simulator.faults().get().analytics.calendar_spans;
    let (bound, range, world) = simulator.turn(|turn| {
        turn.settle_all();
        turn.state.analytics.with_system_queries();
        let book = &turn.state.analytics;
        let stored = |id: &str| book.queries.iter().find(|query| query.id.eq_ignore_ascii_case(id));
        let text = match (text, given) {
            (Some(text), _) => text.to_owned(),
            (None, Some(id)) => stored(id).ok_or_else(|| refuse("Invalid QueryId".into()))?.text.clone(),
            (None, None) => return Err(refuse("exportQuery has a null or missing value".into())),
        };
        let (query, bound) = book.bound(&text).map_err(refuse)?;
        let range = query.range(turn.now, calendar);
        Ok((bound, range, World::of(turn.state, turn.now, usize::MAX)))
    })?;
    let mut rows = Vec::new();
    bound.answer(&world, range, |row| {
        let cells = bound.columns.iter().zip(&row);
        let cells = cells.map(|(column, cell)| (column.name.clone(), json!((!cell.is_null()).then(|| cell.shown()))));
        rows.push(Value::Object(cells.collect()));
        if rows.len() < TESTED { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
    });
    Ok((rows, "Query tested successfully"))
}

impl Book {
    /// Microsoft's own queries are there from the first call on.
    pub(super) fn with_system_queries(&mut self) {
        if !self.queries.iter().any(|query| query.system) {
            self.queries.splice(0..0, system::queries());
        }
    }

    /// What an execution's file is made of, by a query that may be older than the columns are.
    pub(super) fn prepared(
        &self,
        report: &Report,
        as_of: Timestamp,
        calendar: bool,
    ) -> Result<(view::Bound, super::Between), String> {
        let query = query::read(&report.query)?;
        let bound = view::bind(&query, &self.drift(query.table()?), true)?;
        let mut range = query.range(as_of, calendar);
        if let Some(from) = report.query_range.0 {
            range.from = from;
        }
        range.to = report.query_range.1.unwrap_or(range.to);
        Ok((bound, range))
    }
}
