//! All datasets as they stand at one moment: the books and the history together, what was planted, and nothing that is
//! not known yet. It is made of copies, so that long files are written without holding the marketplace up.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::managed_apps::ManagedApp;
use super::super::state::State;
use super::books::Booked;
use super::cell::Row;
use super::draw::{self, days_after, midnight, months_after};
use super::facts::Asset;
use super::history::History;
use super::insights;
use super::orders;
use super::planted::Planted;
use super::quality;
use super::revenue;
use super::tables::Table;
use super::usage::UsageRows;

/// A range of moments; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Between {
    /// Whole days, both belonging to it.
    pub fn days(from: Date, to: Date) -> Self {
        Self { from: midnight(from), to: midnight(days_after(to, 1)) - SignedDuration::from_nanos(1) }
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// A lead is somebody who visited.
#[derive(Debug, Clone)]
pub struct Visit {
    pub day: Date,
    pub offer: String,
    pub country: String,
    pub site: &'static str,
    pub action: String,
}

#[derive(Debug)]
pub struct World {
    pub as_of: Timestamp,
    pub usage_latency: SignedDuration,
    pub booked: Booked,
    pub history: Option<Arc<History>>,
    pub visits: Vec<Visit>,
    pub apps: Vec<ManagedApp>,
    pub planted: Vec<Planted>,
}

impl World {
    /// Of what was planted, the first so many count.
    pub fn of(state: &State, as_of: Timestamp, planted: usize) -> Self {
        let book = &state.analytics;
        let visits = state.leads.sent().iter().filter(|lead| lead.at <= as_of);
        Self {
            as_of,
            usage_latency: book.usage_latency(),
            booked: Booked::of(state, as_of, book.usage_latency()),
            history: book.history.clone(),
            visits: visits.filter_map(|lead| visit(lead.at, &lead.body)).collect(),
            apps: state.managed.all().to_vec(),
            planted: book.planted.iter().take(planted).cloned().collect(),
        }
    }

    /// Assets of the books, then of the history.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.booked.assets.iter().chain(self.history.iter().flat_map(|history| &history.assets))
    }

    /// Whether usage of a day of the history is told by now.
    pub fn is_told(&self, day: Date) -> bool {
        midnight(days_after(day, 1)) + self.usage_latency <= self.as_of
    }

    /// All rows of a table in a range, in portions: whoever asks for usage or insights gets a day at a time. Stops when
    /// it is told to.
    pub fn each(&self, table: &'static Table, range: Between, mut take: impl FnMut(Vec<Row>) -> ControlFlow<()>) {
        let range = Between { from: if table.monthly { month_of(range.from) } else { range.from }, ..range };
        let mut give = |rows: Vec<Row>, day: Option<Date>| {
            let mut rows = rows;
            self.planted.iter().for_each(|planted| planted.change(table, day, &mut rows));
            rows.retain(|row| dated(table, row).is_none_or(|at| range.holds(at)));
            if rows.is_empty() { ControlFlow::Continue(()) } else { take(rows) }
        };
        let by_day = matches!(table.name, "ISVUsage" | "ISVMarketplaceInsights");
        if !by_day {
            let rows = match table.name {
                "ISVOrder" => orders::orders(self),
                "ISVCustomer" => orders::customers(self),
                "ISVRevenue" => revenue::rows(self, range),
                "ISVOfferRetention" => quality::retention(self),
                _ => quality::deployments(self),
            };
            // Planted rows come in here as well, so all of it is one portion.
            let _ = give(rows, None);
            return;
        }
        let mut usage = UsageRows::new(self);
        let Some(first) = self.first_day(table) else { return };
        let (mut day, last) = (first.max(draw::day_of(range.from)), draw::day_of(range.to.min(self.as_of)));
        while day <= last {
            let rows = if table.name == "ISVUsage" { usage.day(day) } else { insights::day(self, day) };
            if give(rows, Some(day)).is_break() {
                return;
            }
            day = days_after(day, 1);
        }
    }

    fn first_day(&self, table: &Table) -> Option<Date> {
        let days = [
            self.booked.usage.keys().next().copied(),
            self.history.as_ref().map(|history| history.plan.from_month),
            self.visits.iter().map(|visit| visit.day).min(),
            self.planted.iter().filter_map(|planted| planted.added_day(table)).min(),
        ];
        days.into_iter().flatten().min()
    }
}

fn month_of(at: Timestamp) -> Timestamp {
    midnight(draw::day_of(at).first_of_month())
}

/// The moment that a time span looks at.
pub fn dated(table: &Table, row: &Row) -> Option<Timestamp> {
    match row.get(table.dated_by)? {
        super::cell::Cell::Moment(at) => Some(*at),
        other => other.as_day().map(midnight),
    }
}

/// First days of the months that a range touches, from `first` on.
pub fn months(range: Between, first: Date) -> impl Iterator<Item = Date> {
    let from = draw::day_of(range.from).max(first).first_of_month();
    let last = draw::day_of(range.to);
    std::iter::successors(Some(from), |month| Some(months_after(*month, 1))).take_while(move |month| *month <= last)
}

fn visit(at: Timestamp, body: &str) -> Option<Visit> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let person = if body["UserDetails"].is_object() { &body["UserDetails"] } else { &body["userDetails"] };
    let site =
        if text(&body, "LeadSource").eq_ignore_ascii_case("AppSource") { "APPSOURCE" } else { "AZUREMARKETPLACE" };
    Some(Visit {
        day: draw::day_of(at),
        offer: text(&body, "OfferTitle"),
        country: text(person, "Country"),
        site,
        action: text(&body, "ActionCode"),
    })
}
