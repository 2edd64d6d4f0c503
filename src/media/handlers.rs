//! The triggers of files and media jobs.

use std::sync::Arc;

use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::content::{self, Shown};
use super::model::file::File;
use super::service::{files, jobs, storage, uploads};
use crate::app::App;
use crate::foundation::ids::{JobId, SubscriptionId};
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Body, Incoming, Request, Response, empty, json, respond, with_header};
use crate::identity::{ApiKey, Scope};

/// Rows of a list, unless fewer are asked for.
const MOST: usize = 100;
/// A caller who asks for progress should wait this long.
const ASK_AGAIN: &str = "2";

/// Files and jobs are of sound and images: a key for neither has no business with them.
fn for_media(key: &ApiKey) -> Result<(), Problem> {
    if key.may(Scope::Audio) || key.may(Scope::Vision) {
        return Ok(());
    }
    let title = "This key is not for `audio` or `vision`.";
    Err(Problem::forbidden("scope_missing", title).remedy("Use a key with one of these scopes."))
}

/// `POST /v1/files`.
pub async fn create_file(app: Arc<App>, request: Request, key: ApiKey, body: Incoming) -> Result<Response, Problem> {
    for_media(&key)?;
    let file = files::upload(&app, key.subscription, &request, body).await?;
    Ok(json(StatusCode::OK, &file.shown()))
}

/// `POST /v1/media/uploads`.
pub async fn create_upload(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let upload = uploads::create(&app, key.subscription, &request.json()?).await?;
    Ok(json(StatusCode::CREATED, &upload))
}

/// `POST /v1/media/uploads/{file}/complete`.
pub async fn complete_upload(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let file = uploads::complete(&app, key.subscription, request.param("file")).await?;
    Ok(json(StatusCode::OK, &file.shown()))
}

/// How many rows, and behind which.
fn paging(request: &Request) -> Result<(usize, Option<String>), Problem> {
    let limit = match request.query("limit") {
        None => MOST,
        Some(text) => text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
            Problem::bad_request("invalid_value", format!("`limit` is a number from 1 to {MOST}.")).field("limit")
        })?,
    };
    Ok((limit, request.query("after").filter(|after| !after.is_empty())))
}

/// A list as OpenAI's SDKs page through it.
fn listed(rows: &[Value], more: bool) -> Response {
    let id = |row: Option<&Value>| row.map_or(Value::Null, |row| row["id"].clone());
    let list = json!({ "object": "list", "data": rows, "has_more": more, "first_id": id(rows.first()), "last_id": id(rows.last()) });
    json(StatusCode::OK, &list)
}

/// `GET /v1/files`.
pub async fn files(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let (limit, after) = paging(&request)?;
    let (found, more) = super::repo::files(&app, key.subscription, after.as_deref(), limit).await?;
    Ok(listed(&found.iter().map(File::shown).collect::<Vec<_>>(), more))
}

/// `GET /v1/files/{file}`.
pub async fn file(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let file = files::find(&app, key.subscription, request.param("file")).await?;
    Ok(json(StatusCode::OK, &file.shown()))
}

/// `GET /v1/files/{file}/content`.
pub async fn content(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let file = files::find(&app, key.subscription, request.param("file")).await?;
    content::answer(app, &request, key.subscription, file, Shown::Saved)
}

/// `GET /media/links/{token}`: a file, to a service that was given its address.
pub async fn linked(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (subscription, file) = files::recordings::linked(&app, request.param("token")).await?;
    let mut response = respond(StatusCode::OK, "application/octet-stream", Vec::new());
    response = with_header(response, header::CONTENT_LENGTH, &file.bytes.to_string());
    response = with_header(response, header::CACHE_CONTROL, "private, no-store");
    let range = 0..file.bytes;
    *response.body_mut() = Body::Stream(files::pieces(app, subscription, file, range));
    Ok(response)
}

/// `DELETE /v1/files/{file}`.
pub async fn delete_file(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let file = files::find(&app, key.subscription, request.param("file")).await?;
    files::delete(&app, key.subscription, &file.id).await?;
    Ok(json(StatusCode::OK, &json!({ "id": file.id, "object": "file", "deleted": true })))
}

/// `POST /v1/media/jobs`: 202 with `Operation-Location`.
pub async fn create_job(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let body: Value = request.json()?;
    let idempotency = request.header("idempotency-key");
    let (job, repeated) = jobs::create(&app, &key, &body, idempotency).await?;
    let place = app.settings.absolute(&format!("/v1/media/jobs/{}", job.id));
    let mut response = json(StatusCode::ACCEPTED, &job.shown());
    response = with_header(response, http::HeaderName::from_static("operation-location"), &place);
    response = with_header(response, header::LOCATION, &place);
    response = with_header(response, header::RETRY_AFTER, ASK_AGAIN);
    if repeated {
        response = with_header(response, http::HeaderName::from_static("idempotent-replayed"), "true");
    }
    Ok(response)
}

/// `GET /v1/media/jobs`.
pub async fn jobs(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let (limit, after) = paging(&request)?;
    let (found, more) = jobs::recent(&app, key.subscription, after.as_deref(), limit).await?;
    Ok(listed(&found.iter().map(super::model::job::Job::shown).collect::<Vec<_>>(), more))
}

/// `GET /v1/media/jobs/{job}`.
pub async fn job(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let job = jobs::find(&app, key.subscription, request.param("job")).await?;
    let response = json(StatusCode::OK, &job.shown());
    Ok(if job.state.is_over() { response } else { with_header(response, header::RETRY_AFTER, ASK_AGAIN) })
}

/// `GET /v1/media/jobs/{job}/items?after=<number>`.
pub async fn items(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let job = jobs::find(&app, key.subscription, request.param("job")).await?;
    let (limit, after) = paging(&request)?;
    let from = match after {
        None => 0,
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| Problem::bad_request("invalid_value", "`after` is an item's number.").field("after"))?
            .saturating_add(1),
    };
    let found = jobs::items(&app, &job, from, limit).await?;
    let more = found.last().is_some_and(|item| item.number + 1 < job.items);
    let rows: Vec<Value> = found.iter().map(super::model::job::Item::shown).collect();
    Ok(json(StatusCode::OK, &json!({ "object": "list", "data": rows, "has_more": more })))
}

/// `POST /v1/media/jobs/{job}/cancel`.
pub async fn cancel_job(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let job = jobs::cancel(&app, key.subscription, request.param("job")).await?;
    Ok(json(StatusCode::OK, &job.shown()))
}

/// `POST /v1/media/jobs/{job}/resubmit`.
pub async fn resubmit_job(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    let job = jobs::resubmit(&app, key.subscription, request.param("job")).await?;
    let response = json(StatusCode::ACCEPTED, &job.shown());
    Ok(with_header(response, header::RETRY_AFTER, ASK_AGAIN))
}

/// `DELETE /v1/media/jobs/{job}`.
pub async fn delete_job(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    for_media(&key)?;
    jobs::delete(&app, key.subscription, request.param("job")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Debug, Deserialize)]
struct Message {
    subscription: SubscriptionId,
    job: JobId,
}

/// Queue `media-jobs`.
pub async fn run_job(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    super::service::run(&app, message.subscription, &message.job).await.map_err(JobError::retry)
}

/// Queue `media-jobs-poison`: messages of jobs that failed for good.
pub async fn set_back(app: Arc<App>, text: String) -> Result<(), JobError> {
    let message: Message = serde_json::from_str(&text).map_err(JobError::fail)?;
    super::service::setback(&app, message.subscription, &message.job).await.map_err(JobError::retry)
}

/// Every minute: jobs whose message was lost.
pub async fn revive_jobs(app: Arc<App>) -> Result<(), JobError> {
    let revived = super::service::revive(&app).await.map_err(JobError::retry)?;
    if revived > 0 {
        tracing::warn!(jobs = revived, "media jobs had come to a stop and go on");
    }
    Ok(())
}

/// Hourly: what was stored in the hours before.
pub async fn meter_storage(app: Arc<App>) -> Result<(), JobError> {
    let recorded = storage::meter(&app).await.map_err(JobError::retry)?;
    tracing::debug!(recorded, "stored files were recorded");
    Ok(())
}

/// Hourly: files and jobs whose end has come.
pub async fn expire(app: Arc<App>) -> Result<(), JobError> {
    let removed = files::expire(&app).await.map_err(JobError::retry)?;
    if removed > 0 {
        tracing::info!(removed, "removed files and jobs whose time was over");
    }
    Ok(())
}
