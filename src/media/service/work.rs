//! One item of a job, and what all items together give.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::files;
use crate::ai::{Unanswered, whole};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::identity::{ApiKey, Limits};
use crate::media::model::job::{Input, Item, ItemState, Job, Kind, Reason, TRIES};
use crate::media::model::joining;

/// After a failure that passes, unless the service says otherwise.
const WAIT: Duration = Duration::from_secs(10);

/// What came of a try.
pub enum Outcome {
    /// The item is settled.
    Settled(Item),
    /// It should be tried again, after so long.
    Later(Item, Duration),
}

/// The key whose budget pays. A job that was accepted is worked off although its key may have ended meanwhile.
fn payer(job: &Job) -> ApiKey {
    ApiKey {
        prefix: job.key.clone(),
        name: format!("job {}", job.id),
        subscription: job.subscription,
        scopes: None,
        limits: Limits::default(),
        capture: false,
    }
}

/// Works on an item. What it used stands in the ledger under the job's id and the item's number, before this returns, and
/// only once however often this is called.
pub async fn work(app: &Arc<App>, job: &Job, mut item: Item) -> Outcome {
    item.tries += 1;
    let call = format!("{}:{:06}", job.id, item.number);
    let done = match job.kind {
        Kind::Transcription => transcribe(app, job, &call, &mut item).await,
        Kind::Speech => speak(app, job, &call, &mut item).await,
        Kind::ImageAnalysis => look(app, job, &call, &mut item).await,
    };
    let Err(unanswered) = done else {
        (item.state, item.reason) = (ItemState::Succeeded, None);
        return Outcome::Settled(item);
    };
    let (reason, passing) = told(unanswered);
    item.reason = Some(reason);
    match passing {
        Some(wait) if item.tries < TRIES => Outcome::Later(item, wait),
        _ => {
            item.state = ItemState::Failed;
            Outcome::Settled(item)
        }
    }
}

/// A failure in words for the customer, and how long to wait if it passes.
fn told(unanswered: Unanswered) -> (Reason, Option<Duration>) {
    match unanswered {
        Unanswered::Refused(_, error) => {
            let message = error["message"].as_str().unwrap_or("The service refuses it.").to_owned();
            (Reason { code: "upstream_rejected".to_owned(), message }, None)
        }
        Unanswered::Problem(problem) => {
            let passes = problem.retryable
                && (problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS);
            let wait = passes.then(|| problem.retry_after.unwrap_or(WAIT).clamp(Duration::from_secs(1), 6 * WAIT));
            let remedy = problem.remedy.as_deref().map(|remedy| format!(" {remedy}")).unwrap_or_default();
            let code = problem.code.to_owned();
            (Reason { code, message: format!("{}{remedy}", problem.title) }, wait)
        }
    }
}

/// The bytes of an item, and the name of its file.
async fn bytes(app: &App, job: &Job, input: &Input, largest: u64) -> Result<(Bytes, String), Problem> {
    match input {
        Input::File(id) => {
            let file = files::find(app, job.subscription, id.as_str()).await?;
            if file.bytes > largest {
                let title = format!("The file is larger than {} MiB.", largest / 1024 / 1024);
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", title));
            }
            Ok((files::read(app, job.subscription, &file, 0..largest).await?, file.name))
        }
        Input::Url(address) => {
            let name = address.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            let largest = usize::try_from(largest).unwrap_or(usize::MAX);
            Ok((whole::fetch(app, address, largest).await?, name.to_owned()))
        }
        Input::Text(_) => Err(Problem::internal("an item of this kind has no text")),
    }
}

async fn transcribe(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<(), Unanswered> {
    let (audio, name) = bytes(app, job, &item.input, whole::LARGEST_AUDIO as u64).await?;
    let fields: Vec<(String, String)> = job.options.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let transcript = whole::transcript(app, call, &payer(job), &job.model, (audio, name.clone()), fields).await?;
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem).to_owned();
    let result = format!("{stem}.{}", transcript.extension);
    let file = files::keep(app, job.subscription, &result, vec![transcript.text.into()]).await?;
    item.file = Some(file.id);
    Ok(())
}

async fn speak(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<(), Unanswered> {
    let Input::Text(text) = &item.input else {
        return Err(Problem::internal("an item of speech is a text").into());
    };
    let mut body = json!({ "model": job.model, "input": text, "response_format": "mp3" });
    for (name, value) in &job.options {
        body[name] = match value.parse::<f64>() {
            Ok(number) if name == "speed" => json!(number),
            _ => value.clone().into(),
        };
    }
    let audio = whole::speech(app, call, &payer(job), &job.model, body).await?;
    let name = format!("part-{:06}.{}", item.number, format(job));
    let file = files::keep(app, job.subscription, &name, vec![audio]).await?;
    item.file = Some(file.id);
    Ok(())
}

fn format(job: &Job) -> &str {
    job.options.get("response_format").map_or("mp3", String::as_str)
}

async fn look(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<(), Unanswered> {
    let (image, _) = bytes(app, job, &item.input, whole::LARGEST_IMAGE as u64).await?;
    let option = |name: &str| job.options.get(name).map_or("", String::as_str);
    let found =
        whole::features(app, call, &payer(job), &job.model, image, option("features"), option("language")).await?;
    item.value = Some(found);
    Ok(())
}

/// The job's own result: one audio file of all pieces, one line for each image. Transcripts are files of their own.
pub async fn assemble(app: &App, job: &mut Job, items: &[Item]) -> Result<(), Problem> {
    let done = || items.iter().filter(|item| item.state == ItemState::Succeeded);
    match job.kind {
        Kind::Transcription => Ok(()),
        Kind::Speech if done().count() < items.len() => Ok(()),
        Kind::Speech => {
            let (mut parts, mut head) = (Vec::new(), None);
            for item in done() {
                let Some(id) = &item.file else { continue };
                let file = files::find(app, job.subscription, id.as_str()).await?;
                let bytes = files::read(app, job.subscription, &file, 0..file.bytes).await?;
                match joining::samples(&bytes).filter(|_| format(job) == "wav") {
                    Some((format, samples)) => {
                        head.get_or_insert_with(|| format.to_vec());
                        parts.push(bytes.slice_ref(samples));
                    }
                    None => parts.push(bytes),
                }
            }
            let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
            if let Some(head) = head.and_then(|format| joining::head(&format, length)) {
                parts.insert(0, head.into());
            }
            let name = format!("speech.{}", format(job));
            job.result = Some(files::keep(app, job.subscription, &name, parts).await?.id);
            Ok(())
        }
        Kind::ImageAnalysis => {
            let line = |item: &Item| {
                let (error, result) = (json!(item.reason), item.value.clone().unwrap_or(Value::Null));
                let input = item.shown()["input"].clone();
                format!("{}\n", json!({ "number": item.number, "input": input, "result": result, "error": error }))
            };
            let lines: Vec<Bytes> = items.iter().map(|item| line(item).into()).collect();
            job.result = Some(files::keep(app, job.subscription, "images.jsonl", lines).await?.id);
            Ok(())
        }
    }
}
