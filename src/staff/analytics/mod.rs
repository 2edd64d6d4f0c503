//! Analytics for staff: how fresh the datasets are, a page of charts for each subject, rows of exact dates, questions with
//! their mails, and the executions that brought the rows.
//!
//! Owns: these pages and their forms. Does not own: any rule or number; it asks `analytics` and shows the answer.

pub mod data;
pub mod executions;
mod figure;
pub mod overview;
pub mod questions;
mod range;
pub mod subject;
mod subjects;

use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::analytics::Format;
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::schedule::Trouble;
use crate::analytics::subjects::Source;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Request, Response, uncached, with_header};
use crate::identity::Staff;

const ROOT: &str = "/publisher/analytics";
/// Executions that a page names as its sources.
const MOST_SOURCES: usize = 5;

fn dataset(request: &Request) -> Result<&'static Dataset, Problem> {
    Dataset::find(request.param("dataset")).ok_or_else(Problem::not_found)
}

/// As which what was done is written down.
fn name(staff: &Staff) -> String {
    let user = staff.user();
    if user.email.is_empty() { &user.name } else { &user.email }.clone()
}

fn trouble_view(trouble: &Trouble) -> Value {
    json!({ "kind": trouble.kind, "said": trouble.said, "since": trouble.since })
}

/// Where the numbers of a page come from.
fn source_view(dataset: &Dataset, source: &Source) -> Value {
    let shown = source.executions.iter().take(MOST_SOURCES);
    json!({
        "dataset": dataset.name, "rows": source.rows.to_string(), "as_of": source.as_of,
        "executions": shown.map(|(id, at)| json!({ "id": id, "at": at })).collect::<Vec<_>>(),
        "more": source.executions.len().saturating_sub(MOST_SOURCES),
    })
}

/// A problem of what somebody asked is shown on the page of the form.
fn is_for_the_page(problem: &Problem) -> bool {
    problem.status.is_client_error() && problem.status != StatusCode::NOT_FOUND
}

/// A file to keep, safe to be opened by a spreadsheet.
const CSV: Format = Format::Csv { for_people: true };

fn download(body: Body, name: &str) -> Response {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let response = with_header(Response::new(body), header::CONTENT_TYPE, CSV.content_type());
    let attachment = format!("attachment; filename=\"{name}.csv\"");
    uncached(with_header(response, header::CONTENT_DISPOSITION, &attachment))
}

/// The fields of an address that are not empty.
fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}
