//! Rows of exact dates as they are: columns, a filter in the query language, pages, and all of it as a file.

use std::sync::Arc;

use http::StatusCode;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::range::Range;
use super::subject::page_of;
use super::{CSV, ROOT, dataset, download, is_for_the_page, query, source_view};
use crate::analytics::model::datasets::{Column, DATASETS, Dataset, Kind};
use crate::analytics::rows::{self, Wanted};
use crate::analytics::subjects::Source;
use crate::analytics::{self, Place, QuestionError, Wrong};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::identity::Staff;
use crate::pages::{page, wrong};

const PAGE: usize = 100;
/// Columns that are shown when none were chosen.
const USUAL: usize = 12;

/// What is asked, as it stands in the address.
struct Asked {
    wanted: Wanted,
    range: Range,
    /// None: the usual ones.
    columns: Option<Vec<String>>,
}

impl Asked {
    fn of(request: &Request, dataset: &'static Dataset, range: Range) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let pairs = form_urlencoded::parse(request.raw_query.as_bytes());
        for (_, value) in pairs.filter(|(name, _)| name == "columns") {
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if !columns.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    columns.push(name.to_owned());
                }
            }
        }
        let wanted = Wanted {
            dataset,
            from: range.from,
            to: range.to,
            columns: Vec::new(),
            filter: request.query("filter").unwrap_or_default(),
            narrow: range.narrow.clone(),
            undated: request.query("undated").is_some_and(|undated| undated == "true"),
        };
        Self { wanted, range, columns: (!columns.is_empty()).then_some(columns) }
    }

    /// Of the address that shows or downloads the same.
    fn query(&self, after: &str) -> String {
        let columns = self.columns.as_ref().map(|columns| columns.join(",")).unwrap_or_default();
        let undated = if self.wanted.undated { "true" } else { "" };
        let more =
            query([("columns", &*columns), ("filter", &*self.wanted.filter), ("undated", undated), ("after", after)]);
        if more.is_empty() { self.range.query() } else { format!("{}&{more}", self.range.query()) }
    }
}

async fn asked(app: &App, request: &Request) -> Result<(Asked, Option<(String, String)>), Problem> {
    let dataset = dataset(request)?;
    let status = analytics::status(app, dataset).await?;
    let held = status.dates.as_ref().and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let range = Range::of(request, today, held)?;
    Ok((Asked::of(request, dataset, range), status.dates))
}

/// The columns that say most: what dates a row, what it is, and its numbers.
fn usual(dataset: &Dataset) -> Vec<String> {
    let known = dataset.columns.iter().filter(|column| !column.personal);
    let (metrics, others): (Vec<&Column>, Vec<&Column>) = known.partition(|column| column.metric);
    let left = USUAL.saturating_sub(metrics.len());
    others.into_iter().take(left).chain(metrics).map(|column| column.name.to_owned()).collect()
}

/// `GET /publisher/analytics/data/{dataset}?preset=&from=&to=&offer=&plan=&columns=&filter=&undated=&after=`.
pub async fn show(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let dataset = dataset(&request)?;
    let (asked, refused) = match asked(&app, &request).await {
        Ok((asked, _)) => (asked, None),
        Err(problem) if is_for_the_page(&problem) => {
            let today = app.clock.now().to_zoned(TimeZone::UTC).date();
            (Asked::of(&request, dataset, Range::usual(today, None)), Some(problem))
        }
        Err(problem) => return Err(problem),
    };
    let shown = asked.columns.clone().unwrap_or_else(|| usual(dataset));
    let wanted = Wanted { columns: shown.clone(), ..asked.wanted.clone() };
    let mut content = json!({
        "dataset": dataset.name, "page": page_of(dataset.name), "root": ROOT, "range": asked.range.view(),
        "here_at": format!("{ROOT}/data/{}", dataset.name), "filter": asked.wanted.filter, "undated": asked.wanted.undated,
        "datasets": DATASETS.iter().map(|one| one.name).collect::<Vec<_>>(),
        "columns": choices(dataset, &shown), "error": refused.as_ref().map(wrong), "faults": [],
        "csv": asked.query(""), "first": request.query("after").is_none_or(|after| after.is_empty()),
        "query": asked.query(""), "rows": [], "heads": [], "origin": null, "more": null, "total": "0",
    });
    let mut status = refused.as_ref().map_or(StatusCode::OK, |problem| problem.status);
    match table(&app, &request, &wanted).await {
        Ok((heads, rows, source, next)) => {
            content["origin"] = source_view(dataset, &source);
            content["total"] = source.rows.to_string().into();
            content["heads"] = heads.into();
            content["rows"] = rows.into();
            content["more"] = next.map(|next| asked.query(&next.to_string())).into();
        }
        Err(QuestionError::Wrong(faults)) => {
            content["faults"] = faults_view(&faults);
            status = StatusCode::BAD_REQUEST;
        }
        Err(error) => {
            let problem = Problem::from(error);
            if !is_for_the_page(&problem) {
                return Err(problem);
            }
            content["error"] = wrong(&problem);
            status = problem.status;
        }
    }
    let mut response = page(&app, &request, Some(&staff.session), "staff_analytics_data.html", content)?;
    *response.status_mut() = status;
    Ok(response)
}

/// What is wrong with a question, with its line and the carets under the word.
pub(super) fn faults_view(faults: &[Wrong]) -> Value {
    faults
        .iter()
        .map(|fault| json!({ "message": fault.message, "remedy": fault.remedy, "shown": fault.shown }))
        .collect()
}

fn choices(dataset: &Dataset, shown: &[String]) -> Vec<Value> {
    let known = dataset.columns.iter().filter(|column| !column.personal).map(|column| column.name);
    known
        .chain(["ExecutionId", "GeneratedAt"])
        .map(|name| json!({ "name": name, "on": shown.iter().any(|known| known.eq_ignore_ascii_case(name)) }))
        .collect()
}

type Table = (Vec<Value>, Vec<Value>, Source, Option<Place>);

async fn table(app: &App, request: &Request, wanted: &Wanted) -> Result<Table, QuestionError> {
    let (mut answer, chosen) = rows::open(app, wanted).await?;
    let source =
        Source { rows: answer.total(), as_of: answer.newest(), executions: answer.executions(), ..Source::default() };
    if let Some(after) = request.query("after").filter(|after| !after.is_empty()) {
        let place: Place = after.parse().map_err(|()| analytics::AnalyticsError::Asked {
            field: "after",
            reason: "This page's address is not one of ours; begin with the first page.".into(),
        })?;
        answer.resume(&place).await?;
    }
    let (found, next) = rows::page(&mut answer, &chosen, PAGE).await?;
    let heads: Vec<Value> = answer.columns()[..chosen.shown].iter().map(|(name, kind)| head(name, *kind)).collect();
    let rows = found.iter().map(|row| row.iter().collect::<Vec<_>>().into()).collect();
    Ok((heads, rows, source, next))
}

pub(super) fn head(name: &str, kind: Kind) -> Value {
    json!({ "name": name, "number": matches!(kind, Kind::Integer | Kind::Decimal), "wide": kind == Kind::Text })
}

/// `GET /publisher/analytics/data/{dataset}/rows.csv` with the same fields; all columns where none are named.
pub async fn csv(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    let (asked, _) = asked(&app, &request).await?;
    let wanted = Wanted { columns: asked.columns.clone().unwrap_or_default(), ..asked.wanted };
    let (answer, chosen) = rows::open(&app, &wanted).await?;
    let name = format!("{}_{}_{}", wanted.dataset.name, wanted.from, wanted.to);
    Ok(download(analytics::stream(answer, CSV, chosen), &name))
}
