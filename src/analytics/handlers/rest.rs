//! REST for the publisher's own systems: what is held, and rows of exact dates.

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::analytics::model::datasets::{DATASETS, Dataset};
use crate::analytics::service::answers::{Answer, Ask, Place};
use crate::analytics::service::export::{self, Format};
use crate::analytics::service::status;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Request, Response, json, uncached, with_header};
use crate::identity::Publisher;

/// Rows of a page of JSON.
const PAGE: usize = 1_000;
const LONGEST_PAGE: usize = 10_000;
/// When Microsoft made the newest file of an answer.
const AS_OF: HeaderName = HeaderName::from_static("x-as-of");

/// `GET /api/analytics`: the datasets, how fresh they are, and how their pull goes.
pub async fn list(app: Arc<App>, _request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let datasets = status::statuses(&app).await?;
    Ok(uncached(json(StatusCode::OK, &json!({ "datasets": datasets }))))
}

/// `GET /api/analytics/{dataset}?from=&to=&columns=&undated=&format=&limit=&after=`: rows of exact dates (UTC, both inclusive).
/// JSON comes in pages, CSV and JSON lines whole.
pub async fn rows(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let ask = ask(&app, &request)?;
    let mut answer = Answer::open(&app, &ask).await?;
    let as_of = answer.newest().map(|newest| newest.to_string()).unwrap_or_default();
    let response = match format(&request)? {
        Some(format) => {
            let body = export::stream(answer, format, None);
            let file = format!("{}_{}_{}", ask.dataset.name, ask.from, ask.to);
            download(body, format, &file)
        }
        None => {
            if let Some(after) = request.query("after").filter(|after| !after.is_empty()) {
                let place: Place = after
                    .parse()
                    .map_err(|()| wrong("after", "`after` is not the `next` of an earlier answer.".to_owned()))?;
                answer.resume(&place).await?;
            }
            page(answer, &request).await?
        }
    };
    Ok(uncached(with_header(response, AS_OF, &as_of)))
}

fn wrong(field: &'static str, title: String) -> Problem {
    Problem::bad_request("invalid_question", title).field(field)
}

/// The name in the address, in any letter case, with or without `ISV`.
pub fn dataset(name: &str) -> Result<&'static Dataset, Problem> {
    Dataset::find(name).ok_or_else(|| {
        let names: Vec<_> = DATASETS.iter().map(|dataset| dataset.name).collect();
        Problem::not_found().remedy(format!("The datasets are {}.", names.join(", ")))
    })
}

/// A day such as `2026-02-11`.
pub fn day(request: &Request, field: &'static str) -> Result<Option<Date>, Problem> {
    let Some(text) = request.query(field).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(field, format!("`{text}` is not a day such as 2026-02-11.")))
}

fn ask(app: &App, request: &Request) -> Result<Ask, Problem> {
    let dataset = dataset(request.param("dataset"))?;
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let to = day(request, "to")?.unwrap_or(today);
    let from = match day(request, "from")? {
        Some(from) => from,
        None => to.first_of_month(),
    };
    let columns = request.query("columns").unwrap_or_default();
    Ok(Ask {
        dataset,
        from,
        to,
        columns: columns.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        undated: request.query("undated").is_some_and(|text| text == "true"),
    })
}

/// None: a page of JSON.
fn format(request: &Request) -> Result<Option<Format>, Problem> {
    let named = request.query("format").filter(|format| !format.is_empty());
    let accepted = request.header(header::ACCEPT).unwrap_or_default();
    match named.as_deref() {
        Some("csv") => Ok(Some(Format::Csv { for_people: false })),
        Some("ndjson") => Ok(Some(Format::JsonLines)),
        Some("json") => Ok(None),
        Some(other) => Err(wrong("format", format!("`{other}` is not a format; there are csv, json and ndjson."))),
        None if accepted.contains("text/csv") => Ok(Some(Format::Csv { for_people: false })),
        None if accepted.contains("application/x-ndjson") => Ok(Some(Format::JsonLines)),
        None => Ok(None),
    }
}

/// A file to keep.
pub fn download(body: Body, format: Format, name: &str) -> Response {
    let mut response = Response::new(body);
    let ending = if format == Format::JsonLines { "ndjson" } else { "csv" };
    for (header, value) in [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{ending}\"")),
    ] {
        response = with_header(response, header, &value);
    }
    response
}

async fn page(mut answer: Answer, request: &Request) -> Result<Response, Problem> {
    let limit = match request.query("limit").filter(|limit| !limit.is_empty()) {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
            .ok_or_else(|| wrong("limit", format!("`{text}` is not a number of rows from 1 to {LONGEST_PAGE}.")))?,
    };
    let columns = answer.columns().to_vec();
    let (mut body, mut count) = (br#"{"rows":["#.to_vec(), 0);
    let mut more = false;
    while let Some(rows) = answer.next().await? {
        let mut rows = rows.into_iter();
        while count < limit {
            let Some(row) = rows.next() else { break };
            if count > 0 {
                body.push(b',');
            }
            export::object(&columns, &row, &mut body);
            count += 1;
        }
        let rest: Vec<_> = rows.collect();
        if !rest.is_empty() {
            answer.give_back(rest);
            more = true;
            break;
        }
        if count == limit {
            // Whether anything follows is known when it is looked at.
            if let Some(rows) = answer.next().await? {
                answer.give_back(rows);
                more = true;
            }
            break;
        }
    }
    let next = answer.place().filter(|_| more).map(ToString::to_string);
    let tail = json!({
        "columns": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "total_rows": answer.total(),
        "as_of": answer.newest(),
        "next": next,
    })
    .to_string();
    body.extend_from_slice(b"],");
    body.extend_from_slice(tail.trim_start_matches('{').as_bytes());
    let mut response = Response::new(Body::Whole(body.into()));
    response = with_header(response, header::CONTENT_TYPE, "application/json");
    Ok(response)
}
