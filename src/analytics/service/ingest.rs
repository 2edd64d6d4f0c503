//! Takes the files of a dataset in, the oldest first.
//!
//! A file is read on a thread of its own and comes out as pieces of days; pieces are written under a version that nobody reads
//! yet; then one batch puts the new versions of all days and the execution itself in force. Whoever dies anywhere in between
//! leaves pieces that the next try writes again, letter for letter. Days that have not changed are not written, and a file that
//! is older than what is held of a day does not touch it. Then the files of the lake follow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::answers::all_columns;
use super::fetch::{Fetched, fetch};
use super::{AnalyticsError, CONTAINER, file, lake};
use crate::analytics::model::changes::{self, Changes, DayChange};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::execution::{Covers, Execution, State};
use crate::analytics::model::month::{Day, Month, RowsHash, UNDATED, month_of};
use crate::analytics::model::piece::Packer;
use crate::analytics::model::report::{self, Contents, Part, Unusable};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::ids::RunId;
use crate::store::{Etag, StoreError};

pub const QUEUE: &str = "report-ingest";
/// How often the batch is tried while others write.
const ROUNDS: usize = 8;
/// Pieces on their way between the reader and the store, and to the store at once.
const WAITING: usize = 16;
const AT_ONCE: usize = 8;
/// Rows of a day in two versions that are compared one by one.
const COMPARED: u64 = 100_000;
const COMPARED_PIECES: u32 = 60;
/// A file with fewer than half of the rows that were held is not believed, once there were as many as this.
const ENOUGH: u64 = 20;
/// A file that could not be fetched for so long; a newer one has come by then.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(48);
/// Versions that were replaced stay for whoever is still reading them.
const READ_OUT: SignedDuration = SignedDuration::from_hours(1);
/// What became of a file, for so long; and the file itself, which weighs most of all that is kept: Microsoft remembers its
/// executions as long (analytics contract 4.7).
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
const RAW_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The text of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Whose files are to be taken in.
    Dataset(String),
    /// What was asked of Microsoft at once.
    Run(RunId),
}

/// Asks for a dataset's open executions to be taken in.
pub async fn request(app: &App, dataset: &str) -> Result<(), AnalyticsError> {
    let text = json!(Message::Dataset(dataset.to_owned())).to_string();
    Ok(app.queues.send(QUEUE, &text, std::time::Duration::ZERO).await?)
}

/// Takes in whatever is open of a dataset. May run twice at the same time and die anywhere.
pub async fn ingest(app: &Arc<App>, dataset: &'static Dataset) -> Result<(), AnalyticsError> {
    // One at a time here; what comes meanwhile is found by the round that is going on, or by the next timer.
    let Ok(_turn) = app.analytics_turns.of(dataset.name).try_lock_owned() else { return Ok(()) };
    tidy(app, dataset).await?;
    let mut passed: HashSet<String> = HashSet::new();
    let mut first = None;
    loop {
        let all = repo::executions(app, dataset.name).await?;
        let next = all.into_iter().find(|(execution, _)| execution.is_open() && !passed.contains(&execution.id));
        let Some((execution, etag)) = next else { break };
        // One that does not go on must not hold up those behind it: an older file changes no newer day.
        let (id, found) = (execution.id.clone(), execution.clone());
        match step(app, dataset, execution, etag).await {
            Ok(true) => {}
            Ok(false) => {
                passed.insert(id);
                give_up(app, &found, "Microsoft gave no link to its file").await?;
            }
            Err(error) => {
                tracing::warn!(dataset = dataset.name, execution = id, %error, "a report's file could not be taken in");
                passed.insert(id);
                if never(&error) || !give_up(app, &found, &error.to_string()).await? {
                    first = first.or(Some(error));
                }
            }
        }
    }
    match first {
        Some(error) if never(&error) => {
            let all = repo::executions(app, dataset.name).await?;
            for (mut execution, etag) in all {
                if execution.state == State::Fetched && passed.contains(&execution.id) {
                    fail(app, &mut execution, error.to_string());
                    kept(repo::save_execution(app, &execution, etag).await)?;
                }
            }
            Ok(())
        }
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Trying again does not help.
fn never(error: &AnalyticsError) -> bool {
    use StoreError::{Corrupt, InvalidKey, TooLarge};
    matches!(error, AnalyticsError::Damaged(_) | AnalyticsError::Store(TooLarge { .. } | InvalidKey(_) | Corrupt(_)))
}

/// Ends an execution whose file could not be had for too long; `false`: it is tried again.
async fn give_up(app: &App, execution: &Execution, why: &str) -> Result<bool, AnalyticsError> {
    let waited = app.clock.now().duration_since(execution.found);
    if execution.state != State::Found || waited < GIVEN_UP {
        return Ok(false);
    }
    let Some((mut now, etag)) = repo::execution(app, execution).await? else { return Ok(true) };
    if now.state == State::Found {
        fail(app, &mut now, why.to_owned());
        kept(repo::save_execution(app, &now, etag).await)?;
    }
    Ok(true)
}

/// One step of one execution; `false`: nothing can be done at the moment.
async fn step(
    app: &Arc<App>,
    dataset: &'static Dataset,
    mut execution: Execution,
    etag: Etag,
) -> Result<bool, AnalyticsError> {
    match execution.state {
        State::Found => {
            let Some(client) = &app.analytics else { return Ok(false) };
            match fetch(app, client, &execution).await? {
                Fetched::Here(raw) => {
                    execution.state = State::Fetched;
                    execution.raw = Some(raw);
                }
                Fetched::Never(why) => fail(app, &mut execution, why),
                Fetched::NotYet => return Ok(false),
            }
            kept(repo::save_execution(app, &execution, etag).await)
        }
        State::Fetched => take_in(app, dataset, execution, etag).await,
        State::Switched => {
            for month in execution.months.clone() {
                lake::write_month(app, dataset, &month).await?;
            }
            execution.state = State::Done;
            execution.finished = Some(app.clock.now());
            tracing::info!(
                dataset = dataset.name,
                execution = execution.id,
                rows = execution.rows,
                days_new = execution.days_new,
                days_changed = execution.days_changed,
                "a report's file is in"
            );
            kept(repo::save_execution(app, &execution, etag).await)
        }
        State::Done | State::Held { .. } | State::Failed { .. } => Ok(true),
    }
}

/// Somebody else who was faster is no failure: the state is read again.
fn kept(saved: Result<Etag, StoreError>) -> Result<bool, AnalyticsError> {
    match saved {
        Ok(_) | Err(StoreError::Precondition) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn fail(app: &App, execution: &mut Execution, why: String) {
    tracing::warn!(dataset = execution.dataset, execution = execution.id, why, "a report's file is of no use");
    execution.state = State::Failed { why };
    execution.finished = Some(app.clock.now());
}

/// From the file to days that hold.
async fn take_in(
    app: &Arc<App>,
    dataset: &'static Dataset,
    mut execution: Execution,
    etag: Etag,
) -> Result<bool, AnalyticsError> {
    let newer = newer(app, dataset, &execution).await?;
    let held = repo::months(&*app.rows, dataset.name, None).await?;
    let known: HashMap<&str, &Day> =
        held.values().flat_map(|(month, _)| month.days.iter().map(|(date, day)| (date.as_str(), day))).collect();
    // Where nothing is held, and the file speaks for all that it has, everything is written at the first reading. Else the first one tells what has changed.
    let plain = !matches!(execution.covers, Covers::Dates { .. }) && newer.is_empty();
    let first = if known.is_empty() && plain { Wanted::Everything } else { Wanted::Nothing };
    let mut read = match through(app, dataset, &execution, first).await? {
        Ok(read) => read,
        Err((Unusable::Unread(why), _)) => return Err(AnalyticsError::Worker(why)),
        Err((unusable, written)) => {
            fail(app, &mut execution, unusable.to_string());
            // Removed later, and only if nobody else has put them in force.
            execution.outdated = written;
            return kept(repo::save_execution(app, &execution, etag).await);
        }
    };
    execution.rows = read.contents.rows;
    execution.oddities = oddities(&read.contents);
    let dated = || read.contents.days.keys().filter(|date| date.as_str() != UNDATED);
    execution.dates = dated().next().cloned().zip(dated().next_back().cloned());
    let elsewhere: u64 =
        read.contents.days.iter().filter(|(date, _)| !execution.speaks_for(date)).map(|(_, (rows, _))| rows).sum();
    if elsewhere > 0 {
        execution
            .oddities
            .push(format!("{elsewhere} rows lie outside the dates that the file is about, and were left out"));
    }
    if execution.released_by.is_none()
        && let Some(why) = suspicion(&execution, &held, &read.contents)
    {
        tracing::warn!(dataset = dataset.name, execution = execution.id, why, "a report's file is held");
        execution.state = State::Held { why };
        return kept(repo::save_execution(app, &execution, etag).await);
    }
    if !known.is_empty() || !plain {
        let changed: BTreeSet<String> = read
            .contents
            .days
            .iter()
            .filter(|(date, _)| execution.speaks_for(date) && !overtaken(&newer, date))
            .filter(|(date, (_, hash))| known.get(date.as_str()).is_none_or(|day| replaces(&execution, hash, day)))
            .map(|(date, _)| date.clone())
            .collect();
        if !changed.is_empty() {
            match through(app, dataset, &execution, Wanted::Days(changed)).await? {
                Ok(second) => read.pieces = second.pieces,
                Err((error, _)) => return Err(AnalyticsError::Worker(error.to_string())),
            }
        }
    }
    put_in_force(app, dataset, execution, etag, &read).await
}

fn oddities(contents: &Contents) -> Vec<String> {
    let clipped = |name: &String| name.chars().take(60).collect::<String>();
    let list = |names: &[String]| names.iter().take(20).map(clipped).collect::<Vec<_>>().join(", ");
    let mut told = contents.oddities.clone();
    if contents.rows == 0 {
        told.push("the file has no rows".to_owned());
    }
    if !contents.surplus.is_empty() {
        told.push(format!("columns that the dataset is not known to have were left out: {}", list(&contents.surplus)));
    }
    if !contents.lacking.is_empty() {
        told.push(format!("columns that were asked for are not in the file: {}", list(&contents.lacking)));
    }
    told
}

/// Why a file is not to be believed without a person: it would take away most of what is held.
fn suspicion(execution: &Execution, held: &BTreeMap<String, (Month, Etag)>, contents: &Contents) -> Option<String> {
    let days = held.values().flat_map(|(month, _)| &month.days).filter(|(date, _)| *date != UNDATED);
    let dated: u64 = contents.days.iter().filter(|(date, _)| *date != UNDATED).map(|(_, (rows, _))| rows).sum();
    if contents.rows >= ENOUGH && dated < contents.rows / 2 && days.clone().any(|(_, day)| day.rows > 0) {
        return Some(format!("of {} rows only {dated} have a date that can be read", contents.rows));
    }
    let rows: u64 = days
        .filter(|(date, day)| execution.covers(date) && day.generated <= execution.generated)
        .map(|(_, day)| day.rows)
        .sum();
    let few = dated == 0 && rows > 0 || rows >= ENOUGH && dated < rows / 2;
    few.then(|| format!("the file has {dated} rows where {rows} are held for the same dates"))
}

/// Whether a file's version of a day takes the place of what is held.
fn replaces(execution: &Execution, hash: &RowsHash, held: &Day) -> bool {
    held.generated <= execution.generated && held.hash != hash.text()
}

enum Wanted {
    Everything,
    Nothing,
    Days(BTreeSet<String>),
}

struct Through {
    contents: Contents,
    /// Pieces written of each day.
    pieces: BTreeMap<String, u32>,
}

/// Reads the file once and writes the pieces of the days that are wanted.
async fn through(
    app: &Arc<App>,
    dataset: &'static Dataset,
    execution: &Execution,
    wanted: Wanted,
) -> Result<Result<Through, (Unusable, Vec<(String, String)>)>, AnalyticsError> {
    let Some(raw) = execution.raw.clone() else {
        return Ok(Err((Unusable::Unread("the execution names no file".into()), Vec::new())));
    };
    let asked = repo::schedule(app, dataset.name).await?.map(|(schedule, _)| schedule.columns()).unwrap_or_default();
    let (sender, mut parts) = mpsc::channel::<Part>(WAITING);
    let (blobs, runtime, tsv) = (Arc::clone(&app.blobs), Handle::current(), execution.tsv);
    let latest = execution.generated.to_zoned(TimeZone::UTC).date().saturating_add(2.days());
    let reading = tokio::task::spawn_blocking(move || {
        let file = file::open(blobs, runtime, &raw);
        let is_wanted = |date: &str| match &wanted {
            Wanted::Everything => true,
            Wanted::Nothing => false,
            Wanted::Days(days) => days.contains(date),
        };
        report::read(dataset, file, tsv, latest, &asked, &is_wanted, &mut |part| {
            sender.blocking_send(part).map_err(|_| "the writer has ended".to_owned())
        })
    });
    let version = execution.version();
    let mut pieces: BTreeMap<String, u32> = BTreeMap::new();
    let mut packer = Packer::new()?;
    let mut writing = FuturesUnordered::new();
    while let Some(part) = parts.recv().await {
        let next = pieces.entry(part.day.clone()).or_default();
        let (number, day, version) = (*next, part.day, version.clone());
        *next += 1;
        let piece = packer.pack(part.rows, &part.text)?;
        writing.push(async move { repo::save_piece(app, dataset.name, &day, &version, number, &piece).await });
        while writing.len() >= AT_ONCE {
            if let Some(written) = writing.next().await {
                written?;
            }
        }
    }
    while let Some(written) = writing.next().await {
        written?;
    }
    let contents = reading.await.map_err(|error| AnalyticsError::Worker(error.to_string()))?;
    match contents {
        Ok(contents) => Ok(Ok(Through { contents, pieces })),
        Err(unusable) => Ok(Err((unusable, pieces.into_keys().map(|day| (day, version.clone())).collect()))),
    }
}

/// What the months become.
struct Plan {
    months: Vec<(String, Month, Option<Etag>)>,
    /// Days that were held before and are replaced: date, before, after.
    replaced: Vec<(String, Day, Option<Day>)>,
    new: u32,
}

/// Files in force that Microsoft made later: what they speak for is not changed by an older one.
async fn newer(app: &App, dataset: &Dataset, execution: &Execution) -> Result<Vec<Execution>, AnalyticsError> {
    let all = repo::executions(app, dataset.name).await?.into_iter().map(|(other, _)| other);
    let in_force = |other: &Execution| matches!(other.state, State::Switched | State::Done);
    Ok(all.filter(|other| in_force(other) && other.generated > execution.generated).collect())
}

fn overtaken(newer: &[Execution], date: &str) -> bool {
    newer.iter().any(|other| other.covers(date))
}

fn plan(execution: &Execution, held: BTreeMap<String, (Month, Etag)>, newer: &[Execution], read: &Through) -> Plan {
    let mut plan = Plan { months: Vec::new(), replaced: Vec::new(), new: 0 };
    let mut months: BTreeMap<String, (Month, Option<Etag>)> =
        held.into_iter().map(|(name, (month, etag))| (name, (month, Some(etag)))).collect();
    let mut touched = BTreeSet::new();
    for (date, (rows, hash)) in &read.contents.days {
        if !execution.speaks_for(date) || overtaken(newer, date) {
            continue;
        }
        let name = month_of(date);
        let (month, _) = months.entry(name.to_owned()).or_default();
        let day = Day {
            version: execution.version(),
            rows: *rows,
            pieces: read.pieces.get(date).copied().unwrap_or_default(),
            hash: hash.text(),
            execution: execution.id.clone(),
            generated: execution.generated,
        };
        match month.days.get(date) {
            Some(old) if !replaces(execution, hash, old) => continue,
            Some(old) => plan.replaced.push((date.clone(), old.clone(), Some(day.clone()))),
            None => plan.new += 1,
        }
        month.days.insert(date.clone(), day);
        touched.insert(name.to_owned());
    }
    for (name, (month, _)) in &mut months {
        let gone: Vec<String> = month
            .days
            .iter()
            .filter(|(date, day)| {
                !read.contents.days.contains_key(*date)
                    && execution.covers(date)
                    && day.generated <= execution.generated
                    && !overtaken(newer, date)
            })
            .map(|(date, _)| date.clone())
            .collect();
        for date in gone {
            if let Some(old) = month.days.remove(&date) {
                plan.replaced.push((date, old, None));
                touched.insert(name.clone());
            }
        }
    }
    plan.months =
        touched.into_iter().filter_map(|name| months.remove(&name).map(|(month, etag)| (name, month, etag))).collect();
    plan
}

async fn put_in_force(
    app: &Arc<App>,
    dataset: &'static Dataset,
    mut execution: Execution,
    mut etag: Etag,
    read: &Through,
) -> Result<bool, AnalyticsError> {
    for _ in 0..ROUNDS {
        let held = repo::months(&*app.rows, dataset.name, None).await?;
        let newer = newer(app, dataset, &execution).await?;
        let plan = plan(&execution, held, &newer, read);
        // A day that changed meanwhile in another way was not written: the whole reading begins again.
        let unwritten = plan
            .months
            .iter()
            .any(|(_, month, _)| month.days.values().any(|day| day.version == execution.version() && day.pieces == 0));
        if unwritten {
            return Ok(true);
        }
        tell(app, dataset, &execution, &plan).await?;
        execution.state = State::Switched;
        execution.days_new = plan.new;
        execution.days_changed = plan.replaced.len() as u32;
        execution.months = plan.months.iter().map(|(name, ..)| name.clone()).collect();
        execution.outdated = plan.replaced.iter().map(|(date, old, _)| (date.clone(), old.version.clone())).collect();
        match repo::switch(app, dataset.name, &plan.months, &execution, etag.clone()).await {
            Ok(()) => return Ok(true),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
        match repo::execution(app, &execution).await? {
            Some((now, new)) if now.state == State::Fetched => etag = new,
            // Another one has done it.
            _ => return Ok(true),
        }
    }
    Err(AnalyticsError::Contention(dataset.name.to_owned()))
}

/// Writes down what changes of days that were held before. Before the switch: whoever dies in between writes it again, and a
/// change without its execution in force is not shown.
async fn tell(
    app: &Arc<App>,
    dataset: &'static Dataset,
    execution: &Execution,
    plan: &Plan,
) -> Result<(), AnalyticsError> {
    let mut months: BTreeMap<String, Changes> = BTreeMap::new();
    for (date, old, new) in &plan.replaced {
        let change = compare(app, dataset, date, old, new.as_ref()).await?;
        let month = month_of(date).to_owned();
        let changes = months.entry(month.clone()).or_insert_with(|| Changes {
            execution: execution.id.clone(),
            generated: execution.generated,
            month,
            days: BTreeMap::new(),
        });
        changes.add(date.clone(), change);
    }
    for changes in months.values() {
        repo::save_changes(app, dataset.name, changes).await?;
    }
    Ok(())
}

async fn compare(
    app: &Arc<App>,
    dataset: &'static Dataset,
    date: &str,
    old: &Day,
    new: Option<&Day>,
) -> Result<DayChange, AnalyticsError> {
    let rows = (old.rows, new.map_or(0, |new| new.rows));
    let pieces = old.pieces + new.map_or(0, |new| new.pieces);
    if rows.0 + rows.1 > COMPARED || pieces > COMPARED_PIECES {
        return Ok(DayChange { before: old.execution.clone(), rows, counted_only: true, ..DayChange::default() });
    }
    // The last two are ours and differ with every execution.
    let mut columns = all_columns(dataset);
    columns.truncate(columns.len() - 2);
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let load = async |day: &Day| -> Result<Vec<csv::StringRecord>, AnalyticsError> {
        let pieces = repo::pieces(&*app.rows, dataset.name, date, &day.version, 0, day.pieces.max(1) as usize).await?;
        let records = pieces.iter().map(|piece| piece.records(&names)).collect::<Result<Vec<_>, _>>()?;
        Ok(records.into_iter().flatten().collect())
    };
    let before = load(old).await?;
    let after = match new {
        Some(new) => load(new).await?,
        None => Vec::new(),
    };
    let mut change = changes::compare(dataset, &columns, &before, &after);
    change.before.clone_from(&old.execution);
    Ok(change)
}

/// Removes versions that were replaced a while ago, raw files after three months, and executions after more than a year.
async fn tidy(app: &Arc<App>, dataset: &'static Dataset) -> Result<(), AnalyticsError> {
    let now = app.clock.now();
    for (mut execution, etag) in repo::executions(app, dataset.name).await? {
        let age = now.duration_since(execution.found);
        let held = matches!(execution.state, State::Held { .. });
        if !execution.is_open() && !held && age > RAW_KEPT && execution.raw.is_some() {
            if let Some(raw) = execution.raw.take() {
                app.blobs.delete(CONTAINER, &raw.name).await?;
            }
            kept(repo::save_execution(app, &execution, etag).await)?;
            continue;
        }
        if !execution.is_open() && !held && age > KEPT && execution.outdated.is_empty() {
            match repo::remove_execution(app, &execution, etag).await {
                Ok(()) | Err(StoreError::Precondition) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let over = execution.finished.is_some_and(|finished| now.duration_since(finished) > READ_OUT);
        if execution.outdated.is_empty() || !over {
            continue;
        }
        for (day, version) in &execution.outdated {
            repo::remove_pieces(app, dataset.name, day, version).await?;
        }
        execution.outdated.clear();
        kept(repo::save_execution(app, &execution, etag).await)?;
    }
    Ok(())
}
