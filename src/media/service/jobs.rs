//! Jobs as customers see them: submitted, looked at, cancelled, deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use jiff::SignedDuration;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::files;
use crate::ai::{Kind as ModelKind, whole};
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::ids::{JobId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::identity::ApiKey;
use crate::media::model::job::{Input, Item, ItemState, Job, Kind, MOST_ITEMS, State};
use crate::media::model::{joining, splitting};
use crate::media::repo::{self, Repeat};
use crate::store::{Etag, StoreError};

pub const QUEUE: &str = "media-jobs";
/// Characters of a text to be spoken.
const LONGEST_TEXT: usize = 1_000_000;
/// Characters of one piece of it, at usual speed. Azure cuts off what it speaks after ten minutes (AI services contract
/// 2.5); this is four.
const PIECE: f64 = 3_000.0;
/// Writes that are done at the same time.
const TOGETHER: usize = 16;
/// So long is a job kept after its end, as its results are.
pub const KEPT: SignedDuration = files::limits::LONGEST;
const MOST_OPTIONS: usize = 16;
/// As JSON: it goes into callbacks, too.
const LARGEST_METADATA: usize = 8_000;

fn wrong(field: &'static str, text: impl Into<String>) -> Problem {
    Problem::bad_request("invalid_value", text).field(field)
}

/// Sends the message that lets somebody go on with a job.
pub async fn send(app: &App, subscription: SubscriptionId, job: &JobId, delay: Duration) -> Result<(), Problem> {
    let text = json!({ "subscription": subscription, "job": job }).to_string();
    Ok(app.queues.send(QUEUE, &text, delay).await?)
}

/// Small texts by name: options, metadata.
fn texts(value: &Value, field: &'static str) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    let fields = match value {
        Value::Null => return Ok(found),
        Value::Object(fields) if fields.len() <= MOST_OPTIONS => fields,
        _ => return Err(wrong(field, format!("`{field}` is an object of at most {MOST_OPTIONS} members."))),
    };
    for (name, value) in fields {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            Value::Array(list) if list.iter().all(Value::is_string) => {
                list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => return Err(wrong(field, format!("`{field}.{name}` is no text."))),
        };
        if name.len() > 64 || text.len() > 512 {
            return Err(wrong(field, format!("`{field}.{name}` is too long.")));
        }
        found.insert(name.clone(), text);
    }
    Ok(found)
}

/// What a job is over.
async fn inputs(
    app: &App,
    subscription: SubscriptionId,
    kind: Kind,
    body: &Value,
    options: &BTreeMap<String, String>,
) -> Result<Vec<Input>, Problem> {
    if kind == Kind::Speech {
        let text = match (&body["input"]["text"], body["input"]["file_id"].as_str()) {
            (Value::String(text), _) => text.clone(),
            (_, Some(id)) => {
                let file = files::find(app, subscription, id).await?;
                let bytes = files::read(app, subscription, &file, 0..(LONGEST_TEXT * 4) as u64 + 1).await?;
                String::from_utf8(bytes.to_vec()).map_err(|_| wrong("input", "The file is no text in UTF-8."))?
            }
            _ => return Err(wrong("input", "Send `input.text`, or `input.file_id` of a text.")),
        };
        if text.chars().count() > LONGEST_TEXT {
            return Err(wrong("input", format!("The text is longer than {LONGEST_TEXT} characters.")));
        }
        // Slow speech takes longer.
        let speed = options.get("speed").and_then(|speed| speed.parse().ok()).unwrap_or(1.0_f64);
        let pieces = splitting::split(&text, (PIECE * speed.clamp(0.25, 1.0)) as usize);
        if pieces.is_empty() {
            return Err(wrong("input", "There is nothing to speak."));
        }
        return Ok(pieces.into_iter().map(Input::Text).collect());
    }
    let listed = body["input"]["items"].as_array().filter(|items| (1..=MOST_ITEMS).contains(&items.len()));
    let listed = listed.ok_or_else(|| wrong("input", format!("`input.items` has 1 to {MOST_ITEMS} items.")))?;
    let mut found = Vec::with_capacity(listed.len());
    for item in listed {
        match (item["file_id"].as_str(), item["url"].as_str()) {
            (Some(id), None) => found.push(Input::File(files::find(app, subscription, id).await?.id)),
            (None, Some(url)) if url.len() <= 2_000 => {
                whole::check_address(app, url).map_err(|problem| problem.field("input"))?;
                found.push(Input::Url(url.to_owned()));
            }
            _ => return Err(wrong("input", "Each item has `file_id`, or `url` of at most 2,000 characters.")),
        }
    }
    Ok(found)
}

/// OpenAI's request for a piece of text.
pub fn spoken(options: &BTreeMap<String, String>, text: &str) -> Value {
    let mut body = json!({ "input": text, "response_format": "mp3" });
    for (name, value) in options {
        body[name] = match value.parse::<f64>() {
            Ok(number) if name == "speed" => json!(number),
            _ => value.clone().into(),
        };
    }
    body
}

fn check_options(kind: Kind, options: &BTreeMap<String, String>) -> Result<(), Problem> {
    let get = |name: &str| options.get(name).map_or("", String::as_str);
    let known: &[&str] = match kind {
        Kind::Transcription => &["response_format", "language", "prompt", "temperature", "timestamp_granularities[]"],
        Kind::Speech => &["voice", "response_format", "speed", "instructions"],
        Kind::ImageAnalysis => &["features", "language"],
    };
    if let Some(other) = options.keys().find(|name| !known.contains(&name.as_str())) {
        let title = format!("There is no option `{other}` here.");
        return Err(wrong("options", title).remedy(format!("There are {}.", known.join(", "))));
    }
    match kind {
        Kind::Transcription => whole::check_format(get("response_format")),
        Kind::Speech => {
            let format = get("response_format");
            if !format.is_empty() && !joining::FORMATS.contains(&format) {
                return Err(wrong("response_format", "Long texts are spoken as mp3, wav or pcm."));
            }
            if get("voice").is_empty() {
                return Err(wrong("voice", "`options.voice` is missing."));
            }
            whole::check_speech(spoken(options, "x"))
        }
        Kind::ImageAnalysis => whole::check_features(get("features")),
    }
}

/// `POST /v1/media/jobs`: checks what can be checked now, and hands the job over to the queue. `true`: an earlier request
/// with the same idempotency key had made it.
pub async fn create(
    app: &Arc<App>,
    key: &ApiKey,
    body: &Value,
    idempotency_key: Option<&str>,
) -> Result<(Job, bool), Problem> {
    let kind = serde_json::from_value(body["kind"].clone())
        .map_err(|_| wrong("kind", "The kind is `transcription`, `speech` or `image-analysis`."))?;
    let (model_kind, usual) = match kind {
        Kind::Transcription => (ModelKind::Transcription, "transcribe"),
        Kind::Speech => (ModelKind::Speech, "speech"),
        Kind::ImageAnalysis => (ModelKind::Vision, "vision"),
    };
    let model = body["model"].as_str().unwrap_or(usual).to_owned();
    let currency = whole::may_call(app, key, &model, model_kind).await?;
    let options = texts(&body["options"], "options")?;
    check_options(kind, &options)?;
    let metadata = texts(&body["metadata"], "metadata")?;
    if json!(metadata).to_string().len() > LARGEST_METADATA {
        return Err(wrong("metadata", format!("`metadata` is larger than {LARGEST_METADATA} bytes.")));
    }
    let now = app.clock.now();
    let inputs = inputs(app, key.subscription, kind, body, &options).await?;
    let mut id = JobId::new(now, &*app.random);
    let request = idempotency_key.map(|text| hex(&Sha256::digest(format!("{} {text}", key.subscription))));
    if let Some(request) = &request {
        match repeated(app, key.subscription, request, &id, body).await? {
            Repeated::No => {}
            Repeated::Unfinished(known) => id = known,
            Repeated::Yes(job) => {
                // The first request may have died before its message was sent.
                if job.started.is_none() && !job.state.is_over() {
                    send(app, job.subscription, &job.id, Duration::ZERO).await?;
                }
                return Ok((*job, true));
            }
        }
    }
    let items: Vec<Item> = (0..).zip(inputs).map(|(number, input)| Item::new(number, input)).collect();
    let job = Job {
        id,
        subscription: key.subscription,
        key: key.prefix.clone(),
        kind,
        model,
        options,
        state: State::Queued,
        created: now,
        started: None,
        finished: None,
        items: u32::try_from(items.len()).unwrap_or(u32::MAX),
        succeeded: 0,
        failed: 0,
        next: 0,
        turn: None,
        due: now + super::FORGOTTEN,
        reason: None,
        result: None,
        metadata,
        price: Decimal::ZERO,
        currency,
        setbacks: 0,
        set_back: None,
        request,
    };
    if !repo::create_job(app, &job, &items).await? {
        // The same request, at the same time.
        return Ok((find(app, job.subscription, job.id.as_str()).await?, true));
    }
    // Should this fail, the timer finds the job among the active ones.
    if let Err(problem) = send(app, job.subscription, &job.id, Duration::ZERO).await {
        tracing::warn!(job = %job.id, %problem, "the message of a new job was not sent; the timer will find it");
    }
    Ok((job, false))
}

/// What there is of a request that may have come before.
enum Repeated {
    No,
    /// It came, and died before its job was there; the job is made under the same id.
    Unfinished(JobId),
    Yes(Box<Job>),
}

async fn repeated(
    app: &App,
    subscription: SubscriptionId,
    request: &str,
    id: &JobId,
    body: &Value,
) -> Result<Repeated, Problem> {
    let hash = hex(&Sha256::digest(body.to_string()));
    let repeat = Repeat { job: id.clone(), hash: hash.clone(), at: app.clock.now(), deleted: false };
    let Some(known) = repo::remember(app, request, &repeat).await? else { return Ok(Repeated::No) };
    if known.hash != hash {
        let title = "This idempotency key stands for another request.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", title));
    }
    if known.deleted {
        let title = "The job of this idempotency key was deleted.";
        return Err(Problem::conflict("job_deleted", title).remedy("Use a new key for a new job.").final_answer());
    }
    let found = repo::job(app, subscription, &known.job).await?;
    Ok(found.map_or(Repeated::Unfinished(known.job), |(job, _)| Repeated::Yes(Box::new(job))))
}

async fn stored(app: &App, subscription: SubscriptionId, id: &str) -> Result<(Job, Etag), Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "job_not_found", "There is no such job.");
    let id: JobId = id.parse().map_err(|_| unknown())?;
    repo::job(app, subscription, &id).await?.ok_or_else(unknown)
}

/// The job of an id, if the subscription has it.
pub async fn find(app: &App, subscription: SubscriptionId, id: &str) -> Result<Job, Problem> {
    Ok(stored(app, subscription, id).await?.0)
}

/// Wants a job to end. One that is over stays as it is.
pub async fn cancel(app: &App, subscription: SubscriptionId, id: &str) -> Result<Job, Problem> {
    loop {
        let (mut job, etag) = stored(app, subscription, id).await?;
        if job.state.is_over() || job.state == State::Cancelling {
            return Ok(job);
        }
        job.state = State::Cancelling;
        match repo::save_job(app, &job, etag).await {
            Ok(_) => {
                send(app, subscription, &job.id, Duration::ZERO).await?;
                return Ok(job);
            }
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Begins again with what is not done of a job that failed, or partly. What was delivered is not done, or billed, again.
pub async fn resubmit(app: &App, subscription: SubscriptionId, id: &str) -> Result<Job, Problem> {
    let (mut job, etag) = stored(app, subscription, id).await?;
    if !matches!(job.state, State::Failed | State::PartiallySucceeded) {
        return Err(Problem::conflict("job_not_failed", "Only a job that failed, or partly, is submitted again."));
    }
    let now = app.clock.now();
    let mut from = 0;
    while from < job.items {
        let items = repo::next_items(app, &job, &mut from).await?;
        let failed = items.into_iter().filter(|item| item.state == ItemState::Failed);
        let again = failed.map(|item| Item { version: item.version, ..Item::new(item.number, item.input) });
        let saving: Vec<_> = again.map(|item| repo::save_item(app, &job.id, item)).collect();
        let mut saving = stream::iter(saving).buffer_unordered(TOGETHER);
        while let Some(saved) = saving.next().await {
            saved?;
        }
    }
    job.resubmit(now);
    repo::list_active(app, &job, job.due).await?;
    repo::save_job(app, &job, etag).await?;
    repo::list_given_up(app, &job, false).await?;
    send(app, subscription, &job.id, Duration::ZERO).await?;
    Ok(job)
}

/// Jobs that are under way, of all subscriptions.
pub async fn running(app: &App) -> Result<Vec<Job>, Problem> {
    listed(app, repo::active(app).await?).await
}

/// Jobs that were given up, of all subscriptions.
pub async fn given_up(app: &App) -> Result<Vec<Job>, Problem> {
    listed(app, repo::given_up(app).await?).await
}

async fn listed(app: &App, entries: Vec<repo::Active>) -> Result<Vec<Job>, Problem> {
    let mut found = Vec::new();
    for entry in entries {
        found.extend(repo::job(app, entry.subscription, &entry.job).await?.map(|(job, _)| job));
    }
    Ok(found)
}

/// Removes a job whose end is long past. One that was submitted again since, or is gone, is left as it is.
pub async fn expire(app: &App, subscription: SubscriptionId, id: &JobId) -> Result<bool, Problem> {
    let found = repo::job(app, subscription, id).await?.map(|(job, _)| job);
    let past = |job: &Job| job.finished.is_some_and(|finished| finished + KEPT <= app.clock.now());
    if !found.is_some_and(|job| job.state.is_over() && past(&job)) {
        return Ok(false);
    }
    delete(app, subscription, id.as_str()).await.map(|()| true)
}

/// Removes a job that is over, and its results; what it used stays in the ledger.
pub async fn delete(app: &App, subscription: SubscriptionId, id: &str) -> Result<(), Problem> {
    let job = find(app, subscription, id).await?;
    if !job.state.is_over() {
        return Err(Problem::conflict("job_not_over", "The job is not over.")
            .remedy("Cancel it first, or wait for its end.")
            .final_answer());
    }
    let mut from = 0;
    while from < job.items {
        let items = repo::next_items(app, &job, &mut from).await?;
        let files = items.iter().filter_map(|item| item.file.as_ref());
        let deleting: Vec<_> = files.map(|file| files::delete(app, subscription, file)).collect();
        let mut deleting = stream::iter(deleting).buffer_unordered(TOGETHER);
        while let Some(deleted) = deleting.next().await {
            deleted?;
        }
    }
    repo::list_given_up(app, &job, false).await?;
    if let Some(request) = &job.request {
        repo::forget_request(app, request, &job.id).await?;
    }
    if let Some(file) = &job.result {
        files::delete(app, subscription, file).await?;
    }
    Ok(repo::forget_job(app, &job).await?)
}

/// The newest jobs of a subscription.
pub async fn recent(
    app: &App,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Job>, bool), Problem> {
    Ok(repo::jobs(app, subscription, after, limit).await?)
}

/// Items of a job, from a number on.
pub async fn items(app: &App, job: &Job, from: u32, limit: usize) -> Result<Vec<Item>, Problem> {
    Ok(repo::items(app, &job.id, from, limit).await?)
}
