//! Recordings that a service transcribes by itself, for hours perhaps (AI services contract 2.4): handed over, asked
//! about, and recorded when they are done. What is under way is the caller's to remember.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::{HANDED_OVER, Intent, Reserving, admit, client};
use super::ask::{Unanswered, ask, unrecorded};
use super::budgets::{self, Claim};
use super::hearing::{Hearing, billed, hearing, most, rendered};
use super::meter;
use super::whole::{Done, Transcript};
use crate::ai::client::AiClient;
use crate::ai::client::batch::Progress;
use crate::ai::model::deployments::{Deployment, Kind};
use crate::ai::model::transcript::Format;
use crate::ai::model::used::{Part, Used};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::identity::ApiKey;

/// What is to be transcribed.
#[derive(Debug)]
pub struct Recording<'a> {
    /// What its record begins with.
    pub call: &'a str,
    pub key: &'a ApiKey,
    pub model: &'a str,
    /// By our own measure.
    pub duration_ms: u64,
    /// Those of OpenAI's form.
    pub fields: &'a [(String, String)],
}

/// Where a transcription is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcription {
    /// Of its deployment, see [`Deployment::id`].
    deployment: String,
    /// At the service.
    id: String,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    Waiting,
    /// Over, without a transcript; this is why. Nothing is billed.
    Failed(String),
    /// Recorded.
    Done(Done<Transcript>),
}

impl Recording<'_> {
    fn worst(&self) -> Used {
        Used::of(Part::AudioMs, most(self.duration_ms))
    }

    fn intent<'b>(&'b self, worst: &'b (dyn Fn(&Deployment) -> Used + Sync), reserving: Reserving) -> Intent<'b> {
        let Self { call, key, model, .. } = *self;
        Intent { request: call, key, model, kind: Kind::BatchTranscription, tokens: 0, worst, reserving }
    }

    fn hearing(&self) -> Result<(Format, Hearing), Problem> {
        hearing(Kind::Transcription, self.fields)
    }
}

/// Hands a recording over, by an address from which the service fetches it. `again`: an earlier try of the same name may
/// have got through.
pub async fn submit(
    app: &Arc<App>,
    recording: &Recording<'_>,
    name: &str,
    address: &str,
    again: bool,
) -> Result<Transcription, Unanswered> {
    let (_, hearing) = recording.hearing()?;
    let worst = recording.worst();
    let (mut call, deployments) = admit(app, &recording.intent(&|_| worst.clone(), Reserving::ForDays)).await?;
    let ai = client(app)?;
    let asking = ask(app, &call, &deployments, |deployment| {
        let hearing = &hearing;
        async move {
            let known = if again { ai.find_transcription(&deployment, name).await? } else { None };
            match known {
                Some(id) => Ok(id),
                None => ai.create_transcription(&deployment, name, address, hearing).await,
            }
        }
    });
    let (id, deployment) = asking.await?;
    call.hold.leave();
    // It is under way; how it ends is noted then.
    call.served = true;
    Ok(Transcription { deployment: deployment.id(), id })
}

/// Whether what an earlier version of the deployments file named is still there.
fn known(ai: &AiClient, transcription: &Transcription) -> Option<Arc<Deployment>> {
    ai.deployments.all().iter().find(|entry| entry.id() == transcription.deployment).cloned()
}

/// Asks how far a transcription is, and records it when it is done, once however often this is called.
pub async fn look(
    app: &Arc<App>,
    recording: &Recording<'_>,
    transcription: &Transcription,
) -> Result<Outcome, Unanswered> {
    let ai = client(app)?;
    let Some(deployment) = known(ai, transcription) else {
        return Ok(Outcome::Failed("The service that transcribed it was removed from the configuration.".to_owned()));
    };
    let asked = ai.transcription(&deployment, &transcription.id).await;
    ai.cooldowns.note(&deployment, asked.as_ref().err(), app.clock.now());
    let mut transcript = match asked {
        Ok(Progress::Waiting) => return Ok(Outcome::Waiting),
        Ok(Progress::Done(transcript)) => transcript,
        Ok(Progress::Failed(text)) => {
            release(app, recording).await;
            return Ok(Outcome::Failed(text));
        }
        Ok(Progress::Gone) => {
            release(app, recording).await;
            return Ok(Outcome::Failed("The service does not know the transcription any more.".to_owned()));
        }
        Err(error) => {
            tracing::warn!(request = recording.call, deployment = deployment.id(), %error, "a transcription could not be looked at");
            return Ok(Outcome::Waiting);
        }
    };
    let worst = recording.worst();
    let (mut call, _) = admit(app, &recording.intent(&|_| worst.clone(), Reserving::Before)).await?;
    let (ms, basis) = billed(Some(transcript.duration_ms), recording.duration_ms);
    transcript.duration_ms = ms;
    let used = Used::of(Part::AudioMs, ms);
    meter::record(app, &mut call, &deployment, &used, basis).await.map_err(|_| unrecorded())?;
    let (format, _) = recording.hearing()?;
    let text = rendered(&transcript, Kind::Transcription, format, recording.fields);
    Ok(Outcome::Done(Done::new(&call, &used, Transcript { text, extension: format.extension() })))
}

/// Gives back what was reserved.
async fn release(app: &Arc<App>, recording: &Recording<'_>) {
    let (key, call) = (recording.key, recording.call.to_owned());
    let claim = Claim { call, subscription: key.subscription, key: key.prefix.clone(), held: HANDED_OVER };
    if let Err(error) = budgets::settle(app, &claim, &Used::default()).await {
        tracing::warn!(request = recording.call, %error, "what was reserved stays so until it expires");
    }
}

/// Ends a transcription that nobody wants any more; nothing of it is billed. One that has been taken is removed at the
/// service, too.
pub async fn discard(app: &Arc<App>, recording: &Recording<'_>, transcription: &Transcription) {
    release(app, recording).await;
    let Ok(ai) = client(app) else { return };
    let Some(deployment) = known(ai, transcription) else { return };
    // It would go by itself after two days.
    if let Err(error) = ai.delete_transcription(&deployment, &transcription.id).await {
        tracing::info!(request = recording.call, %error, "a transcription was not deleted at the service");
    }
}
