//! Orders, customers, and who stays.

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::{EVER, named, tile};
use crate::analytics::AnalyticsError;
use crate::analytics::model::subjects::customers::{self, Customers};
use crate::analytics::model::subjects::orders::{self, Cohort, Orders};
use crate::analytics::model::subjects::retention::{self, Retention};
use crate::analytics::model::subjects::{Pivot, Step, percent};
use crate::analytics::subjects::{Narrow, Source, read};
use crate::app::App;
use crate::staff::analytics::figure::{Column, Figure, Format, Kind, Line, periods, shown};
use crate::staff::analytics::range::Range;
use crate::staff::analytics::subject::Shown;

/// Months after the first that a cohort is followed for.
const MOST_MONTHS: usize = 12;

fn last(pivot: &Pivot, column: &str) -> Decimal {
    pivot.lines().next_back().and_then(|line| pivot.get(line, column)).unwrap_or_default()
}

/// All orders up to the last day: what is active can not be told from a part of them. The plan is looked at by the rules.
async fn all_orders(app: &App, range: &Range) -> Result<(Orders, Source), AnalyticsError> {
    let narrow = Narrow { plan: None, ..range.narrow.clone() };
    let mut all = Orders::of(range.narrow.plan.as_deref());
    let source =
        read(app, named("ISVOrder")?, &orders::COLUMNS, (EVER, range.to), &narrow, |row| all.push(row)).await?;
    Ok((all, source))
}

pub async fn orders(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let (all, source) = all_orders(app, range).await?;
    let (events, standing) = (all.events(range.from, range.to), all.standing(range.from, range.to));
    let months = periods(range.from, range.to, Step::Month);
    let words = ["new", "renewed", "changed", "cancelled"];
    let tiles = words.map(|word| tile(word, events.column_sum(word), Format::Number)).into_iter().chain([
        tile("subscriptions", last(&standing, "subscriptions"), Format::Number),
        tile("seats", last(&standing, "seats"), Format::Number),
    ]);
    Ok(Shown {
        tiles: tiles.collect(),
        figures: vec![
            Figure::new("events", Kind::Bars, "month").in_time(&events, &months, Format::Number, Some(&words)),
            Figure::new("standing", Kind::Apart, "month")
                .in_time(&standing, &months, Format::Number, Some(&["subscriptions", "seats"]))
                .without_sums(),
        ],
        notes: vec!["orders"],
        sources: vec![(named("ISVOrder")?, source)],
    })
}

pub async fn customers(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let mut all = Customers::default();
    // Who came long ago may be lost in these days.
    let days = (EVER, range.to);
    let dataset = named("ISVCustomer")?;
    let source = read(app, dataset, &customers::COLUMNS, days, &range.narrow, |row| all.push(row)).await?;
    let by_month = all.months(range.from, range.to);
    let countries = all.countries(range.from, range.to);
    let months = periods(range.from, range.to, Step::Month);
    let sum = |word: &'static str| tile(word, by_month.column_sum(word), Format::Number);
    Ok(Shown {
        tiles: vec![sum("acquired"), sum("lost"), tile("active", last(&by_month, "active"), Format::Number)],
        figures: vec![
            Figure::new("moves", Kind::Bars, "month").in_time(
                &by_month,
                &months,
                Format::Number,
                Some(&["acquired", "lost"]),
            ),
            Figure::new("customers", Kind::Lines, "month")
                .in_time(&by_month, &months, Format::Number, Some(&["active"]))
                .without_sums(),
            Figure::new("countries", Kind::Across, "country").of_things(&countries, &["active", "acquired", "lost"]),
        ],
        notes: vec!["customers"],
        sources: vec![(dataset, source)],
    })
}

pub async fn retention(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let (all, of_orders) = all_orders(app, range).await?;
    let cohorts = all.cohorts(range.from, range.to);
    let mut machines = Retention::default();
    let dataset = named("ISVOfferRetention")?;
    let days = (range.from, range.to);
    let source = read(app, dataset, &retention::COLUMNS, days, &range.narrow, |row| machines.push(row)).await?;
    let mut figures = Vec::new();
    if !cohorts.is_empty() {
        figures.push(curve(&cohorts));
        figures.push(table(&cohorts));
    }
    // Usage is told up to two days late: whoever was not seen yesterday is not lost yet.
    let known = source.as_of.map_or(range.to, |as_of| as_of.to_zoned(TimeZone::UTC).date().saturating_sub(2.days()));
    let offsets = machines.offsets(known);
    if !offsets.is_empty() {
        let mut figure = Figure::new("offsets", Kind::Lines, "offset");
        figure.columns = vec![
            Column::keyed("share", Format::Percent),
            Column::keyed("used", Format::Number).uncharted(),
            Column::keyed("began", Format::Number).uncharted(),
        ];
        let cells = |offset: &retention::Offset| {
            vec![offset.share().map(shown), Some(offset.used.to_string()), Some(offset.began.to_string())]
        };
        figure.lines = offsets.iter().map(|offset| Line::of(&offset.day.to_string(), cells(offset))).collect();
        figures.push(figure);
    }
    let began: u64 = cohorts.iter().map(|cohort| cohort.began).sum();
    let there: u64 = cohorts.iter().filter_map(|cohort| cohort.active.last()).sum();
    Ok(Shown {
        tiles: vec![
            tile("cohort_began", Decimal::from(began), Format::Number),
            tile("cohort_there", Decimal::from(there), Format::Number),
            tile("machines", Decimal::from(machines.customers() as u64), Format::Number),
        ],
        figures,
        notes: vec!["retention"],
        sources: vec![(named("ISVOrder")?, of_orders), (dataset, source)],
    })
}

/// Of all that began and could be followed for so many months: how many were active.
fn curve(cohorts: &[Cohort]) -> Figure {
    let mut figure = Figure::new("curve", Kind::Lines, "months_later");
    figure.columns = vec![
        Column::keyed("share", Format::Percent),
        Column::keyed("stayed", Format::Number).uncharted(),
        Column::keyed("began", Format::Number).uncharted(),
    ];
    let longest = cohorts.iter().map(|cohort| cohort.active.len()).max().unwrap_or_default();
    figure.lines = (0..longest.min(MOST_MONTHS + 1))
        .map(|later| {
            let those = || cohorts.iter().filter(|cohort| cohort.active.len() > later);
            let began: u64 = those().map(|cohort| cohort.began).sum();
            let stayed: u64 = those().filter_map(|cohort| cohort.active.get(later)).sum();
            let share = percent(Decimal::from(stayed), Decimal::from(began));
            Line::of(&later.to_string(), vec![share.map(shown), Some(stayed.to_string()), Some(began.to_string())])
        })
        .collect();
    figure
}

fn table(cohorts: &[Cohort]) -> Figure {
    let mut figure = Figure::new("cohorts", Kind::None, "month");
    let longest = cohorts.iter().map(|cohort| cohort.active.len()).max().unwrap_or_default().min(MOST_MONTHS + 1);
    figure.columns = vec![Column::keyed("began", Format::Number)];
    figure.columns.extend((0..longest).map(|later| Column {
        key: None,
        text: format!("+{later}"),
        format: Format::Number,
        charted: false,
        sum: None,
    }));
    figure.lines = cohorts
        .iter()
        .map(|cohort| {
            let later = (0..longest).map(|later| cohort.active.get(later).map(ToString::to_string));
            Line::of(&cohort.month, std::iter::once(Some(cohort.began.to_string())).chain(later).collect())
        })
        .collect();
    figure
}
