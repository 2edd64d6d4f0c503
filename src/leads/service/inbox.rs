//! What pages show beside the lines of the list: the leads themselves and their ways to the destinations; and how
//! Microsoft's table is doing.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::leads::model::forward::Forward;
use crate::leads::model::lead::Lead;
use crate::leads::model::record::Kind;
use crate::leads::repo::{self, Listed};

/// A line with what it stands for. An arrival that is no lead has neither.
#[derive(Debug, Clone)]
pub struct Shown {
    pub line: Listed,
    pub lead: Option<Lead>,
    pub forwards: Vec<Forward>,
}

/// Lines with what they stand for, in their order.
pub async fn shown(app: &App, lines: Vec<Listed>) -> Result<Vec<Shown>, Problem> {
    try_join_all(lines.into_iter().map(|line| async {
        if line.kind == Kind::Quarantined {
            return Ok(Shown { line, lead: None, forwards: Vec::new() });
        }
        let (record, forwards) = tokio::try_join!(repo::lead(app, &line.id), repo::forwards(app, &line.id))?;
        Ok(Shown { line, lead: record.map(|(record, _)| record.lead), forwards })
    }))
    .await
}

/// How far Microsoft's table was read.
#[derive(Debug, Clone, Serialize)]
pub struct TableState {
    pub name: String,
    /// The latest time of a row, by the clock of the table's service.
    pub newest: Option<Timestamp>,
    /// When all of it was read last.
    pub whole: Option<Timestamp>,
}

/// None: no table is named.
pub async fn table_state(app: &App) -> Result<Option<TableState>, Problem> {
    let Some(table) = &app.lead_table else { return Ok(None) };
    let read = repo::table_read(app, table.name()).await?.map(|(read, _)| read).unwrap_or_default();
    Ok(Some(TableState { name: table.name().to_owned(), newest: read.seen, whole: read.whole }))
}
