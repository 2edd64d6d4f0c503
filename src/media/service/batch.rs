//! Items that a service works on without us: recordings that are too long for a call.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::files::{self, recordings};
use super::work::{Step, payer};
use crate::ai::Unanswered;
use crate::ai::batches::{self, Outcome, Recording};
use crate::ai::whole::{Done, Transcript};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::media::model::file::File;
use crate::media::model::job::{Batch, Input, Item, Job};
use crate::media::repo;

/// A service that has not begun, or not ended, after so long is not waited for any more.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// How often a recording is handed over.
const TIMES: u32 = 3;
/// Before it is handed over again.
const AGAIN: Duration = Duration::from_secs(30);
/// How often a transcription is asked about: often at first, then once a minute (AI services contract 2.4).
const SOONEST: SignedDuration = SignedDuration::from_secs(5);
const LATEST: SignedDuration = SignedDuration::from_mins(1);

fn recording<'a>(
    call: &'a str,
    key: &'a crate::identity::ApiKey,
    job: &'a Job,
    batch: &Batch,
    fields: &'a [(String, String)],
) -> Recording<'a> {
    Recording { call, key, model: &job.model, duration_ms: batch.duration_ms, fields }
}

/// Hands a recording over. That this is about to happen is written down first, so that nothing is handed over twice.
pub async fn hand_over(
    app: &Arc<App>,
    job: &Job,
    call: &str,
    item: &mut Item,
    source: &File,
    duration_ms: u64,
) -> Result<Step, Unanswered> {
    let batch = Batch {
        since: app.clock.now(),
        name: source.name.clone(),
        duration_ms,
        source: source.id.clone(),
        failed: 0,
        under: None,
    };
    item.batch = Some(batch);
    let saved = repo::save_item(app, &job.id, item.clone()).await.map_err(Problem::from)?;
    if saved.batch != item.batch {
        // What is written of this try finds the row changed, and leaves it so.
        return Err(Problem::conflict("taken_over", "Somebody else works on it.").into());
    }
    *item = saved;
    submit(app, job, call, item, false).await
}

async fn submit(app: &Arc<App>, job: &Job, call: &str, item: &mut Item, again: bool) -> Result<Step, Unanswered> {
    let Some(batch) = &mut item.batch else { return Err(Problem::internal("nothing is to be handed over").into()) };
    let file = files::find(app, job.subscription, batch.source.as_str()).await?;
    let address = recordings::link(app, job.subscription, &file, LONGEST).await?;
    let (key, fields) = (payer(job), job.fields());
    // Each has a name of its own, or one that failed would be found again.
    let name = format!("{call}.{}", batch.failed);
    let under = batches::submit(app, &recording(call, &key, job, batch, &fields), &name, &address, again).await?;
    batch.under = Some(under);
    Ok(Step::Waiting(Duration::from_secs(SOONEST.as_secs().unsigned_abs())))
}

/// Asks about a recording that was handed over.
pub async fn go_on(app: &Arc<App>, job: &Job, call: &str, item: &mut Item) -> Result<Step, Unanswered> {
    let Some(batch) = item.batch.clone() else { return Err(Problem::internal("nothing was handed over").into()) };
    let Some(under) = &batch.under else { return submit(app, job, call, item, true).await };
    let (key, fields) = (payer(job), job.fields());
    let recording = recording(call, &key, job, &batch, &fields);
    let waited = app.clock.now().duration_since(batch.since);
    let failed = |code, text: String| Err(Unanswered::Problem(Problem::bad_request(code, text)));
    match batches::look(app, &recording, under).await? {
        Outcome::Waiting if waited > LONGEST => {
            failed("timeout", "The service did not finish it within a day.".to_owned())
        }
        Outcome::Waiting => {
            let wait = (waited / 2).clamp(SOONEST, LATEST);
            Ok(Step::Waiting(Duration::from_secs(wait.as_secs().unsigned_abs())))
        }
        // That it could not fetch the recording just then is one of its reasons.
        Outcome::Failed(text) if batch.failed + 1 < TIMES => {
            tracing::info!(call, text, "a transcription failed; the recording is handed over again");
            batches::discard(app, &recording, under).await;
            item.batch = Some(Batch { under: None, failed: batch.failed + 1, ..batch });
            Ok(Step::Waiting(AGAIN))
        }
        Outcome::Failed(text) => failed("upstream_rejected", text),
        Outcome::Done(Done { value: Transcript { text, extension }, price }) => {
            super::work::keep_transcript(app, job, item, &batch.name, &text, extension).await?;
            Ok(Step::Done(price))
        }
    }
}

/// Lets go of what a service still has of an item.
pub async fn discard(app: &Arc<App>, job: &Job, item: &Item) {
    let Some(batch) = &item.batch else { return };
    if let Some(under) = &batch.under {
        let (key, fields, call) = (payer(job), job.fields(), job.call(item));
        batches::discard(app, &recording(&call, &key, job, batch, &fields), under).await;
    }
    forget_copy(app, job, item).await;
}

/// The copy of what was at an address is not needed any more. Should this fail, it ends by itself.
async fn forget_copy(app: &App, job: &Job, item: &Item) {
    if let (Input::Url(_), Some(batch)) = (&item.input, &item.batch)
        && let Err(problem) = files::delete(app, job.subscription, &batch.source).await
    {
        tracing::info!(job = %job.id, %problem, "a copy was not deleted; it ends by itself");
    }
}
