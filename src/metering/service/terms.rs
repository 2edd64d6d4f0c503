//! Terms kept in step with the subscription, and registered for managed applications.

use jiff::SignedDuration;

use crate::app::App;
use crate::fulfillment;
use crate::metering::model::resource::Resource;
use crate::metering::model::terms::Terms;
use crate::metering::repo;
use crate::store::{Etag, StoreError};

/// Prices and included quantities of private offers may change at renewal, so Microsoft's list is read again.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// Terms as they are now; None for a resource that nobody knows. What changed is stored.
pub async fn current(
    app: &App,
    resource: &Resource,
    known: Option<(Terms, Etag)>,
) -> Result<Option<(Terms, Etag)>, StoreError> {
    let Some(subscription) = resource.subscription() else { return Ok(known) };
    let (mut terms, etag) = match known {
        Some((terms, etag)) => (terms, Some(etag)),
        None => (Terms::new(resource.clone()), None),
    };
    let Some(row) = fulfillment::find(app, subscription).await? else { return Ok(None) };
    let segments = terms.segments.len();
    let mut changed = terms.follow(&row);
    let unread = terms.lacks_plan() || terms.segments.len() != segments;
    let now = app.clock.now();
    let old = terms.plans_read.is_none_or(|read| now.duration_since(read) > READ_AGAIN);
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
            }
        }
        changed |= terms != before;
    }
    match etag {
        Some(etag) if !changed => Ok(Some((terms, etag))),
        etag => {
            let etag = repo::save_terms(app, &terms, etag.as_ref()).await?;
            Ok(Some((terms, etag)))
        }
    }
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
