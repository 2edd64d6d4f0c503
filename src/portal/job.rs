//! One media job: its facts, its progress as it happens, its items; cancelled and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::files as pages;
use super::jobs::{address, view};
use super::subscriptions::own;
use super::view::subscription_view;
use crate::app::App;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Form, Request, Response, redirect, respond, uncached, with_header};
use crate::identity::Customer;
use crate::media::model::file::File;
use crate::media::model::job::{Input, Item, Job};
use crate::media::{files, jobs};
use crate::pages::page;

/// Items on a page.
const ITEMS: usize = 25;
/// Items of the largest slice.
const SLICE: usize = 32;
/// How often a job is looked at while somebody watches it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A sign of life, so that nothing in between takes the connection for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The front end of Azure Functions cuts an answer after 230 s; the browser comes again by itself.
const WATCHED_FOR: Duration = Duration::from_secs(200);

/// A file if it is still there.
pub(super) async fn still_there(app: &App, id: SubscriptionId, file: &FileId) -> Result<Option<File>, Problem> {
    match files::find(app, id, file.as_str()).await {
        Ok(file) => Ok(Some(file)),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A job as it is at this moment. Its row is written after each slice, its items as soon as they are done; a slice of long
/// recordings takes many minutes.
async fn current(app: &App, mut job: Job) -> Result<Job, Problem> {
    if !job.state.is_over() {
        let within = jobs::items(app, &job, job.next, SLICE).await?;
        job.count_anew(&within);
    }
    Ok(job)
}

/// `GET /portal/subscriptions/{id}/jobs/{job}?from=`: `from` is the number of the first item.
pub async fn one(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let job = current(&app, jobs::find(&app, row.id, request.param("job")).await?).await?;
    let from: u32 = request.query("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let items = jobs::items(&app, &job, from, ITEMS).await?;
    let names = names(&app, &job, &items).await?;
    let result = match &job.result {
        Some(id) => still_there(&app, row.id, id).await?,
        None => None,
    };
    let next = items.last().map(|item| item.number + 1).filter(|next| *next < job.items);
    let here = format!("{}/{}", address(&row), job.id);
    let content = json!({
        "s": subscription_view(&row, &[]), "address": here, "jobs_address": address(&row),
        "files_address": pages::address(&row), "job": view(&job), "result": result.as_ref().map(pages::view),
        "result_gone": job.result.is_some() && result.is_none(),
        "items": items.iter().map(|item| shown(item, &names)).collect::<Vec<_>>(),
        "first": from == 0, "next": next, "from": from + 1,
        "to": items.last().map(|item| item.number + 1),
        "stopping": request.query("stopping").is_some(),
    });
    page(&app, &request, Some(&customer.session), "portal_job.html", content)
}

/// The names of the files that items are made of, where they still are.
async fn names(app: &App, job: &Job, items: &[Item]) -> Result<BTreeMap<FileId, String>, Problem> {
    let mut ids: Vec<&FileId> = items
        .iter()
        .filter_map(|item| match &item.input {
            Input::File(id) => Some(id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let found = join_all(ids.iter().map(|id| still_there(app, job.subscription, id))).await;
    let mut names = BTreeMap::new();
    for file in found {
        if let Some(file) = file? {
            names.insert(file.id, file.name);
        }
    }
    Ok(names)
}

/// An item for a template.
fn shown(item: &Item, names: &BTreeMap<FileId, String>) -> Value {
    let mut view = item.shown();
    if let Input::File(id) = &item.input {
        view["name"] = names.get(id).map(String::as_str).into();
    }
    // Either is something to look at.
    view["has_result"] = (item.file.is_some() || item.value.is_some()).into();
    view
}

/// `GET /portal/subscriptions/{id}/jobs/{job}/events`: server-sent events, one whenever the job has changed.
pub async fn events(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let job = current(&app, jobs::find(&app, row.id, request.param("job")).await?).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(follow(app, job, sender));
    let mut response = respond(StatusCode::OK, "text/event-stream; charset=utf-8", Bytes::new());
    *response.body_mut() = Body::Stream(Box::pin(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))));
    // Proxies such as nginx hold pieces back otherwise.
    Ok(uncached(with_header(response, HeaderName::from_static("x-accel-buffering"), "no")))
}

/// Looks at a job until it is over, nobody listens any more, or the time is over.
async fn follow(app: Arc<App>, mut job: Job, sender: Sender<std::io::Result<Bytes>>) {
    let began = Instant::now();
    let (mut last, mut spoken) = (String::new(), began);
    loop {
        let shown = job.shown().to_string();
        let text = if shown != last {
            format!("event: progress\ndata: {shown}\n\n")
        } else if spoken.elapsed() >= HEARTBEAT {
            ":\n\n".to_owned()
        } else {
            String::new()
        };
        if !text.is_empty() {
            (last, spoken) = (shown, Instant::now());
            if sender.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
        if job.state.is_over() || began.elapsed() >= WATCHED_FOR {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let look = async { current(&app, jobs::find(&app, job.subscription, job.id.as_str()).await?).await };
        job = match look.await {
            Ok(job) => job,
            // Deleted, or the store is away: whoever comes again is told.
            Err(_) => return,
        };
    }
}

/// `POST /portal/subscriptions/{id}/jobs/{job}/cancel`.
pub async fn cancel(app: Arc<App>, request: Request, customer: Customer, _form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let job = jobs::cancel(&app, row.id, request.param("job")).await?;
    Ok(uncached(redirect(&format!("{}/{}?stopping", address(&row), job.id))))
}

/// `POST /portal/subscriptions/{id}/jobs/{job}/delete`.
pub async fn remove(app: Arc<App>, request: Request, customer: Customer, _form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    jobs::delete(&app, row.id, request.param("job")).await?;
    Ok(uncached(redirect(&format!("{}?removed", address(&row)))))
}
