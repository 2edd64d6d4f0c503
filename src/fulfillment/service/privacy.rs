//! What subscriptions hold of a person, and how it is taken out of those that have ended.

use serde_json::{Value, json};

use super::queries::{ListFilter, list, timeline};
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::ids::{ObjectId, SubscriptionId};
use crate::fulfillment::model::event::Actor;
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::fulfillment::repo;
use crate::store::StoreError;

const PAGE: usize = 500;
/// Timeline entries that are handed out with a subscription.
const MOST_EVENTS: usize = 1_000;

/// The subscriptions that a person of this e-mail address bought or uses.
pub async fn of_person(app: &App, email: &str) -> Result<Vec<Subscription>, StoreError> {
    let email = email.trim().to_lowercase();
    let filter = ListFilter { text: email.clone(), status: None };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = list(app, &filter, after, PAGE).await?;
        for line in &page.rows {
            let theirs = [&line.purchaser, &line.beneficiary].into_iter().any(|known| known.to_lowercase() == email);
            if theirs && let Some(row) = repo::subscription(app, line.id).await? {
                found.push(row.value);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Every subscription there is or was.
pub async fn all(app: &App) -> Result<Vec<SubscriptionId>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = list(app, &ListFilter::default(), after, PAGE).await?;
        found.extend(page.rows.iter().map(|line| line.id));
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// The person's ids in Entra, as the subscriptions know them.
pub fn object_ids(rows: &[Subscription], email: &str) -> Vec<ObjectId> {
    let parties = rows.iter().flat_map(|row| [&row.facts.purchaser, &row.facts.beneficiary]);
    let mut ids: Vec<ObjectId> =
        parties.filter(|party| party.email.eq_ignore_ascii_case(email)).filter_map(|party| party.object_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The names under which a person acted on subscriptions.
pub async fn names(app: &App, rows: &[Subscription], ids: &[ObjectId]) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for row in rows {
        let (events, _) = timeline(app, row.id, None, MOST_EVENTS).await?;
        for event in events {
            if let Actor::Customer { object_id, name, .. } = event.actor
                && ids.contains(&object_id)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Everything that is held of a person as subscriptions.
pub async fn held(app: &App, email: &str) -> Result<Value, StoreError> {
    let mut found = Vec::new();
    for row in of_person(app, email).await? {
        let (events, more) = timeline(app, row.id, None, MOST_EVENTS).await?;
        found.push(json!({ "subscription": row, "timeline": events, "timeline_is_cut": more }));
    }
    Ok(found.into())
}

/// Whether a person can be taken out: as long as it lives, Microsoft tells us of them each hour, and it has to be served.
pub fn has_ended(row: &Subscription) -> bool {
    row.facts.status == Status::Unsubscribed
}

/// Takes a person out of a subscription that has ended. May be repeated.
pub async fn erase(app: &App, id: SubscriptionId, erasure: &Erasure) -> Result<usize, StoreError> {
    repo::erase(app, id, erasure).await
}
