//! What pages ask: subscriptions of a person, lists for staff, one subscription with its story.

use futures_util::future::join_all;

use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::outbound::Patience;
use crate::fulfillment::model::event::Event;
use crate::fulfillment::model::facts::{Plan, Status};
use crate::fulfillment::model::operation::Operation;
use crate::fulfillment::model::subscription::Subscription;
use crate::fulfillment::repo::{self, LogEntry, Newer, Summary};
use crate::identity::Customer;
use crate::store::{Etag, StoreError};

use super::sync::{SyncError, client};

/// A subscription, if this person's tenant bought or uses it. Others get None, as for one that does not exist.
pub async fn for_customer(
    app: &App,
    id: SubscriptionId,
    customer: &Customer,
) -> Result<Option<Subscription>, StoreError> {
    let user = customer.user();
    let found = repo::subscription(app, id).await?.map(|found| found.value);
    Ok(found.filter(|row| row.facts.belongs_to(user.tenant_id, user.object_id)))
}

/// A page of the person's subscriptions; the id is where the next page begins, if there is one.
pub async fn of_customer(
    app: &App,
    customer: &Customer,
    after: Option<SubscriptionId>,
    limit: usize,
) -> Result<(Vec<Subscription>, Option<SubscriptionId>), StoreError> {
    let user = customer.user();
    let (ids, more) = repo::owned(app, user.tenant_id, user.object_id, after, limit).await?;
    let next = ids.last().copied().filter(|_| more);
    let rows = join_all(ids.into_iter().map(|id| for_customer(app, id, customer))).await;
    Ok((rows.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(), next))
}

/// What staff look for.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Found anywhere in name, ids, plan, offer or e-mail addresses; lower case.
    pub text: String,
    pub status: Option<Status>,
}

impl ListFilter {
    fn admits(&self, summary: &Summary) -> bool {
        let tenant = |id: Option<crate::foundation::ids::TenantId>| id.map(|id| id.to_string()).unwrap_or_default();
        self.status.is_none_or(|status| status == summary.status)
            && (self.text.is_empty()
                || [
                    summary.id.to_string(),
                    summary.name.to_lowercase(),
                    summary.offer.to_lowercase(),
                    summary.plan.to_lowercase(),
                    summary.purchaser.to_lowercase(),
                    summary.beneficiary.to_lowercase(),
                    tenant(summary.purchaser_tenant),
                    tenant(summary.beneficiary_tenant),
                ]
                .iter()
                .any(|field| field.contains(&self.text)))
    }
}

#[derive(Debug, Clone)]
pub struct SummaryPage {
    pub rows: Vec<Summary>,
    /// Where the next page begins; also set when the search was cut short, so that going on finds more.
    pub next: Option<String>,
}

/// Rows read in one search before the page is handed out as far as it got.
const MOST_SCANNED: usize = 20_000;

/// A page of all subscriptions, newest first.
pub async fn list(
    app: &App,
    filter: &ListFilter,
    after: Option<String>,
    limit: usize,
) -> Result<SummaryPage, StoreError> {
    let (mut rows, mut after, mut scanned) = (Vec::new(), after, 0);
    loop {
        let (page, more) = repo::summaries(
            app,
            after.as_deref(),
            1000.min(if filter.text.is_empty() && filter.status.is_none() { limit } else { 1000 }),
        )
        .await?;
        scanned += page.len();
        for (key, summary) in page {
            after = Some(key);
            if filter.admits(&summary) {
                rows.push(summary);
                if rows.len() == limit {
                    // One more look would tell whether anything follows; an empty last page is the cheaper mistake.
                    return Ok(SummaryPage { rows, next: after });
                }
            }
        }
        if !more {
            return Ok(SummaryPage { rows, next: None });
        }
        if scanned >= MOST_SCANNED {
            return Ok(SummaryPage { rows, next: after });
        }
    }
}

/// One subscription for staff: row, operations (newest first), newest timeline entries.
#[derive(Debug, Clone)]
pub struct Detail {
    pub subscription: Subscription,
    pub operations: Vec<Operation>,
}

pub async fn detail(app: &App, id: SubscriptionId) -> Result<Option<Detail>, StoreError> {
    let Some(found) = repo::subscription(app, id).await? else { return Ok(None) };
    let mut operations = repo::operations(app, id).await?;
    operations.sort_by_key(|operation| std::cmp::Reverse((operation.received, operation.id)));
    Ok(Some(Detail { subscription: found.value, operations }))
}

/// Timeline entries below the number `before`, newest first, and whether more follow.
pub async fn timeline(
    app: &App,
    id: SubscriptionId,
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<Event>, bool), StoreError> {
    repo::events(app, id, before, limit).await
}

/// A subscription, whoever asks: for other capabilities.
pub async fn find(app: &App, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
    Ok(repo::subscription(app, id).await?.map(|found| found.value))
}

/// The same for those who ask often: nothing is read twice that is still as it was seen.
pub async fn find_unless(app: &App, id: SubscriptionId, seen: Option<&Etag>) -> Result<Newer, StoreError> {
    repo::subscription_unless(app, id, seen).await
}

/// All plans as Microsoft lists them now for this subscription, also those that can not be chosen any more.
pub async fn listed_plans(app: &App, id: SubscriptionId) -> Result<Vec<Plan>, SyncError> {
    Ok(client(app)?.all_plans(id, Patience::Short).await?)
}

/// The plans this subscription may change to: fresh from Microsoft, else the last known ones.
pub async fn available_plans(app: &App, id: SubscriptionId) -> Result<Vec<Plan>, StoreError> {
    let fresh = match client(app) {
        Ok(client) => client.plans(id, Patience::Short).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    if fresh.is_empty() {
        return repo::plans(app, id).await;
    }
    repo::save_plans(app, id, &fresh).await?;
    Ok(fresh)
}

/// The plans last listed for this subscription, without asking Microsoft.
pub async fn known_plans(app: &App, id: SubscriptionId) -> Result<Vec<Plan>, StoreError> {
    repo::plans(app, id).await
}

/// A webhook as the log shows it, with what became of it.
pub async fn webhook_log(
    app: &App,
    day: &str,
    limit: usize,
) -> Result<(Vec<(LogEntry, Option<Operation>)>, bool), StoreError> {
    let (entries, more) = repo::webhooks(app, day, limit).await?;
    let operations =
        join_all(entries.iter().map(|entry| repo::operation(app, entry.subscription, entry.operation))).await;
    let operations = operations
        .into_iter()
        .map(|found| Ok(found?.map(|found| found.value)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok((entries.into_iter().zip(operations).collect(), more))
}
