//! Usage and revenue. No two currencies and no two units share a sum or an axis.

use std::collections::BTreeSet;

use csv::StringRecord;

use super::{named, tile};
use crate::analytics::AnalyticsError;
use crate::analytics::model::subjects::revenue::{self, Revenue};
use crate::analytics::model::subjects::usage::{self, Usage};
use crate::analytics::model::subjects::{Pivot, Step};
use crate::analytics::subjects::{currencies, read};
use crate::app::App;
use crate::staff::analytics::figure::{Figure, Format, Kind, periods};
use crate::staff::analytics::range::Range;
use crate::staff::analytics::subject::{Shown, Tile};

pub async fn usage(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let mut all = Usage::by(range.step);
    let dataset = named("ISVUsage")?;
    let days = (range.from, range.to);
    let source = read(app, dataset, &usage::COLUMNS, days, &range.narrow, |row| all.push(row)).await?;
    let periods = periods(range.from, range.to, range.step);
    let line = if range.step == Step::Day { "day" } else { "month" };
    let mut figures = Vec::new();
    for (number, (unit, pivot)) in all.metered.values().enumerate() {
        let figure = Figure::new("metered", Kind::Stacked, line).about(unit, number);
        figures.push(figure.in_time(pivot, &periods, Format::Number, None));
    }
    for (key, kind, pivot, format) in [
        ("raw", Kind::Stacked, &all.raw, Format::Number),
        ("normalized", Kind::Stacked, &all.normalized, Format::Number),
        ("charges", Kind::Apart, &all.charges, Format::Money),
        ("payouts", Kind::Apart, &all.payouts, Format::Money),
    ] {
        if !pivot.is_empty() {
            figures.push(Figure::new(key, kind, line).in_time(pivot, &periods, format, None));
        }
    }
    let tiles = all.charges.columns().into_iter().map(|currency| {
        let sum = all.charges.column_sum(&currency);
        Tile { of: currency, ..tile("charge", sum, Format::Money) }
    });
    Ok(Shown { tiles: tiles.collect(), figures, notes: vec!["usage"], sources: vec![(dataset, source)] })
}

pub async fn revenue(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let dataset = named("ISVRevenue")?;
    let days = (range.from, range.to);
    let (mut rows, mut wanted): (Vec<StringRecord>, _) = (Vec::new(), BTreeSet::new());
    let source = read(app, dataset, &revenue::COLUMNS, days, &range.narrow, |row| {
        let cell = |place: usize| row.get(place).unwrap_or_default().to_owned();
        wanted.insert((cell(1), cell(2)));
        rows.push(row.clone());
    })
    .await?;
    let currencies = currencies(app, &wanted, (range.from, range.to.last_of_month())).await?;
    let mut all = Revenue::default();
    rows.iter().for_each(|row| all.push(row, &currencies));
    let months = periods(range.from, range.to, Step::Month);
    let money = |figure: Figure, pivot: &Pivot, columns: Option<&[&str]>| {
        figure.in_time(pivot, &months, Format::Money, columns)
    };
    let new = |key, kind| Figure::new(key, kind, "month");
    let mut figures = vec![money(new("billed", Kind::Apart), &all.billed, None)];
    figures.push(money(new("earned", Kind::Apart), &all.earned, None));
    // Of one currency of payouts its states are parts of one whole.
    for (number, currency) in all.earned.columns().iter().enumerate() {
        let of = |name: &String| name.split_once(' ').map_or("", |(known, _)| known) == currency;
        let columns: Vec<String> = all.by_status.columns().into_iter().filter(of).collect();
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut figure = money(new("statuses", Kind::Stacked).about(currency, number), &all.by_status, Some(&names));
        for column in &mut figure.columns {
            column.text = column.text.split_once(' ').map_or("", |(_, status)| status).to_owned();
        }
        figures.push(figure);
    }
    figures.push(money(new("dollars", Kind::Bars), &all.dollars, Some(&["billed", "earned"])));
    let money = |key, pivot: &Pivot| -> Vec<Tile> {
        let of = |of: String| Tile { of: of.clone(), ..tile(key, pivot.column_sum(&of), Format::Money) };
        pivot.columns().into_iter().map(of).collect()
    };
    let tiles = [money("billed", &all.billed), money("earned", &all.earned)].concat();
    Ok(Shown { tiles, figures, notes: vec!["revenue"], sources: vec![(dataset, source)] })
}
