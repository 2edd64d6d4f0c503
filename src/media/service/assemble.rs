//! What all items of a job give together: one audio file of all pieces, one line for each image. Transcripts are files of
//! their own. Nothing is held whole: a book that is spoken is larger than memory should be.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::files::{self, Writing};
use crate::app::App;
use crate::foundation::ids::FileId;
use crate::foundation::problem::Problem;
use crate::media::model::file::File;
use crate::media::model::job::{Item, ItemState, Job, Kind, Reason};
use crate::media::model::joining;
use crate::media::repo;

/// Within which a WAV file has told where its samples are.
const HEAD: u64 = 64 * 1024;
/// Bytes of a file in memory.
const PIECE: u64 = 1024 * 1024;

/// Writes the job's own result. Again, it is the same file.
pub async fn assemble(app: &Arc<App>, job: &mut Job) -> Result<(), Problem> {
    let joined = match job.kind {
        Kind::Transcription => return Ok(()),
        Kind::ImageAnalysis => lines(app, job).await,
        Kind::Speech if job.succeeded < job.items => return Ok(()),
        Kind::Speech => audio(app, job).await,
    };
    match joined {
        Ok(file) => job.result = Some(file.id),
        // The customer deleted a part: nothing can be done, and what is left is still there.
        Err(problem) if problem.status == StatusCode::NOT_FOUND => {
            job.reason = Some(Reason { code: problem.code.to_owned(), message: problem.title });
        }
        Err(problem) => return Err(problem),
    }
    Ok(())
}

async fn begin(app: &App, job: &Job) -> Result<Writing, Problem> {
    let id = FileId::named(job.created, &format!("{}:result", job.id));
    files::begin(app, job.subscription, id).await
}

async fn lines(app: &App, job: &Job) -> Result<File, Problem> {
    let (mut writing, mut from) = (begin(app, job).await?, 0);
    while from < job.items {
        for item in repo::next_items(app, job, &mut from).await? {
            let (error, result) = (json!(item.reason), found(app, job, &item).await?);
            let input = item.shown()["input"].clone();
            let line = json!({ "number": item.number, "input": input, "result": result, "error": error });
            writing.write(Bytes::from(format!("{line}\n"))).await?;
        }
    }
    writing.keep(app, job.subscription, "images.jsonl").await
}

/// What was found in an image; it may be a file of its own.
async fn found(app: &App, job: &Job, item: &Item) -> Result<Value, Problem> {
    match (&item.value, &item.file) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(id)) => {
            let file = files::find(app, job.subscription, id.as_str()).await?;
            let bytes = files::read(app, job.subscription, &file, 0..file.bytes).await?;
            serde_json::from_slice(&bytes).map_err(Problem::internal)
        }
        (None, None) => Ok(Value::Null),
    }
}

/// One part of the audio.
struct Part {
    file: File,
    samples: std::ops::Range<u64>,
}

async fn audio(app: &App, job: &Job) -> Result<File, Problem> {
    let (mut parts, mut format, mut from) = (Vec::new(), None, 0);
    while from < job.items {
        for item in repo::next_items(app, job, &mut from).await? {
            let Some(id) = item.file.filter(|_| item.state == ItemState::Succeeded) else { continue };
            let file = files::find(app, job.subscription, id.as_str()).await?;
            let head = files::read(app, job.subscription, &file, 0..HEAD).await?;
            let samples = match joining::samples(&head).filter(|_| job.format() == "wav") {
                Some(found) => {
                    format.get_or_insert_with(|| found.format.to_vec());
                    found.from..found.from.saturating_add(found.claimed).min(file.bytes)
                }
                None => 0..file.bytes,
            };
            parts.push(Part { file, samples });
        }
    }
    if let [one] = &parts[..] {
        // One part is the whole.
        return Ok(one.file.clone());
    }
    let mut writing = begin(app, job).await?;
    if let Some(format) = format {
        let length = parts.iter().map(|part| part.samples.end - part.samples.start).sum();
        let head = joining::head(&format, length).ok_or_else(|| {
            let title = "Together the parts are longer than a WAV file can be; they are files of their own.";
            Problem::new(StatusCode::NOT_FOUND, "result_too_long", title)
        })?;
        writing.write(head.into()).await?;
    }
    for Part { file, samples } in parts {
        let mut at = samples.start;
        while at < samples.end {
            let piece = files::read(app, job.subscription, &file, at..samples.end.min(at + PIECE)).await?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            writing.write(piece).await?;
        }
    }
    writing.keep(app, job.subscription, &format!("speech.{}", job.format())).await
}
