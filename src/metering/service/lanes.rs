//! One lane per resource: records that arrive at the same time are written together, in one transaction, instead of
//! racing for the same tally. Between processes the tally's ETag decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::record::{Outcome, RecordError, write};
use super::terms::Held;
use crate::app::App;
use crate::metering::model::ledger::Tally;
use crate::metering::model::record::UsageRecord;
use crate::metering::model::resource::Resource;
use crate::store::Etag;

/// Lanes kept for the next time; each has a few kilobytes.
const KEPT: usize = 5_000;

/// Records that wait for the lane.
#[derive(Debug)]
pub(super) struct Waiting {
    pub source: String,
    pub records: Vec<UsageRecord>,
    pub answer: oneshot::Sender<Result<Vec<Outcome>, RecordError>>,
}

/// What the lane remembers of its rows; wrong at worst, and then the ETags say so.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    pub terms: Option<Held>,
    pub tally: Option<(Tally, Option<Etag>)>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<Remembered>,
}

#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<Resource, Arc<Lane>>>);

impl Lanes {
    fn lane(&self, resource: &Resource) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(resource.clone()).or_default())
    }
}

/// Records of one resource: one outcome for each, in order, when they are durable.
pub async fn submit(
    app: &Arc<App>,
    resource: Resource,
    source: String,
    records: Vec<UsageRecord>,
) -> Result<Vec<Outcome>, RecordError> {
    let lane = app.lanes.lane(&resource);
    let (answer, answered) = oneshot::channel();
    lane.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { source, records, answer });
    let app = Arc::clone(app);
    // A task of its own: a caller who hangs up must not take the records of others with him.
    tokio::spawn(async move {
        let mut remembered = lane.turn.lock().await;
        let waiting = std::mem::take(&mut *lane.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !waiting.is_empty() {
            write(&app, &resource, &mut remembered, waiting).await;
        }
    });
    answered.await.map_err(|_| RecordError::Interrupted)?
}
