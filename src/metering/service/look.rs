//! One look at a resource: follow its subscription, close what can be closed, hold and bury what the clock says, and
//! prepare what is to be sent. Everything is stored before anything is sent.

use std::sync::Arc;

use serde_json::json;

use crate::app::App;
use crate::callbacks::{self, EventKind, Owner};
use crate::fulfillment::ApiError;
use crate::metering::model::event::State;
use crate::metering::model::ledger::{EventKey, Ledger};
use crate::metering::model::resource::Resource;
use crate::metering::repo::{self, Attention, Etags, Loss, Mark};
use crate::store::{Etag, StoreError};

use super::submit;
use super::terms::{self, Held};

/// Events of one resource that change in one transaction; Azure takes 100 rows.
pub const MOST_CHANGES: usize = 50;
/// Closed hours with more events than this are stored before anything else is done.
const MOST_TOGETHER: usize = 30;
/// Tries against others who write the same ledger.
pub const TRIES: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("others keep changing the ledger of {0}")]
    Contention(String),
}

/// A ledger in hand, with what is to be sent of it.
#[derive(Debug)]
pub struct Work {
    pub key: String,
    pub ledger: Ledger,
    pub etags: Etags,
    /// The entry in the work list as it was before anything was read.
    pub mark: Option<Etag>,
    pub send: Vec<EventKey>,
}

/// Whether a failed save means that somebody else was quicker.
pub fn overtaken(error: &StoreError) -> bool {
    matches!(error, StoreError::Precondition | StoreError::AlreadyExists)
}

/// Opens a resource's ledger and brings it up to the clock. None: never metered. With `sending` false nothing is
/// prepared, because Microsoft is not to be called now.
pub async fn open(app: &App, key: &str, mark: Option<Etag>, sending: bool) -> Result<Option<Work>, MeteringError> {
    for _ in 0..TRIES {
        let Some((ledger, etags)) = repo::ledger(app, key).await? else { return Ok(None) };
        let mut work = Work { key: key.to_owned(), ledger, etags, mark: mark.clone(), send: Vec::new() };
        match advance(app, &mut work, sending).await {
            Ok(()) => return Ok(Some(work)),
            Err(error) if overtaken(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(MeteringError::Contention(key.to_owned()))
}

async fn advance(app: &App, work: &mut Work, sending: bool) -> Result<(), StoreError> {
    let resource = work.ledger.terms.resource.clone();
    let known = work.etags.terms.take().map(|etag| Held::stored(work.ledger.terms.clone(), etag));
    if let Some(mut held) = terms::current(app, &resource, known, true).await? {
        held.keep(app).await?;
        (work.ledger.terms, work.etags.terms) = (held.terms, held.etag);
    }
    let now = app.clock.now();
    // One transaction where it fits; hour by hour where more is to be caught up.
    while let Some(hour) = work.ledger.closable(now) {
        if work.ledger.has_changes() {
            repo::save(app, &mut work.ledger, &mut work.etags).await?;
        }
        work.ledger.close(hour, &app.catalogue, now);
    }
    // Closed hours, reviewed events and those to be sent might not fit into one transaction together.
    if work.ledger.changed_events() > MOST_TOGETHER {
        repo::save(app, &mut work.ledger, &mut work.etags).await?;
    }
    loop {
        let before = work.ledger.changed_events();
        let warned = work.ledger.review(now, MOST_CHANGES);
        if work.ledger.changed_events() == before {
            break;
        }
        repo::save(app, &mut work.ledger, &mut work.etags).await?;
        for key in warned {
            if let Some(event) = work.ledger.events.get(&key) {
                tracing::warn!(resource = %event.resource, dimension = event.dimension, hour = %event.hour, quantity = %event.quantity,
                    deadline = %event.deadline(), hours = event.warned, "usage is not taken by Microsoft for hours; it is lost at its deadline");
            }
        }
    }
    // What is lost is stored before its line is written.
    if !work.ledger.head.unlisted.is_empty() {
        repo::save(app, &mut work.ledger, &mut work.etags).await?;
    }
    list_losses(app, work).await?;
    if sending {
        work.send = work.ledger.prepare(now, MOST_CHANGES);
    }
    repo::save(app, &mut work.ledger, &mut work.etags).await
}

/// Enters lost events into the loss ledger, and takes them off the list of those to enter.
pub async fn list_losses(app: &App, work: &mut Work) -> Result<(), StoreError> {
    while let Some(key) = work.ledger.head.unlisted.first().cloned() {
        if let Some(event) = work.ledger.events.get(&key) {
            let (reason, at, recovered) = match (&event.state, event.lost_as) {
                (State::Lost { reason, at }, _) => (*reason, *at, None),
                (_, Some((reason, at))) => (reason, at, Some(app.clock.now())),
                _ => {
                    work.ledger.listed(&key);
                    continue;
                }
            };
            let loss = Loss {
                at,
                resource: event.resource.clone(),
                hour: event.hour,
                dimension: event.dimension.clone(),
                plan: event.plan.clone(),
                quantity: event.quantity,
                amount: crate::metering::model::account::money(event.quantity, event.price),
                currency: event.currency.clone(),
                reason,
                said: event.said.as_ref().map(|said| format!("{} {}", said.status, said.message)).unwrap_or_default(),
                recovered,
            };
            repo::list_loss(app, &loss).await?;
            if recovered.is_none() {
                announce(app, &loss).await?;
                tracing::error!(resource = %loss.resource, dimension = loss.dimension, hour = %loss.hour, quantity = %loss.quantity,
                    amount = %loss.amount, currency = loss.currency, reason = reason.as_str(), "usage is lost");
            }
        }
        work.ledger.listed(&key);
        if work.ledger.head.unlisted.is_empty() {
            repo::save(app, &mut work.ledger, &mut work.etags).await?;
        }
    }
    Ok(())
}

/// Tells the publisher's systems. It is tried again with the line itself.
async fn announce(app: &App, loss: &Loss) -> Result<(), StoreError> {
    let data = json!({
        "resource": loss.resource.to_string(), "dimension": loss.dimension, "hour": loss.hour.to_string(), "plan": loss.plan,
        "quantity": loss.quantity.to_string(), "amount": loss.amount, "currency": loss.currency, "reason": loss.reason.as_str(),
    });
    let subject = format!("{}:{}:{}", loss.resource, loss.hour, loss.dimension);
    callbacks::announce(app, &Owner::Publisher, EventKind::UsageLost, &subject, loss.at, data)
        .await
        .map_err(|problem| StoreError::unavailable(problem.to_string()))
}

/// Leaves a resource: the work list says when to come again, or no longer has it.
pub async fn leave(app: &App, work: &mut Work) -> Result<(), StoreError> {
    let now = app.clock.now();
    let next = work.ledger.next_look(now);
    let mark =
        next.map(|due| Mark { resource: work.ledger.terms.resource.clone(), due, attention: attention(&work.ledger) });
    let Some(seen) = &work.mark else {
        // It was not on the list when we came.
        return match mark {
            Some(mark) => repo::mark(app, &mark).await,
            None => Ok(()),
        };
    };
    if mark.is_none() {
        // First the tally, whatever it says: a record that is on its way has listed the resource already and relies on
        // that. Its own change of the tally fails now, so it lists the resource again; and a listing in between changes
        // the entry, and then it stays.
        work.ledger.unmark();
        repo::save(app, &mut work.ledger, &mut work.etags).await?;
    }
    repo::move_mark(app, &work.key, seen, mark.as_ref()).await
}

fn attention(ledger: &Ledger) -> Attention {
    let mut attention = Attention::default();
    for event in ledger.head.unsettled.iter().filter_map(|key| ledger.events.get(key)) {
        match event.state {
            State::Held { .. } => attention.held += 1,
            State::DeadLetter => attention.dead_letters += 1,
            _ => attention.pending += 1,
        }
        attention.deadline = Some(attention.deadline.map_or(event.deadline(), |known| known.min(event.deadline())));
    }
    attention
}

/// Looks at one resource now and sends what is due: after a change of its subscription, or when staff ask for it.
pub async fn look(app: &Arc<App>, resource: &Resource) -> Result<(), MeteringError> {
    let key = resource.key();
    let mark = repo::marked(app, &key).await?.map(|(_, etag)| etag);
    let sending = submit::allowed(app).await?;
    let Some(work) = open(app, &key, mark, sending).await? else { return Ok(()) };
    let mut works = vec![work];
    let sent = submit::send(app, &mut works).await?;
    for work in &mut works {
        match leave(app, work).await {
            Err(error) if overtaken(&error) => {}
            other => other?,
        }
    }
    sent.map_err(MeteringError::from)
}
