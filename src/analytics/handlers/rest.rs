//! REST for the publisher's own systems: what is held, and rows of exact dates.

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::analytics::model::datasets::{DATASETS, Dataset, Kind};
use crate::analytics::service::answers::{Answer, Ask, Place, all_columns};
use crate::analytics::service::export::{self, Chosen, Format};
use crate::analytics::service::{questions, rows, status};
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

/// `GET /api/analytics/{dataset}?from=&to=&columns=&filter=&undated=&format=&limit=&after=`: rows of exact dates (UTC, both inclusive).
/// JSON comes in pages, CSV and JSON lines whole.
pub async fn rows(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let (ask, filter) = ask(&app, &request)?;
    let mut answer = Answer::open(&app, &ask.ask).await?;
    let filter = filter.map(|text| questions::filter(&text, answer.columns())).transpose()?;
    let shown = ask.shown.unwrap_or(answer.columns().len());
    let chosen = Chosen { filter, shown };
    let ask = ask.ask;
    let as_of = answer.newest().map(|newest| newest.to_string()).unwrap_or_default();
    let response = match format(&request)? {
        Some(format) => {
            let body = export::stream(answer, format, chosen);
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
            page(answer, &chosen, &request).await?
        }
    };
    Ok(uncached(with_header(response, AS_OF, &as_of)))
}

/// `GET /api/analytics/query?q=&from=&to=&at=`: a question in Microsoft's query language, answered from what is held; with `from`
/// and `to` for these dates instead of the span that it names. `at=microsoft`: the first rows as Microsoft answers.
pub async fn query(app: Arc<App>, request: Request, _publisher: Publisher) -> Result<Response, Problem> {
    let text = request.query("q").unwrap_or_default();
    if request.query("at").is_some_and(|at| at == "microsoft") {
        let rows = questions::sample(&app, &text).await?;
        return Ok(uncached(json(StatusCode::OK, &json!({ "rows": rows, "sample": true }))));
    }
    let between = match (day(&request, "from")?, day(&request, "to")?) {
        (Some(from), Some(to)) => Some((from, to)),
        (None, None) => None,
        _ => return Err(wrong("from", "`from` and `to` belong together.".to_owned())),
    };
    let answered = questions::ask(&app, &text, between).await?;
    let kinds: Vec<_> = answered
        .table
        .columns
        .iter()
        .map(|name| (name.clone(), answered.dataset.column(name).map_or(Kind::Text, |column| column.kind)))
        .collect();
    let mut body = br#"{"rows":["#.to_vec();
    for (index, row) in answered.table.rows.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        export::object(&kinds, &row.as_slice().into(), &mut body);
    }
    let tail = json!({
        "columns": answered.table.columns, "dataset": answered.dataset.name, "from": answered.from, "to": answered.to,
        "as_of": answered.as_of, "not_summed": answered.table.not_summed,
    });
    body.extend_from_slice(b"],");
    body.extend_from_slice(tail.to_string().trim_start_matches('{').as_bytes());
    let response = Response::new(Body::Whole(body.into()));
    Ok(uncached(with_header(response, header::CONTENT_TYPE, "application/json")))
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

/// What is asked, and how many of its columns are shown.
struct Asked {
    ask: Ask,
    shown: Option<usize>,
}

fn ask(app: &App, request: &Request) -> Result<(Asked, Option<String>), Problem> {
    let dataset = dataset(request.param("dataset"))?;
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let to = day(request, "to")?.unwrap_or(today);
    let from = match day(request, "from")? {
        Some(from) => from,
        None => to.first_of_month(),
    };
    let columns = request.query("columns").unwrap_or_default();
    let names = columns.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut columns: Vec<String> = Vec::new();
    for name in names {
        if !columns.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            columns.push(name.to_owned());
        }
    }
    let filter = request.query("filter").filter(|filter| !filter.trim().is_empty());
    let shown = (!columns.is_empty()).then_some(columns.len());
    if let (Some(filter), Some(_)) = (&filter, shown) {
        for name in questions::looked_at(filter)? {
            let known = columns.iter().any(|known| known.eq_ignore_ascii_case(&name));
            // A name that does not exist is the filter's fault, which points at the word.
            if !known && all_columns(dataset).iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                columns.push(name);
            }
        }
    }
    let undated = request.query("undated").is_some_and(|text| text == "true");
    Ok((Asked { ask: Ask { dataset, from, to, columns, undated }, shown }, filter))
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

async fn page(mut answer: Answer, chosen: &Chosen, request: &Request) -> Result<Response, Problem> {
    let limit = match request.query("limit").filter(|limit| !limit.is_empty()) {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
            .ok_or_else(|| wrong("limit", format!("`{text}` is not a number of rows from 1 to {LONGEST_PAGE}.")))?,
    };
    let columns = answer.columns()[..chosen.shown].to_vec();
    let (found, next) = rows::page(&mut answer, chosen, limit).await?;
    let mut body = br#"{"rows":["#.to_vec();
    for (count, row) in found.iter().enumerate() {
        if count > 0 {
            body.push(b',');
        }
        export::object(&columns, row, &mut body);
    }
    let tail = json!({
        "columns": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "total_rows": answer.total(),
        "as_of": answer.newest(),
        "next": next.map(|next| next.to_string()),
    })
    .to_string();
    body.extend_from_slice(b"],");
    body.extend_from_slice(tail.trim_start_matches('{').as_bytes());
    let mut response = Response::new(Body::Whole(body.into()));
    response = with_header(response, header::CONTENT_TYPE, "application/json");
    Ok(response)
}
