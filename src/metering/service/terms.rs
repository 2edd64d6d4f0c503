//! Terms kept in step with the subscription, and registered for managed applications.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::app::App;
use crate::fulfillment::{self, Newer};
use crate::metering::model::resource::Resource;
use crate::metering::model::terms::Terms;
use crate::metering::repo;
use crate::store::{Etag, StoreError};

/// Prices and included quantities of private offers may change at renewal, so Microsoft's list is read again.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// How often terms are written when others write them, too.
const ROUNDS: usize = 6;
/// After a failure it is left alone for this long.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(30);

/// Terms with the ETag of what is stored of them, if it is.
#[derive(Debug, Clone)]
pub struct Held {
    pub terms: Terms,
    pub etag: Option<Etag>,
    /// They differ from what is stored.
    changed: bool,
    /// The subscription that they follow, as it was.
    seen: Option<Etag>,
}

impl Held {
    pub fn stored(terms: Terms, etag: Etag) -> Self {
        Self { terms, etag: Some(etag), changed: false, seen: None }
    }

    /// What is stored of a resource's terms, taken out of its heads.
    pub fn of(heads: &mut repo::Heads) -> Option<Self> {
        heads.terms.take().zip(heads.etags.terms.take()).map(|(terms, etag)| Self::stored(terms, etag))
    }

    /// Stores what changed.
    pub async fn keep(&mut self, app: &App) -> Result<(), StoreError> {
        if self.changed {
            self.etag = Some(repo::save_terms(app, &self.terms, self.etag.as_ref()).await?);
            self.changed = false;
        }
        Ok(())
    }
}

/// Terms as they are now; None for a resource that nobody knows. Nothing is stored yet. Only with `refresh` are plans
/// read again that are known already: recording does not wait for Microsoft.
pub async fn current(
    app: &App,
    resource: &Resource,
    known: Option<Held>,
    refresh: bool,
) -> Result<Option<Held>, StoreError> {
    let Some(subscription) = resource.subscription() else { return Ok(known) };
    let held =
        known.unwrap_or_else(|| Held { terms: Terms::new(resource.clone()), etag: None, changed: true, seen: None });
    let Held { mut terms, etag, mut changed, mut seen } = held;
    let segments = terms.segments.len();
    match fulfillment::find_unless(app, subscription, seen.as_ref()).await? {
        Newer::Unknown => return Ok(None),
        Newer::Same => {}
        Newer::Row(found) => {
            changed |= terms.follow(&found.value);
            seen = Some(found.etag);
        }
    }
    let unread = terms.lacks_plan() || terms.segments.len() != segments;
    let now = app.clock.now();
    let old = refresh && terms.plans_read.is_none_or(|read| now.duration_since(read) > READ_AGAIN);
    if (unread || old) && terms.ended.is_none() {
        let before = terms.clone();
        match fulfillment::listed_plans(app, subscription).await {
            Ok(plans) => terms.learn(&plans, &app.catalogue, now),
            Err(error) => {
                tracing::info!(%subscription, %error, "the plans can not be listed; what is known has to do");
                if unread {
                    // The list of an earlier day, and the catalogue's file.
                    let plans = fulfillment::known_plans(app, subscription).await?;
                    terms.learn(&plans, &app.catalogue, now);
                }
                terms.plans_read = Some(now - READ_AGAIN + TRY_AGAIN);
            }
        }
        changed |= terms != before;
    }
    Ok(Some(Held { terms, etag, changed, seen }))
}

/// A managed application as metering has to know it.
#[derive(Debug, Clone)]
pub struct ManagedApp<'a> {
    /// Its plans with the time at which each came into force; the first one begins its first month.
    pub plans: &'a [(Timestamp, String)],
    pub ended: Option<Timestamp>,
}

/// Makes a managed application known to metering, or brings its plans and end up to date. `false`: the catalogue has no
/// dimensions for its plan, so its usage can not be recorded yet.
pub async fn register_managed_app(app: &App, resource: &Resource, known: &ManagedApp<'_>) -> Result<bool, StoreError> {
    let resource = &canonical(app, resource).await?;
    for round in 1.. {
        let heads = repo::heads(app, &resource.key()).await?;
        let mut terms = heads.terms.clone().unwrap_or_else(|| Terms::new(resource.clone()));
        follow(&mut terms, known, app.clock.now());
        terms.learn(&[], &app.catalogue, app.clock.now());
        let dimensions = !terms.lacks_plan();
        terms.plans_read = heads.terms.as_ref().map_or(terms.plans_read, |before| before.plans_read);
        if heads.terms.as_ref() == Some(&terms) {
            return Ok(dimensions);
        }
        match repo::save_terms(app, &terms, heads.etags.terms.as_ref()).await {
            Ok(_) => return Ok(dimensions),
            Err(StoreError::Precondition | StoreError::AlreadyExists) if round < ROUNDS => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Precondition)
}

fn follow(terms: &mut Terms, known: &ManagedApp<'_>, now: Timestamp) {
    // Managed applications have no term of their own: their months begin with their provisioning.
    "P1M".clone_into(&mut terms.term_unit);
    if let Some((since, _)) = known.plans.first().filter(|_| terms.segments.is_empty()) {
        terms.cycles.follow(*since, 1);
    }
    for (from, plan) in known.plans {
        // What is not newer than what is known is known.
        if terms.segments.last().is_none_or(|last| *from > last.from) {
            terms.enter(plan, false, *from);
        }
    }
    if let Some((_, plan)) = known.plans.last() {
        // Whoever repeats the beginning of the application with another plan means from now on.
        terms.enter(plan, false, now);
    }
    terms.ended = known.ended;
}

/// The resource whose ledger a resource's usage stands in: a managed application has a usage id and an address, and Microsoft
/// books one hour of it once, whichever is named.
pub async fn canonical(app: &App, resource: &Resource) -> Result<Resource, StoreError> {
    if resource.subscription().is_some() {
        return Ok(resource.clone());
    }
    Ok(repo::alias(app, &resource.key()).await?.unwrap_or_else(|| resource.clone()))
}

/// Makes a usage id and an address one resource: that of the usage id, unless the address has a ledger already. An address
/// that came to life again under another usage id belongs to that one from now on; only the `present` life takes it.
pub async fn link_managed_app(
    app: &App,
    usage_id: Uuid,
    uri: &Resource,
    present: bool,
) -> Result<Resource, StoreError> {
    let id = Resource::UsageId(usage_id);
    if let Some(known) = repo::alias(app, &id.key()).await? {
        return Ok(known);
    }
    if repo::heads(app, &uri.key()).await?.terms.is_some() {
        if repo::heads(app, &id.key()).await?.terms.is_some() {
            // Somebody registered both by hand. Joined now, a record that is repeated would count once more.
            return Ok(id);
        }
        repo::save_alias(app, &id.key(), uri).await?;
        return Ok(uri.clone());
    }
    if present && repo::alias(app, &uri.key()).await?.as_ref() != Some(&id) {
        repo::save_alias(app, &uri.key(), &id).await?;
    }
    Ok(id)
}
