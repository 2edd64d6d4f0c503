//! Brings the sides of a month together.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::future::try_join_all;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::orders;
use super::rows::{Cells, Rows};
use crate::analytics::model::calendar::{Month, days, start_of};
use crate::analytics::model::month::UNDATED;
use crate::analytics::model::reconcile::{
    Booked, Difference, Event, EventState, Fresh, RevenueRow, Sides, UsageRow, settle, settle_rest,
};
use crate::analytics::repo;
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::resource::Resource;
use crate::metering::{self, BookedDay, MeteringError};
use crate::store::StoreError;

/// Resources whose events are read together.
const TOGETHER: usize = 8;
/// Rows of usage whose sums are held at once. What has more is read several times, each time for some of the resources.
const MOST_ROWS: u64 = 250_000;
/// A day's usage is complete so long after it: until then Microsoft takes it.
const COMPLETE_AFTER: SignedDuration = SignedDuration::from_hours(25);
/// Bookings of a resource in a month, where no dataset says how many there are.
const ROWS_OF_A_RESOURCE: u64 = 31;
/// Bookings that were not processed are asked for again after so long.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(20);

/// A month with its neighbours, its resources compared already; and the differences of its orders.
pub(super) async fn gather(app: &App, month: Month) -> Result<(Sides, Vec<Difference>), AnalyticsError> {
    gather_by(app, month, MOST_ROWS).await
}

pub(super) async fn gather_by(
    app: &App,
    month: Month,
    most_rows: u64,
) -> Result<(Sides, Vec<Difference>), AnalyticsError> {
    let fresh = Fresh {
        now: app.clock.now(),
        usage: newest(app, "ISVUsage").await?,
        revenue: newest(app, "ISVRevenue").await?,
        orders: newest(app, "ISVOrder").await?,
    };
    let mut sides = Sides::new(month, fresh);
    let mut names = Names::default();
    let (from, to) = Sides::window(month);
    let resources = resources(app, from, to).await?;
    for resource in &resources {
        let name = resource.to_string().to_lowercase();
        names.known.insert(name.clone(), name);
    }
    let (of_orders, references) = orders::compare(app, month, &fresh).await?;
    names.references = references;
    let of = rows_of_usage(app, from, to).await?.max(resources.len() as u64 * ROWS_OF_A_RESOURCE) / most_rows + 1;
    for share in (0..of).map(|number| Share { number, of }) {
        add_booked(app, &mut sides, &mut names, share).await?;
        add_usage(app, &mut sides, &mut names, share).await?;
        compare_events(app, &mut sides, &resources, share).await?;
        settle_rest(&mut sides);
    }
    add_revenue(app, &mut sides, &mut names).await?;
    Ok((sides, of_orders))
}

/// Some of the resources, by their names in our ledger.
#[derive(Debug, Clone, Copy)]
struct Share {
    number: u64,
    of: u64,
}

impl Share {
    fn has(self, resource: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        resource.hash(&mut hasher);
        hasher.finish() % self.of == self.number
    }

    fn is_first(self) -> bool {
        self.number == 0
    }
}

async fn rows_of_usage(app: &App, from: Date, to: Date) -> Result<u64, AnalyticsError> {
    let columns = ["UsageDate"];
    let rows = Rows::open(app, "ISVUsage", (from, to), &columns, false).await?;
    Ok(rows.map_or(0, |rows| rows.total()))
}

/// The newest day that a dataset has rows of.
async fn newest(app: &App, dataset: &str) -> Result<Option<Date>, AnalyticsError> {
    let months = repo::months(&*app.rows, dataset, None).await?;
    let days = months.values().flat_map(|(month, _)| month.days.keys()).filter(|day| *day != UNDATED);
    Ok(days.max().and_then(|day| day.parse().ok()))
}

/// Microsoft's names of resources as our ledger has them.
#[derive(Default)]
pub(super) struct Names {
    /// Lower case.
    known: HashMap<String, String>,
    /// What usage calls an asset of orders and revenue, where it is another name.
    references: HashMap<String, String>,
}

impl Names {
    /// The ledger's name; None: neither the ledger nor its other names have it.
    async fn ledger(&mut self, app: &App, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.trim().to_lowercase();
        if let Some(known) = self.known.get(&name) {
            return Ok(Some(known.clone()).filter(|known| !known.is_empty()));
        }
        let of = metering::named(app, &name).await?.map(|resource| resource.to_string().to_lowercase());
        self.known.insert(name, of.clone().unwrap_or_default());
        Ok(of)
    }

    /// The first of these that the ledger knows, else the first that is a name at all.
    async fn first(&mut self, app: &App, candidates: &[&str]) -> Result<String, StoreError> {
        let named: Vec<&str> = candidates.iter().copied().filter(|name| is_name(name)).collect();
        for name in &named {
            if let Some(known) = self.ledger(app, name).await? {
                return Ok(known);
            }
        }
        Ok(named.first().map(|name| name.trim().to_lowercase()).unwrap_or_default())
    }

    /// An asset of orders and revenue.
    async fn asset(&mut self, app: &App, asset: &str) -> Result<String, StoreError> {
        let reference = self.references.get(&asset.trim().to_lowercase()).cloned().unwrap_or_default();
        self.first(app, &[asset, &reference]).await
    }
}

/// Neither nothing nor the GUID of zeros that stands for nothing.
fn is_name(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphanumeric() && byte != b'0')
}

/// The resources with events of the compared days, and those days' hours.
pub(super) async fn resources(app: &App, from: Date, to: Date) -> Result<Vec<Resource>, StoreError> {
    let mut found = metering::resources_between(app, days(from, to).map(|day| day.to_string())).await?;
    found.sort_by_key(|resource| resource.to_string().to_lowercase());
    Ok(found)
}

pub(super) async fn events(
    app: &App,
    resource: &Resource,
    from: Date,
    to: Date,
) -> Result<Vec<UsageEvent>, StoreError> {
    let end = Hour(Hour::of(start_of(to)).0 + 24);
    metering::events_between(app, resource, Hour::of(start_of(from)), end).await
}

/// Reads our events, and compares and forgets each resource's before the next ones come.
async fn compare_events(app: &App, sides: &mut Sides, resources: &[Resource], share: Share) -> Result<(), StoreError> {
    let (from, to) = Sides::window(sides.month);
    let own: Vec<&Resource> = resources.iter().filter(|one| share.has(&one.to_string().to_lowercase())).collect();
    for part in own.chunks(TOGETHER) {
        let found = try_join_all(part.iter().map(|one| events(app, one, from, to))).await?;
        for (resource, events) in part.iter().zip(found) {
            events.iter().for_each(|event| sides.add_event(&of_ledger(event)));
            settle(sides, &resource.to_string());
        }
    }
    Ok(())
}

fn of_ledger(event: &UsageEvent) -> Event {
    let state = match event.state {
        State::Pending => EventState::Waiting,
        State::Held { .. } => EventState::Held,
        State::DeadLetter => EventState::DeadLetter,
        State::Accepted { quantity, at, .. } => EventState::Accepted { quantity: quantity.decimal(), at },
        State::Lost { reason, .. } => EventState::Lost(reason),
        State::Carried { .. } => EventState::Carried,
    };
    Event {
        resource: event.resource.to_string(),
        plan: event.plan.clone(),
        dimension: event.dimension.clone(),
        hour: event.hour,
        quantity: event.quantity.decimal().normalize(),
        price: event.price,
        currency: event.currency.clone(),
        state,
    }
}

/// What Microsoft has booked, as far as it is known; days of the month that nobody has asked for are asked for now.
async fn add_booked(app: &App, sides: &mut Sides, names: &mut Names, share: Share) -> Result<(), AnalyticsError> {
    let now = sides.fresh.now;
    let (from, to) = Sides::window(sides.month);
    // One that does not answer is not asked for thirty days more.
    let mut answers = app.marketplace.is_some() && share.is_first();
    for day in days(from, to) {
        let over = start_of(day).saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
        if over > now {
            break;
        }
        let text = day.to_string();
        let mut known = metering::booked_of(app, &text).await?;
        if sides.month.has(day) && answers && is_stale(known.as_ref(), over, now) {
            match metering::read_back(app, &text).await {
                Ok(_) => known = metering::booked_of(app, &text).await?,
                Err(MeteringError::Store(error)) => return Err(error.into()),
                // What is known has to do; the next night asks again.
                Err(error) => {
                    answers = false;
                    tracing::warn!(day = text, %error, "what is booked can not be read");
                }
            }
        }
        let Some(known) = known else { continue };
        sides.add_read_back(day, known.read);
        for row in known.rows {
            let resource = names.first(app, &[&row.resource]).await?;
            if !share.has(&resource) {
                continue;
            }
            sides.add_booked(&Booked {
                day,
                resource,
                plan: row.plan,
                dimension: row.dimension,
                status: row.status,
                submitted: row.submitted.decimal().normalize(),
                processed: row.processed.decimal().normalize(),
            });
        }
    }
    Ok(())
}

fn is_stale(known: Option<&BookedDay>, over: Timestamp, now: Timestamp) -> bool {
    let Some(known) = known else { return true };
    let age = now.duration_since(known.read);
    let incomplete = known.read.duration_since(over) < COMPLETE_AFTER && age > SignedDuration::from_hours(1);
    let waits = known.rows.iter().any(|row| row.status.eq_ignore_ascii_case("Submitted"));
    incomplete || waits && age > ASK_AGAIN
}

async fn add_usage(app: &App, sides: &mut Sides, names: &mut Names, share: Share) -> Result<(), AnalyticsError> {
    const COLUMNS: [&str; 10] = [
        "UsageDate",
        "PlanId",
        "SKU",
        "MeterDimension",
        "ReferenceId",
        "UsageReference",
        "CustomerCurrencyCC",
        "PriceCC",
        "MeteredUsage",
        "EstimatedExtendedChargeCC",
    ];
    let window = Sides::window(sides.month);
    // Of the neighbours only sums of money are wanted: all of them at once.
    let range = if share.is_first() { (sides.month.previous().first(), sides.month.next().last()) } else { window };
    let Some(mut rows) = Rows::open(app, "ISVUsage", range, &COLUMNS, false).await? else { return Ok(()) };
    while let Some(records) = rows.next().await? {
        for record in &records {
            let cells = rows.cells(record);
            let (dimension, quantity) =
                (cells.text("MeterDimension"), cells.number("MeteredUsage").unwrap_or_default());
            let charge = cells.number("EstimatedExtendedChargeCC");
            let Some(day) = cells.date("UsageDate") else { continue };
            // What a virtual machine used is of no meter of ours.
            if dimension.is_empty() || quantity.is_zero() && charge.unwrap_or_default().is_zero() {
                continue;
            }
            let resource = usage_resource(app, names, cells).await?;
            if (window.0..=window.1).contains(&day) && !share.has(&resource) {
                continue;
            }
            sides.add_usage(&UsageRow {
                day,
                resource,
                plan: cells.plan().to_owned(),
                dimension: dimension.to_owned(),
                quantity,
                price: cells.number("PriceCC"),
                charge,
                currency: cells.text("CustomerCurrencyCC").to_owned(),
            });
        }
    }
    Ok(())
}

/// The reference, else one of the two ids that the usage reference is made of.
async fn usage_resource(app: &App, names: &mut Names, cells: Cells<'_>) -> Result<String, StoreError> {
    let whole = cells.text("UsageReference");
    let (one, other) = whole.split_once('_').unwrap_or((whole, ""));
    names.first(app, &[cells.text("ReferenceId"), one, other]).await
}

async fn add_revenue(app: &App, sides: &mut Sides, names: &mut Names) -> Result<(), AnalyticsError> {
    const COLUMNS: [&str; 8] = [
        "MonthStartDate",
        "AssetId",
        "PlanId",
        "SKU",
        "BillingModel",
        "Quantity",
        "TransactionAmountCC",
        "PayoutStatus",
    ];
    let range = (sides.month.previous().first(), sides.month.next().last());
    let Some(mut rows) = Rows::open(app, "ISVRevenue", range, &COLUMNS, false).await? else { return Ok(()) };
    while let Some(records) = rows.next().await? {
        for record in &records {
            let cells = rows.cells(record);
            let Some(day) = cells.date("MonthStartDate") else { continue };
            if !cells.text("BillingModel").eq_ignore_ascii_case("UsageBased") {
                continue;
            }
            sides.add_revenue(&RevenueRow {
                month: Month::of(day),
                resource: names.asset(app, cells.text("AssetId")).await?,
                plan: cells.plan().to_owned(),
                quantity: cells.number("Quantity").unwrap_or_default(),
                amount: cells.number("TransactionAmountCC").unwrap_or_default(),
                status: cells.text("PayoutStatus").to_owned(),
            });
        }
    }
    Ok(())
}

/// Currencies by asset: revenue names none of its own.
pub(super) type Currencies = BTreeMap<String, String>;
