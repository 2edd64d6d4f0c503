//! Usage from a CSV file: checked first, recorded after.

use std::sync::Arc;

use serde_json::{Value, json};

use super::actions::source;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::identity::Staff;
use crate::metering::handlers::{Counts, ResultBody};
use crate::metering::{csv, handlers};
use crate::pages::{page, wrong};

/// Lines in the table of results.
const MOST_SHOWN: usize = 500;

/// `GET /publisher/usage/import`.
pub async fn form(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    show(&app, &request, &staff, json!({ "csv": "" }))
}

fn show(app: &App, request: &Request, staff: &Staff, mut content: Value) -> Result<Response, Problem> {
    content["may_act"] = true.into();
    content["most_lines"] = csv::MOST_LINES.into();
    page(app, request, Some(&staff.session), "staff_usage_import.html", content)
}

/// `POST /publisher/usage/import`: `do=check` judges and records nothing, `do=record` records.
pub async fn import(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let text = form.get("csv").to_owned();
    let dry = form.get("do") != "record";
    let lines = match csv::parse(text.as_bytes()) {
        Ok(lines) => lines,
        Err(error) => {
            let problem = Problem::from(error).field("csv");
            let mut response = show(&app, &request, &staff, json!({ "csv": text, "error": wrong(&problem) }))?;
            *response.status_mut() = problem.status;
            return Ok(response);
        }
    };
    let judged = csv::import(&app, &source(&staff), lines, dry).await?;
    let lines: Vec<ResultBody> = judged.iter().map(handlers::judged_line).collect();
    let counts = Counts::of(&lines);
    let (count, fine_ones) = (lines.len(), counts.recorded + counts.repeated);
    let mut result = json!(counts);
    result["dry"] = dry.into();
    result["lines"] = count.into();
    // What needs a person comes first.
    let fine = |line: &ResultBody| ["recorded", "repeated"].contains(&line.status);
    let (good, bad): (Vec<ResultBody>, Vec<ResultBody>) = lines.into_iter().partition(fine);
    let rows: Vec<ResultBody> = bad.into_iter().chain(good).collect();
    let more = rows.len().saturating_sub(MOST_SHOWN);
    let rows = &rows[..rows.len().min(MOST_SHOWN)];
    // Recorded for good: the text is done with, unless some of it has to be mended.
    let done = !dry && fine_ones == count;
    let kept = if done { "" } else { text.as_str() };
    show(&app, &request, &staff, json!({ "csv": kept, "result": result, "rows": rows, "more": more }))
}
