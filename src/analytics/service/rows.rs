//! Rows of exact dates as somebody chose them: columns, a filter in the query language, an offer and a plan.

use csv::StringRecord;
use jiff::civil::Date;

use super::AnalyticsError;
use super::answers::{Answer, Ask, Place, all_columns};
use super::export::Chosen;
use super::questions::{self, QuestionError};
use super::subjects::{self, Narrow};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::query::Filter;
use crate::app::App;

#[derive(Debug, Clone)]
pub struct Wanted {
    pub dataset: &'static Dataset,
    pub from: Date,
    pub to: Date,
    /// Empty: all.
    pub columns: Vec<String>,
    /// Conditions; empty: every row.
    pub filter: String,
    pub narrow: Narrow,
    pub undated: bool,
}

/// What only the filter looks at is read as well, and not shown.
pub async fn open(app: &App, wanted: &Wanted) -> Result<(Answer, Chosen), QuestionError> {
    let (narrowed, mut looked_at) = subjects::conditions(wanted.dataset, &wanted.narrow);
    if !wanted.filter.trim().is_empty() {
        looked_at.extend(questions::looked_at(&wanted.filter)?);
    }
    let mut columns = wanted.columns.clone();
    let all = all_columns(wanted.dataset);
    for name in looked_at.iter().filter(|_| !wanted.columns.is_empty()) {
        let known = columns.iter().any(|known| known.eq_ignore_ascii_case(name));
        // A name that does not exist is the filter's fault, which points at the word.
        if !known && all.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            columns.push(name.clone());
        }
    }
    let ask = Ask { dataset: wanted.dataset, from: wanted.from, to: wanted.to, columns, undated: wanted.undated };
    let answer = Answer::open(app, &ask).await?;
    let mut filter = match wanted.filter.trim().is_empty() {
        true => None,
        false => Some(questions::filter(&wanted.filter, answer.columns())?),
    };
    if !narrowed.is_empty() {
        let narrow = Filter::compile(&narrowed, answer.columns()).map_err(|_| AnalyticsError::Asked {
            field: "offer",
            reason: format!("{} can not be narrowed to that.", wanted.dataset.name),
        })?;
        filter = Some(match filter {
            Some(filter) => filter.and(narrow),
            None => narrow,
        });
    }
    let shown = if wanted.columns.is_empty() { answer.columns().len() } else { wanted.columns.len() };
    Ok((answer, Chosen { filter, shown }))
}

/// A page ends after so many rows, whatever the filter lets through: a request has its time.
const MOST_SEEN: usize = 300_000;

/// So many rows that are chosen, and the place behind them if there are more.
pub async fn page(
    answer: &mut Answer,
    chosen: &Chosen,
    limit: usize,
) -> Result<(Vec<StringRecord>, Option<Place>), AnalyticsError> {
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some(rows) = answer.next().await? {
        seen += rows.len();
        let mut rows = rows.into_iter();
        while found.len() < limit {
            let Some(row) = rows.next() else { break };
            found.extend(chosen.take(row));
        }
        if found.len() == limit {
            let rest: Vec<_> = rows.collect();
            // Whether anything follows is known when it is looked at.
            let rest = if rest.is_empty() { answer.next().await?.unwrap_or_default() } else { rest };
            if rest.is_empty() {
                break;
            }
            answer.give_back(rest);
            return Ok((found, answer.place().cloned()));
        }
        if seen > MOST_SEEN {
            return Ok((found, answer.place().cloned()));
        }
    }
    Ok((found, None))
}
