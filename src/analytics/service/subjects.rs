//! Reads the rows that a subject is made of, narrowed to an offer and a plan, and says where they come from.

use std::collections::BTreeSet;

use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::Date;

use super::AnalyticsError;
use super::answers::{Answer, Ask};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::query::Filter;
use crate::analytics::model::query::ast::{At, Comparison, Condition, Literal, Test};
use crate::analytics::model::subjects::revenue::{self, Currencies};
use crate::app::App;

/// Choices that a page offers; more of them nobody looks through.
const MOST_CHOICES: usize = 500;

/// An offer and a plan as the dataset names them; None: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    pub offer: Option<String>,
    pub plan: Option<String>,
}

/// Where numbers come from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    pub rows: u64,
    /// When Microsoft made the newest file in it.
    pub as_of: Option<Timestamp>,
    /// Executions whose rows are in it, the newest first, with the time of their files.
    pub executions: Vec<(String, Timestamp)>,
    /// What there is to narrow to.
    pub offers: BTreeSet<String>,
    pub plans: BTreeSet<String>,
}

/// The columns by which a dataset tells offers and plans apart.
pub fn narrowed_by(dataset: &Dataset) -> (Option<&'static str>, Option<&'static str>) {
    let offer = if dataset.name == "ISVQualityOfService" { "OfferId" } else { "OfferName" };
    let plan = if matches!(dataset.name, "ISVQualityOfService" | "ISVOfferRetention") { "Sku" } else { "PlanId" };
    (Some(offer), Some(plan).filter(|plan| dataset.column(plan).is_some()))
}

/// The same as conditions, for rows that are handed out; names of the columns that they look at.
pub fn conditions(dataset: &Dataset, narrow: &Narrow) -> (Vec<Condition>, Vec<String>) {
    let (offer, plan) = narrowed_by(dataset);
    let pairs = [(offer, &narrow.offer), (plan, &narrow.plan)];
    let wanted = pairs.into_iter().filter_map(|(column, value)| column.zip(value.as_ref()));
    let condition = |(column, value): (&str, &String)| Condition {
        column: At { value: column.to_owned(), at: 0..0 },
        test: Test::Compare(Comparison::Equal, At { value: Literal::Text(value.clone()), at: 0..0 }),
    };
    let all: Vec<Condition> = wanted.map(condition).collect();
    let columns = all.iter().map(|condition| condition.column.value.clone()).collect();
    (all, columns)
}

/// Hands every row of the dates to `look`, with the cells of `columns` first.
pub async fn read(
    app: &App,
    dataset: &'static Dataset,
    columns: &[&str],
    (from, to): (Date, Date),
    narrow: &Narrow,
    mut look: impl FnMut(&StringRecord),
) -> Result<Source, AnalyticsError> {
    let (offer, plan) = narrowed_by(dataset);
    let mut wanted: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut place = |name: Option<&str>| {
        let name = name?;
        Some(wanted.iter().position(|known| known == name).unwrap_or_else(|| {
            wanted.push(name.to_owned());
            wanted.len() - 1
        }))
    };
    let (offer, plan) = (place(offer), place(plan));
    let ask = Ask { dataset, from, to, columns: wanted, undated: false };
    let mut answer = Answer::open(app, &ask).await?;
    let (conditions, _) = conditions(dataset, narrow);
    let filter = Filter::compile(&conditions, answer.columns())
        .map_err(|_| AnalyticsError::Asked { field: "offer", reason: "This can not be narrowed to.".into() })?;
    let mut source = Source { as_of: answer.newest(), executions: answer.executions(), ..Source::default() };
    while let Some(rows) = answer.next().await? {
        for row in &rows {
            for (found, place) in [(&mut source.offers, offer), (&mut source.plans, plan)] {
                let cell = place.and_then(|place| row.get(place)).unwrap_or_default();
                if !cell.is_empty() && found.len() < MOST_CHOICES && !found.contains(cell) {
                    found.insert(cell.to_owned());
                }
            }
            if filter.admits(&row.iter().collect::<Vec<_>>()) {
                source.rows += 1;
                look(row);
            }
        }
    }
    Ok(source)
}

/// In which currency assets and billing accounts are billed: orders tell it, and usage of those dates for what has no order.
/// `wanted`: assets with their accounts.
pub async fn currencies(
    app: &App,
    wanted: &BTreeSet<(String, String)>,
    between: (Date, Date),
) -> Result<Currencies, AnalyticsError> {
    let mut known = Currencies::default();
    if let Some(orders) = Dataset::find("ISVOrder") {
        let ever = (Date::constant(2010, 1, 1), between.1);
        read(app, orders, &revenue::CURRENCY_OF_ORDERS, ever, &Narrow::default(), |row| known.push(row)).await?;
    }
    let mut open: Vec<_> = wanted.iter().filter(|(asset, account)| known.of(asset, account).is_none()).collect();
    let Some(usage) = Dataset::find("ISVUsage").filter(|_| !open.is_empty()) else { return Ok(known) };
    let columns = revenue::CURRENCY_OF_USAGE.map(str::to_owned).to_vec();
    let ask = Ask { dataset: usage, from: between.0, to: between.1, columns, undated: false };
    let mut answer = Answer::open(app, &ask).await?;
    // Usage has many rows and few accounts: it is read until all of them are known.
    while let Some(rows) = answer.next().await?.filter(|_| !open.is_empty()) {
        rows.iter().for_each(|row| known.push(row));
        open.retain(|(asset, account)| known.of(asset, account).is_none());
    }
    Ok(known)
}
