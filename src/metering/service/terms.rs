//! Terms kept in step with the subscription, and registered for managed applications.

use jiff::SignedDuration;

use crate::app::App;
use crate::fulfillment::{self, Newer};
use crate::metering::model::resource::Resource;
use crate::metering::model::terms::Terms;
use crate::metering::repo;
use crate::store::{Etag, StoreError};

/// Prices and included quantities of private offers may change at renewal, so Microsoft's list is read again.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(24);
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

/// Makes a managed application known to metering, or brings its plan and state up to date.
pub async fn register_managed_app(
    app: &App,
    resource: &Resource,
    plan: &str,
    since: jiff::Timestamp,
    ended: Option<jiff::Timestamp>,
) -> Result<(), StoreError> {
    let heads = repo::heads(app, &resource.key()).await?;
    let mut terms = heads.terms.unwrap_or_else(|| Terms::new(resource.clone()));
    let now = app.clock.now();
    // Managed applications have no term of their own: their months begin with their provisioning.
    "P1M".clone_into(&mut terms.term_unit);
    let first = terms.segments.is_empty();
    if first {
        terms.cycles.follow(since, 1);
    }
    terms.enter(plan, false, if first { since } else { now });
    terms.ended = ended;
    terms.learn(&[], &app.catalogue, now);
    repo::save_terms(app, &terms, heads.etags.terms.as_ref()).await.map(drop)
}
