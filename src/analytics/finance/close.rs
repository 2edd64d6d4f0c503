//! Closes a month: writes its package and gives it the next number.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::earlier::{self, Earlier, Part};
use super::package::{CONTAINER, Entry, Package, Written, csv_bytes};
use super::{Who, contents, package, repo, run};
use crate::analytics::model::calendar::Month;
use crate::analytics::model::close::{self as model, Correction, File, Journal, Line, Sum, corrections};
use crate::analytics::model::reconcile::{Difference, Mark, Totals};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::blobs::{BlobError, BlobWriter};
use crate::foundation::hex::hex;
use crate::foundation::problem::Problem;
use crate::foundation::sheet::cell;
use crate::store::StoreError;

/// Packages that are looked at for what deaths have left.
const MOST_LEFT: usize = 1000;
/// Differences that become lines together.
const AT_ONCE: usize = 1000;

/// A package: what it is of, where it is, and what it comes to. Never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    pub number: u64,
    pub month: Month,
    pub at: Timestamp,
    pub by: Who,
    /// Of the whole file.
    pub sha256: String,
    pub bytes: u64,
    pub files: Vec<Entry>,
    /// What the reconciliation had come to.
    pub totals: Totals,
    pub differences: usize,
    /// Of these, what nobody had explained.
    pub open: usize,
    /// The month's previous package, and how many lines say what is different.
    pub corrects: Option<u64>,
    pub corrections: u64,
    pub(super) blob: String,
}

impl Close {
    /// As it is offered for download.
    pub fn file_name(&self) -> String {
        format!("close-{}-{:04}.zip", self.month, self.number)
    }
}

/// What somebody wants closed.
#[derive(Debug, Clone)]
pub struct CloseOrder {
    pub month: Month,
    /// The open differences that the person has seen and accepts.
    pub accept_open: Option<usize>,
    pub by: Who,
}

#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("{0} is not over yet")]
    NotOver(Month),
    #[error("{count} differences are open")]
    Open { count: usize },
    #[error("another close is under way")]
    Busy,
    #[error(transparent)]
    Analytics(#[from] AnalyticsError),
}

impl From<StoreError> for CloseError {
    fn from(error: StoreError) -> Self {
        Self::Analytics(error.into())
    }
}

impl From<BlobError> for CloseError {
    fn from(error: BlobError) -> Self {
        Self::Analytics(error.into())
    }
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::NotOver(month) => Self::conflict("month_not_over", format!("{month} is not over yet (UTC)."))
                .remedy("Close it on or after the first day of the next month.")
                .field("month"),
            CloseError::Open { count } => {
                Self::conflict("open_differences", format!("{count} differences of this month are not explained."))
                    .remedy(format!("Explain them, or close with accept_open={count}."))
                    .field("accept_open")
            }
            CloseError::Busy => Self::conflict("close_under_way", "Somebody else has closed a month at this moment.")
                .remedy("Look at the packages, and close again where it is needed."),
            CloseError::Analytics(error) => error.into(),
        }
    }
}

/// All packages, the newest first.
pub async fn closes(app: &App) -> Result<Vec<Close>, StoreError> {
    let mut all = repo::closes(app).await?;
    all.reverse();
    Ok(all)
}

/// A package and where its bytes are.
pub async fn of_number(app: &App, number: u64) -> Result<Option<(Close, String)>, StoreError> {
    Ok(repo::close(app, number).await?.map(|close| (close.clone(), close.blob)))
}

/// Reconciles a month and closes it as it is now.
pub async fn close(app: &App, order: &CloseOrder) -> Result<Close, CloseError> {
    let month = order.month;
    let at = app.clock.now();
    if at < month.end() {
        return Err(CloseError::NotOver(month));
    }
    let all = repo::closes(app).await?;
    let number = all.last().map_or(1, |last| last.number + 1);
    let previous = all.iter().rev().find(|close| close.month == month);
    tidy(app, &all).await?;
    let (run, differences) = run::reconcile(app, month, &order.by).await?;
    let marks = repo::marks(app, month).await?;
    let open = run::open(&differences, &marks);
    if open > 0 && order.accept_open != Some(open) {
        return Err(CloseError::Open { count: open });
    }
    let mut tail = [0; 8];
    app.random.fill(&mut tail);
    let blob = format!("{number:08}-{}.zip", hex(&tail));
    let by = if order.by.name.is_empty() { &order.by.id } else { &order.by.name };
    let facts =
        model::Facts { number, month, at, by: by.clone(), corrects: previous.map(|previous| previous.number), open };
    let work = Work { app, facts: &facts, previous, differences: &differences, marks: &marks };
    let (written, corrections) = work.write(&blob).await?;
    let close = Close {
        number,
        month,
        at,
        by: order.by.clone(),
        sha256: written.sha256,
        bytes: written.bytes,
        files: written.files,
        totals: run.totals.clone(),
        differences: differences.len(),
        open,
        corrects: facts.corrects,
        corrections,
        blob,
    };
    match repo::insert_close(app, number, &close).await {
        Ok(()) => Ok(close),
        Err(StoreError::AlreadyExists) => {
            app.blobs.delete(CONTAINER, &close.blob).await?;
            Err(CloseError::Busy)
        }
        // It may have been written nevertheless: the blob stays, and goes when the number has another one.
        Err(error) => Err(error.into()),
    }
}

/// Removes what closes have left that died. Of a number that nobody has yet, somebody may be at work.
async fn tidy(app: &App, all: &[Close]) -> Result<(), CloseError> {
    let named: HashMap<&str, u64> = all.iter().map(|close| (close.blob.as_str(), close.number)).collect();
    let last = all.last().map_or(0, |close| close.number);
    for blob in app.blobs.list(CONTAINER, "", "", MOST_LEFT).await? {
        let number: Option<u64> = blob.name.split('-').next().and_then(|number| number.parse().ok());
        if !named.contains_key(blob.name.as_str()) && number.is_some_and(|number| number <= last) {
            app.blobs.delete(CONTAINER, &blob.name).await?;
        }
    }
    Ok(())
}

struct Work<'a> {
    app: &'a App,
    facts: &'a model::Facts,
    previous: Option<&'a Close>,
    differences: &'a [Difference],
    marks: &'a HashMap<String, Mark>,
}

/// Corrections on their way into the package: they are found while the other files are written, and may be many.
struct Corrections {
    name: String,
    blob: Box<dyn BlobWriter>,
    bytes: u64,
    lines: u64,
    /// The earlier package with its corrections.
    sum: Journal,
}

impl Corrections {
    async fn add(&mut self, found: Vec<Correction>) -> Result<(), AnalyticsError> {
        let lines: Vec<Line> = found.iter().map(Correction::line).collect();
        for one in found {
            let delta = one.delta();
            self.sum.add(one.account, delta);
        }
        let bytes = csv_bytes(&lines)?;
        self.bytes += bytes.len() as u64;
        self.lines += lines.len() as u64;
        Ok(self.blob.write(bytes.into()).await?)
    }
}

impl Work<'_> {
    /// Writes the package. What it is, and how many lines of corrections it has.
    async fn write(&self, name: &str) -> Result<(Written, u64), AnalyticsError> {
        let mut package = Package::create(self.app, name).await?;
        for (name, text) in [("README.txt", model::readme(self.facts)), ("schema.json", model::schema(self.facts))] {
            package.begin(name)?;
            package.write(text.as_bytes()).await?;
            package.end();
        }
        let mut corrections = match self.previous {
            Some(previous) => {
                let name = format!("{}.corrections", name.trim_end_matches(".zip"));
                Some(Corrections {
                    blob: self.app.blobs.create(CONTAINER, &name, "text/csv").await?,
                    name,
                    bytes: 0,
                    lines: 0,
                    sum: earlier::journal(self.app, &previous.blob, previous.bytes).await?,
                })
            }
            None => None,
        };
        let mut journal = Journal::default();
        for file in File::FACTS {
            self.write_facts(&mut package, file, &mut journal, corrections.as_mut()).await?;
        }
        package.begin_lines(File::Differences).await?;
        for part in self.differences.chunks(AT_ONCE) {
            package.write_lines(&self.difference_lines(part)).await?;
        }
        package.end();
        package.begin_lines(File::Journal).await?;
        package.write_lines(&journal.lines().collect::<Vec<_>>()).await?;
        package.end();
        let mut count = 0;
        if let Some(mut corrections) = corrections {
            // Rules that this version books by and the earlier one did not: the law holds over them as well.
            corrections.add(restated(&corrections.sum, &journal)).await?;
            count = corrections.lines;
            self.append(&mut package, corrections).await?;
        }
        Ok((package.finish().await?, count))
    }

    async fn write_facts(
        &self,
        package: &mut Package,
        file: File,
        journal: &mut Journal,
        mut corrections: Option<&mut Corrections>,
    ) -> Result<(), AnalyticsError> {
        let mut facts = contents::open(self.app, file, self.facts.month).await?;
        let mut earlier = self.previous.map(|previous| Earlier::open(self.app, &previous.blob, previous.bytes, file));
        let mut before = next(earlier.as_mut()).await?;
        package.begin_lines(file).await?;
        while let Some((of, lines)) = facts.next(self.app).await? {
            lines.iter().for_each(|line| journal.enter(file, line));
            package.write_lines(&lines).await?;
            if let Some(corrections) = corrections.as_deref_mut() {
                // What the earlier package has before this is not there any more.
                while let Some((_, old)) = before.take_if(|(old, _)| *old < of) {
                    corrections.add(self::corrections(file, old, Vec::new())).await?;
                    before = next(earlier.as_mut()).await?;
                }
                let same = before.take_if(|(old, _)| *old == of);
                if same.is_some() {
                    before = next(earlier.as_mut()).await?;
                }
                let old = same.map(|(_, old)| old).unwrap_or_default();
                corrections.add(self::corrections(file, old, lines)).await?;
            }
        }
        if let Some(corrections) = corrections {
            while let Some((_, old)) = before.take() {
                corrections.add(self::corrections(file, old, Vec::new())).await?;
                before = next(earlier.as_mut()).await?;
            }
        }
        package.end();
        Ok(())
    }

    async fn append(&self, package: &mut Package, corrections: Corrections) -> Result<(), AnalyticsError> {
        use futures_util::TryStreamExt as _;

        let Corrections { name, blob, bytes, lines, .. } = corrections;
        blob.finish().await?;
        package.begin_lines(File::Corrections).await?;
        let read = package::contents(self.app.blobs.clone(), name.clone(), bytes);
        let mut read = std::pin::pin!(read);
        while let Some(piece) = read.try_next().await? {
            package.write(&piece).await?;
        }
        package.count(lines);
        package.end();
        Ok(self.app.blobs.delete(CONTAINER, &name).await?)
    }

    fn difference_lines(&self, part: &[Difference]) -> Vec<Line> {
        let line = |one: &Difference| {
            let mark = self.marks.get(&one.id).filter(|mark| mark.holds(one));
            let day = |day: Option<jiff::civil::Date>| day.map(|day| day.to_string()).unwrap_or_default();
            let hours: Vec<String> = one.hours.iter().map(|hour| format!("{}={}", hour.hour, hour.quantity)).collect();
            vec![
                one.id.clone(),
                one.class.as_str().to_owned(),
                one.between.as_str().to_owned(),
                one.why.as_str().to_owned(),
                one.absent.map(|place| place.as_str().to_owned()).unwrap_or_default(),
                one.resource.clone(),
                cell(&one.plan),
                cell(&one.dimension),
                day(one.day),
                day(one.other_day),
                hours.join(" "),
                one.ours.clone(),
                cell(&one.theirs),
                one.amount.normalize().to_string(),
                one.currency.clone(),
                mark.is_some().to_string(),
                mark.map(|mark| cell(&mark.note)).unwrap_or_default(),
                mark.map(|mark| mark.by.clone()).unwrap_or_default(),
                mark.map(|mark| mark.at.to_string()).unwrap_or_default(),
            ]
        };
        part.iter().map(line).collect()
    }
}

async fn next(earlier: Option<&mut Earlier>) -> Result<Option<Part>, AnalyticsError> {
    match earlier {
        Some(earlier) => earlier.next().await,
        None => Ok(None),
    }
}

/// What is between two journals.
fn restated(before: &Journal, after: &Journal) -> Vec<Correction> {
    let accounts: std::collections::BTreeSet<_> = before.0.keys().chain(after.0.keys()).collect();
    let of = |journal: &Journal, account: &_| -> Sum { journal.0.get(account).copied().unwrap_or_default() };
    let one = |account: &model::Account| {
        let (before, after) = (of(before, account), of(after, account));
        let (file, what, key) = (File::Journal, "restated", String::new());
        (before != after).then(|| Correction { file, what, key, account: account.clone(), before, after })
    };
    accounts.into_iter().filter_map(one).collect()
}
