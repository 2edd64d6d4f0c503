//! Rows of analytics.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `Analytics` | dataset | `m:<month>` | which version of each day holds |
//! | | | `x:<generated>:<execution>` | an execution and what became of its file |
//! | `AnalyticsPieces` | `<dataset>:<day>:<version>` | `<number>` | rows of a day; never changed |
//! | `AnalyticsChanges` | dataset | `<newest first>:<execution>:<month>` | what an execution changed of days that were held before |
//! | `AnalyticsPull` | `all` | dataset | what is asked of Microsoft, and how it goes |
//! | | `catalogue` | dataset | Microsoft's list of datasets |
//! | | `budget` | `execute-now` | when reports were run at once |
//! | | `runs` | newest first | what was asked of Microsoft at once |
//!
//! Months and executions share a partition, so that a file's days and its own row change in one batch.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::model::changes::Changes;
use super::model::execution::Execution;
use super::model::month::Month;
use super::model::offered::Offered;
use super::model::piece::Piece;
use super::model::run::Run;
use super::model::schedule::{Budget, Catalogued, Schedule};
use crate::app::App;
use crate::foundation::ids::RunId;
use crate::store::{
    self, Etag, MAX_BATCH, RowRange, RowStore, StoreError, Table, Write, newest_first, newest_id_first, oldest_first,
};

const DATA: Table = Table("Analytics");
const PIECES: Table = Table("AnalyticsPieces");
const CHANGES: Table = Table("AnalyticsChanges");
const PULL: Table = Table("AnalyticsPull");
const ALL: &str = "all";
const CATALOGUE: &str = "catalogue";
const BUDGET: &str = "budget";
const RUNS: &str = "runs";
const EXECUTE_NOW: &str = "execute-now";
/// Months that fit into one batch beside the execution: more than eight years.
const MOST_MONTHS: usize = MAX_BATCH - 1;

/// Microsoft's ids are texts of any kind.
fn safe(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect()
}

fn month_key(month: &str) -> String {
    format!("m:{month}")
}

fn execution_key(execution: &Execution) -> String {
    format!("x:{}:{}", oldest_first(execution.generated), safe(&execution.id))
}

fn day_partition(dataset: &str, day: &str, version: &str) -> String {
    format!("{dataset}:{day}:{version}")
}

/// Months from `from` to `to`, both as `2026-02`, with their ETags; no bounds: all.
pub async fn months(
    rows: &dyn RowStore,
    dataset: &str,
    bounds: Option<(&str, &str)>,
) -> Result<BTreeMap<String, (Month, Etag)>, StoreError> {
    let range = match bounds {
        Some((from, to)) => RowRange { from: month_key(from), to: Some(format!("{}~", month_key(to))) },
        None => RowRange::prefix("m:"),
    };
    store::scan(rows, DATA, dataset, range)
        .await?
        .into_iter()
        .map(|row| Ok((row.key["m:".len()..].to_owned(), (store::decode(&row)?, row.etag))))
        .collect()
}

pub async fn month(rows: &dyn RowStore, dataset: &str, month: &str) -> Result<Option<(Month, Etag)>, StoreError> {
    store::load(rows, DATA, dataset, &month_key(month)).await
}

pub async fn save_month(app: &App, dataset: &str, name: &str, month: &Month, etag: Etag) -> Result<(), StoreError> {
    store::replace(&*app.rows, DATA, dataset, month_key(name), month, etag).await.map(drop)
}

/// Months and their execution, all or nothing; of a file over more than eight years the oldest months go before. `Precondition` or `AlreadyExists`: somebody else was there first.
pub async fn switch(
    app: &App,
    dataset: &str,
    months: &[(String, Month, Option<Etag>)],
    execution: &Execution,
    etag: Etag,
) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    for (name, month, etag) in months {
        writes.push(match etag {
            Some(etag) => Write::replace(month_key(name), month, etag.clone())?,
            None => Write::insert(month_key(name), month)?,
        });
    }
    while writes.len() > MOST_MONTHS {
        let rest = writes.split_off(MOST_MONTHS);
        app.rows.write(DATA, dataset, std::mem::replace(&mut writes, rest)).await?;
    }
    writes.push(Write::replace(execution_key(execution), execution, etag)?);
    app.rows.write(DATA, dataset, writes).await.map(drop)
}

/// `false`: it was known.
pub async fn found(app: &App, execution: &Execution) -> Result<bool, StoreError> {
    match app.rows.write(DATA, &execution.dataset, vec![Write::insert(execution_key(execution), execution)?]).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Every execution of a dataset, the oldest first.
pub async fn executions(app: &App, dataset: &str) -> Result<Vec<(Execution, Etag)>, StoreError> {
    let rows = store::scan(&*app.rows, DATA, dataset, RowRange::prefix("x:")).await?;
    rows.into_iter().map(|row| Ok((store::decode(&row)?, row.etag))).collect()
}

pub async fn execution(app: &App, known: &Execution) -> Result<Option<(Execution, Etag)>, StoreError> {
    store::load(&*app.rows, DATA, &known.dataset, &execution_key(known)).await
}

/// Without its raw file; pieces that nobody sees are gone before.
pub async fn remove_execution(app: &App, execution: &Execution, etag: Etag) -> Result<(), StoreError> {
    let gone = Write::Delete { key: execution_key(execution), etag: Some(etag) };
    app.rows.write(DATA, &execution.dataset, vec![gone]).await.map(drop)
}

pub async fn save_execution(app: &App, execution: &Execution, etag: Etag) -> Result<Etag, StoreError> {
    store::replace(&*app.rows, DATA, &execution.dataset, execution_key(execution), execution, etag).await
}

pub async fn save_piece(
    app: &App,
    dataset: &str,
    day: &str,
    version: &str,
    number: u32,
    piece: &Piece,
) -> Result<(), StoreError> {
    let write = Write::upsert(format!("{number:06}"), piece)?;
    app.rows.write(PIECES, &day_partition(dataset, day, version), vec![write]).await.map(drop)
}

/// A few pieces of a day from `number` on.
pub async fn pieces(
    rows: &dyn RowStore,
    dataset: &str,
    day: &str,
    version: &str,
    number: u32,
    limit: usize,
) -> Result<Vec<Piece>, StoreError> {
    let range = RowRange { from: format!("{number:06}"), to: None };
    let page = rows.query(PIECES, &day_partition(dataset, day, version), &range, limit).await?;
    page.rows.iter().map(store::decode).collect()
}

pub async fn remove_pieces(app: &App, dataset: &str, day: &str, version: &str) -> Result<(), StoreError> {
    let partition = day_partition(dataset, day, version);
    loop {
        let page = app.rows.query(PIECES, &partition, &RowRange::all(), MAX_BATCH).await?;
        if page.rows.is_empty() {
            return Ok(());
        }
        let gone = page.rows.into_iter().map(|row| Write::Delete { key: row.key, etag: Some(row.etag) }).collect();
        match app.rows.write(PIECES, &partition, gone).await {
            Ok(_) | Err(StoreError::Precondition) => {}
            Err(error) => return Err(error),
        }
    }
}

fn changes_key(changes: &Changes) -> String {
    format!("{}:{}:{}", newest_first(changes.generated), safe(&changes.execution), changes.month)
}

pub async fn save_changes(app: &App, dataset: &str, changes: &Changes) -> Result<(), StoreError> {
    app.rows.write(CHANGES, dataset, vec![Write::upsert(changes_key(changes), changes)?]).await.map(drop)
}

/// The newest first, a page of them behind `after`.
pub async fn changes(
    app: &App,
    dataset: &str,
    after: &str,
    limit: usize,
) -> Result<(Vec<(String, Changes)>, bool), StoreError> {
    let range = if after.is_empty() { RowRange::all() } else { RowRange::all().after(after) };
    let page = app.rows.query(CHANGES, dataset, &range, limit).await?;
    let found =
        page.rows.iter().map(|row| Ok((row.key.clone(), store::decode(row)?))).collect::<Result<_, StoreError>>()?;
    Ok((found, page.more))
}

pub async fn schedule(app: &App, dataset: &str) -> Result<Option<(Schedule, Etag)>, StoreError> {
    store::load(&*app.rows, PULL, ALL, dataset).await
}

pub async fn schedules(app: &App) -> Result<Vec<Schedule>, StoreError> {
    store::scan(&*app.rows, PULL, ALL, RowRange::all()).await?.iter().map(store::decode).collect()
}

/// Over the version that was read; None: there was none.
pub async fn save_schedule(app: &App, schedule: &Schedule, etag: Option<Etag>) -> Result<Etag, StoreError> {
    let write = match etag {
        Some(etag) => Write::replace(schedule.dataset.clone(), schedule, etag)?,
        None => Write::insert(schedule.dataset.clone(), schedule)?,
    };
    let etags = app.rows.write(PULL, ALL, vec![write]).await?;
    etags.into_iter().next().ok_or_else(|| StoreError::unavailable("no ETag came back"))
}

/// Microsoft's list as it was last read.
pub async fn catalogue(app: &App) -> Result<Vec<Catalogued>, StoreError> {
    store::scan(&*app.rows, PULL, CATALOGUE, RowRange::all()).await?.iter().map(store::decode).collect()
}

pub async fn save_catalogue(app: &App, offered: &[Offered], seen: Timestamp) -> Result<(), StoreError> {
    let mut writes: Vec<Write> = Vec::new();
    for offered in offered.iter().take(MAX_BATCH) {
        let (key, entry) = (safe(&offered.dataset), Catalogued { offered: offered.clone(), seen });
        if !writes.iter().any(|write| write.key() == key) && !key.is_empty() {
            writes.push(Write::upsert(key, &entry)?);
        }
    }
    // Together: half a list would read as datasets that are gone.
    if writes.is_empty() { Ok(()) } else { app.rows.write(PULL, CATALOGUE, writes).await.map(drop) }
}

pub async fn budget(app: &App) -> Result<(Budget, Option<Etag>), StoreError> {
    let found = store::load(&*app.rows, PULL, BUDGET, EXECUTE_NOW).await?;
    Ok(found.map_or_else(|| (Budget::default(), None), |(budget, etag)| (budget, Some(etag))))
}

pub async fn save_budget(app: &App, budget: &Budget, etag: Option<Etag>) -> Result<(), StoreError> {
    let write = match etag {
        Some(etag) => Write::replace(EXECUTE_NOW, budget, etag)?,
        None => Write::insert(EXECUTE_NOW, budget)?,
    };
    app.rows.write(PULL, BUDGET, vec![write]).await.map(drop)
}

/// Every run, the newest first.
pub async fn runs(app: &App) -> Result<Vec<(Run, Etag)>, StoreError> {
    let rows = store::scan(&*app.rows, PULL, RUNS, RowRange::all()).await?;
    rows.into_iter().map(|row| Ok((store::decode(&row)?, row.etag))).collect()
}

pub async fn run(app: &App, id: &RunId) -> Result<Option<(Run, Etag)>, StoreError> {
    store::load(&*app.rows, PULL, RUNS, &newest_id_first(id.as_str())).await
}

/// Over the version that was read; None: it is new.
pub async fn save_run(app: &App, run: &Run, etag: Option<Etag>) -> Result<Etag, StoreError> {
    let key = newest_id_first(run.id.as_str());
    let write = match etag {
        Some(etag) => Write::replace(key, run, etag)?,
        None => Write::insert(key, run)?,
    };
    let etags = app.rows.write(PULL, RUNS, vec![write]).await?;
    etags.into_iter().next().ok_or_else(|| StoreError::unavailable("no ETag came back"))
}

pub async fn remove_run(app: &App, run: &Run, etag: Etag) -> Result<(), StoreError> {
    let gone = Write::Delete { key: newest_id_first(run.id.as_str()), etag: Some(etag) };
    app.rows.write(PULL, RUNS, vec![gone]).await.map(drop)
}
