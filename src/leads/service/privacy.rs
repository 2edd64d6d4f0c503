//! What is held of a person, and how it is taken out. What remains of a lead is that there was one: when, about which offer,
//! by which action, and what became of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Change, change, list};
use crate::app::App;
use crate::foundation::erasure::{Erasure, is_pseudonym};
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::leads::model::arrival::{Raw, State};
use crate::leads::model::lead::Person;
use crate::leads::model::record::{Entry, Kind, What, about, acquaintance};
use crate::leads::repo::{self, Listed};
use crate::store::StoreError;

/// Lines read at a time.
const PAGE: usize = 1_000;
const ROUNDS: usize = 16;

/// Every line of the list, the oldest months last.
async fn lines(app: &App, before: Option<Timestamp>) -> Result<Vec<Listed>, StoreError> {
    let mut found = Vec::new();
    for month in repo::months(app).await? {
        let mut after = None;
        loop {
            let (page, more) = repo::listed(app, &month, after.as_deref(), PAGE).await?;
            after = page.last().map(|(key, _)| key.clone());
            let old = |line: &Listed| before.is_none_or(|before| line.last < before);
            found.extend(page.into_iter().map(|(_, line)| line).filter(old));
            if !more {
                break;
            }
        }
    }
    Ok(found)
}

/// The leads and quarantined arrivals of an e-mail address.
async fn of(app: &App, email: &str) -> Result<(Vec<LeadId>, Vec<LeadId>), Problem> {
    let email = email.trim().to_lowercase();
    // Only to look for the address as an erasure does.
    let wanted = Erasure::new("", &email);
    let (mut leads, mut arrivals) = (Vec::new(), Vec::new());
    for line in lines(app, None).await? {
        if line.kind == Kind::Quarantined {
            let found = repo::arrival(app, &line.id).await?;
            let raw = found.map(|(arrival, _)| arrival.raw.bytes()).unwrap_or_default();
            if wanted.text(&String::from_utf8_lossy(&raw)).is_some() {
                arrivals.push(line.id);
            }
        } else if line.email.trim().to_lowercase() == email {
            leads.push(line.id);
        }
    }
    Ok((leads, arrivals))
}

/// Everything that is held of a person as leads.
pub async fn held(app: &App, email: &str) -> Result<Value, Problem> {
    let (leads, arrivals) = of(app, email).await?;
    let mut found = Vec::with_capacity(leads.len());
    for id in &leads {
        found.push(list::lead(app, id).await?);
    }
    let mut unread = Vec::with_capacity(arrivals.len());
    for id in &arrivals {
        unread.push(list::arrival(app, id).await?);
    }
    Ok(json!({ "leads": found, "quarantined": unread }))
}

/// Takes a person out of all leads; gives how many those were. May be repeated.
pub async fn erase(app: &App, email: &str, erasure: &Erasure) -> Result<usize, Problem> {
    let (leads, arrivals) = of(app, email).await?;
    for id in &arrivals {
        empty(app, id).await?;
    }
    // The line of the list is what a lead is found by, and is written last.
    for id in &leads {
        erase_lead(app, id, erasure).await?;
    }
    Ok(leads.len() + arrivals.len())
}

/// Takes the people out of leads that had their last arrival before a time; gives how many those were.
pub async fn expire(app: &App, before: Timestamp) -> Result<usize, Problem> {
    let mut erased = 0;
    for line in lines(app, Some(before)).await? {
        if line.kind == Kind::Quarantined {
            let kept = repo::arrival(app, &line.id).await?;
            if kept.is_some_and(|(arrival, _)| arrival.raw != Raw::Text(String::new())) {
                empty(app, &line.id).await?;
                erased += 1;
            }
        } else if !is_pseudonym(&line.email) {
            let erasure = Erasure::new(&Erasure::token(&*app.random), &line.email);
            erase_lead(app, &line.id, &erasure).await?;
            erased += 1;
        }
    }
    Ok(erased)
}

async fn erase_lead(app: &App, id: &LeadId, erasure: &Erasure) -> Result<(), Problem> {
    let Some((record, _)) = repo::lead(app, id).await? else { return Ok(()) };
    let person = &record.lead.person;
    let names = [&person.phone, &person.first_name, &person.last_name, &person.name(), &person.company];
    let erasure = names.into_iter().fold(erasure.clone(), |erasure, name| erasure.string(name));
    // Another arrival of this person begins another lead.
    if let Some(identity) = person.identity() {
        repo::part(
            app,
            &acquaintance(&identity, &about(&record.lead.offer, &record.lead.offer_title)),
            &record.lead.action,
        )
        .await?;
    }
    let mut after = None;
    loop {
        let page = repo::counted(app, id, after.as_ref(), PAGE).await?;
        for arrival in &page {
            empty(app, arrival).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.clone()),
            _ => break,
        }
    }
    repo::clear_notes(app, id, &erasure).await?;
    let now = app.clock.now();
    change(app, id, |record| {
        let lead = &mut record.lead;
        lead.person = Person { email: erasure.pseudonym.clone(), ..Person::default() };
        lead.description.clear();
        record.erased.get_or_insert(now);
        Ok(Some(Change { entries: vec![Entry { at: now, actor: None, what: What::Erased }], shows: false }))
    })
    .await?;
    Ok(())
}

/// Takes away what came, and keeps that it came: what Microsoft's table still has does not come a second time.
async fn empty(app: &App, id: &LeadId) -> Result<(), Problem> {
    for round in 1.. {
        let Some((mut arrival, etag)) = repo::arrival(app, id).await? else { return Ok(()) };
        arrival.raw = Raw::Text(String::new());
        if arrival.state == State::Pending && arrival.lead.is_some() {
            arrival.state = State::Taken;
        }
        match repo::save_arrival(app, &arrival, etag).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Precondition) if round < ROUNDS => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
