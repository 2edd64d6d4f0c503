//! Batch synthesis at Azure Speech: much text to audio, some time later. The caller chooses the id, so that a second
//! attempt is refused instead of done.
//!
//! The real service packs a file for each input into a ZIP. The simulator writes none: with `concatenateResult` the
//! result is the address of one audio file, the inputs one behind the other; without it there is only the summary.
//! Audio is made while it is fetched, so that hours of it take no memory. The order is in `synthesis_batch_order`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use serde_json::{Value, json};

use super::batch_content::{self, JSON};
use super::batches::{Course, Page, Status, batches, failure};
use super::calls::{AiKind, Running};
use super::pause;
use super::sound::{Plan, Sound};
use super::speech_synthesis::format;
use super::ssml::Ssml;
use super::synthesis_batch_order::{Input, Order, bad, is_id, refused};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Body, Reply, Request, empty, json_reply};

const VERSION: &str = "2024-04-01";

/// A job. What comes of its inputs follows from them, and is told when it is done.
#[derive(Debug)]
pub struct Synthesis {
    pub id: String,
    internal: uuid::Uuid,
    order: Order,
    spoken: Vec<Result<Ssml, String>>,
    sound: Sound,
    kind: &'static str,
    course: Course,
    /// Opens its results.
    pub token: String,
    booked: AtomicBool,
}

impl Synthesis {
    fn good(&self) -> impl Iterator<Item = &Ssml> {
        self.spoken.iter().flatten()
    }

    /// How long everything is.
    fn milliseconds(&self) -> u64 {
        self.good().map(|ssml| ssml.milliseconds).sum()
    }

    fn status(&self, simulator: &Simulator) -> Status {
        let status = self.course.status(simulator.now());
        if status == Status::Succeeded && !self.booked.swap(true, Ordering::SeqCst) {
            for ssml in self.good() {
                let mut running = Running::without_tokens(simulator, "speech-batch-synthesis", AiKind::Speech);
                running.book(|call| (call.characters, call.audio_ms) = (ssml.billable, ssml.milliseconds));
                running.finished();
            }
        }
        status
    }

    /// The one file of audio, if there is one.
    fn audio_name(&self) -> Option<String> {
        let wanted = self.order.properties.concatenate_result && self.good().next().is_some();
        wanted.then(|| format!("results.{}", self.ending()))
    }

    fn ending(&self) -> &'static str {
        match self.sound {
            Sound::Wav { .. } => "wav",
            Sound::Mp3 { .. } => "mp3",
            Sound::Opus => "ogg",
            _ => "raw",
        }
    }

    fn size(&self) -> u64 {
        match self.order.properties.concatenate_result {
            true => self.sound.plan(self.milliseconds()).length,
            false => self.good().map(|ssml| self.sound.plan(ssml.milliseconds).length).sum(),
        }
    }

    fn summary(&self) -> Value {
        let one = |(number, (input, spoken)): (usize, (&Input, &Result<Ssml, String>))| match spoken {
            Ok(ssml) => json!({
                "contents": [input.content], "status": "Succeeded",
                "audioFileName": format!("{number:04}.{}", self.ending()),
                // Numbers are text here.
                "properties": {
                    "sizeInBytes": self.sound.plan(ssml.milliseconds).length.to_string(),
                    "durationInMilliseconds": ssml.milliseconds.to_string(),
                },
            }),
            Err(why) => json!({
                "contents": [input.content], "status": "Failed",
                "error": { "code": "InvalidInput", "message": why },
            }),
        };
        let results: Vec<Value> = (1..).zip(self.order.inputs.iter().zip(&self.spoken)).map(one).collect();
        json!({ "jobID": self.internal, "status": "Succeeded", "results": results })
    }

    fn shown(&self, simulator: &Simulator, status: Status) -> Value {
        let wanted = &self.order.properties;
        let mut properties = json!({
            "timeToLiveInHours": wanted.time_to_live_in_hours, "outputFormat": wanted.output_format,
            "concatenateResult": wanted.concatenate_result, "decompressOutputFiles": wanted.decompress_output_files,
            "wordBoundaryEnabled": wanted.word_boundary_enabled,
            "sentenceBoundaryEnabled": wanted.sentence_boundary_enabled,
        });
        let mut shown = json!({
            "id": self.id, "internalId": self.internal, "status": status, "createdDateTime": self.course.created,
            "lastActionDateTime": self.course.last_action(status), "inputKind": self.order.input_kind,
            "customVoices": {},
        });
        if let Some(description) = &self.order.description {
            shown["description"] = description.clone().into();
        }
        if status == Status::Failed {
            properties["error"] = failure();
        }
        if status == Status::Succeeded {
            let good = self.good().count();
            properties["sizeInBytes"] = self.size().into();
            properties["succeededAudioCount"] = good.into();
            properties["failedAudioCount"] = (self.spoken.len() - good).into();
            properties["durationInMilliseconds"] = self.milliseconds().into();
            let characters: u64 = self.good().map(|ssml| ssml.billable).sum();
            properties["billingDetails"] = json!({ "neuralCharacters": characters });
            let place = |name: &str| batch_content::address(simulator, "syntheses", &self.id, name, &self.token);
            let mut outputs = json!({ "summary": place("summary.json") });
            if let Some(name) = self.audio_name() {
                outputs["result"] = place(&name).into();
            }
            shown["outputs"] = outputs;
        }
        shown["properties"] = properties;
        shown
    }

    /// A result that may be fetched.
    pub fn result(&self, name: &str) -> Option<(Plan, &'static str)> {
        if !self.booked.load(Ordering::SeqCst) {
            return None;
        }
        if name == "summary.json" {
            return Some((Plan::whole(self.summary().to_string().into_bytes()), JSON));
        }
        (self.audio_name().as_deref() == Some(name)).then(|| (self.sound.plan(self.milliseconds()), self.kind))
    }

    pub fn course(&self) -> &Course {
        &self.course
    }
}

fn check_version(request: &Request) -> Result<(), Reply> {
    let known = request.query("api-version") == Some(VERSION);
    if known { Ok(()) } else { Err(bad("The api-version is missing or not supported.")) }
}

/// A job is accepted, looked at, or ended. It is no mistake to end one that is not there.
pub async fn one(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    check_version(request)?;
    let id = request.param("id");
    if request.method == Method::PUT {
        return Ok(create(simulator, request, id).await?.map(Body::Whole));
    }
    if request.method == Method::DELETE {
        batches(simulator, |all| all.syntheses.retain(|job| job.id != id));
        return Ok(empty(204).map(Body::Whole));
    }
    let found = batches(simulator, |all| all.syntheses.iter().find(|job| job.id == id).cloned());
    let job = found.ok_or_else(|| refused(404, "NotFound", "There is no such job."))?;
    let status = job.status(simulator);
    Ok(json_reply(200, &job.shown(simulator, status)).map(Body::Whole))
}

async fn create(simulator: &Simulator, request: &Request, id: &str) -> Result<Reply, Reply> {
    if !is_id(id) {
        return Err(bad("The id must be 3 to 64 letters, digits, hyphens and underscores."));
    }
    let order = Order::read(request)?;
    let (sound, kind) =
        format(&order.properties.output_format).ok_or_else(|| bad("The outputFormat is not supported."))?;
    let taken = || refused(409, "Conflict", "There is a job of this id already.");
    if batches(simulator, |all| all.syntheses.iter().any(|job| job.id == id)) {
        return Err(taken());
    }
    let job = Arc::new(Synthesis {
        id: id.to_owned(),
        internal: simulator.new_id(),
        spoken: order.inputs.iter().map(|input| order.speak(input)).collect(),
        course: Course::begin(simulator, order.properties.time_to_live_in_hours),
        order,
        sound,
        kind,
        token: simulator.secret(),
        booked: AtomicBool::new(false),
    });
    let kept = batches(simulator, |all| {
        let free = all.syntheses.iter().all(|job| job.id != id);
        if free {
            all.syntheses.push(job.clone());
        }
        free
    });
    // Of two at the same time one was faster.
    if !kept {
        return Err(taken());
    }
    pause(simulator).await;
    Ok(json_reply(201, &job.shown(simulator, Status::NotStarted)))
}

/// The jobs in order of creation.
pub fn list(simulator: &Simulator, request: &Request) -> Result<Reply, Reply> {
    check_version(request)?;
    let page = Page::asked(request, "maxpagesize").ok_or_else(|| bad("skip or maxpagesize is no number."))?;
    let (jobs, next) = page.of(batches(simulator, |all| all.syntheses.clone()));
    let values = jobs.iter().map(|job| job.shown(simulator, job.status(simulator)));
    let mut body = json!({ "value": values.collect::<Vec<_>>() });
    if let Some(next) = next {
        let address = format!("{}/texttospeech/batchsyntheses?api-version={VERSION}", simulator.base_url());
        body["nextLink"] = page.link(&address, next, "maxpagesize", &[]).into();
    }
    Ok(json_reply(200, &body))
}
