//! The publisher's REST interface under `/api/usage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::results::{Counts, ResultBody, judged_line, refused, result};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached};
use crate::identity::Publisher;
use crate::metering::model::hour::Hour;
use crate::metering::model::record::{Refusal, UsageRecord};
use crate::metering::model::resource::Resource;
use crate::metering::service::{csv, queries, read_back, record, run, terms};
use crate::metering::{MOST_RECORDS, RecordError};

/// Hours in the answer about a resource, unless asked for otherwise, and at most.
const HOURS: i64 = 48;
const MOST_HOURS: i64 = 31 * 24;

fn at(time: Timestamp) -> String {
    time.to_string()
}

/// `POST /api/usage`: one record, a list of up to 1,000, or `{"records": [...]}`. A single record's result is the
/// answer's status; a list is 200 with a result for each, in order.
pub async fn record_usage(app: Arc<App>, request: Request, publisher: Publisher) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope<'a> {
        #[serde(borrow)]
        records: Vec<&'a RawValue>,
    }
    let unreadable = |error: serde_json::Error| {
        Problem::bad_request("unreadable", format!("The body is not the JSON of usage records: {error}."))
            .remedy("Send one record, a list of records, or {\"records\": [...]}; docs/METERING.md has examples.")
    };
    let body = std::str::from_utf8(&request.body)
        .map_err(|_| Problem::bad_request("unreadable", "The body is not UTF-8 text."))?
        .trim_start_matches('\u{feff}')
        .trim();
    let (texts, single) = if body.starts_with('[') {
        (serde_json::from_str::<Vec<&RawValue>>(body).map_err(unreadable)?, false)
    } else if serde_json::from_str::<BTreeMap<String, &RawValue>>(body).map_err(unreadable)?.contains_key("records") {
        (serde_json::from_str::<Envelope<'_>>(body).map_err(unreadable)?.records, false)
    } else {
        (vec![serde_json::from_str::<&RawValue>(body).map_err(unreadable)?], true)
    };
    if texts.len() > MOST_RECORDS {
        return Err(Problem::bad_request(
            "too_many_records",
            format!("There are {} records; at most {MOST_RECORDS} are taken at once.", texts.len()),
        )
        .remedy("Send them in parts. Repeats are harmless, because ids count once."));
    }
    let read: Vec<Result<UsageRecord, Refusal>> = texts.iter().map(|text| UsageRecord::from_json(text.get())).collect();
    let good: Vec<UsageRecord> = read.iter().filter_map(|record| record.as_ref().ok().cloned()).collect();
    let source = format!("api:{}", publisher.name);
    let mut outcomes = record::record(&app, &source, good).await.into_iter();
    let results: Vec<(ResultBody, StatusCode)> = read
        .iter()
        .zip(&texts)
        .map(|(read, text)| match read {
            Ok(record) => {
                result(&record.id, Some(record), &outcomes.next().unwrap_or(Err(RecordError::Interrupted)), single)
            }
            Err(refusal) => (refused(&loose_id(text.get()), refusal), StatusCode::BAD_REQUEST),
        })
        .collect();
    let (bodies, statuses): (Vec<ResultBody>, Vec<StatusCode>) = results.into_iter().unzip();
    if single {
        let status = statuses.first().copied().unwrap_or(StatusCode::BAD_REQUEST);
        return Ok(uncached(json(status, &bodies.first())));
    }
    let counts = Counts::of(&bodies);
    // Records that were not judged are to be sent again, and programs look at the status only.
    let status = if counts.not_judged > 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(flatten)]
        counts: Counts,
        results: &'a [ResultBody],
    }
    Ok(uncached(json(status, &Body { counts, results: &bodies })))
}

/// The id of a record that can not be read otherwise, so that its sender finds it.
fn loose_id(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["id"].as_str().unwrap_or_default().chars().take(128).collect()
}

/// `POST /api/usage/csv?dry_run=true`: a CSV file as the body. The answer counts what was (or would be) recorded, and
/// lists every line that was not.
pub async fn record_csv(app: Arc<App>, request: Request, publisher: Publisher) -> Result<Response, Problem> {
    let dry = match request.query("dry_run").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::bad_request("invalid_dry_run", "dry_run is true or false.").field("dry_run")),
    };
    let lines = csv::parse(&request.body)?;
    let judged = csv::import(&app, &format!("api:{}", publisher.name), lines, dry).await?;
    let lines: Vec<ResultBody> = judged.iter().map(judged_line).collect();
    let counts = Counts::of(&lines);
    let problems: Vec<&ResultBody> =
        lines.iter().filter(|line| !["recorded", "repeated"].contains(&line.status)).collect();
    let status = if counts.not_judged > 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(uncached(json(
        status,
        &json!({
            "dry_run": dry, "recorded": counts.recorded, "repeated": counts.repeated, "conflicts": counts.conflicts,
            "refused": counts.refused, "not_judged": counts.not_judged, "problems": problems,
        }),
    )))
}

/// The resource that a path or body names: a subscription's GUID, else one that metering knows under this key.
async fn named(app: &App, text: &str) -> Result<Resource, Problem> {
    let known = queries::by_key(app, &text.to_lowercase()).await?;
    known.ok_or_else(Problem::not_found)
}

fn hours(request: &Request, now: Timestamp) -> Result<(Hour, Hour), Problem> {
    let time = |name: &'static str| -> Result<Option<Hour>, Problem> {
        let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let wrong = |_| {
            Problem::bad_request("invalid_time", format!("{name} is not a time such as 2026-03-02T09:00:00Z."))
                .field(name)
        };
        text.parse::<Timestamp>().map(|time| Some(Hour::of(time))).map_err(wrong)
    };
    let to = time("to")?.unwrap_or(Hour(Hour::of(now).0 + 2));
    let from = time("from")?.unwrap_or(Hour(to.0 - HOURS));
    if from >= to || to.0 - from.0 > MOST_HOURS {
        let title = format!("from must lie before to, and at most {MOST_HOURS} hours before it.");
        return Err(Problem::bad_request("invalid_range", title).field("from"));
    }
    Ok((from, to))
}

/// `GET /api/usage/resources/{resource}?from=&to=`: balances by billing period, and the grid of hours in a range.
pub async fn resource_usage(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let resource = named(&app, request.param("resource")).await?;
    let (from, to) = hours(&request, app.clock.now())?;
    let usage = queries::usage(&app, &resource).await?.ok_or_else(Problem::not_found)?;
    let cells = queries::grid(&app, &resource, from, to).await?;
    let hours: Vec<Value> = cells
        .iter()
        .map(|((hour, dimension), cell)| {
            let mut value = json!({ "hour": at(hour.start()), "dimension": dimension, "recorded": cell.recorded, "open": cell.open });
            if !cell.open {
                value["included"] = json!(cell.included);
                value["billable"] = json!(cell.billable);
            }
            if let Some(event) = &cell.event {
                value["event"] = json!({
                    "state": queries::state_word(event), "quantity": event.quantity, "plan": event.plan, "deadline": at(event.deadline()),
                    "attempts": event.attempts, "detail": event.state, "said": event.said, "advice": event.advice(), "note": event.note,
                });
            }
            value
        })
        .collect();
    Ok(uncached(json(StatusCode::OK, &json!({ "usage": usage, "hours": hours }))))
}

/// `GET /api/usage/status`: how submission goes, and which resources need attention.
pub async fn status(app: Arc<App>, _request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    Ok(uncached(json(StatusCode::OK, &queries::overview(&app).await?)))
}

/// `POST /api/usage/submit`: closes and sends now what is due, instead of at the next full minute.
pub async fn submit_now(app: Arc<App>, _request: Request, publisher: Publisher) -> Result<Response, Problem> {
    let round = run::run(&app).await?;
    tracing::info!(publisher = publisher.name, ?round, "usage sent on demand");
    Ok(uncached(json(StatusCode::OK, &round)))
}

/// `POST /api/usage/read-back?day=2026-03-02`: compares a day with what Microsoft has booked, now.
pub async fn read_back_now(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let report = read_back::read_back(&app, &day(&request, app.clock.now())?).await?;
    Ok(uncached(json(StatusCode::OK, &report)))
}

/// A month such as `2026-03` from the query; the current one without.
pub fn month(request: &Request, now: Timestamp) -> Result<String, Problem> {
    let text =
        request.query("month").filter(|text| !text.is_empty()).unwrap_or_else(|| at(now).chars().take(7).collect());
    let fine = format!("{text}-01T00:00:00Z").parse::<Timestamp>().is_ok() && text.len() == 7;
    if fine {
        Ok(text)
    } else {
        Err(Problem::bad_request("invalid_month", "The month is not of the form 2026-03.").field("month"))
    }
}

/// A day such as `2026-03-02` from the query; yesterday without.
pub fn day(request: &Request, now: Timestamp) -> Result<String, Problem> {
    let yesterday = || Hour::of(now - SignedDuration::from_hours(24)).day();
    let text = request.query("day").filter(|text| !text.is_empty()).unwrap_or_else(yesterday);
    let fine = format!("{text}T00:00:00Z").parse::<Timestamp>().is_ok() && text.len() == 10;
    if fine {
        Ok(text)
    } else {
        Err(Problem::bad_request("invalid_day", "The day is not of the form 2026-03-02.").field("day"))
    }
}

/// `GET /api/usage/losses?month=2026-03`.
pub async fn losses(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let month = month(&request, app.clock.now())?;
    let losses = queries::losses(&app, &month).await?;
    Ok(uncached(json(StatusCode::OK, &json!({ "month": month, "losses": losses }))))
}

/// `GET /api/usage/differences?day=2026-03-02`.
pub async fn differences(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let day = day(&request, app.clock.now())?;
    let (differences, compared) = queries::differences(&app, &day).await?;
    Ok(uncached(json(StatusCode::OK, &json!({ "day": day, "compared": compared, "differences": differences }))))
}

/// `POST /api/usage/managed-apps`: makes a managed application known, or brings its plan and end up to date.
pub async fn register_managed_app(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        resource_id: Option<uuid::Uuid>,
        resource_uri: Option<String>,
        plan: String,
        since: Option<Timestamp>,
        ended: Option<Timestamp>,
    }
    let body: Body = serde_json::from_slice(&request.body)
        .map_err(|error| Problem::bad_request("unreadable", format!("The body can not be read: {error}.")))?;
    let resource = match (body.resource_id, &body.resource_uri) {
        (Some(id), None) => Resource::UsageId(id),
        (None, Some(uri)) => Resource::uri(uri).map_err(|error| {
            Problem::bad_request("invalid_resource", format!("The resource_uri {error}.")).field("resource_uri")
        })?,
        _ => {
            return Err(
                Problem::bad_request("ambiguous", "Name either resource_id or resource_uri.").field("resource_id")
            );
        }
    };
    if app.catalogue.plans.get(&body.plan).is_none_or(|plan| plan.dimensions.is_empty()) {
        return Err(Problem::bad_request("unknown_plan", "The catalogue's file has no dimensions for this plan.")
            .remedy("Microsoft does not list the plans of managed applications; describe them in CATALOGUE_FILE.")
            .field("plan"));
    }
    let since = body.since.unwrap_or_else(|| app.clock.now());
    let plans = [(since, body.plan.clone())];
    let known = terms::ManagedApp { plans: &plans, ended: body.ended };
    terms::register_managed_app(&app, &resource, &known).await?;
    Ok(uncached(json(
        StatusCode::OK,
        &json!({ "resource": resource.to_string(), "key": resource.key(), "plan": body.plan }),
    )))
}
