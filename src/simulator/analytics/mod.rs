//! Microsoft's programmatic analytics API v1.1 (analytics contract, sections 1 to 10): datasets, queries, reports,
//! executions and their files, made from the simulated marketplace's own books and from a synthetic history.
//!
//! It owns: the facts (`facts`, from the books in `books` and from a seed in `history`), the rows of the seven datasets
//! (`tables`, `world` and the files named after what they tell), the query language (`query`, `view`), reports and
//! executions by the business clock (`reports`, `executions`), files (`export`, `spool`), the two HTTP faces (`api`,
//! `blob`), callbacks, faults, what tests plant (`planted`), and the ways to drive all this by hand (`control`, `page`).
//! Nothing waits: what has happened by now is worked out when somebody asks.

mod api;
mod blob;
mod books;
mod callbacks;
mod cell;
pub mod control;
mod draw;
mod executions;
mod export;
mod facts;
mod faults;
mod history;
mod insights;
mod names;
mod orders;
pub mod page;
mod planted;
mod quality;
mod query;
mod reports;
mod revenue;
mod spool;
mod system;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_data;
#[cfg(test)]
mod tests_of_faults;
#[cfg(test)]
mod tests_of_files;
mod usage;
mod view;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::Simulator;
use executions::Execution;
use history::History;
use reports::{Report, StoredQuery};
use spool::Spool;
use tables::{TABLES, Table};
use view::Bound;
use world::{Between, World};

pub use api::{BASE, ROUTE as API_ROUTE, answer};
pub use blob::{ROUTE as BLOB_ROUTE, answer as answer_blob};
pub use callbacks::CallbackAttempt;
pub(super) use callbacks::deliver_in_background;
pub use faults::{AnalyticsSwitches, DownloadFault, ExecutionFault, Waiting};
pub use history::AnalyticsHistory;
pub use planted::{Change, Planted};
pub use view::Drift;

/// The token's resource that the API takes.
pub const RESOURCE: &str = "https://api.partnercenter.microsoft.com";

/// How long an execution takes, and how late usage is told.
const TAKES: SignedDuration = SignedDuration::from_mins(9);
const USAGE_LATENCY: SignedDuration = SignedDuration::from_hours(24);

/// So many files are kept once they were made.
const FILES: usize = 32;

/// Queries, reports and executions, and what the datasets are made of beside the marketplace's books.
#[derive(Default)]
pub struct Book {
    queries: Vec<StoredQuery>,
    reports: Vec<Report>,
    executions: Vec<Execution>,
    executed_now: Vec<Timestamp>,
    waiting: Vec<Waiting>,
    drift: BTreeMap<&'static str, Drift>,
    planted: Vec<Planted>,
    history: Option<Arc<History>>,
    takes: Option<SignedDuration>,
    usage_latency: Option<SignedDuration>,
    files: HashMap<Uuid, Arc<Spool>>,
    callbacks: Vec<CallbackAttempt>,
    /// What signs the links; made when it is first needed.
    secret: String,
}

impl Book {
    fn takes(&self) -> SignedDuration {
        self.takes.unwrap_or(TAKES)
    }

    fn usage_latency(&self) -> SignedDuration {
        self.usage_latency.unwrap_or(USAGE_LATENCY)
    }

    fn drift(&self, table: &Table) -> Drift {
        self.drift.get(table.name).cloned().unwrap_or_default()
    }

    /// A query as it is taken now.
    fn bound(&self, text: &str) -> Result<(query::Query, Bound), String> {
        let query = query::read(text)?;
        let bound = view::bind(&query, &self.drift(query.table()?), false)?;
        Ok((query, bound))
    }
}

/// A row as tests compare it: names of columns with the text of the file; nothing is null.
pub type TruthRow = Vec<(&'static str, Option<String>)>;

/// The analytics of a simulator.
#[derive(Debug, Clone)]
pub struct Analytics(Simulator);

impl Simulator {
    pub fn analytics(&self) -> Analytics {
        Analytics(self.clone())
    }

    /// Every row of a dataset that is dated in these days, both included, as Microsoft knows it now: the rows that files
    /// are made of, with all columns. A dataset that does not exist has none.
    pub fn analytics_truth(&self, dataset: &str, from: Date, to: Date) -> Vec<TruthRow> {
        let mut all = Vec::new();
        self.analytics().each(dataset, from, to, |table, row| {
            let values = table.columns.iter().zip(row);
            all.push(values.map(|(column, cell)| (column.name, (!cell.is_null()).then(|| cell.shown()))).collect());
        });
        all
    }

    /// The sum of a column over these days, by the texts of other columns.
    pub fn analytics_sums(
        &self,
        dataset: &str,
        column: &str,
        by: &[&str],
        from: Date,
        to: Date,
    ) -> BTreeMap<Vec<String>, Decimal> {
        let mut sums: BTreeMap<Vec<String>, Decimal> = BTreeMap::new();
        self.analytics().each(dataset, from, to, |table, row| {
            let cell = |name: &str| table.position(name).and_then(|place| row.get(place)).cloned().unwrap_or_default();
            let key = by.iter().map(|name| cell(name).shown()).collect();
            *sums.entry(key).or_default() += cell(column).as_decimal().unwrap_or_default();
        });
        sums
    }
}

impl Analytics {
    /// From now on this is the past; the one before is gone.
    pub fn set_history(&self, history: Option<AnalyticsHistory>) {
        let history = history.map(|plan| Arc::new(History::of(plan)));
        self.0.turn(|turn| turn.state.analytics.history = history);
    }

    /// How long executions take that begin from now on.
    pub fn set_duration(&self, takes: SignedDuration) {
        self.0.turn(|turn| turn.state.analytics.takes = Some(takes));
    }

    /// How late usage is told.
    pub fn set_usage_latency(&self, latency: SignedDuration) {
        self.0.turn(|turn| turn.state.analytics.usage_latency = Some(latency));
    }

    /// The next executions of a dataset, or of any, have this fault. Several faults may wait for one execution.
    pub fn break_next(&self, dataset: Option<&str>, fault: ExecutionFault, executions: u32) {
        let waiting = Waiting { dataset: dataset.map(str::to_owned), fault, executions };
        self.0.turn(|turn| turn.state.analytics.waiting.push(waiting));
    }

    /// No fault waits any more, and the switches are off.
    pub fn calm(&self) {
        self.0.turn(|turn| turn.state.analytics.waiting.clear());
        self.0.faults().change(|switches| switches.analytics = AnalyticsSwitches::default());
    }

    /// Columns of a dataset are gone, renamed or new from now on; this replaces what was said before.
    pub fn drift(&self, dataset: &str, drift: Drift) -> Result<(), String> {
        let table = Table::find(dataset).ok_or_else(|| format!("there is no dataset {dataset}"))?;
        let lower = |name: String| name.to_ascii_lowercase();
        let drift = Drift {
            removed: drift.removed.into_iter().map(lower).collect(),
            renamed: drift.renamed.into_iter().map(|(from, to)| (lower(from), to)).collect(),
            added: drift.added,
        };
        self.0.turn(|turn| turn.state.analytics.drift.insert(table.name, drift));
        Ok(())
    }

    /// Changes rows of a dataset from now on.
    pub fn plant(&self, planted: Planted) -> Result<(), String> {
        planted.check()?;
        self.0.turn(|turn| {
            turn.settle_reports();
            let at = turn.now;
            turn.state.analytics.planted.push(Planted { at, ..planted });
        });
        Ok(())
    }

    /// The usage of a past month was another, and so was what was billed for it: quantities and amounts times this.
    pub fn restate_month(&self, month: Date, factor: Decimal) {
        let usage = Planted::new("ISVUsage", &[], Some(month), Change::Scale(factor));
        let billed = [("BillingModel", "UsageBased")];
        let revenue = Planted::new("ISVRevenue", &billed, Some(month), Change::Scale(factor));
        for planted in [usage, revenue] {
            // Both name what there is.
            let _ = self.plant(planted);
        }
    }

    /// A report is gone without a word.
    pub fn lose_report(&self, report: Uuid) {
        self.0.turn(|turn| turn.state.analytics.forget(report));
    }

    /// A query is gone without a word.
    pub fn lose_query(&self, query: &str) {
        self.0.turn(|turn| turn.state.analytics.queries.retain(|one| one.id != query));
    }

    /// Ids of all reports with their names.
    pub fn reports(&self) -> Vec<(Uuid, String)> {
        self.0.turn(|turn| turn.state.analytics.reports.iter().map(|one| (one.id, one.name.clone())).collect())
    }

    /// Calls back for every execution that has completed and has not. Answers how many calls were answered 2xx.
    pub async fn deliver_callbacks(&self) -> usize {
        callbacks::deliver(&self.0).await
    }

    /// Every callback so far.
    pub fn callback_log(&self) -> Vec<CallbackAttempt> {
        self.0.turn(|turn| turn.state.analytics.callbacks.clone())
    }

    /// How many rows each dataset has now.
    pub fn row_counts(&self) -> Vec<(&'static str, usize)> {
        let count = |table: &'static Table| {
            let mut count = 0;
            self.each(table.name, Date::constant(2000, 1, 1), Date::constant(2100, 1, 1), |_, _| count += 1);
            (table.name, count)
        };
        TABLES.iter().map(count).collect()
    }

    fn each(&self, dataset: &str, from: Date, to: Date, mut look: impl FnMut(&'static Table, &cell::Row)) {
        let Some(table) = Table::find(dataset) else { return };
        let world = self.0.turn(|turn| {
            turn.settle_all();
            World::of(turn.state, turn.now, usize::MAX)
        });
        world.each(table, Between::days(from, to), |rows| {
            rows.iter().for_each(|row| look(table, row));
            ControlFlow::Continue(())
        });
    }
}
