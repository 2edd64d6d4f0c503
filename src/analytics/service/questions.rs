//! Questions in Microsoft's query language: over what is held, for exact dates, or as Microsoft answers them itself.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::AnalyticsError;
use super::answers::{Answer, Ask, all_columns};
use crate::analytics::model::datasets::{DATASETS, Dataset, Kind};
use crate::analytics::model::offered::Offered;
use crate::analytics::model::query::{self, At, Fault, Filter, Query, Run, Span, Table};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::fulfillment::ApiError;

/// Before the first of Microsoft's numbers (analytics contract 9.5).
const FIRST: Date = jiff::civil::date(2010, 1, 1);

/// What is wrong with a question, shown under its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Bytes of the text.
    pub from: usize,
    pub to: usize,
    pub message: String,
    pub remedy: Option<String>,
    /// The line with carets under the word.
    pub shown: String,
}

#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("{}", .0.first().map_or("the question can not be read", |wrong| wrong.message.as_str()))]
    Wrong(Vec<Wrong>),
    #[error("{0}")]
    TooMuch(String),
    #[error("nothing is asked of Microsoft: ANALYTICS_DATASETS is empty")]
    NotPulled,
    #[error(transparent)]
    Failed(#[from] AnalyticsError),
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Wrong(all) => {
                let messages: Vec<_> = all.iter().map(|wrong| wrong.message.as_str()).collect();
                let remedies: Vec<_> = all
                    .iter()
                    .map(|wrong| {
                        let remedy = wrong.remedy.as_deref().unwrap_or_default();
                        format!("{}\n{remedy}", wrong.shown).trim_end().to_owned()
                    })
                    .collect();
                Self::bad_request("invalid_question", messages.join(" ")).field("query").remedy(remedies.join("\n"))
            }
            QuestionError::TooMuch(why) => Self::bad_request("too_much", why).field("query"),
            QuestionError::NotPulled => {
                Self::bad_request("not_pulled", error.to_string()).remedy("Set ANALYTICS_DATASETS (docs/ANALYTICS.md).")
            }
            QuestionError::Failed(AnalyticsError::Api(ApiError::Refused(said))) => {
                Self::bad_request("refused_by_microsoft", said).field("query")
            }
            QuestionError::Failed(error) => error.into(),
        }
    }
}

impl From<ApiError> for QuestionError {
    fn from(error: ApiError) -> Self {
        Self::Failed(error.into())
    }
}

/// What was answered from what is held.
#[derive(Debug)]
pub struct Answered {
    pub dataset: &'static Dataset,
    pub from: Date,
    pub to: Date,
    pub table: Table,
    /// When Microsoft made the newest file among the rows that were read.
    pub as_of: Option<jiff::Timestamp>,
}

fn wrong(text: &str, faults: &[Fault]) -> QuestionError {
    let told = faults.iter().map(|fault| Wrong {
        from: fault.at.start,
        to: fault.at.end,
        message: fault.message.clone(),
        remedy: fault.remedy.clone(),
        shown: fault.render(text),
    });
    QuestionError::Wrong(told.collect())
}

/// Conditions in the same language, for rows with these columns.
pub fn filter(text: &str, columns: &[(String, Kind)]) -> Result<Filter, QuestionError> {
    let conditions = query::conditions(text).map_err(|fault| wrong(text, &[fault]))?;
    Filter::compile(&conditions, columns).map_err(|faults| wrong(text, &faults))
}

/// The columns that conditions look at.
pub fn looked_at(text: &str) -> Result<Vec<String>, QuestionError> {
    let conditions = query::conditions(text).map_err(|fault| wrong(text, &[fault]))?;
    Ok(conditions.into_iter().map(|condition| condition.column.value).collect())
}

/// Reads a question and checks it against Microsoft's list, or against what this product knows where the list was never read.
/// `dated`: the dates are given beside it, so it needs no span.
pub async fn read(app: &App, text: &str, dated: bool) -> Result<Query, QuestionError> {
    let mut query = query::query(text).map_err(|fault| wrong(text, &[fault]))?;
    if dated && query.span.is_none() {
        query.span = Some(At { value: Span::Lifetime, at: query.end..query.end });
    }
    let mut offered: Vec<Offered> =
        repo::catalogue(app).await.map_err(AnalyticsError::from)?.into_iter().map(|entry| entry.offered).collect();
    for dataset in DATASETS.iter() {
        if !offered.iter().any(|known| known.dataset.eq_ignore_ascii_case(dataset.name)) {
            offered.push(Offered::known(dataset));
        }
    }
    let faults = query::check(&query, &offered);
    if faults.is_empty() { Ok(query) } else { Err(wrong(text, &faults)) }
}

/// Answers a question from what is held. `between`: instead of the span that it names.
pub async fn ask(app: &App, text: &str, between: Option<(Date, Date)>) -> Result<Answered, QuestionError> {
    let query = read(app, text, between.is_some()).await?;
    let Some(dataset) = Dataset::find(&query.dataset.value) else {
        return Err(QuestionError::TooMuch(format!("{} is not kept here", query.dataset.value)));
    };
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let span = query.span.as_ref().map_or(Span::Last6Months, |span| span.value);
    let (from, to) = between.or_else(|| span.dates(today)).unwrap_or((FIRST, today));
    let known = all_columns(dataset);
    let needed = query
        .columns
        .iter()
        .map(|name| &name.value)
        .chain(query.conditions.iter().map(|condition| &condition.column.value));
    let columns: Vec<String> =
        needed.filter(|name| known.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))).cloned().collect();
    // Rows without a date belong to the whole life of the dataset only.
    let undated = between.is_none() && span == Span::Lifetime;
    let mut answer = Answer::open(app, &Ask { dataset, from, to, columns, undated }).await?;
    let metrics: Vec<String> =
        dataset.columns.iter().filter(|column| column.metric).map(|column| column.name.to_owned()).collect();
    let mut run = Run::compile(&query, answer.columns(), &metrics).map_err(|faults| wrong(text, &faults))?;
    let as_of = answer.newest();
    while let Some(rows) = answer.next().await? {
        for row in rows {
            let cells: Vec<&str> = row.iter().collect();
            run.push(&cells).map_err(|error| QuestionError::TooMuch(error.to_string()))?;
        }
        if run.is_complete() {
            break;
        }
    }
    let table = run.finish().map_err(|error| QuestionError::TooMuch(error.to_string()))?;
    Ok(Answered { dataset, from, to, table, as_of })
}

/// The first rows as Microsoft answers them itself: a sample, never more (analytics contract 4.4).
pub async fn sample(app: &Arc<App>, text: &str) -> Result<Vec<Map<String, Value>>, QuestionError> {
    let query = read(app, text, false).await?;
    let client = app.analytics.as_ref().ok_or(QuestionError::NotPulled)?;
    Ok(client.test_query(&query.to_string()).await?)
}
