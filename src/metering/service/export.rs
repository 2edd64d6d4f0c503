//! Records, usage events and losses as CSV, for exact ranges of time, written while they are read.

use std::io::Write;

use jiff::Timestamp;

use super::queries;
use crate::app::App;
use crate::foundation::sheet::cell;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::resource::Resource;
use crate::metering::repo;
use crate::store::StoreError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// What was recorded, by the time of its acceptance.
    Records,
    /// What was sent to Microsoft, by its hour.
    Events,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export can not be written: {0}")]
    Csv(#[from] ::csv::Error),
    #[error("the export can not be written: {0}")]
    Io(#[from] std::io::Error),
}

const RECORDS: [&str; 13] = [
    "accepted_at",
    "resource",
    "id",
    "counter",
    "quantity",
    "occurred_at",
    "hour",
    "period_start",
    "plan",
    "source",
    "corrects",
    "note",
    "journal",
];
const EVENTS: [&str; 14] = [
    "hour",
    "resource",
    "dimension",
    "plan",
    "quantity",
    "state",
    "accepted_quantity",
    "usage_event_id",
    "price",
    "currency",
    "amount",
    "attempts",
    "frozen_at",
    "reason",
];

/// Writes everything in `[from, to)`, of one resource or of all. The number of lines.
pub async fn export(
    app: &App,
    what: What,
    only: Option<&Resource>,
    from: Timestamp,
    to: Timestamp,
    out: impl Write,
) -> Result<usize, ExportError> {
    let mut csv = ::csv::Writer::from_writer(out);
    match what {
        What::Records => csv.write_record(RECORDS)?,
        What::Events => csv.write_record(EVENTS)?,
    }
    let mut lines = 0;
    let mut after: Option<String> = None;
    loop {
        let (resources, more) = match only {
            Some(resource) => (vec![(resource.key(), resource.clone())], false),
            None => queries::resources(app, after.as_deref(), 1000).await?,
        };
        for (_, resource) in &resources {
            lines += match what {
                What::Records => records(app, resource, from, to, &mut csv).await?,
                What::Events => events(app, resource, from, to, &mut csv).await?,
            };
        }
        after = resources.last().map(|(key, _)| key.clone());
        if !more {
            break;
        }
    }
    csv.flush()?;
    Ok(lines)
}

async fn records<W: Write>(
    app: &App,
    resource: &Resource,
    from: Timestamp,
    to: Timestamp,
    csv: &mut ::csv::Writer<W>,
) -> Result<usize, ExportError> {
    let (mut lines, mut after) = (0, None);
    loop {
        let (entries, more) = repo::journal(app, &resource.key(), from, to, after.as_deref(), 500).await?;
        for (key, entry) in &entries {
            for record in &entry.records {
                let corrects = cell(record.corrects.as_deref().unwrap_or_default());
                csv.write_record([
                    entry.accepted.to_string(),
                    resource.to_string(),
                    cell(&record.id),
                    cell(&record.counter),
                    record.quantity.to_string(),
                    record.occurred.to_string(),
                    record.hour.to_string(),
                    record.period.to_string(),
                    cell(&record.plan),
                    entry.source.clone(),
                    corrects,
                    cell(&record.note),
                    key.clone(),
                ])?;
                lines += 1;
            }
        }
        after = entries.last().map(|(key, _)| key.clone());
        if !more {
            return Ok(lines);
        }
    }
}

async fn events<W: Write>(
    app: &App,
    resource: &Resource,
    from: Timestamp,
    to: Timestamp,
    csv: &mut ::csv::Writer<W>,
) -> Result<usize, ExportError> {
    // An hour belongs to the range in which it begins.
    let first = Hour::of(from - jiff::SignedDuration::from_nanos(1)).next();
    let end = Hour::of(to - jiff::SignedDuration::from_nanos(1)).next();
    let events = repo::events(app, &resource.key(), first, end).await?;
    for event in &events {
        csv.write_record(event_line(event))?;
    }
    Ok(events.len())
}

fn event_line(event: &UsageEvent) -> [String; 14] {
    let (quantity, id) = match &event.state {
        State::Accepted { quantity, id, .. } => (quantity.to_string(), id.map(|id| id.to_string()).unwrap_or_default()),
        _ => (String::new(), String::new()),
    };
    let reason = match event.state {
        State::Lost { reason, .. } => reason.as_str().to_owned(),
        _ => event.said.as_ref().map(|said| said.status.clone()).unwrap_or_default(),
    };
    [
        event.hour.to_string(),
        event.resource.to_string(),
        event.dimension.clone(),
        cell(&event.plan),
        event.quantity.to_string(),
        queries::state_word(event).to_owned(),
        quantity,
        id,
        event.price.to_string(),
        event.currency.clone(),
        crate::metering::model::account::money(event.quantity, event.price).to_string(),
        event.attempts.to_string(),
        event.frozen.to_string(),
        reason,
    ]
}
