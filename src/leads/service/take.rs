//! From an arrival to a lead. Each step may come twice and end anywhere: the arrival says which lead it belongs to before
//! it is counted, a lead counts an arrival once, and the arrival's mark goes last.

use serde_json::json;

use super::{Change, ROUNDS, change, follow};
use crate::app::App;
use crate::callbacks::{self, EventKind, Owner};
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::leads::model::arrival::{Arrival, Raw, State};
use crate::leads::model::record::{Record, What, about, acquaintance, action_key, is_do_not_contact, is_within};
use crate::leads::model::wire::{self, Reading, Reason};
use crate::leads::repo::{self, Current, Listed, entry};
use crate::store::{Etag, StoreError};

/// Works on an arrival, unless that is done.
pub async fn take(app: &App, id: &LeadId) -> Result<(), Problem> {
    // Its message may be faster than its row; then the timer finds the row.
    let Some((mut arrival, mut etag)) = repo::arrival(app, id).await? else { return Ok(()) };
    if arrival.state != State::Pending {
        return Ok(repo::close_arrival(app, &arrival).await?);
    }
    let reading = match wire::read(&arrival.raw.bytes()) {
        Ok(reading) => reading,
        Err(reason) => return quarantine(app, arrival, etag, reason).await,
    };
    let Some(identity) = reading.person.identity() else {
        return quarantine(app, arrival, etag, Reason::NoPerson).await;
    };
    let offer = if arrival.offer.is_empty() { &reading.offer } else { &arrival.offer }.clone();
    let title = if arrival.offer_title.is_empty() { &reading.offer_title } else { &arrival.offer_title };
    let who = acquaintance(&identity, &about(&offer, title));
    let lead = match &arrival.lead {
        Some(lead) => lead.clone(),
        None => {
            let lead = assign(app, &arrival, &who, &reading.action).await?;
            arrival.lead = Some(lead.clone());
            etag = match repo::save_arrival(app, &arrival, etag).await {
                Ok(etag) => etag,
                // Another message came at the same time, and goes on.
                Err(StoreError::Precondition) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            lead
        }
    };
    count(app, &lead, &who, &arrival, &reading, offer).await?;
    note_contact(app, &who, &lead, &reading.action).await?;
    let Some((record, _)) = repo::lead(app, &lead).await? else {
        return Err(Problem::internal("a lead that was just written is not there"));
    };
    follow(app, &record).await?;
    if record.origin == arrival.id {
        announce(app, &record).await?;
    }
    arrival.state = State::Taken;
    if record.erased.is_some() {
        arrival.raw = Raw::Text(String::new());
    }
    settle(app, &arrival, etag).await
}

async fn quarantine(app: &App, mut arrival: Arrival, etag: Etag, reason: Reason) -> Result<(), Problem> {
    repo::list(app, &Listed::quarantined(&arrival)).await?;
    arrival.state = State::Quarantined { reason };
    settle(app, &arrival, etag).await
}

async fn settle(app: &App, arrival: &Arrival, etag: Etag) -> Result<(), Problem> {
    match repo::save_arrival(app, arrival, etag).await {
        // Somebody else has done the same.
        Ok(_) | Err(StoreError::Precondition) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(repo::close_arrival(app, arrival).await?)
}

/// The lead that an arrival belongs to: that of the person's last one, if it is not too long ago, or a new one.
async fn assign(app: &App, arrival: &Arrival, who: &str, action: &str) -> Result<LeadId, Problem> {
    // Named after the arrival: whoever dies behind this and begins anew makes the same one.
    let own = || LeadId::named(arrival.received, &format!("lead of {}", arrival.id));
    for _ in 0..ROUNDS {
        let known = repo::current(app, who, action).await?;
        let (lead, current) = match known {
            None => {
                let lead = own();
                (lead.clone(), Some((Current { lead, last: arrival.received }, None)))
            }
            Some((known, etag)) if is_within(known.last, arrival.received) => {
                let lead = known.lead.clone();
                let current = Current { last: known.last.max(arrival.received), ..known };
                (lead, Some((current, Some(etag))))
            }
            Some((known, etag)) if known.last < arrival.received => {
                let lead = own();
                (lead.clone(), Some((Current { lead, last: arrival.received }, Some(etag))))
            }
            // One from long ago that comes late: the newer lead stays the one for those to come.
            Some(_) => (older(app, arrival, who, action).await?.unwrap_or_else(own), None),
        };
        let current = current.as_ref().map(|(current, etag)| (action, current, etag.clone()));
        match repo::acquaint(app, who, &lead, current).await {
            Ok(()) => return Ok(lead),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}

/// The lead of that time, where others that came late made one already.
async fn older(app: &App, arrival: &Arrival, who: &str, action: &str) -> Result<Option<LeadId>, Problem> {
    for id in repo::leads_of(app, who).await? {
        let Some((Record { lead, erased: None, .. }, _)) = repo::lead(app, &id).await? else { continue };
        let same = action_key(&lead.action) == action_key(action);
        if same && (is_within(lead.first, arrival.received) || is_within(lead.last, arrival.received)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Counts an arrival to its lead, once; makes the lead where it is the first.
async fn count(
    app: &App,
    id: &LeadId,
    who: &str,
    arrival: &Arrival,
    reading: &Reading,
    offer: String,
) -> Result<(), Problem> {
    let now = app.clock.now();
    for _ in 0..ROUNDS {
        let saved = match repo::lead(app, id).await? {
            None => {
                let mut record = Record::new(id.clone(), arrival, reading, offer.clone());
                let mut entries = vec![entry(now, What::Arrived { arrival: arrival.id.clone() })];
                // From the first write on: others may have it forwarded before we come to that.
                if !record.lead.do_not_contact && repo::is_contact_forbidden(app, who).await? {
                    record.lead.do_not_contact = true;
                    entries.push(entry(now, What::DoNotContact));
                }
                repo::save_lead(app, &record, None, &entries, Some(&arrival.id)).await
            }
            Some(_) if repo::has_counted(app, id, &arrival.id).await? => return Ok(()),
            Some((mut record, etag)) => {
                // What came before the person was taken out brings nothing of them back.
                let changed = match record.erased {
                    None => record.merge(arrival, reading),
                    Some(_) => record.merge(arrival, &Reading::default()),
                };
                record.version += 1;
                let merged = entry(now, What::Merged { arrival: arrival.id.clone(), changed });
                repo::save_lead(app, &record, Some(etag), &[merged], Some(&arrival.id)).await
            }
        };
        match saved {
            Ok(()) => return Ok(()),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}

/// Sees to it that leads of somebody who is not to be contacted say so. The prohibition is written before the person's
/// leads are looked at, and looked for after a lead was written: whichever of two arrivals is later finds the other.
async fn note_contact(app: &App, who: &str, lead: &LeadId, action: &str) -> Result<(), Problem> {
    let leads = if is_do_not_contact(action) {
        repo::forbid_contact(app, who, app.clock.now()).await?;
        repo::leads_of(app, who).await?
    } else if repo::is_contact_forbidden(app, who).await? {
        vec![lead.clone()]
    } else {
        return Ok(());
    };
    let now = app.clock.now();
    for lead in leads {
        // One that is not made yet looks for the prohibition itself.
        if repo::lead(app, &lead).await?.is_none() {
            continue;
        }
        change(app, &lead, |record| {
            if record.lead.do_not_contact {
                return Ok(None);
            }
            record.lead.do_not_contact = true;
            Ok(Some(Change { entries: vec![entry(now, What::DoNotContact)], shows: true }))
        })
        .await?;
    }
    Ok(())
}

/// Tells the publisher's systems, with nothing of the person in it.
async fn announce(app: &App, record: &Record) -> Result<(), Problem> {
    let lead = &record.lead;
    if lead.test || is_do_not_contact(&lead.action) {
        return Ok(());
    }
    let data = json!({
        "lead": lead.id, "offer": lead.offer, "action": lead.action, "source": lead.source, "first": record.began,
    });
    callbacks::announce(app, &Owner::Publisher, EventKind::LeadArrived, lead.id.as_str(), record.began, data).await
}
