//! The rows of reconciliations and closes.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `Reconciliations` | month | `run` | the result in force: when, sums, counts; names the run |
//! | | | `d:<run>:<number>` | a difference of a run |
//! | | | `mark:<difference>` | what somebody said of a difference |
//! | `Closes` | `all` | number | a package; inserted once, never changed |
//!
//! Differences are written first and hold when `run` names them; what no `run` names is left over from a death and goes with
//! the next run.

use std::collections::HashMap;

use serde::Serialize;

use super::close::Close;
use super::run::Run;
use crate::analytics::model::calendar::Month;
use crate::analytics::model::reconcile::{Difference, Mark};
use crate::app::App;
use crate::store::{self, Etag, MAX_BATCH, RowRange, StoreError, Table, Write, decode};

const RECONCILIATIONS: Table = Table("Reconciliations");
const CLOSES: Table = Table("Closes");
const ALL: &str = "all";
const RUN: &str = "run";
const MARK: &str = "mark:";
const DIFFERENCE: &str = "d:";

pub(super) async fn run(app: &App, month: Month) -> Result<Option<(Run, Etag)>, StoreError> {
    store::load(&*app.rows, RECONCILIATIONS, &month.to_string(), RUN).await
}

/// Puts a result in force, over the one that was seen before the work began.
pub(super) async fn save_run(
    app: &App,
    run: &Run,
    differences: &[Difference],
    seen: Option<Etag>,
) -> Result<(), StoreError> {
    let month = run.month.to_string();
    let writes: Vec<Write> = differences
        .iter()
        .enumerate()
        .map(|(number, one)| Write::upsert(format!("{DIFFERENCE}{}:{number:06}", run.id), one))
        .collect::<Result<_, _>>()?;
    for batch in writes.chunks(MAX_BATCH) {
        app.rows.write(RECONCILIATIONS, &month, batch.to_vec()).await?;
    }
    let head = match seen {
        Some(etag) => Write::replace(RUN, run, etag)?,
        None => Write::insert(RUN, run)?,
    };
    app.rows.write(RECONCILIATIONS, &month, vec![head]).await?;
    forget_others(app, &month, &run.id).await
}

/// Removes the differences of all other runs. One that is at work meanwhile finds another `run` than it has seen, and ends.
async fn forget_others(app: &App, month: &str, id: &str) -> Result<(), StoreError> {
    let rows = store::scan(&*app.rows, RECONCILIATIONS, month, RowRange::prefix(DIFFERENCE)).await?;
    let own = format!("{DIFFERENCE}{id}:");
    let old = rows.into_iter().filter(|row| !row.key.starts_with(&own));
    let writes: Vec<Write> = old.map(|row| Write::Delete { key: row.key, etag: Some(row.etag) }).collect();
    for batch in writes.chunks(MAX_BATCH) {
        match app.rows.write(RECONCILIATIONS, month, batch.to_vec()).await {
            // Somebody else is clearing up as well.
            Ok(_) | Err(StoreError::Precondition) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn differences(app: &App, run: &Run) -> Result<Vec<Difference>, StoreError> {
    let range = RowRange::prefix(&format!("{DIFFERENCE}{}:", run.id));
    store::scan(&*app.rows, RECONCILIATIONS, &run.month.to_string(), range).await?.iter().map(decode).collect()
}

/// What was said of a month's differences, by their names.
pub(super) async fn marks(app: &App, month: Month) -> Result<HashMap<String, Mark>, StoreError> {
    let rows = store::scan(&*app.rows, RECONCILIATIONS, &month.to_string(), RowRange::prefix(MARK)).await?;
    rows.iter().map(|row| Ok((row.key.trim_start_matches(MARK).to_owned(), decode(row)?))).collect()
}

pub(super) async fn save_mark(app: &App, month: Month, difference: &str, mark: &Mark) -> Result<(), StoreError> {
    write(app, month, Write::upsert(format!("{MARK}{difference}"), mark)?).await
}

pub(super) async fn remove_mark(app: &App, month: Month, difference: &str) -> Result<(), StoreError> {
    write(app, month, Write::Delete { key: format!("{MARK}{difference}"), etag: None }).await
}

async fn write(app: &App, month: Month, write: Write) -> Result<(), StoreError> {
    app.rows.write(RECONCILIATIONS, &month.to_string(), vec![write]).await.map(drop)
}

fn close_key(number: u64) -> String {
    format!("{number:08}")
}

/// All packages, the first one first.
pub(super) async fn closes(app: &App) -> Result<Vec<Close>, StoreError> {
    store::scan(&*app.rows, CLOSES, ALL, RowRange::all()).await?.iter().map(decode).collect()
}

pub(super) async fn close(app: &App, number: u64) -> Result<Option<Close>, StoreError> {
    Ok(store::load(&*app.rows, CLOSES, ALL, &close_key(number)).await?.map(|(close, _)| close))
}

/// Makes a package one. `AlreadyExists`: somebody else has taken the number.
pub(super) async fn insert_close<T: Serialize>(app: &App, number: u64, close: &T) -> Result<(), StoreError> {
    app.rows.write(CLOSES, ALL, vec![Write::insert(close_key(number), close)?]).await.map(drop)
}
