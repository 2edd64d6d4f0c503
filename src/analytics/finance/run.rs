//! Reconciles a month and keeps the result; keeps what people say of its differences.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Who, close, gather, repo};
use crate::analytics::model::calendar::Month;
use crate::analytics::model::reconcile::{Class, Difference, Mark, Summary, Totals, differences, sorted, summary};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::problem::Problem;
use crate::store::StoreError;

/// Differences that are kept with a result; more than these nobody reads, and the counts have them all.
const MOST_KEPT: usize = 10_000;
const LONGEST_NOTE: usize = 1_000;
/// Months before this one that are reconciled again every night: so long usage and payouts change.
const NIGHTLY_BACK: usize = 2;
const TRIES: usize = 3;

/// The result of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: String,
    pub month: Month,
    pub at: Timestamp,
    pub by: Who,
    pub totals: Totals,
    /// All of them, by class.
    pub classes: Vec<(Class, usize)>,
    /// The newest days of the datasets; None: there is nothing of it, and it was not compared.
    pub usage_newest: Option<Date>,
    pub revenue_newest: Option<Date>,
    pub orders_newest: Option<Date>,
    /// Days of the month of which Microsoft's bookings are known.
    pub days_read_back: usize,
}

impl Run {
    pub fn count(&self) -> usize {
        self.classes.iter().map(|(_, count)| count).sum()
    }
}

/// A difference, and what somebody said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Marked {
    #[serde(flatten)]
    pub difference: Difference,
    pub mark: Option<Mark>,
}

/// A result as people look at it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub run: Run,
    pub summary: Vec<Summary>,
    /// Differences that nobody has explained.
    pub open: usize,
    pub differences: Vec<Marked>,
    /// The newest package of the month, and whether the sums are others since.
    pub close: Option<close::Close>,
    pub changed_since_close: bool,
}

/// Timer `ReconcileAnalytics`: this month and those before it that still change.
pub async fn nightly(app: &App) -> Result<(), AnalyticsError> {
    let by = Who { id: "timer".into(), name: String::new() };
    let mut month = Month::at(app.clock.now());
    for _ in 0..=NIGHTLY_BACK {
        let (run, _) = reconcile(app, month, &by).await?;
        tracing::info!(%month, differences = run.count(), "a month was reconciled");
        month = month.previous();
    }
    Ok(())
}

/// Reconciles a month now. The result, and all differences.
pub async fn reconcile(app: &App, month: Month, by: &Who) -> Result<(Run, Vec<Difference>), AnalyticsError> {
    for _ in 0..TRIES {
        let seen = repo::run(app, month).await?.map(|(_, etag)| etag);
        let (sides, of_orders) = match gather::gather(app, month).await {
            // Rows were replaced while they were read.
            Err(AnalyticsError::Contention(_)) => continue,
            gathered => gathered?,
        };
        let (fresh, days_read_back) = (sides.fresh, sides.read_back.keys().filter(|day| month.has(**day)).count());
        let (totals, mut found) = differences(sides);
        found.extend(sorted(of_orders));
        let mut tail = [0; 8];
        app.random.fill(&mut tail);
        let count = |class: Class| (class, found.iter().filter(|one| one.class == class).count());
        let run = Run {
            id: hex(&tail),
            month,
            at: fresh.now,
            by: by.clone(),
            totals,
            classes: Class::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect(),
            usage_newest: fresh.usage,
            revenue_newest: fresh.revenue,
            orders_newest: fresh.orders,
            days_read_back,
        };
        match repo::save_run(app, &run, &found[..found.len().min(MOST_KEPT)], seen).await {
            Ok(()) => return Ok((run, found)),
            // Somebody else was faster, with the same books: theirs may be older, so it is done again.
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AnalyticsError::Contention(format!("the reconciliation of {month}")))
}

/// Differences that nobody has explained as they are now.
pub(super) fn open(differences: &[Difference], marks: &HashMap<String, Mark>) -> usize {
    differences.iter().filter(|one| !marks.get(&one.id).is_some_and(|mark| mark.holds(one))).count()
}

/// The result in force; None: the month was never reconciled.
pub async fn outcome(app: &App, month: Month) -> Result<Option<Outcome>, StoreError> {
    let Some((run, _)) = repo::run(app, month).await? else { return Ok(None) };
    let (found, mut marks) = (repo::differences(app, &run).await?, repo::marks(app, month).await?);
    let unkept = run.count() - found.len().min(run.count());
    let open = open(&found, &marks) + unkept;
    let summary = summary(&found, |one| marks.get(&one.id).is_some_and(|mark| mark.holds(one)));
    let differences = found
        .into_iter()
        .map(|one| Marked { mark: marks.remove(&one.id).filter(|mark| mark.holds(&one)), difference: one })
        .collect();
    let close = repo::closes(app).await?.into_iter().rev().find(|close| close.month == month);
    let changed_since_close = close.as_ref().is_some_and(|close| close.totals != run.totals);
    Ok(Some(Outcome { run, summary, open, differences, close, changed_since_close }))
}

/// Marks a difference as explained, as it is now. `state` is what the person saw.
pub async fn mark(app: &App, month: Month, id: &str, state: &str, note: &str, by: &Who) -> Result<(), Problem> {
    let note = note.trim();
    if note.is_empty() || note.chars().count() > LONGEST_NOTE {
        let title = format!("A note of 1 to {LONGEST_NOTE} characters says what explains the difference.");
        return Err(Problem::bad_request("missing_note", title).field("note"));
    }
    let found = difference(app, month, id).await?;
    if found.state() != state {
        return Err(Problem::conflict("changed_meanwhile", "The difference is another one by now.")
            .remedy("Reload the page and look again."));
    }
    let mark = Mark {
        of: found.state(),
        note: note.to_owned(),
        by: by.id.clone(),
        name: by.name.clone(),
        at: app.clock.now(),
    };
    Ok(repo::save_mark(app, month, id, &mark).await?)
}

pub async fn unmark(app: &App, month: Month, id: &str) -> Result<(), Problem> {
    difference(app, month, id).await?;
    Ok(repo::remove_mark(app, month, id).await?)
}

async fn difference(app: &App, month: Month, id: &str) -> Result<Difference, Problem> {
    let (run, _) = repo::run(app, month).await?.ok_or_else(Problem::not_found)?;
    repo::differences(app, &run).await?.into_iter().find(|one| one.id == id).ok_or_else(Problem::not_found)
}
