//! One item of a job.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use jiff::SignedDuration;
use rust_decimal::Decimal;

use super::files::{self, recordings};
use super::{batch, jobs};
use crate::ai::whole::Done;
use crate::ai::{Unanswered, whole};
use crate::app::App;
use crate::foundation::ids::FileId;
use crate::foundation::problem::Problem;
use crate::identity::{ApiKey, Limits};
use crate::media::model::file::File;
use crate::media::model::job::{Input, Item, ItemState, Job, Kind, Reason, TRIES};
use crate::media::repo;

/// After a failure that passes, unless the service says otherwise.
const WAIT: Duration = Duration::from_secs(10);

/// Refusals that say nothing about the item: our own limits, an emergency stop, a subscription that is suspended.
const NOT_NOW: [&str; 6] = [
    "rate_limit_exceeded",
    "concurrency_exceeded",
    "model_stopped",
    "access_stopped",
    "subscription_suspended",
    "budget_unavailable",
];
/// Findings up to here stand in the item's row; larger ones are a file of their own.
const LARGEST_VALUE: usize = 32 * 1024;
/// How long a job bears them.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// What came of a try.
pub enum Outcome {
    /// The item is settled.
    Settled(Item),
    /// It should be tried again, or asked about, after so long.
    Later(Item, Duration),
}

/// How far a try went.
pub enum Step {
    /// Delivered and recorded, at this list price.
    Done(Decimal),
    /// A service works on it; to be asked about after so long.
    Waiting(Duration),
}

/// The key whose budget pays. A job that was accepted is worked off although its key may have ended meanwhile.
pub fn payer(job: &Job) -> ApiKey {
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
    let (call, tries) = (job.call(&item), item.tries);
    if item.batch.is_none() {
        item.tries += 1;
    }
    let done = match job.kind {
        Kind::Transcription if item.batch.is_some() => batch::go_on(app, job, &call, &mut item).await,
        Kind::Transcription => transcribe(app, job, &call, &mut item).await,
        Kind::Speech => speak(app, job, &call, &mut item).await,
        Kind::ImageAnalysis => look(app, job, &call, &mut item).await,
    };
    let unanswered = match done {
        Ok(Step::Waiting(wait)) => return Outcome::Later(item, wait),
        Ok(Step::Done(price)) => {
            (item.state, item.reason, item.price) = (ItemState::Succeeded, None, Some(price));
            return Outcome::Settled(item);
        }
        Err(unanswered) => unanswered,
    };
    let (reason, passing) = told(unanswered);
    if NOT_NOW.contains(&reason.code.as_str()) && app.clock.now().duration_since(job.created) < PATIENCE {
        // Nobody was asked, so it was no try. Apart from each other, or all come again at the same moment.
        item.tries = tries;
        item.reason = Some(reason);
        let mut spread = [0];
        app.random.fill(&mut spread);
        let wait = passing.unwrap_or(6 * WAIT);
        return Outcome::Later(item, wait + wait * u32::from(spread[0]) / 256);
    }
    item.reason = Some(reason);
    match passing {
        Some(wait) if item.tries < TRIES => {
            item.tries += u32::from(item.batch.is_some());
            Outcome::Later(item, wait)
        }
        _ => {
            item.state = ItemState::Failed;
            Outcome::Settled(item)
        }
    }
}

/// A try that took longer than a function may. What it had written down by then stands.
pub async fn cut_off(app: &App, job: &Job, number: u32) -> Result<Outcome, Problem> {
    let found = repo::items(app, &job.id, number, 1).await?.into_iter().find(|item| item.number == number);
    let mut item = found.ok_or_else(|| Problem::internal("an item is gone"))?;
    item.tries += 1;
    let message = "It took longer than a worker may.".to_owned();
    item.reason = Some(Reason { code: "timeout".to_owned(), message });
    if item.tries < TRIES {
        return Ok(Outcome::Later(item, WAIT));
    }
    item.state = ItemState::Failed;
    Ok(Outcome::Settled(item))
}

/// A failure in words for the customer, and how long to wait if it passes.
fn told(unanswered: Unanswered) -> (Reason, Option<Duration>) {
    match unanswered {
        Unanswered::Refused(_, error) => {
            let message = error["message"].as_str().unwrap_or("The service refuses it.").to_owned();
            (Reason { code: "upstream_rejected".to_owned(), message }, None)
        }
        Unanswered::Problem(problem) => {
            // A program that calls must not call again for what could not be recorded; a job may.
            let passes = (problem.retryable || problem.code == "metering_unavailable")
                && (problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS);
            let wait = passes.then(|| problem.retry_after.unwrap_or(WAIT).clamp(Duration::from_secs(1), 6 * WAIT));
            let remedy = problem.remedy.as_deref().map(|remedy| format!(" {remedy}")).unwrap_or_default();
            let code = problem.code.to_owned();
            (Reason { code, message: format!("{}{remedy}", problem.title) }, wait)
        }
    }
}

/// The file of a result: the same one, should the item be worked on again.
fn result_id(job: &Job, item: &Item) -> FileId {
    FileId::named(job.created, &job.call(item))
}

/// The recording of an item as a file: what is at an address is copied, because it may be larger than memory should be.
async fn source(app: &App, job: &Job, item: &Item) -> Result<File, Problem> {
    match &item.input {
        Input::File(id) => files::find(app, job.subscription, id.as_str()).await,
        Input::Url(address) => {
            let id = FileId::named(job.created, &format!("{}:input", job.call(item)));
            recordings::fetch(app, job.subscription, id, address, whole::LARGEST_BATCH).await
        }
        Input::Text(_) => Err(Problem::internal("a recording is no text")),
    }
}

async fn transcribe(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<Step, Unanswered> {
    let file = source(app, job, item).await?;
    let done = hear(app, job, call, item, &file).await;
    // A service that works on it still needs the copy. One that is not deleted now ends by itself.
    if matches!(item.input, Input::Url(_))
        && item.batch.is_none()
        && let Err(problem) = files::delete(app, job.subscription, &file.id).await
    {
        tracing::info!(job = %job.id, %problem, "a copy was not deleted; it ends by itself");
    }
    done
}

async fn hear(app: &Arc<App>, job: &Job, call: &str, item: &mut Item, file: &File) -> Result<Step, Unanswered> {
    let sound = recordings::sound(app, job.subscription, file).await?;
    let audio = whole::measure(sound, file.name.clone()).await?;
    if whole::way(app, &job.model, &audio)? == whole::Way::Batch {
        return batch::hand_over(app, job, call, item, file, audio.duration_ms).await;
    }
    let Done { value, price } = whole::transcript(app, call, &payer(job), &job.model, audio, job.fields()).await?;
    keep_transcript(app, job, item, &file.name, &value.text, value.extension).await?;
    Ok(Step::Done(price))
}

/// A transcript as a file beside its recording's name.
pub async fn keep_transcript(
    app: &App,
    job: &Job,
    item: &mut Item,
    recording: &str,
    text: &str,
    extension: &str,
) -> Result<(), Problem> {
    let stem = recording.rsplit_once('.').map_or(recording, |(stem, _)| stem);
    let (name, bytes) = (format!("{stem}.{extension}"), Bytes::copy_from_slice(text.as_bytes()));
    item.file = Some(files::keep(app, job.subscription, result_id(job, item), &name, bytes).await?.id);
    Ok(())
}

async fn speak(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<Step, Unanswered> {
    let Input::Text(text) = &item.input else {
        return Err(Problem::internal("an item of speech is a text").into());
    };
    let mut body = jobs::spoken(&job.options, text);
    body["model"] = job.model.clone().into();
    let Done { value, price } = whole::speech(app, call, &payer(job), &job.model, body).await?;
    let name = format!("part-{:06}.{}", item.number, job.format());
    item.file = Some(files::keep(app, job.subscription, result_id(job, item), &name, value).await?.id);
    Ok(Step::Done(price))
}

/// The image of an item.
async fn image(app: &App, job: &Job, input: &Input) -> Result<Bytes, Problem> {
    const LARGEST: u64 = whole::LARGEST_IMAGE as u64;
    match input {
        Input::File(id) => {
            let file = files::find(app, job.subscription, id.as_str()).await?;
            if file.bytes > LARGEST {
                let title = format!("The file is larger than {} MiB.", LARGEST / 1024 / 1024);
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", title));
            }
            files::read(app, job.subscription, &file, 0..LARGEST).await
        }
        Input::Url(address) => whole::fetch(app, address, whole::LARGEST_IMAGE).await,
        Input::Text(_) => Err(Problem::internal("an image is no text")),
    }
}

async fn look(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<Step, Unanswered> {
    let image = image(app, job, &item.input).await?;
    let option = |name: &str| job.options.get(name).map_or("", String::as_str);
    let Done { value, price } =
        whole::features(app, call, &payer(job), &job.model, image, option("features"), option("language")).await?;
    let text = value.to_string();
    if text.len() <= LARGEST_VALUE {
        item.value = Some(value);
    } else {
        let name = format!("image-{:06}.json", item.number);
        item.file = Some(files::keep(app, job.subscription, result_id(job, item), &name, text.into()).await?.id);
    }
    Ok(Step::Done(price))
}
