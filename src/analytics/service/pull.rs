//! Keeps Microsoft asked. For each dataset it reads what there is at Microsoft, compares it with what there should be, and takes
//! the steps that are missing: the list of datasets, the stored query, the daily report, the one run over everything, the
//! executions that have come. Nothing is remembered that could be read: names tell ours from others', so a step that was
//! taken by a process that died is found and not taken twice.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{AnalyticsError, ingest, now};
use crate::analytics::client::{AnalyticsClient, Report, Run, StoredQuery, When};
use crate::analytics::model::datasets::{DATASETS, Dataset, Reach};
use crate::analytics::model::execution::{Covers, Execution, State};
use crate::analytics::model::offered::{Offered, query_name};
use crate::analytics::model::schedule::{
    Budget, ENDLESS_NOW, FEW_RECURRENCES, LONGEST_LIFE, OurReport, Schedule, TroubleKind,
};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::ids::RunId;
use crate::fulfillment::ApiError;
use crate::store::StoreError;

/// Microsoft's list is read again after so long.
const LIST_AGE: SignedDuration = SignedDuration::from_hours(20);
/// After a file of the whole history that was of no use: runs at once are few.
const TRY_AGAIN: SignedDuration = SignedDuration::from_hours(5);
/// All of ours begin so; people may have others.
const OURS: &str = "mediagenie-";

/// The datasets that are to be pulled.
pub fn wanted(app: &App) -> Vec<&'static Dataset> {
    let named = &app.settings.analytics.datasets;
    let all = named.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let is_named = |dataset: &Dataset| {
        all || named.iter().any(|name| Dataset::find(name).is_some_and(|found| found.name == dataset.name))
    };
    DATASETS.iter().filter(|dataset| is_named(dataset)).collect()
}

/// What there is at Microsoft, read once for all datasets.
struct There {
    offered: Vec<Offered>,
    queries: Vec<StoredQuery>,
    reports: Vec<Report>,
}

/// Looks after every dataset. Trouble with one does not hold up another; trouble with all is the error.
pub async fn pull(app: &Arc<App>) -> Result<(), AnalyticsError> {
    let Some(client) = &app.analytics else { return Ok(()) };
    let there = match read(app, client).await {
        Ok(there) => there,
        Err(AnalyticsError::Api(error)) => {
            for dataset in wanted(app) {
                change(app, dataset, |schedule, now| note(schedule, &error, now)).await?;
                // What has come is taken in all the same.
                nudge(app, dataset).await?;
            }
            return match error {
                ApiError::Denied(_) => Ok(()),
                error => Err(error.into()),
            };
        }
        Err(error) => return Err(error),
    };
    let mut first = None;
    for dataset in wanted(app) {
        match look_after(app, client, dataset, &there).await {
            Ok(()) => {}
            Err(AnalyticsError::Api(error)) => {
                tracing::warn!(dataset = dataset.name, %error, "a dataset could not be looked after");
                change(app, dataset, |schedule, now| note(schedule, &error, now)).await?;
            }
            Err(error) => first = first.or(Some(error)),
        }
        nudge(app, dataset).await?;
    }
    if let Err(error) = sweep(app, client, &there).await {
        tracing::warn!(%error, "what runs have left at Microsoft could not be removed");
    }
    first.map_or(Ok(()), Err)
}

/// Removes reports and queries of runs that have ended: a process may have died before it did.
async fn sweep(app: &Arc<App>, client: &AnalyticsClient, there: &There) -> Result<(), AnalyticsError> {
    let of_run = |name: &str| name.strip_prefix(OURS).and_then(|id| id.parse::<RunId>().ok());
    let ended = async |id: &RunId| -> Result<bool, AnalyticsError> {
        Ok(repo::run(app, id).await?.is_none_or(|(run, _)| !run.is_open()))
    };
    for report in &there.reports {
        if let Some(id) = of_run(&report.name)
            && ended(&id).await?
        {
            client.delete_report(&report.id).await?;
        }
    }
    for query in &there.queries {
        if let Some(id) = of_run(&query.name)
            && ended(&id).await?
        {
            client.delete_query(&query.id).await?;
        }
    }
    Ok(())
}

/// A report is said to be ready: a hint, so whoever it comes from, only our own reports are looked at.
pub async fn hint(app: &Arc<App>, report: &str) -> Result<bool, AnalyticsError> {
    for schedule in repo::schedules(app).await? {
        let ours = [&schedule.daily, &schedule.backfill].into_iter().flatten().any(|known| known.id == report);
        if ours {
            ingest::request(app, &schedule.dataset).await?;
            return Ok(true);
        }
    }
    for (run, _) in repo::runs(app).await? {
        if run.is_open() && run.report.as_ref().is_some_and(|known| known.id == report) {
            now::request(app, &run.id, Duration::ZERO).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Enters the executions that have come of one dataset; the first step of every message.
pub async fn collect(app: &Arc<App>, dataset: &'static Dataset) -> Result<(), AnalyticsError> {
    let Some(client) = &app.analytics else { return Ok(()) };
    let Some((schedule, _)) = repo::schedule(app, dataset.name).await? else { return Ok(()) };
    for (report, covers) in [(&schedule.daily, Covers::from(dataset.reach)), (&schedule.backfill, Covers::Everything)] {
        if let Some(report) = report {
            enter(app, client, dataset, &report.id, covers).await?;
        }
    }
    Ok(())
}

async fn nudge(app: &Arc<App>, dataset: &'static Dataset) -> Result<(), AnalyticsError> {
    let open = repo::executions(app, dataset.name).await?.iter().any(|(execution, _)| execution.is_open());
    if open { ingest::request(app, dataset.name).await } else { Ok(()) }
}

async fn read(app: &Arc<App>, client: &AnalyticsClient) -> Result<There, AnalyticsError> {
    let known = repo::catalogue(app).await?;
    let now = app.clock.now();
    let fresh = known.iter().map(|entry| entry.seen).max().is_some_and(|seen| now.duration_since(seen) < LIST_AGE);
    let offered = if fresh {
        known.into_iter().map(|entry| entry.offered).collect()
    } else {
        let offered = client.datasets().await?;
        repo::save_catalogue(app, &offered, now).await?;
        offered
    };
    Ok(There { offered, queries: client.queries().await?, reports: client.reports().await? })
}

/// Changes a dataset's row, whoever else does.
async fn change(
    app: &Arc<App>,
    dataset: &Dataset,
    edit: impl Fn(&mut Schedule, Timestamp),
) -> Result<Schedule, AnalyticsError> {
    loop {
        let (mut schedule, etag) = match repo::schedule(app, dataset.name).await? {
            Some((schedule, etag)) => (schedule, Some(etag)),
            None => (Schedule { dataset: dataset.name.to_owned(), ..Schedule::default() }, None),
        };
        edit(&mut schedule, app.clock.now());
        match repo::save_schedule(app, &schedule, etag).await {
            Ok(_) => return Ok(schedule),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Quotas are refused with 400 and a text (analytics contract 5 and 6).
fn note(schedule: &mut Schedule, error: &ApiError, now: Timestamp) {
    let said = error.to_string();
    let kind = match error {
        ApiError::Denied(_) => TroubleKind::Denied,
        ApiError::Refused(text) if is_quota(text) => TroubleKind::Quota,
        ApiError::Refused(_) | ApiError::Conflict(_) | ApiError::NotFound => TroubleKind::Refused,
        ApiError::Unavailable(_) | ApiError::Throttled { .. } => TroubleKind::Unreachable,
    };
    schedule.say(kind, said, now);
}

fn is_quota(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("quota") || text.contains("number of queries exceeded")
}

async fn look_after(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &'static Dataset,
    there: &There,
) -> Result<(), AnalyticsError> {
    let offered = there.offered.iter().find(|offered| offered.dataset.eq_ignore_ascii_case(dataset.name));
    let daily = offered.and_then(|offered| offered.query(dataset, dataset.reach));
    let whole = offered.and_then(|offered| offered.query(dataset, Reach::All));
    let (Some(offered), Some(daily), Some(whole)) = (offered, daily, whole) else {
        let said = "Microsoft's list of datasets has nothing of it that can be dated.";
        change(app, dataset, |schedule, now| {
            schedule.say(TroubleKind::NotOffered, said, now);
            schedule.looked = Some(now);
        })
        .await?;
        return Ok(());
    };
    let query = stored_query(client, dataset, &daily, there).await?;
    let report = daily_report(app, client, dataset, &query, there).await?;
    let schedule = change(app, dataset, |schedule, _| {
        schedule.query.clone_from(&daily);
        schedule.query_id.clone_from(&query.id);
        schedule.daily = Some(report.clone());
        schedule.drift = offered.drift(dataset);
    })
    .await?;
    enter(app, client, dataset, &report.id, Covers::from(dataset.reach)).await?;
    let backfill = backfill(app, client, dataset, &schedule, &whole, there).await;
    clear_away(client, dataset, &schedule, &[&daily, &whole], there).await?;
    let (newest, unread) = standing(app, dataset).await?;
    let endless = endless(app, client, dataset, &Schedule { newest, ..schedule }).await?;
    change(app, dataset, |schedule, now| {
        schedule.newest = newest;
        schedule.looked = Some(now);
        match (&backfill, &endless, &unread) {
            (Err(AnalyticsError::Api(error)), ..) => note(schedule, error, now),
            (_, Some(said), _) => schedule.say(TroubleKind::Endless, said.clone(), now),
            (.., Some((kind, said))) => schedule.say(*kind, said.clone(), now),
            _ => match schedule.punctuality(now) {
                Some(kind) => schedule.say(kind, "No file has come of the daily report.", now),
                None => schedule.trouble = None,
            },
        }
    })
    .await?;
    match backfill {
        Ok(()) | Err(AnalyticsError::Api(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The newest file that is in, and what became of the last one if it is not.
async fn standing(
    app: &Arc<App>,
    dataset: &Dataset,
) -> Result<(Option<Timestamp>, Option<(TroubleKind, String)>), AnalyticsError> {
    let all = repo::executions(app, dataset.name).await?;
    let newest = all.iter().rev().find(|(execution, _)| matches!(execution.state, State::Switched | State::Done));
    // One that is held stays so until somebody has decided, whatever came after it.
    let held = all.iter().find_map(|(execution, _)| match &execution.state {
        State::Held { why } => Some((TroubleKind::Held, why.clone())),
        _ => None,
    });
    let last = all.last().and_then(|(execution, _)| match &execution.state {
        State::Failed { why } => Some((TroubleKind::Unusable, why.clone())),
        _ => None,
    });
    Ok((newest.map(|(execution, _)| execution.generated), held.or(last)))
}

async fn stored_query(
    client: &AnalyticsClient,
    dataset: &Dataset,
    text: &str,
    there: &There,
) -> Result<StoredQuery, AnalyticsError> {
    let name = query_name(dataset, text);
    match there.queries.iter().find(|query| query.name == name && !query.system) {
        Some(query) => Ok(query.clone()),
        None => Ok(client.create_query(&name, text).await?),
    }
}

/// The daily report, active and with recurrences left; it is made anew before it runs out (analytics contract 10).
async fn daily_report(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &Dataset,
    query: &StoredQuery,
    there: &There,
) -> Result<OurReport, AnalyticsError> {
    let now = app.clock.now();
    let name = format!("{OURS}{}-daily", dataset.name);
    let ours = |report: &&Report| report.name == name && report.query == query.id;
    let stands = |report: &&Report| {
        let lives = report.recurrences_left.map_or_else(
            || report.created.is_none_or(|created| now.duration_since(created) < LONGEST_LIFE),
            |left| left >= FEW_RECURRENCES,
        );
        !report.status.eq_ignore_ascii_case("Inactive") && lives
    };
    if let Some(report) = there.reports.iter().filter(ours).find(stands) {
        if report.status.eq_ignore_ascii_case("Paused") {
            client.resume_report(&report.id).await?;
        }
        let known = repo::schedule(app, dataset.name).await?.and_then(|(schedule, _)| schedule.daily);
        let known = known.filter(|known| known.id == report.id).map(|known| known.created);
        let created = report.created.or(known).unwrap_or(now);
        return Ok(OurReport { id: report.id.clone(), created });
    }
    let report = client.create_report(&name, &query.id, &When::Daily).await?;
    tracing::info!(dataset = dataset.name, report = report.id, "a daily report was scheduled");
    Ok(OurReport { id: report.id, created: now })
}

/// Everything once, and again when other columns are asked for.
async fn backfill(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &'static Dataset,
    schedule: &Schedule,
    whole: &str,
    there: &There,
) -> Result<(), AnalyticsError> {
    let now = app.clock.now();
    if schedule.has_history(whole, dataset.reach, now) || schedule.not_before.is_some_and(|time| now < time) {
        return Ok(());
    }
    // Where the daily query asks for everything it may have been made a moment ago, which `there` does not know yet.
    let query_id = match schedule.query == whole {
        true => schedule.query_id.clone(),
        false => stored_query(client, dataset, whole, there).await?.id,
    };
    let name = format!("{OURS}{}-history", dataset.name);
    let there = there.reports.iter().find(|report| report.name == name && report.query == query_id);
    let report = match there {
        Some(report) => OurReport { id: report.id.clone(), created: report.created.unwrap_or(now) },
        None => {
            take_run(app).await?;
            let when = When::Now { between: None };
            let report = client.create_report(&name, &query_id, &when).await?;
            tracing::info!(dataset = dataset.name, report = report.id, "a run over the whole history was asked for");
            OurReport { id: report.id, created: now }
        }
    };
    change(app, dataset, |schedule, _| {
        schedule.history_query_id.clone_from(&query_id);
        schedule.backfill = Some(report.clone());
    })
    .await?;
    enter(app, client, dataset, &report.id, Covers::Everything).await?;
    let all = repo::executions(app, dataset.name).await?;
    let of_it = all.iter().map(|(execution, _)| execution).filter(|execution| execution.report == report.id);
    let state = of_it.max_by_key(|execution| execution.generated).map(|execution| &execution.state);
    let waited = now.duration_since(report.created);
    match state {
        Some(State::Done) => {
            client.delete_report(&report.id).await?;
            change(app, dataset, |schedule, now| {
                schedule.backfill = None;
                schedule.backfilled = Some(whole.to_owned());
                schedule.backfilled_at = Some(now);
            })
            .await?;
        }
        // Another try with the next timer; the budget keeps the tries apart.
        Some(State::Failed { .. }) => {
            forget(app, client, dataset, &report).await?;
            change(app, dataset, |schedule, now| schedule.not_before = Some(now + TRY_AGAIN)).await?;
        }
        None if waited > ENDLESS_NOW => {
            tracing::warn!(dataset = dataset.name, report = report.id, "a run over the whole history does not end");
            forget(app, client, dataset, &report).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn forget(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &Dataset,
    report: &OurReport,
) -> Result<(), AnalyticsError> {
    client.delete_report(&report.id).await?;
    change(app, dataset, |schedule, _| schedule.backfill = None).await?;
    Ok(())
}

/// One of the few runs at once that an hour has.
pub async fn take_run(app: &Arc<App>) -> Result<(), AnalyticsError> {
    loop {
        let (mut budget, etag): (Budget, _) = repo::budget(app).await?;
        if let Err(until) = budget.take(app.clock.now()) {
            let said = format!("our own quota of runs at once is used up until {until}");
            return Err(ApiError::Refused(said).into());
        }
        match repo::save_budget(app, &budget, etag).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One that Microsoft refused counts for nothing.
pub async fn give_run_back(app: &Arc<App>) -> Result<(), AnalyticsError> {
    let (mut budget, etag): (Budget, _) = repo::budget(app).await?;
    budget.runs.pop();
    match repo::save_budget(app, &budget, etag).await {
        // Whoever was faster has counted again; one too many is no harm.
        Ok(()) | Err(StoreError::Precondition | StoreError::AlreadyExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes down the completed runs of a report that are not known yet.
pub async fn enter(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &'static Dataset,
    report: &str,
    covers: Covers,
) -> Result<(), AnalyticsError> {
    let complete = |run: &Run| run.status.eq_ignore_ascii_case("Completed") && run.link.is_some() && !run.id.is_empty();
    let known = repo::executions(app, dataset.name).await?;
    for run in client.runs(report, "Completed").await?.into_iter().filter(complete) {
        if known.iter().any(|(execution, _)| execution.id == run.id) {
            continue;
        }
        let now = app.clock.now();
        let mut execution = Execution::found(dataset.name, &run.id, report, run.generated.unwrap_or(now), now);
        execution.covers = covers;
        execution.tsv = run.format.eq_ignore_ascii_case("tsv");
        repo::found(app, &execution).await?;
    }
    Ok(())
}

/// Ours that stand for nothing any more: other queries of before, reports that ran out. They count against the quotas.
async fn clear_away(
    client: &AnalyticsClient,
    dataset: &Dataset,
    schedule: &Schedule,
    current: &[&String],
    there: &There,
) -> Result<(), AnalyticsError> {
    let daily = format!("{OURS}{}-daily", dataset.name);
    let history = format!("{OURS}{}-history", dataset.name);
    let used = |id: &str| [&schedule.daily, &schedule.backfill].into_iter().flatten().any(|report| report.id == id);
    for report in &there.reports {
        let old =
            report.name == daily && schedule.daily.is_some() || report.name == history && schedule.backfilled.is_some();
        if old && !used(&report.id) {
            client.delete_report(&report.id).await?;
        }
    }
    let prefix = format!("{OURS}{}-", dataset.name);
    let names: Vec<String> = current.iter().map(|text| query_name(dataset, text)).collect();
    for query in &there.queries {
        if query.name.starts_with(&prefix) && !names.contains(&query.name) && !query.system {
            client.delete_query(&query.id).await?;
        }
    }
    Ok(())
}

/// A run of the daily report that is under way for longer than a day.
async fn endless(
    app: &Arc<App>,
    client: &AnalyticsClient,
    dataset: &Dataset,
    schedule: &Schedule,
) -> Result<Option<String>, AnalyticsError> {
    let now = app.clock.now();
    let (Some(report), Some(_)) = (&schedule.daily, schedule.punctuality(now)) else { return Ok(None) };
    for status in ["Running", "Pending"] {
        let runs = client.runs(&report.id, status).await?;
        if let Some(run) = runs.iter().find(|run| run.status.eq_ignore_ascii_case(status)) {
            tracing::warn!(dataset = dataset.name, execution = run.id, status, "an execution does not end");
            return Ok(Some(format!("Execution {} stays {status} at Microsoft.", run.id)));
        }
    }
    Ok(None)
}
