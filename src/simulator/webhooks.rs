//! Webhooks on their way to the product: one by one when a test asks, or by themselves in the background with
//! retries, as Microsoft does (marketplace contract, section 3.3).

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Simulator;
use super::entra;
use super::state::{WebhookAttempt, WebhookState};

/// Microsoft gives up after so many attempts or so long, whichever is first.
const MOST_ATTEMPTS: u32 = 500;
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(8);
/// How long the product may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the background looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// A webhook that waits. Its id is the id of its operation.
#[derive(Debug, Clone, Serialize)]
pub struct PendingWebhook {
    pub id: Uuid,
    pub subscription: Uuid,
    pub action: String,
    pub body: Value,
}

/// What came of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DeliveryOutcome {
    /// Answered 2xx.
    Delivered(u16),
    /// A plan or quantity change, answered 4xx.
    Rejected(u16),
    /// Anything else; no status means that the product could not be reached. It will be sent again.
    Pending(Option<u16>),
    /// There is no such webhook.
    Unknown,
}

impl Simulator {
    /// What waits for delivery, in the order in which it will be sent.
    pub fn pending_webhooks(&self) -> Vec<PendingWebhook> {
        self.turn(|turn| {
            turn.settle_all();
            let newest_first = turn.faults.get().reorder_webhooks;
            let pending = turn.state.pending(newest_first).into_iter();
            pending
                .map(|webhook| PendingWebhook {
                    id: webhook.id,
                    subscription: webhook.subscription,
                    action: webhook.action.clone(),
                    body: webhook.body.clone(),
                })
                .collect()
        })
    }

    /// Sends one webhook now, whatever became of it before.
    pub async fn deliver(&self, webhook_id: Uuid) -> DeliveryOutcome {
        let Some(body) = self.turn(|turn| turn.state.webhook_mut(webhook_id).map(|webhook| webhook.body.clone()))
        else {
            return DeliveryOutcome::Unknown;
        };
        let status = self.post(webhook_id, &body).await;
        let state = self.turn(|turn| turn.answered(webhook_id, status));
        let outcome = match (state, status) {
            (None, _) => DeliveryOutcome::Unknown,
            (_, Some(status @ 200..=299)) => DeliveryOutcome::Delivered(status),
            (Some(WebhookState::Rejected), Some(status @ 400..=499)) => DeliveryOutcome::Rejected(status),
            (_, status) => DeliveryOutcome::Pending(status),
        };
        if matches!(outcome, DeliveryOutcome::Delivered(_)) && self.faults().get().repeat_webhooks {
            let again = self.post(webhook_id, &body).await;
            self.turn(|turn| turn.answered(webhook_id, again));
        }
        outcome
    }

    /// Sends everything that waits, and what follows from it, until nothing moves any more. Answers how many arrived.
    pub async fn deliver_all(&self) -> usize {
        let mut arrived = 0;
        loop {
            let before = arrived;
            for webhook in self.pending_webhooks() {
                let outcome = self.deliver(webhook.id).await;
                arrived += usize::from(matches!(outcome, DeliveryOutcome::Delivered(_) | DeliveryOutcome::Rejected(_)));
            }
            if arrived == before {
                return arrived;
            }
        }
    }

    /// The webhook is lost on the way.
    pub fn drop_webhook(&self, webhook_id: Uuid) {
        self.turn(|turn| {
            if let Some(webhook) = turn.state.webhook_mut(webhook_id) {
                webhook.state = WebhookState::Dropped;
            }
        });
    }

    /// Every POST to the product so far.
    pub fn webhook_log(&self) -> Vec<WebhookAttempt> {
        self.turn(|turn| turn.state.log.clone())
    }

    /// A correct webhook token: version 2, or version 1 when the switch says so.
    pub fn webhook_token(&self) -> String {
        entra::webhook_token(self)
    }

    async fn post(&self, webhook_id: Uuid, body: &Value) -> Option<u16> {
        let url = format!("{}/marketplace/webhook", self.product_url());
        let sent = Instant::now();
        let at = self.base_now();
        let answer = self.http().post(url).bearer_auth(self.webhook_token()).json(body).send().await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        let error = answer.err().map(|error| {
            if error.is_timeout() { "no answer in time".to_owned() } else { error.without_url().to_string() }
        });
        let latency_ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turn(|turn| {
            let Some(webhook) = turn.state.webhook_mut(webhook_id) else { return };
            webhook.attempts += 1;
            let attempt = WebhookAttempt {
                webhook_id,
                subscription: webhook.subscription,
                action: webhook.action.clone(),
                at,
                status,
                latency_ms,
                error,
            };
            turn.state.log.push(attempt);
        });
        status
    }

    /// Sends what is due, for as long as the simulator serves. One at a time per subscription, so that the calm world
    /// keeps its order; with the reorder switch, newest first and all at once.
    pub(super) async fn deliver_in_background(self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for webhook_id in self.claim_due() {
                let simulator = self.clone();
                tokio::spawn(async move {
                    simulator.deliver(webhook_id).await;
                    simulator.release(webhook_id);
                });
            }
        }
    }

    fn claim_due(&self) -> Vec<Uuid> {
        self.turn(|turn| {
            turn.settle_all();
            let reorder = turn.faults.get().reorder_webhooks;
            let mut busy: Vec<Uuid> =
                turn.state.webhooks.iter().filter(|hook| hook.in_flight).map(|hook| hook.subscription).collect();
            let mut due = Vec::new();
            for webhook in turn.state.pending(reorder) {
                let free = reorder || !busy.contains(&webhook.subscription);
                if !webhook.in_flight && webhook.due <= turn.base_now && free {
                    busy.push(webhook.subscription);
                    due.push(webhook.id);
                }
            }
            for id in &due {
                if let Some(webhook) = turn.state.webhook_mut(*id) {
                    webhook.in_flight = true;
                }
            }
            due
        })
    }

    /// After an automatic attempt: the next one is due after 1, 2, 4 ... seconds, at most a minute apart.
    fn release(&self, webhook_id: Uuid) {
        self.turn(|turn| {
            let now = turn.base_now;
            let Some(webhook) = turn.state.webhook_mut(webhook_id) else { return };
            webhook.in_flight = false;
            if webhook.state != WebhookState::Pending {
                return;
            }
            let wait = 1_i64 << webhook.attempts.saturating_sub(1).min(6);
            webhook.due = now + SignedDuration::from_secs(wait.min(60));
            if webhook.attempts >= MOST_ATTEMPTS || webhook.due > webhook.first_due + LONGEST_WAIT {
                turn.expire(webhook_id);
            }
        });
    }
}
