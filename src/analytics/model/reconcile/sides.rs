//! What each side says of a month, gathered by resource, plan and dimension, and by day. Sums only: a month of a million
//! rows must fit into memory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::difference::Difference;
use super::totals::Totals;
use crate::analytics::model::calendar::{Month, start_of};
use crate::metering::model::event::LossReason;
use crate::metering::model::hour::Hour;

/// Microsoft's datasets lag behind by up to this (analytics contract 5).
pub const LATENCY: SignedDuration = SignedDuration::from_hours(48);
/// So far from a month's ends may its usage have been posted.
pub const MARGIN_DAYS: i64 = 7;

/// How far each dataset has come. None: there is nothing of it, so it is not compared.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    pub now: Timestamp,
    pub usage: Option<Date>,
    pub revenue: Option<Date>,
    pub orders: Option<Date>,
}

impl Fresh {
    /// Whether a dataset whose newest row is of `newest` should have everything of a day.
    pub fn settled(&self, newest: Option<Date>, day: Date) -> bool {
        let over = day.tomorrow().map_or(Timestamp::MAX, start_of);
        newest.is_some_and(|newest| newest >= day) && over.checked_add(LATENCY).is_ok_and(|at| at <= self.now)
    }

    /// The same of a whole month, whose rows stand under its first day.
    pub fn settled_month(&self, newest: Option<Date>, month: Month) -> bool {
        let at = month.end().checked_add(LATENCY);
        newest.is_some_and(|newest| newest >= month.first()) && at.is_ok_and(|at| at <= self.now)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    Waiting,
    Held,
    DeadLetter,
    Accepted {
        quantity: Decimal,
        at: Timestamp,
    },
    Lost(LossReason),
    /// Its units went on to a later hour.
    Carried,
}

/// A usage event of ours.
#[derive(Debug, Clone)]
pub struct Event {
    pub resource: String,
    pub plan: String,
    pub dimension: String,
    pub hour: Hour,
    pub quantity: Decimal,
    pub price: Decimal,
    pub currency: String,
    pub state: EventState,
}

/// What Microsoft lists as booked for a day.
#[derive(Debug, Clone)]
pub struct Booked {
    pub day: Date,
    pub resource: String,
    pub plan: String,
    pub dimension: String,
    pub status: String,
    pub submitted: Decimal,
    pub processed: Decimal,
}

/// A row of ISVUsage that is of a meter.
#[derive(Debug, Clone)]
pub struct UsageRow {
    pub day: Date,
    pub resource: String,
    pub plan: String,
    pub dimension: String,
    pub quantity: Decimal,
    pub price: Option<Decimal>,
    pub charge: Option<Decimal>,
    pub currency: String,
}

/// A row of ISVRevenue with the billing model UsageBased.
#[derive(Debug, Clone)]
pub struct RevenueRow {
    pub month: Month,
    pub resource: String,
    pub plan: String,
    pub quantity: Decimal,
    pub amount: Decimal,
    pub status: String,
}

/// An event of ours within its group and day.
#[derive(Debug, Clone)]
pub struct Slot {
    pub hour: Hour,
    pub quantity: Decimal,
    pub price: Decimal,
    pub state: EventState,
}

#[derive(Debug, Clone, Default)]
pub struct BookedSum {
    pub submitted: Decimal,
    pub processed: Decimal,
    /// What was refused in processing.
    pub rejected: Decimal,
    /// Submitted, and nothing said about it yet.
    pub waiting: Decimal,
}

#[derive(Debug, Clone, Default)]
pub struct UsageSum {
    pub quantity: Decimal,
    pub charge: Decimal,
    /// Every row named its charge.
    pub charged: bool,
    pub rows: u32,
    /// The lowest and the highest.
    pub prices: Option<(Decimal, Decimal)>,
}

impl UsageSum {
    pub fn prices(&self) -> impl Iterator<Item = Decimal> {
        self.prices.into_iter().flat_map(|(lowest, highest)| [lowest, highest])
    }
}

#[derive(Debug, Clone, Default)]
pub struct Day {
    pub slots: Vec<Slot>,
    // There are many days, and most of them have one side at a time.
    pub booked: Option<Box<BookedSum>>,
    pub usage: Option<Box<UsageSum>>,
    /// Of the usage rows: a bit for each of [`Sides::currencies`].
    pub currencies: u64,
}

impl Day {
    /// What our ledger holds Microsoft's word for.
    pub fn accepted(&self) -> Decimal {
        self.slots.iter().filter_map(Slot::accepted).sum()
    }

    pub fn price(&self) -> Option<Decimal> {
        self.slots.iter().find(|slot| slot.accepted().is_some()).or(self.slots.first()).map(|slot| slot.price)
    }
}

impl Slot {
    pub fn accepted(&self) -> Option<Decimal> {
        if let EventState::Accepted { quantity, .. } = self.state { Some(quantity) } else { None }
    }
}

/// Everything of one dimension of one plan of one resource.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub days: BTreeMap<Date, Day>,
    /// Of our prices.
    pub currency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub resource: String,
    pub plan: String,
    pub dimension: String,
}

impl GroupKey {
    /// Microsoft does not tell letter cases apart.
    fn new(resource: &str, plan: &str, dimension: &str) -> Self {
        let lower = |text: &str| text.trim().to_lowercase();
        Self { resource: lower(resource), plan: lower(plan), dimension: lower(dimension) }
    }

    /// Before all groups of a resource.
    pub fn first(resource: &str) -> Self {
        Self { resource: resource.to_owned(), plan: String::new(), dimension: String::new() }
    }

    /// Behind all groups of a resource: no name has the lowest character.
    pub fn behind(resource: &str) -> Self {
        Self::first(&format!("{resource}\0"))
    }

    pub fn names(&self) -> (&String, &String, &String) {
        (&self.resource, &self.plan, &self.dimension)
    }
}

/// The money of a resource's plan in one month.
#[derive(Debug, Clone, Default)]
pub struct MonthSum {
    pub charge: Decimal,
    pub currencies: BTreeSet<String>,
    pub used: Decimal,
    pub charge_rows: u32,
    pub revenue: Decimal,
    pub paid_for: Decimal,
    pub rejected: Decimal,
    pub revenue_rows: u32,
}

/// All sides of a month.
#[derive(Debug)]
pub struct Sides {
    pub month: Month,
    pub fresh: Fresh,
    pub groups: BTreeMap<GroupKey, Group>,
    /// The days of which Microsoft's bookings are known, and since when.
    pub read_back: BTreeMap<Date, Timestamp>,
    /// Those of the usage rows, in the order in which they were met.
    pub currencies: Vec<String>,
    /// What the resources came to that are compared already.
    pub totals: Totals,
    pub found: Vec<Difference>,
    /// By resource and plan.
    pub money: BTreeMap<(String, String), BTreeMap<Month, MonthSum>>,
}

impl Sides {
    pub fn new(month: Month, fresh: Fresh) -> Self {
        Self {
            month,
            fresh,
            groups: BTreeMap::new(),
            read_back: BTreeMap::new(),
            currencies: Vec::new(),
            totals: Totals::default(),
            found: Vec::new(),
            money: BTreeMap::new(),
        }
    }

    /// The bit of a currency; the sixty-fourth and all others share one.
    fn bit(&mut self, currency: &str) -> u64 {
        if currency.is_empty() {
            return 0;
        }
        let currency = currency.to_uppercase();
        let known = self.currencies.iter().position(|known| *known == currency);
        let at = known.unwrap_or_else(|| {
            self.currencies.push(currency);
            self.currencies.len() - 1
        });
        1 << at.min(63)
    }

    /// The currencies of a day's usage.
    pub fn currencies_of(&self, day: &Day) -> impl Iterator<Item = &String> {
        let bits = day.currencies;
        self.currencies.iter().take(64).enumerate().filter(move |(at, _)| bits & (1 << at) != 0).map(|(_, name)| name)
    }

    /// The days that are compared: those of the month, and those beside it where its usage may have come to stand.
    pub fn window(month: Month) -> (Date, Date) {
        let margin = SignedDuration::from_hours(24 * MARGIN_DAYS);
        let (first, last) = (month.first(), month.last());
        (first.checked_sub(margin).unwrap_or(first), last.checked_add(margin).unwrap_or(last))
    }

    fn in_window(&self, day: Date) -> bool {
        let (first, last) = Self::window(self.month);
        first <= day && day <= last
    }

    fn day(&mut self, key: GroupKey, day: Date) -> &mut Day {
        self.groups.entry(key).or_default().days.entry(day).or_default()
    }

    pub fn add_event(&mut self, event: &Event) {
        let day = crate::analytics::model::calendar::day_of(event.hour.start());
        if !self.in_window(day) {
            return;
        }
        let key = GroupKey::new(&event.resource, &event.plan, &event.dimension);
        let group = self.groups.entry(key).or_default();
        group.currency.clone_from(&event.currency);
        let slot = Slot { hour: event.hour, quantity: event.quantity, price: event.price, state: event.state };
        group.days.entry(day).or_default().slots.push(slot);
    }

    /// A day's bookings are known; those that follow are all there are.
    pub fn add_read_back(&mut self, day: Date, at: Timestamp) {
        self.read_back.insert(day, at);
    }

    pub fn add_booked(&mut self, row: &Booked) {
        if !self.in_window(row.day) {
            return;
        }
        let day = self.day(GroupKey::new(&row.resource, &row.plan, &row.dimension), row.day);
        let sum = day.booked.get_or_insert_default();
        sum.submitted += row.submitted;
        match row.status.to_ascii_lowercase().as_str() {
            "rejected" => {
                sum.processed += row.processed;
                sum.rejected += row.submitted - row.processed;
            }
            "submitted" => {
                sum.processed += row.submitted;
                sum.waiting += row.submitted;
            }
            _ => sum.processed += row.processed,
        }
    }

    pub fn add_usage(&mut self, row: &UsageRow) {
        let charge = row.charge.or_else(|| row.price?.checked_mul(row.quantity));
        let key = GroupKey::new(&row.resource, &row.plan, &row.dimension);
        let money = self.money.entry((key.resource.clone(), key.plan.clone())).or_default();
        let money = money.entry(Month::of(row.day)).or_default();
        money.charge += charge.unwrap_or_default();
        money.used += row.quantity;
        money.charge_rows += 1;
        if !row.currency.is_empty() {
            money.currencies.insert(row.currency.to_uppercase());
        }
        if !self.in_window(row.day) {
            return;
        }
        let bit = self.bit(&row.currency);
        let day = self.day(key, row.day);
        day.currencies |= bit;
        let sum = day.usage.get_or_insert_with(|| Box::new(UsageSum { charged: true, ..UsageSum::default() }));
        sum.quantity += row.quantity;
        sum.charge += charge.unwrap_or_default();
        sum.charged &= charge.is_some();
        sum.rows += 1;
        if let Some(price) = row.price {
            let (lowest, highest) = sum.prices.unwrap_or((price, price));
            sum.prices = Some((lowest.min(price), highest.max(price)));
        }
    }

    pub fn add_revenue(&mut self, row: &RevenueRow) {
        let key = GroupKey::new(&row.resource, &row.plan, "");
        let sum = self.money.entry((key.resource, key.plan)).or_default().entry(row.month).or_default();
        sum.revenue += row.amount;
        sum.paid_for += row.quantity;
        sum.revenue_rows += 1;
        if row.status.eq_ignore_ascii_case("Rejected") {
            sum.rejected += row.amount;
        }
    }
}
