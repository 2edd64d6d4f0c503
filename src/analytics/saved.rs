//! Rows of questions that were kept.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `AnalyticsQuestions` | `all` | id | a question, when its answer is mailed, and what came of the last mail |

use super::model::saved::Saved;
use crate::app::App;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write};

const QUESTIONS: Table = Table("AnalyticsQuestions");
const ALL: &str = "all";

pub async fn all(app: &App) -> Result<Vec<(Saved, Etag)>, StoreError> {
    let rows = store::scan(&*app.rows, QUESTIONS, ALL, RowRange::all()).await?;
    rows.into_iter().map(|row| Ok((store::decode(&row)?, row.etag))).collect()
}

pub async fn find(app: &App, id: &str) -> Result<Option<(Saved, Etag)>, StoreError> {
    store::load(&*app.rows, QUESTIONS, ALL, id).await
}

pub async fn insert(app: &App, saved: &Saved) -> Result<(), StoreError> {
    app.rows.write(QUESTIONS, ALL, vec![Write::insert(saved.id.clone(), saved)?]).await.map(drop)
}

/// Over the version that was read.
pub async fn replace(app: &App, saved: &Saved, etag: Etag) -> Result<Etag, StoreError> {
    store::replace(&*app.rows, QUESTIONS, ALL, saved.id.clone(), saved, etag).await
}

pub async fn remove(app: &App, id: &str, etag: Etag) -> Result<(), StoreError> {
    let gone = Write::Delete { key: id.to_owned(), etag: Some(etag) };
    app.rows.write(QUESTIONS, ALL, vec![gone]).await.map(drop)
}
