//! Rows of a dataset as the finance room reads them.

use std::str::FromStr as _;

use csv::StringRecord;
use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::analytics::model::datasets::{Dataset, Kind};
use crate::analytics::model::value;
use crate::analytics::service::AnalyticsError;
use crate::analytics::service::answers::{Answer, Ask};
use crate::app::App;

/// Rows of a dataset, cell by cell under their names.
pub(super) struct Rows {
    answer: Answer,
    names: Vec<(String, Kind)>,
}

impl Rows {
    pub(super) async fn open(
        app: &App,
        dataset: &str,
        (from, to): (Date, Date),
        columns: &[&str],
        undated: bool,
    ) -> Result<Option<Self>, AnalyticsError> {
        let Some(dataset) = Dataset::find(dataset) else { return Ok(None) };
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let answer = Answer::open(app, &Ask { dataset, from, to, columns, undated }).await?;
        let names = answer.columns().to_vec();
        Ok(Some(Self { answer, names }))
    }

    /// All that there are.
    pub(super) fn total(&self) -> u64 {
        self.answer.total()
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<StringRecord>>, AnalyticsError> {
        self.answer.next().await
    }

    pub(super) fn cells<'a>(&'a self, record: &'a StringRecord) -> Cells<'a> {
        Cells { names: &self.names, record }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    names: &'a [(String, Kind)],
    record: &'a StringRecord,
}

impl<'a> Cells<'a> {
    pub(super) fn text(&self, name: &str) -> &'a str {
        let at = self.names.iter().position(|(known, _)| known == name);
        at.and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<Decimal> {
        value::number(self.text(name))
    }

    pub(super) fn date(&self, name: &str) -> Option<Date> {
        Date::from_str(self.text(name)).ok()
    }

    /// The plan's id; its name where there is none.
    pub(super) fn plan(&self) -> &'a str {
        let id = self.text("PlanId");
        if id.is_empty() { self.text("SKU") } else { id }
    }
}
