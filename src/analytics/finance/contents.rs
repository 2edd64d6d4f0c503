//! The facts of a month as lines of a package's files, part by part in a fixed order.

use std::collections::VecDeque;

use csv::StringRecord;
use jiff::ToSpan as _;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::earlier::Part;
use super::gather::{self, Currencies};
use super::orders;
use super::rows::{Cells, Rows};
use crate::analytics::model::calendar::{Month, days};
use crate::analytics::model::close::{File, Line, recognise};
use crate::analytics::model::datasets::Kind;
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::foundation::sheet::cell;
use crate::metering::model::account::money;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::resource::Resource;
use crate::metering::{self, state_word};

/// Terms of the marketplace are at most five years long.
const LONGEST_TERM: i64 = 61;

/// A file's facts on their way.
pub(super) enum Facts {
    Events { resources: VecDeque<Resource>, month: Month },
    Booked { days: VecDeque<Date> },
    Dataset(Box<Dated>),
    Whole(Vec<Line>),
}

/// Rows of a dataset, by their days where the file is ordered by them.
pub(super) struct Dated {
    file: File,
    rows: Option<Rows>,
    records: VecDeque<StringRecord>,
    /// What the lines that were read so far have in common.
    of: String,
    lines: Vec<Line>,
    currencies: Currencies,
}

pub(super) async fn open(app: &App, file: File, month: Month) -> Result<Facts, AnalyticsError> {
    let own = (month.first(), month.last());
    Ok(match file {
        File::UsageEvents => Facts::Events { resources: gather::resources(app, own.0, own.1).await?.into(), month },
        File::BookedUsage => Facts::Booked { days: days(own.0, own.1).collect() },
        File::Usage => dataset(app, file, "ISVUsage", own, Currencies::new()).await?,
        File::Revenue => dataset(app, file, "ISVRevenue", own, currencies(app, month).await?).await?,
        File::Orders => dataset(app, file, "ISVOrder", own, Currencies::new()).await?,
        File::Recognition => Facts::Whole(recognition(app, month).await?),
        File::Differences | File::Journal | File::Corrections => Facts::Whole(Vec::new()),
    })
}

async fn dataset(
    app: &App,
    file: File,
    name: &str,
    range: (Date, Date),
    currencies: Currencies,
) -> Result<Facts, AnalyticsError> {
    let columns: Vec<&str> =
        file.columns().iter().map(|column| column.name).filter(|name| *name != "currency").collect();
    let rows = Rows::open(app, name, range, &columns, false).await?;
    let (records, lines) = (VecDeque::new(), Vec::new());
    Ok(Facts::Dataset(Box::new(Dated { file, rows, records, of: String::new(), lines, currencies })))
}

impl Facts {
    /// The next lines that are compared together, sorted; None at the end.
    pub(super) async fn next(&mut self, app: &App) -> Result<Option<Part>, AnalyticsError> {
        match self {
            Self::Events { resources, month } => {
                while let Some(resource) = resources.pop_front() {
                    let events = gather::events(app, &resource, month.first(), month.last()).await?;
                    if !events.is_empty() {
                        return Ok(Some((resource.to_string(), sorted(events.iter().map(event_line).collect()))));
                    }
                }
                Ok(None)
            }
            Self::Booked { days } => {
                while let Some(day) = days.pop_front() {
                    let day = day.to_string();
                    let known = metering::booked_of(app, &day).await?.filter(|known| !known.rows.is_empty());
                    if let Some(known) = known {
                        let line = |row: &metering::DayUsage| {
                            let (dimension, plan) = (cell(&row.dimension), cell(&row.plan));
                            let (submitted, processed) = (row.submitted.to_string(), row.processed.to_string());
                            let (resource, status) = (row.resource.clone(), cell(&row.status));
                            vec![day.clone(), resource, plan, dimension, status, submitted, processed]
                        };
                        let lines = known.rows.iter().map(line).collect();
                        return Ok(Some((day, sorted(lines))));
                    }
                }
                Ok(None)
            }
            Self::Dataset(dated) => dated.next().await,
            Self::Whole(lines) => {
                let lines = std::mem::take(lines);
                Ok((!lines.is_empty()).then(|| (String::new(), sorted(lines))))
            }
        }
    }
}

impl Dated {
    async fn next(&mut self) -> Result<Option<Part>, AnalyticsError> {
        let common = self.file.ordered_by().and_then(|name| self.file.place(name));
        loop {
            if self.records.is_empty()
                && let Some(open) = &mut self.rows
            {
                match open.next().await? {
                    Some(more) => self.records.extend(more),
                    None => self.rows = None,
                }
            }
            let Some(open) = &self.rows else {
                let rest = std::mem::take(&mut self.lines);
                return Ok((!rest.is_empty()).then(|| (std::mem::take(&mut self.of), sorted(rest))));
            };
            while let Some(record) = self.records.pop_front() {
                let line = dataset_line(self.file, open.cells(&record), &self.currencies);
                let next = common.and_then(|at| line.get(at)).cloned().unwrap_or_default();
                let full = next != self.of && !self.lines.is_empty();
                let part = full.then(|| (self.of.clone(), sorted(std::mem::take(&mut self.lines))));
                self.of = next;
                self.lines.push(line);
                if part.is_some() {
                    return Ok(part);
                }
            }
        }
    }
}

fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort();
    lines
}

fn event_line(event: &UsageEvent) -> Line {
    let (accepted, id, reason) = match &event.state {
        State::Accepted { quantity, id, .. } => (Some(*quantity), id.map(|id| id.to_string()), String::new()),
        State::Lost { reason, .. } => (None, None, reason.as_str().to_owned()),
        _ => (None, None, event.said.as_ref().map(|said| cell(&said.status)).unwrap_or_default()),
    };
    let worth = money(accepted.unwrap_or(event.quantity), event.price);
    vec![
        event.resource.to_string(),
        event.hour.start().to_string(),
        cell(&event.plan),
        cell(&event.dimension),
        event.quantity.to_string(),
        state_word(event).to_owned(),
        accepted.map(|quantity| quantity.to_string()).unwrap_or_default(),
        id.unwrap_or_default(),
        event.price.normalize().to_string(),
        event.currency.clone(),
        worth.to_string(),
        reason,
    ]
}

fn dataset_line(file: File, cells: Cells<'_>, currencies: &Currencies) -> Line {
    let columns = file.columns();
    let one = |name: &str, kind: Kind| match (name, kind) {
        ("currency", _) => currencies.get(&cells.text("AssetId").to_lowercase()).cloned().unwrap_or_default(),
        (name, Kind::Text) => cell(cells.text(name)),
        (name, _) => cells.text(name).to_owned(),
    };
    columns.iter().map(|column| one(column.name, column.kind)).collect()
}

/// The currencies that assets are billed in: revenue names none, orders do, and so does usage.
async fn currencies(app: &App, month: Month) -> Result<Currencies, AnalyticsError> {
    let mut found = orders::currencies(app).await?;
    let columns = ["ReferenceId", "CustomerCurrencyCC"];
    if let Some(mut rows) = Rows::open(app, "ISVUsage", (month.first(), month.last()), &columns, false).await? {
        while let Some(records) = rows.next().await? {
            for record in &records {
                let cells = rows.cells(record);
                let (asset, currency) = (cells.text("ReferenceId").to_lowercase(), cells.text("CustomerCurrencyCC"));
                if !asset.is_empty() && !currency.is_empty() {
                    found.entry(asset).or_insert_with(|| currency.to_uppercase());
                }
            }
        }
    }
    Ok(found)
}

/// Everything that was billed in advance and of which some part belongs to the month or to later ones.
async fn recognition(app: &App, month: Month) -> Result<Vec<Line>, AnalyticsError> {
    let currencies = orders::currencies(app).await?;
    let file = File::Recognition;
    let own = ["term", "billed", "earned_before", "earned", "deferred", "currency"];
    let mut columns: Vec<&str> =
        file.columns().iter().map(|column| column.name).filter(|name| !own.contains(name)).collect();
    columns.extend(["BillingModel", "TransactionAmountCC"]);
    let first = month.first().checked_sub(LONGEST_TERM.months()).unwrap_or(month.first());
    let mut lines = Vec::new();
    let Some(mut rows) = Rows::open(app, "ISVRevenue", (first, month.last()), &columns, false).await? else {
        return Ok(lines);
    };
    while let Some(records) = rows.next().await? {
        for record in &records {
            let cells = rows.cells(record);
            let amount = cells.number("TransactionAmountCC").unwrap_or(Decimal::ZERO);
            let Some(billed) = cells.date("MonthStartDate").map(Month::of) else { continue };
            if amount.is_zero() || cells.text("BillingModel").eq_ignore_ascii_case("UsageBased") {
                continue;
            }
            let term = cells.date("TermStartDate").zip(cells.date("TermEndDate"));
            if billed != month && term.is_none_or(|(_, end)| end < month.first()) {
                continue;
            }
            let got = recognise(amount, billed, term, month);
            let known = |name: &str| match name {
                "term" => got.term.clone(),
                "billed" => amount.to_string(),
                "earned_before" => got.earned_before.normalize().to_string(),
                "earned" => got.earned.to_string(),
                "deferred" => got.deferred.to_string(),
                "currency" => currencies.get(&cells.text("AssetId").to_lowercase()).cloned().unwrap_or_default(),
                name => cell(cells.text(name)),
            };
            lines.push(file.columns().iter().map(|column| known(column.name)).collect());
        }
    }
    Ok(lines)
}
