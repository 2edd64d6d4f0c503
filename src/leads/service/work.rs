//! What people do with a lead. Each is one conditional write with a line of history. No destination can show any of it, so
//! none raises the revision.

use super::{Change, change, existing};
use crate::app::App;
use crate::foundation::ids::{LeadId, TenantId};
use crate::foundation::problem::Problem;
use crate::leads::model::lead::Status;
use crate::leads::model::record::{Actor, Company, Entry, LONGEST_NOTE, Record, What};
use crate::leads::repo;

const LONGEST_OWNER: usize = 100;

/// A change with one line of history.
async fn with_entry(
    app: &App,
    id: &LeadId,
    actor: &Actor,
    mut with: impl FnMut(&mut Record) -> Result<Option<What>, Problem>,
) -> Result<Record, Problem> {
    let at = app.clock.now();
    change(app, id, |record| {
        let entry = |what| Entry { at, actor: Some(actor.clone()), what };
        Ok(with(record)?.map(|what| Change { entries: vec![entry(what)], shows: false }))
    })
    .await
}

pub async fn set_status(app: &App, id: &LeadId, status: Status, actor: &Actor) -> Result<Record, Problem> {
    with_entry(app, id, actor, |record| {
        let from = std::mem::replace(&mut record.lead.status, status);
        Ok((from != status).then_some(What::Status { from, to: status }))
    })
    .await
}

/// None: nobody looks after it.
pub async fn set_owner(app: &App, id: &LeadId, owner: Option<&str>, actor: &Actor) -> Result<Record, Problem> {
    let owner = owner.map(str::trim).filter(|owner| !owner.is_empty());
    if owner.is_some_and(|owner| owner.chars().count() > LONGEST_OWNER || owner.chars().any(char::is_control)) {
        return Err(Problem::bad_request("invalid_owner", "The name is too long.")
            .field("owner")
            .remedy(format!("Enter at most {LONGEST_OWNER} characters.")));
    }
    with_entry(app, id, actor, |record| {
        if record.lead.owner.as_deref() == owner {
            return Ok(None);
        }
        record.lead.owner = owner.map(str::to_owned);
        Ok(Some(What::Owner { owner: record.lead.owner.clone() }))
    })
    .await
}

pub async fn add_note(app: &App, id: &LeadId, text: &str, actor: &Actor) -> Result<(), Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_NOTE {
        return Err(Problem::bad_request("invalid_note", "The note is empty or too long.")
            .field("note")
            .remedy(format!("Enter 1 to {LONGEST_NOTE} characters.")));
    }
    existing(app, id).await?;
    let what = What::Note { text: text.to_owned() };
    Ok(repo::note(app, id, &Entry { at: app.clock.now(), actor: Some(actor.clone()), what }).await?)
}

/// Says that a lead is another one once more: it keeps its arrivals and is forwarded no longer.
pub async fn mark_duplicate(app: &App, id: &LeadId, of: &LeadId, actor: &Actor) -> Result<Record, Problem> {
    let wrong = |title: &str| {
        Problem::bad_request("invalid_duplicate", title).field("of").remedy("Choose the lead that is to stay.")
    };
    if id == of {
        return Err(wrong("A lead can not be its own duplicate."));
    }
    let (other, _) = existing(app, of).await?;
    if other.duplicate_of.is_some() {
        return Err(wrong("That lead is a duplicate itself."));
    }
    let record = with_entry(app, id, actor, |record| {
        if record.duplicate_of.as_ref() == Some(of) {
            return Ok(None);
        }
        record.duplicate_of = Some(of.clone());
        Ok(Some(What::DuplicateOf { lead: of.clone() }))
    })
    .await?;
    // Somebody may have said the contrary at the same time, and one of the two has to stay.
    if existing(app, of).await?.0.duplicate_of.is_some() {
        unmark_duplicate(app, id, actor).await?;
        return Err(wrong("That lead is a duplicate itself."));
    }
    Ok(record)
}

/// Takes that back; what happened meanwhile is forwarded then.
pub async fn unmark_duplicate(app: &App, id: &LeadId, actor: &Actor) -> Result<Record, Problem> {
    with_entry(app, id, actor, |record| Ok(record.duplicate_of.take().map(|_| What::NoDuplicate))).await
}

/// Says which customer somebody works for (None: no customer of ours). No rule overwrites it.
pub async fn set_company(app: &App, id: &LeadId, tenant: Option<TenantId>, actor: &Actor) -> Result<Record, Problem> {
    let at = app.clock.now();
    with_entry(app, id, actor, |record| {
        if record.company.as_ref().is_some_and(|company| company.tenant == tenant) {
            return Ok(None);
        }
        record.company = Some(Company { tenant, by: actor.clone(), at });
        Ok(Some(What::Company { tenant }))
    })
    .await
}
