//! Batch transcription at Azure Speech: many files, some time later. The order is in `speech_batch_order`, how an input is
//! fetched in `speech_batch_input`, what comes of it in `speech_batch_result`.
//!
//! The inputs are fetched once, when somebody asks for the job after its start. The asker waits a little for it and is
//! otherwise told that the job is running. A job whose inputs all failed has succeeded: the report tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Method;
use http::header::LOCATION;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::batch_content;
use super::batches::{Course, Page, Status, batches, failure};
use super::calls::{AiKind, Running};
use super::pause;
use super::refusal::flat;
use super::speech_batch_input::{Heard, Trouble, hear};
use super::speech_batch_order::Order;
use super::speech_batch_result::{file, report};
use super::speech_fast::{VERSIONS, refused};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Body, Reply, Request, empty, json_reply, with_header};

/// So many inputs are fetched at once.
const AT_ONCE: usize = 4;

/// How long somebody who asks waits for inputs that are still being fetched.
const PATIENCE: Duration = Duration::from_secs(5);

/// A job.
#[derive(Debug)]
pub struct Transcription {
    pub id: Uuid,
    order: Order,
    speakers: Option<u64>,
    /// As they were sent.
    properties: Value,
    version: String,
    course: Course,
    /// Opens its results.
    pub token: String,
    outcome: OnceCell<Outcome>,
    booked: AtomicBool,
}

#[derive(Debug)]
struct Outcome {
    files: Vec<File>,
    /// Of each input that succeeded.
    milliseconds: Vec<u64>,
}

#[derive(Debug)]
struct File {
    name: String,
    kind: &'static str,
    body: Bytes,
}

impl Outcome {
    fn of(job: &Transcription, heard: &[Result<Heard, Trouble>], at: Timestamp) -> Self {
        let mut outcome = Self { files: Vec::new(), milliseconds: Vec::new() };
        let mut troubles = Vec::new();
        for (index, (source, heard)) in job.order.content_urls.iter().zip(heard).enumerate() {
            let made = match heard {
                Ok(heard) => file(&job.order, source, at, *heard, job.speakers).map(|made| (made, heard.milliseconds)),
                Err(trouble) => Err(trouble.clone()),
            };
            match made {
                Ok((made, milliseconds)) => {
                    let body = Bytes::from(made.to_string());
                    outcome.files.push(File { name: format!("contenturl_{index}.json"), kind: "Transcription", body });
                    outcome.milliseconds.push(milliseconds);
                    troubles.push(None);
                }
                Err(trouble) => troubles.push(Some(trouble)),
            }
        }
        let inputs = job.order.content_urls.iter().map(String::as_str).zip(troubles.iter().map(Option::as_ref));
        let body = Bytes::from(report(inputs).to_string());
        outcome.files.push(File { name: "report.json".to_owned(), kind: "TranscriptionReport", body });
        outcome
    }
}

impl Transcription {
    fn address(&self, simulator: &Simulator, below: &str) -> String {
        let (base, id, version) = (simulator.base_url(), self.id, &self.version);
        format!("{base}/speechtotext/transcriptions/{id}{below}?api-version={version}")
    }

    async fn work(&self, simulator: &Simulator) {
        let work = || async {
            let hearing: Vec<_> =
                self.order.content_urls.iter().map(|address| hear(simulator.clone(), address.clone())).collect();
            let heard: Vec<_> = stream::iter(hearing).buffered(AT_ONCE).collect().await;
            Outcome::of(self, &heard, self.course.last_action(Status::Succeeded))
        };
        self.outcome.get_or_init(work).await;
    }

    /// How far it is. What is due is done now, and goes on also when the asker hangs up.
    async fn status(self: &Arc<Self>, simulator: &Simulator) -> Status {
        let planned = self.course.status(simulator.now());
        if !matches!(planned, Status::Running | Status::Succeeded) {
            return planned;
        }
        if self.outcome.get().is_none() {
            let (job, simulator) = (self.clone(), simulator.clone());
            let task = tokio::spawn(async move { job.work(&simulator).await });
            let over = planned == Status::Running || tokio::time::timeout(PATIENCE, task).await.is_err();
            if over || self.outcome.get().is_none() {
                return Status::Running;
            }
        }
        if planned == Status::Succeeded {
            self.book(simulator);
        }
        planned
    }

    /// Once, when it is first seen to have succeeded.
    fn book(&self, simulator: &Simulator) {
        if self.booked.swap(true, Ordering::SeqCst) {
            return;
        }
        for milliseconds in self.outcome.get().into_iter().flat_map(|outcome| &outcome.milliseconds) {
            let mut running = Running::without_tokens(simulator, "speech-batch", AiKind::Transcription);
            running.book(|call| call.audio_ms = *milliseconds);
            running.finished();
        }
    }

    fn shown(&self, simulator: &Simulator, status: Status) -> Value {
        let mut properties = self.properties.clone();
        match (status, self.outcome.get()) {
            (Status::Failed, _) => properties["error"] = failure(),
            (Status::Succeeded, Some(outcome)) => {
                properties["durationMilliseconds"] = outcome.milliseconds.iter().sum::<u64>().into();
            }
            _ => {}
        }
        let mut shown = json!({
            "self": self.address(simulator, ""), "displayName": self.order.display_name,
            "locale": self.order.locale, "status": status, "createdDateTime": self.course.created,
            "lastActionDateTime": self.course.last_action(status), "properties": properties,
            "links": { "files": self.address(simulator, "/files") },
        });
        if let Some(model) = &self.order.model {
            shown["model"] = json!({ "self": model.address });
        }
        shown
    }

    pub fn course(&self) -> &Course {
        &self.course
    }

    /// A result that may be fetched.
    pub fn result(&self, name: &str) -> Option<Bytes> {
        let outcome = self.outcome.get().filter(|_| self.booked.load(Ordering::SeqCst))?;
        outcome.files.iter().find(|file| file.name == name).map(|file| file.body.clone())
    }
}

fn known_version(request: &Request) -> Result<&str, Reply> {
    let version = request.query("api-version").filter(|version| VERSIONS.contains(version));
    version.ok_or_else(|| refused("InvalidApiVersion", "The api-version is missing or not supported."))
}

fn find(simulator: &Simulator, request: &Request) -> Result<Arc<Transcription>, Reply> {
    let id = request.id("id");
    let found = batches(simulator, |all| all.transcriptions.iter().find(|job| Some(job.id) == id).cloned());
    found.ok_or_else(|| flat(404, "NotFound", "There is no such transcription.", Some("NotFound")))
}

/// A job is accepted. Two same orders are two jobs.
pub async fn submit(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let version = known_version(request)?.to_owned();
    let (order, properties) = Order::read(request)?;
    let job = Arc::new(Transcription {
        id: simulator.new_id(),
        speakers: order.speakers()?,
        course: Course::begin(simulator, order.hours()),
        order,
        properties,
        version,
        token: simulator.secret(),
        outcome: OnceCell::new(),
        booked: AtomicBool::new(false),
    });
    batches(simulator, |all| all.transcriptions.push(job.clone()));
    pause(simulator).await;
    let reply = json_reply(201, &job.shown(simulator, Status::NotStarted));
    Ok(with_header(reply, LOCATION, &job.address(simulator, "")).map(Body::Whole))
}

/// How far a job is, or an end of it. What was heard and not yet told is then never told.
pub async fn one(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    known_version(request)?;
    let job = find(simulator, request)?;
    if request.method == Method::DELETE {
        batches(simulator, |all| all.transcriptions.retain(|other| other.id != job.id));
        return Ok(empty(204).map(Body::Whole));
    }
    let status = job.status(simulator).await;
    Ok(json_reply(200, &job.shown(simulator, status)).map(Body::Whole))
}

/// The results; none before the job has succeeded.
pub async fn files(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    known_version(request)?;
    let page = Page::asked(request, "top").ok_or_else(|| refused("InvalidArgument", "skip or top is no number."))?;
    let job = find(simulator, request)?;
    let done = job.status(simulator).await == Status::Succeeded;
    let files = job.outcome.get().filter(|_| done).map_or(&[][..], |outcome| &outcome.files);
    let (shown, next) = page.of(files.iter().collect());
    let at = job.course.last_action(Status::Succeeded);
    let values = shown.into_iter().map(|file| {
        let address = batch_content::address(simulator, "transcriptions", &job.id.to_string(), &file.name, &job.token);
        json!({
            "name": file.name, "kind": file.kind, "properties": { "size": file.body.len() }, "createdDateTime": at,
            "links": { "contentUrl": address },
        })
    });
    let mut body = json!({ "values": values.collect::<Vec<_>>() });
    if let Some(next) = next {
        body["@nextLink"] = page.link(&job.address(simulator, "/files"), next, "top", &[]).into();
    }
    Ok(json_reply(200, &body).map(Body::Whole))
}

/// The name in `displayName eq '...'`; a quote within is written twice.
fn filtered(filter: &str) -> Option<String> {
    let name = filter.trim().strip_prefix("displayName")?.trim_start().strip_prefix("eq")?.trim();
    let inner = name.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "\n");
    (!inner.contains('\'')).then(|| inner.replace('\n', "'"))
}

/// The jobs in order of creation.
pub async fn list(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let version = known_version(request)?;
    let page = Page::asked(request, "top").ok_or_else(|| refused("InvalidArgument", "skip or top is no number."))?;
    let filter = request.query("filter");
    let name = filter.map(|filter| {
        filtered(filter).ok_or_else(|| refused("InvalidFilter", "The simulator knows displayName eq '...' only."))
    });
    let name = name.transpose()?;
    let mut all = batches(simulator, |all| all.transcriptions.clone());
    all.retain(|job| name.as_ref().is_none_or(|name| *name == job.order.display_name));
    let (jobs, next) = page.of(all);
    let mut values = Vec::new();
    for job in jobs {
        let status = job.status(simulator).await;
        values.push(job.shown(simulator, status));
    }
    let mut body = json!({ "values": values });
    if let Some(next) = next {
        let address = format!("{}/speechtotext/transcriptions?api-version={version}", simulator.base_url());
        let more: Vec<_> = filter.map(|filter| ("filter", filter)).into_iter().collect();
        body["@nextLink"] = page.link(&address, next, "top", &more).into();
    }
    Ok(json_reply(200, &body).map(Body::Whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        assert_eq!(filtered("displayName eq 'a b'").as_deref(), Some("a b"));
        assert_eq!(filtered("displayName eq 'it''s'").as_deref(), Some("it's"));
        for other in
            ["", "displayName eq a", "status eq 'Failed'", "displayName eq 'a' or status eq 'b'", "displayName eq '"]
        {
            assert_eq!(filtered(other), None, "{other}");
        }
    }
}
