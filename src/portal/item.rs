//! What came of one item of a media job, to be looked at: sound, a transcript with its times, what was found in an image.

use std::sync::Arc;

use serde_json::{Value, json};

use super::files as pages;
use super::findings;
use super::job::still_there;
use super::jobs::{address, view};
use super::subscriptions::own;
use super::transcript;
use super::view::subscription_view;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::identity::Customer;
use crate::media::model::file::File;
use crate::media::model::job::{Input, Job, Kind};
use crate::media::{files, jobs};
use crate::pages::page;

/// Bytes of a result that are read for a page.
const MOST_BYTES: u64 = 1024 * 1024;

/// `GET /portal/subscriptions/{id}/jobs/{job}/items/{number}`.
pub async fn show(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let job = jobs::find(&app, row.id, request.param("job")).await?;
    let number: u32 = request.param("number").parse().map_err(|_| Problem::not_found())?;
    let found = jobs::items(&app, &job, number, 1).await?;
    let item = found.into_iter().find(|item| item.number == number).ok_or_else(Problem::not_found)?;
    let input = match &item.input {
        Input::File(id) => still_there(&app, row.id, id).await?,
        _ => None,
    };
    let result = match &item.file {
        Some(id) => still_there(&app, row.id, id).await?,
        None => None,
    };
    let transcript = match &result {
        Some(file) if job.kind == Kind::Transcription => readable(&app, &job, file).await?,
        _ => Value::Null,
    };
    let image = item.value.as_ref().filter(|_| job.kind == Kind::ImageAnalysis);
    let content = json!({
        "s": subscription_view(&row, &[]), "address": format!("{}/{}", address(&row), job.id),
        "files_address": pages::address(&row), "jobs_address": address(&row), "job": view(&job), "item": item.shown(),
        "input": input.as_ref().map(pages::view), "input_gone": matches!(item.input, Input::File(_)) && input.is_none(),
        "text": match &item.input { Input::Text(text) => Some(text), _ => None },
        "result": result.as_ref().map(pages::view), "result_gone": item.file.is_some() && result.is_none(),
        "transcript": transcript, "findings": image.map(findings::table), "drawing": image.and_then(findings::drawing),
        "earlier": number.checked_sub(1), "later": Some(number + 1).filter(|later| *later < job.items),
    });
    page(&app, &request, Some(&customer.session), "portal_job_item.html", content)
}

/// A transcript for a template: its lines with their times where it has such, else its text.
async fn readable(app: &App, job: &Job, file: &File) -> Result<Value, Problem> {
    let bytes = files::read(app, job.subscription, file, 0..MOST_BYTES).await?;
    // Cut within a character or not: what can not be read is shown as such.
    let text = String::from_utf8_lossy(&bytes);
    let format = job.options.get("response_format").map_or("json", String::as_str);
    let read = transcript::read(format, &text);
    Ok(json!({
        "lines": read.lines, "text": read.text, "more_lines": read.more, "cut": file.bytes > MOST_BYTES,
        "most_kib": MOST_BYTES / 1024,
    }))
}
