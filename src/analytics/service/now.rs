//! Runs at once. Microsoft runs a report at once at most five times an hour, in minutes; a message comes back until the file is
//! here. The names of report and query carry the run's id, so a step that was taken is found and not taken twice.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use serde_json::json;

use super::fetch::{Fetched, fetch};
use super::ingest::{self, Message, QUEUE};
use super::questions::{self, QuestionError};
use super::{AnalyticsError, CONTAINER, pull};
use crate::analytics::client::{AnalyticsClient, When};
use crate::analytics::model::datasets::{Dataset, Reach};
use crate::analytics::model::execution::{Covers, Execution, State};
use crate::analytics::model::run::{Run, RunState, Wanted};
use crate::analytics::model::schedule::{ENDLESS_NOW, OurReport};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::ids::RunId;
use crate::foundation::problem::Problem;
use crate::fulfillment::ApiError;
use crate::store::{Etag, StoreError};

/// Until the next look.
const LOOK_AGAIN: Duration = Duration::from_secs(90);
/// Until the next try where a quota is used up.
const QUOTA: Duration = Duration::from_secs(600);
/// Files of runs are handed out for so long.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A run that nobody has looked at for so long has lost its message.
const LOST: SignedDuration = SignedDuration::from_mins(30);
/// Microsoft was not brought to begin for so long.
const NEVER: SignedDuration = SignedDuration::from_hours(24);
/// Open at a time: Microsoft's quota makes more of them wait for hours.
const MOST_OPEN: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error("{0} runs are waiting already; Microsoft runs five an hour")]
    TooMany(usize),
    /// What Microsoft dates its rows by is not documented, and old rows change: part of it could not be put in its place.
    #[error("{0} is fetched whole, because its old rows change; leave out `from` and `to`")]
    Whole(&'static str),
    #[error("{0} is not pulled; name it in ANALYTICS_DATASETS")]
    NotPulled(&'static str),
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Question(error) => error.into(),
            RunError::TooMany(_) => Self::conflict("too_many_runs", error.to_string()).remedy("Wait for one to end."),
            RunError::Whole(_) => Self::bad_request("fetched_whole", error.to_string()).field("from"),
            RunError::NotPulled(_) => Self::bad_request("not_pulled", error.to_string()).field("dataset"),
        }
    }
}

pub async fn request(app: &App, id: &RunId, delay: Duration) -> Result<(), AnalyticsError> {
    Ok(app.queues.send(QUEUE, &json!(Message::Run(id.clone())).to_string(), delay).await?)
}

/// Writes down what is asked; a message does the rest. `by`: who asks.
pub async fn start(app: &Arc<App>, wanted: Wanted, between: Option<(Date, Date)>, by: &str) -> Result<Run, RunError> {
    if app.analytics.is_none() {
        return Err(QuestionError::NotPulled.into());
    }
    let failed = |error: AnalyticsError| RunError::from(QuestionError::Failed(error));
    let wanted = match wanted {
        Wanted::Rows { dataset } => {
            let found = pull::wanted(app).into_iter().find(|known| known.name == dataset);
            let Some(found) = found else {
                return Err(RunError::NotPulled(Dataset::find(&dataset).map_or("the dataset", |known| known.name)));
            };
            if found.reach == Reach::All && between.is_some() {
                return Err(RunError::Whole(found.name));
            }
            Wanted::Rows { dataset: found.name.to_owned() }
        }
        Wanted::Query { text } => {
            Wanted::Query { text: questions::read(app, &text, between.is_some()).await?.to_string() }
        }
        stored @ Wanted::Stored { .. } => stored,
    };
    let open = repo::runs(app).await.map_err(AnalyticsError::from).map_err(failed)?;
    let waiting = open.iter().filter(|(run, _)| run.is_open()).count();
    if waiting >= MOST_OPEN {
        return Err(RunError::TooMany(waiting));
    }
    let run = Run {
        id: RunId::new(app.clock.now(), &*app.random),
        wanted,
        between,
        asked: app.clock.now(),
        by: by.to_owned(),
        state: RunState::Asked,
        report: None,
        query_id: None,
        file: None,
        finished: None,
        looked: None,
    };
    repo::save_run(app, &run, None).await.map_err(AnalyticsError::from).map_err(failed)?;
    request(app, &run.id, Duration::ZERO).await.map_err(failed)?;
    Ok(run)
}

/// Sends messages for runs whose message was lost, and removes what is old.
pub async fn revive(app: &Arc<App>) -> Result<(), AnalyticsError> {
    let now = app.clock.now();
    for (run, etag) in repo::runs(app).await? {
        if run.is_open() {
            // Its own message comes back every few minutes; only a lost one is replaced.
            if now.duration_since(run.looked.unwrap_or(run.asked)) > LOST {
                request(app, &run.id, Duration::ZERO).await?;
            }
        } else if now.duration_since(run.asked) > KEPT {
            if let Some(file) = &run.file {
                app.blobs.delete(CONTAINER, &file.name).await?;
            }
            match repo::remove_run(app, &run, etag).await {
                Ok(()) | Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Takes a run as far as it goes now, and asks to come again.
pub async fn advance(app: &Arc<App>, id: &RunId) -> Result<(), AnalyticsError> {
    let Some(client) = &app.analytics else { return Ok(()) };
    let Some((mut run, etag)) = repo::run(app, id).await?.filter(|(run, _)| run.is_open()) else { return Ok(()) };
    let again = match go_on(app, client, &mut run).await {
        Ok(again) => again,
        Err(AnalyticsError::Api(ApiError::Refused(said))) if said.to_ascii_lowercase().contains("quota") => Some(QUOTA),
        Err(AnalyticsError::Api(ApiError::Refused(why) | ApiError::Denied(why))) => {
            run.state = RunState::Failed { why };
            None
        }
        Err(AnalyticsError::Api(error)) => {
            tracing::warn!(run = id.as_str(), %error, "a run could not go on");
            Some(LOOK_AGAIN)
        }
        Err(error) => return Err(error),
    };
    if run.state == RunState::Asked && app.clock.now().duration_since(run.asked) > NEVER {
        run.state = RunState::Failed { why: "Microsoft did not take it for a day".to_owned() };
    }
    run.looked = Some(app.clock.now());
    if !run.is_open() {
        run.finished = Some(app.clock.now());
        clear_away(client, &run).await;
    }
    if keep(app, &run, etag).await?
        && let Some(delay) = again
    {
        request(app, id, delay).await?;
    }
    Ok(())
}

/// `false`: somebody else has gone on with it, and asks to come again himself.
async fn keep(app: &App, run: &Run, etag: Etag) -> Result<bool, AnalyticsError> {
    match repo::save_run(app, run, Some(etag)).await {
        Ok(_) => Ok(true),
        Err(StoreError::Precondition) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn go_on(app: &Arc<App>, client: &AnalyticsClient, run: &mut Run) -> Result<Option<Duration>, AnalyticsError> {
    let now = app.clock.now();
    let Some(report) = run.report.clone() else {
        run.report = Some(ask(app, client, run).await?);
        run.state = RunState::Running;
        return Ok(Some(LOOK_AGAIN));
    };
    if let Wanted::Rows { dataset } = &run.wanted {
        let Some(dataset) = Dataset::find(dataset) else { return Ok(None) };
        let covers = run.between.map_or(Covers::from(dataset.reach), |(from, to)| Covers::Dates { from, to });
        pull::enter(app, client, dataset, &report.id, covers).await?;
        let all = repo::executions(app, dataset.name).await?;
        match all.into_iter().map(|(execution, _)| execution).find(|execution| execution.report == report.id) {
            None => return Ok(waits(run, &report, now)),
            Some(execution) => match execution.state {
                State::Done => run.state = RunState::Done,
                State::Failed { why } | State::Held { why } => run.state = RunState::Failed { why },
                State::Found | State::Fetched | State::Switched => {
                    ingest::request(app, dataset.name).await?;
                    return Ok(Some(Duration::from_secs(20)));
                }
            },
        }
        return Ok(None);
    }
    let runs = client.runs(&report.id, "Completed").await?;
    let Some(done) = runs.into_iter().find(|run| run.status.eq_ignore_ascii_case("Completed") && run.link.is_some())
    else {
        return Ok(waits(run, &report, now));
    };
    let execution = Execution::found("query", &done.id, &report.id, done.generated.unwrap_or(now), now);
    match fetch(app, client, &execution).await? {
        Fetched::Here(raw) => {
            run.file = Some(raw);
            run.state = RunState::Done;
        }
        Fetched::Never(why) => run.state = RunState::Failed { why },
        Fetched::NotYet => return Ok(Some(LOOK_AGAIN)),
    }
    Ok(None)
}

fn waits(run: &mut Run, report: &OurReport, now: jiff::Timestamp) -> Option<Duration> {
    if now.duration_since(report.created) < ENDLESS_NOW {
        return Some(LOOK_AGAIN);
    }
    run.state = RunState::Failed { why: "Microsoft has not made the file within two hours".to_owned() };
    None
}

/// Asks Microsoft, unless it was asked already.
async fn ask(app: &Arc<App>, client: &AnalyticsClient, run: &mut Run) -> Result<OurReport, AnalyticsError> {
    let (name, now) = (run.name(), app.clock.now());
    if let Some(report) = client.reports().await?.into_iter().find(|report| report.name == name) {
        return Ok(OurReport { id: report.id, created: report.created.unwrap_or(now) });
    }
    let query = match &run.wanted {
        Wanted::Rows { dataset } => {
            let schedule = repo::schedule(app, dataset).await?.map(|(schedule, _)| schedule);
            let id = schedule.map(|schedule| schedule.query_id).filter(|id| !id.is_empty());
            id.ok_or_else(|| ApiError::Unavailable(format!("{dataset} was not scheduled yet")))?
        }
        Wanted::Stored { query_id } => query_id.clone(),
        Wanted::Query { text } => {
            let known = client.queries().await?.into_iter().find(|query| query.name == name);
            let query = match known {
                Some(query) => query,
                None => client.create_query(&name, text).await?,
            };
            run.query_id = Some(query.id.clone());
            query.id
        }
    };
    pull::take_run(app).await?;
    let between = run.between.and_then(|(from, to)| {
        let at = |date: Date, hour, minute| {
            let zoned = date.at(hour, minute, if hour == 0 { 0 } else { 59 }, 0).to_zoned(jiff::tz::TimeZone::UTC);
            zoned.ok().map(|zoned| zoned.timestamp())
        };
        at(from, 0, 0).zip(at(to, 23, 59))
    });
    let report = match client.create_report(&name, &query, &When::Now { between }).await {
        Ok(report) => report,
        Err(error) => {
            if matches!(error, ApiError::Refused(_) | ApiError::Denied(_) | ApiError::NotFound) {
                pull::give_run_back(app).await?;
            }
            return Err(error.into());
        }
    };
    Ok(OurReport { id: report.id, created: now })
}

/// What was made for it counts against the quotas. What stays behind is no harm to the run.
async fn clear_away(client: &AnalyticsClient, run: &Run) {
    if let Some(report) = &run.report
        && let Err(error) = client.delete_report(&report.id).await
    {
        tracing::warn!(run = run.id.as_str(), %error, "the report of a run could not be removed at Microsoft");
    }
    if let Some(query) = &run.query_id
        && let Err(error) = client.delete_query(query).await
    {
        tracing::warn!(run = run.id.as_str(), %error, "the query of a run could not be removed at Microsoft");
    }
}
