//! Usage from a CSV file: checked first, recorded after.

use std::sync::Arc;

use serde_json::{Value, json};

use super::actions::source;
use super::wrong;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response};
use crate::identity::Staff;
use crate::metering::{csv, handlers};
use crate::pages::page;

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
    // Browsers send CRLF; with plain line ends the numbers of the lines are those of the text field.
    let text = form.get("csv").replace("\r\n", "\n");
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
    let lines: Vec<Value> = judged.iter().map(handlers::judged_line).collect();
    let count = |word: &str| lines.iter().filter(|line| line["status"] == word).count();
    let result = json!({
        "dry": dry, "lines": lines.len(), "recorded": count("recorded"), "repeated": count("repeated"),
        "conflicts": count("conflict"), "refused": count("refused"), "not_judged": count("not_judged"),
    });
    // What needs a person comes first.
    let fine = |line: &Value| line["status"] == "recorded" || line["status"] == "repeated";
    let (good, bad): (Vec<Value>, Vec<Value>) = lines.into_iter().partition(fine);
    let rows: Vec<Value> = bad.into_iter().chain(good).collect();
    let more = rows.len().saturating_sub(MOST_SHOWN);
    let rows = &rows[..rows.len().min(MOST_SHOWN)];
    // Recorded for good: the text is done with, unless some of it has to be mended.
    let done = !dry
        && result["recorded"].as_u64().unwrap_or_default() + result["repeated"].as_u64().unwrap_or_default()
            == result["lines"].as_u64().unwrap_or_default();
    let kept = if done { "" } else { text.as_str() };
    show(&app, &request, &staff, json!({ "csv": kept, "result": result, "rows": rows, "more": more }))
}
