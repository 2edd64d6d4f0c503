//! Verbs: addresses, arrivals and what they become, the work on leads, forwarding, and what picks up that which came to a
//! stop.

pub mod addresses;
pub mod arrive;
pub mod companies;
pub mod forward;
pub mod inbox;
pub mod list;
pub mod privacy;
pub mod table;
pub mod take;
pub mod trial;
pub mod upkeep;
pub mod work;

use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::model::record::{Entry, Record};
use super::repo::{self, Listed, Open};
use crate::app::App;
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::store::{Etag, StoreError};

const ARRIVALS: &str = "leads";
const FORWARDS: &str = "lead-forwards";
/// How often a write is tried whose row others write, too.
const ROUNDS: usize = 16;

/// An arrival that becomes a lead, or part of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArrivalMessage {
    pub arrival: LeadId,
}

/// A lead that a destination is told of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForwardMessage {
    pub lead: LeadId,
    pub destination: String,
}

/// Sends what goes on with something open. When that fails, the timer finds it.
async fn send(app: &App, queue: &str, message: &impl Serialize, delay: SignedDuration) {
    let delay = Duration::try_from(delay).unwrap_or_default();
    let sent = match serde_json::to_string(message) {
        Ok(text) => app.queues.send(queue, &text, delay).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::warn!(queue, error, "a message was not sent; the timer will find what it is about");
    }
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "lead_not_found", "There is no such lead.")
}

/// Reads an id from an address or a form.
pub fn id(text: &str) -> Result<LeadId, Problem> {
    text.parse().map_err(|_| unknown())
}

async fn existing(app: &App, id: &LeadId) -> Result<(Record, Etag), Problem> {
    repo::lead(app, id).await?.ok_or_else(unknown)
}

/// What a change does: entries for the history, and whether a destination shows something else by it.
struct Change {
    entries: Vec<Entry>,
    shows: bool,
}

/// Changes a lead's row, whoever else writes it meanwhile, and draws the consequences. None from `with`: nothing changes.
async fn change(
    app: &App,
    id: &LeadId,
    mut with: impl FnMut(&mut Record) -> Result<Option<Change>, Problem>,
) -> Result<Record, Problem> {
    let line = Open::change(id, app.clock.now());
    let mut round = 0;
    let record = loop {
        let (mut record, etag) = existing(app, id).await?;
        let Some(change) = with(&mut record)? else { return Ok(record) };
        if round == 0 {
            // Before the row: whoever dies behind the row leaves a line by which the timer draws the consequences.
            repo::open(app, &line).await?;
        }
        round += 1;
        record.version += 1;
        record.lead.revision += u64::from(change.shows);
        match repo::save_lead(app, &record, Some(etag), &change.entries, None).await {
            Ok(()) => break record,
            Err(StoreError::Precondition) if round < ROUNDS => {}
            Err(error) => return Err(error.into()),
        }
    };
    follow(app, &record).await?;
    repo::close(app, &line).await?;
    Ok(record)
}

/// Draws the consequences of a lead's row: its line in the list, and its way to the destinations. May be repeated.
async fn follow(app: &App, record: &Record) -> Result<(), Problem> {
    repo::list(app, &Listed::of(record)).await?;
    if record.is_forwarded() {
        for configured in app.destinations.taking(&record.lead.offer) {
            forward::wake(app, record, &configured.name).await?;
        }
    }
    Ok(())
}
