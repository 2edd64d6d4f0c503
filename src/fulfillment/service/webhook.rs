//! A webhook arrives: it is stored before anything else, a change of plan or seats is decided at once, and the rest is
//! left to [`super::sync`]. The caller has been proven already.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::foundation::outbound::Patience;
use crate::fulfillment::client::Webhook;
use crate::fulfillment::model::event::{Actor, Cause, EventKind};
use crate::fulfillment::model::operation::{Asked, Decision, Operation, decide};
use crate::fulfillment::repo::{self, Change};
use crate::store::StoreError;

use super::sync::{self, SyncError, client};

/// Microsoft waits ten seconds for our word; asking it back must be over well before.
const DECIDE_WITHIN: Duration = Duration::from_secs(6);
/// The answer to the webhook must arrive before the acknowledgement does (contract 2.4).
const AFTER_ANSWER: Duration = Duration::from_secs(1);
/// Real bodies have about 2 kB.
const LONGEST_KEPT: usize = 64 * 1024;
const TRIES: usize = 6;

#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error("the marketplace did not confirm the change within {} s", DECIDE_WITHIN.as_secs())]
    Slow,
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        Self::Sync(error.into())
    }
}

/// What the webhook is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Reject { reason: String },
}

/// `body` is kept with the operation, as it came.
pub async fn receive(app: &App, webhook: &Webhook, body: &[u8]) -> Result<Answer, ReceiveError> {
    let operation = remember(app, webhook, body).await?;
    if operation.settled.is_some() || !operation.action.is_change() {
        return Ok(Answer::Accept);
    }
    let decision = match operation.decision {
        Some(decision) => decision,
        None => {
            tokio::time::timeout(DECIDE_WITHIN, decide_now(app, operation)).await.map_err(|_| ReceiveError::Slow)??
        }
    };
    Ok(if decision.accept { Answer::Accept } else { Answer::Reject { reason: decision.reason } })
}

/// Makes the operation durable, once, together with the message that leads to its end. When this returns, the webhook
/// may be acknowledged: nothing can be lost any more.
async fn remember(app: &App, webhook: &Webhook, body: &[u8]) -> Result<Operation, ReceiveError> {
    let asked = Asked { action: webhook.action.clone(), plan: webhook.plan.clone(), quantity: webhook.quantity };
    let operation = Operation {
        body: Some(kept(body)),
        ..Operation::new(webhook.operation, webhook.subscription, webhook.source, asked, app.clock.now())
    };
    // Together, so that they share a commit. The message waits a moment; should the row take longer than that, it is
    // sent again, or it might be worked on before there is anything to work on.
    let started = Instant::now();
    let (inserted, sent) = tokio::join!(
        repo::insert_operation(app, &operation),
        sync::request(app, operation.subscription_id, AFTER_ANSWER)
    );
    let inserted = inserted?;
    sent.map_err(SyncError::from)?;
    if started.elapsed() > AFTER_ANSWER / 2 {
        sync::request(app, operation.subscription_id, AFTER_ANSWER).await.map_err(SyncError::from)?;
    }
    if inserted {
        return Ok(operation);
    }
    match repo::operation(app, operation.subscription_id, operation.id).await? {
        Some(mut known) => {
            if known.value.body.is_none() {
                // We started it, and its webhook is here now. Losing this write to another writer loses nothing.
                known.value.body = operation.body.clone();
                sync::log_arrival(app, &operation).await?;
                match repo::save(
                    app,
                    operation.subscription_id,
                    None,
                    &[],
                    &[Change::Update(&known.value, &known.etag)],
                )
                .await
                {
                    Ok(()) | Err(StoreError::Precondition) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(known.value)
        }
        None => Ok(operation),
    }
}

/// The body as it is kept: all of it, but for one that is far longer than Microsoft's and would not fit a row.
fn kept(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(LONGEST_KEPT)]).into_owned()
}

/// Confirms the change with Microsoft, applies the rules and stores the decision; the first stored one holds.
async fn decide_now(app: &App, operation: Operation) -> Result<Decision, ReceiveError> {
    let (id, subscription) = (operation.id, operation.subscription_id);
    let client = client(app)?;
    let (remote, facts, plans) = tokio::join!(
        client.operation(subscription, id, Patience::Short),
        client.subscription(subscription, Patience::Short),
        repo::plans(app, subscription),
    );
    let remote = remote.map_err(SyncError::from)?;
    let facts = match facts {
        Ok(facts) => Some(facts),
        Err(crate::fulfillment::ApiError::NotFound) => None,
        Err(error) => return Err(SyncError::from(error).into()),
    };
    let mut operation = operation;
    operation.complete(&remote);
    let (mut accept, mut reason) = decide(&operation, &remote, facts.as_ref(), &plans?);
    if !accept {
        // Perhaps only because the plans that we remember have grown old.
        (accept, reason) = decide(&operation, &remote, facts.as_ref(), &sync::fresh_plans(app, subscription).await);
    }
    let decision = Decision { accept, reason: reason.to_owned(), at: app.clock.now() };
    for _ in 0..TRIES {
        let Some(mut found) = repo::operation(app, subscription, id).await? else { return Ok(decision) };
        if let Some(earlier) = found.value.decision {
            return Ok(earlier);
        }
        found.value.decision = Some(decision.clone());
        found.value.complete(&remote);
        let mut row = repo::subscription(app, subscription).await?;
        let kind =
            EventKind::Decided { action: operation.action.clone(), operation: id, accept, reason: reason.to_owned() };
        let events: Vec<_> = row
            .iter_mut()
            .map(|row| row.value.log(decision.at, Actor::System, Cause::Webhook { operation: id }, kind.clone()))
            .collect();
        let row = row.as_ref().map(|row| (&row.value, Some(&row.etag)));
        match repo::save(app, subscription, row, &events, &[Change::Update(&found.value, &found.etag)]).await {
            Ok(()) => return Ok(decision),
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}
