//! Visits of the marketplace's pages, and how deployments go.

use rust_decimal::Decimal;

use super::{named, tile};
use crate::analytics::AnalyticsError;
use crate::analytics::model::subjects::insights::{self, Insights, STEPS};
use crate::analytics::model::subjects::quality::{self, Quality};
use crate::analytics::model::subjects::{Step, percent};
use crate::analytics::subjects::read;
use crate::app::App;
use crate::staff::analytics::figure::{Column, Figure, Format, Kind, Line, periods, shown};
use crate::staff::analytics::range::Range;
use crate::staff::analytics::subject::Shown;

const MOST_ERRORS: usize = 20;
/// Characters of an error's message that are shown.
const LONGEST_MESSAGE: usize = 300;

/// A cell of a line as a number.
fn cell(line: &Line, place: usize) -> Decimal {
    line.cells.get(place).and_then(Option::as_deref).and_then(|cell| cell.parse().ok()).unwrap_or_default()
}

pub async fn insights(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let mut all = Insights::default();
    let dataset = named("ISVMarketplaceInsights")?;
    let days = (range.from, range.to);
    let source = read(app, dataset, &insights::COLUMNS, days, &range.narrow, |row| all.push(row)).await?;
    let months = periods(range.from, range.to, Step::Month);
    let visits = all.months.column_sum(STEPS[0]);
    let mut funnel = Figure::new("funnel", Kind::Across, "step");
    funnel.columns =
        vec![Column::keyed("clicks", Format::Number), Column::keyed("of_visits", Format::Percent).uncharted()];
    funnel.lines = STEPS
        .iter()
        .map(|step| {
            let count = all.months.column_sum(step);
            let cells = vec![Some(shown(count)), percent(count, visits).map(shown)];
            Line { key: Some(step), ..Line::of(step, cells) }
        })
        .collect();
    let mut figures = vec![
        funnel,
        Figure::new("clicks", Kind::Apart, "month").in_time(&all.months, &months, Format::Number, Some(&STEPS)),
    ];
    let keys = [
        ("by_offer", "offer"),
        ("by_source", "source"),
        ("by_country", "country"),
        ("by_campaign", "campaign"),
        ("by_site", "site"),
    ];
    for ((key, line), pivot) in keys.into_iter().zip(&all.by) {
        let mut figure = Figure::new(key, Kind::Across, line).of_things(pivot, &STEPS);
        figure.columns.iter_mut().skip(1).for_each(|column| column.charted = false);
        // Whoever clicked anything that leads to a sale.
        let rate = |line: &Line| {
            let clicks = (1..STEPS.len()).map(|place| cell(line, place)).sum::<Decimal>();
            percent(clicks, cell(line, 0)).map(shown)
        };
        figures.push(figure.with(Column::keyed("rate", Format::Percent).uncharted(), rate));
    }
    let tiles = STEPS.map(|step| tile(step, all.months.column_sum(step), Format::Number));
    Ok(Shown { tiles: tiles.into(), figures, notes: vec!["insights"], sources: vec![(dataset, source)] })
}

pub async fn quality(app: &App, range: &Range) -> Result<Shown, AnalyticsError> {
    let mut all = Quality::default();
    let dataset = named("ISVQualityOfService")?;
    let days = (range.from, range.to);
    let source = read(app, dataset, &quality::COLUMNS, days, &range.narrow, |row| all.push(row)).await?;
    let months = periods(range.from, range.to, Step::Month);
    let outcomes = all.outcomes();
    let (good, bad) = (outcomes.column_sum("successful"), outcomes.column_sum("failed"));
    let share = |line: &Line| percent(cell(line, 0), cell(line, 0) + cell(line, 1)).map(shown);
    let durations = all.durations();
    let mut errors = Figure::new("errors", Kind::Across, "error");
    errors.columns = vec![
        Column::keyed("deployments", Format::Number),
        Column::keyed("deep", Format::Text).uncharted(),
        Column::keyed("message", Format::Text).uncharted(),
    ];
    let failures = all.failures();
    errors.more = failures.len().saturating_sub(MOST_ERRORS);
    let cut = |text: &str| {
        let short: String = text.chars().take(LONGEST_MESSAGE).collect();
        Some(if short.len() < text.len() { format!("{short}…") } else { short })
    };
    errors.lines = failures
        .iter()
        .take(MOST_ERRORS)
        .map(|failure| {
            let message = if failure.deep_message.is_empty() { &failure.message } else { &failure.deep_message };
            let name = [failure.code.as_str(), failure.name.as_str()].join(" ");
            Line::of(name.trim(), vec![Some(failure.count.to_string()), cut(&failure.deep_code), cut(message)])
        })
        .collect();
    let mut figures = vec![
        Figure::new("outcomes", Kind::Stacked, "month")
            .in_time(&outcomes, &months, Format::Number, Some(&["successful", "failed"]))
            .with(Column::keyed("success_rate", Format::Percent).uncharted(), share),
    ];
    let told: Vec<String> = months.into_iter().filter(|month| durations.get(month, "median").is_some()).collect();
    figures.push(
        Figure::new("durations", Kind::Lines, "month")
            .in_time(&durations, &told, Format::Seconds, Some(&["median", "slow"]))
            .without_sums(),
    );
    if !errors.lines.is_empty() {
        figures.push(errors);
    }
    let mut tiles = vec![tile("successful", good, Format::Number), tile("failed", bad, Format::Number)];
    tiles.extend(percent(good, good + bad).map(|share| tile("success_rate", share, Format::Percent)));
    Ok(Shown { tiles, figures, notes: vec!["quality"], sources: vec![(dataset, source)] })
}
