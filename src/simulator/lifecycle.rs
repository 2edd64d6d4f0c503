//! What happens to a subscription as time passes, as Microsoft acts and as webhooks are answered
//! (marketplace contract, sections 2.4 and 3.1 to 3.5).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::model::{Action, DECISION_WINDOW, GRACE, Operation, OperationStatus, Source, Status, Subscription};
use super::state::{Turn, Webhook, WebhookState};

/// What is due next on the business clock.
#[derive(Debug, Clone, Copy)]
enum Due {
    Accept(Uuid),
    Activate,
    GiveUp,
    EndOfTerm,
}

impl Subscription {
    /// Billing starts.
    pub fn start(&mut self, at: Timestamp) {
        self.status = Status::Subscribed;
        self.anchor = Some(at.to_zoned(TimeZone::UTC).date());
        self.activates_at = None;
    }

    fn next_due(&self) -> Option<(Timestamp, Due)> {
        let decisions = self
            .operations
            .iter()
            .filter(|operation| operation.is_open())
            .filter_map(|operation| Some((operation.decide_at?, Due::Accept(operation.id))));
        let own = match self.status {
            Status::PendingFulfillmentStart => match self.activates_at {
                Some(at) => Some((at, Due::Activate)),
                None => Some((self.created + GRACE, Due::GiveUp)),
            },
            Status::Subscribed => self.renews_at().map(|at| (at, Due::EndOfTerm)),
            Status::Suspended => self.suspended_at.map(|at| (at + GRACE, Due::GiveUp)),
            Status::Unsubscribed => None,
        };
        decisions.chain(own).min_by_key(|(at, _)| *at)
    }

    /// Puts an open change into effect.
    pub fn accept(&mut self, operation_id: Uuid) {
        let Some(operation) = self.operation_mut(operation_id).filter(|operation| operation.is_open()) else { return };
        operation.status = OperationStatus::Succeeded;
        let (action, plan_id) = (operation.action.clone(), operation.plan_id.clone());
        match action {
            Action::ChangePlan(_) => {
                let trial = super::catalogue::plan(&plan_id).is_some_and(|plan| plan.free_trial);
                let per_seat = super::catalogue::plan(&plan_id).and_then(|plan| plan.seats);
                self.plan_id = plan_id;
                // A trial goes on between trial plans and ends at once on any other.
                self.free_trial = self.free_trial && trial;
                self.quantity = match (self.quantity, per_seat) {
                    (None, Some((least, _))) => Some(least),
                    (Some(_), None) if super::catalogue::plan(&self.plan_id).is_some() => None,
                    (quantity, _) => quantity,
                };
            }
            Action::ChangeQuantity(quantity) => self.quantity = Some(quantity),
            Action::Reinstate => {
                self.status = Status::Subscribed;
                self.suspended_at = None;
            }
            _ => {}
        }
    }

    /// Ends an open operation without effect.
    pub fn refuse(&mut self, operation_id: Uuid, why: &str) {
        if let Some(operation) = self.operation_mut(operation_id).filter(|operation| operation.is_open()) {
            operation.status = OperationStatus::Failed;
            operation.error = why.to_owned();
        }
    }

    fn refuse_all(&mut self, why: &str) {
        for operation in self.operations.iter_mut().filter(|operation| operation.is_open()) {
            operation.status = OperationStatus::Failed;
            operation.error = why.to_owned();
        }
    }
}

impl Turn<'_> {
    /// Brings one subscription up to the business clock.
    pub fn settle(&mut self, id: Uuid) {
        while let Some((at, due)) = self.state.subscriptions.get(&id).and_then(Subscription::next_due) {
            if at > self.now {
                return;
            }
            let Some(subscription) = self.state.subscriptions.get_mut(&id) else { return };
            match due {
                Due::Accept(operation) => subscription.accept(operation),
                Due::Activate if !subscription.activation_fails => subscription.start(at),
                Due::EndOfTerm if subscription.auto_renew => {
                    subscription.renewals += 1;
                    subscription.free_trial = false;
                    self.begin(id, Action::Renew, Source::Azure, OperationStatus::Succeeded, at);
                }
                Due::Activate | Due::GiveUp | Due::EndOfTerm => {
                    self.end(id, Source::Azure, at);
                }
            }
        }
    }

    /// Brings every subscription up to the business clock.
    pub fn settle_all(&mut self) {
        for id in self.state.order.clone() {
            self.settle(id);
        }
        self.settle_apps();
    }

    /// Lets every open window of decision elapse at once.
    pub fn settle_windows(&mut self) {
        for subscription in self.state.subscriptions.values_mut() {
            let waiting: Vec<Uuid> = subscription
                .operations
                .iter()
                .filter(|operation| operation.is_open() && operation.decide_at.is_some())
                .map(|operation| operation.id)
                .collect();
            waiting.into_iter().for_each(|operation| subscription.accept(operation));
        }
    }

    /// Books an operation and queues its webhook. The values asked for are the new ones; the snapshot in the webhook
    /// shows the subscription as it is.
    pub fn begin(&mut self, id: Uuid, action: Action, source: Source, status: OperationStatus, at: Timestamp) -> Uuid {
        let (operation_id, activity_id) = (self.id(), self.id());
        let Some(subscription) = self.state.subscriptions.get_mut(&id) else { return operation_id };
        let plan_id = if let Action::ChangePlan(plan) = &action { plan } else { &subscription.plan_id }.clone();
        let quantity = if let Action::ChangeQuantity(new) = action { Some(new) } else { subscription.quantity };
        let quantity = quantity.filter(|_| subscription.status != Status::Unsubscribed);
        // What the publisher asked for is accepted in any case, so its window is open from the start.
        let decide_at = (source == Source::Partner).then(|| at + DECISION_WINDOW);
        let operation = Operation {
            id: operation_id,
            activity_id,
            action,
            plan_id,
            quantity,
            status,
            source,
            created: at,
            decide_at,
            error: String::new(),
            seen: 0,
        };
        let body = subscription.webhook_body(&operation);
        let name = operation.action.name().to_owned();
        subscription.operations.push(operation);
        let dropped = self.faults.take(|switches| &mut switches.drop_next_webhooks);
        let delay = i64::try_from(self.faults.get().webhook_delay_milliseconds).unwrap_or(i64::MAX / 1_000_000);
        let due = self.base_now + jiff::SignedDuration::from_millis(delay);
        self.state.push_webhook(Webhook {
            id: operation_id,
            subscription: id,
            action: name,
            body,
            state: if dropped { WebhookState::Dropped } else { WebhookState::Pending },
            attempts: 0,
            first_due: due,
            due,
            in_flight: false,
        });
        operation_id
    }

    /// The subscription is over, for good.
    pub fn end(&mut self, id: Uuid, source: Source, at: Timestamp) -> Uuid {
        if let Some(subscription) = self.state.subscriptions.get_mut(&id) {
            subscription.refuse_all("The subscription was cancelled.");
            subscription.status = Status::Unsubscribed;
            subscription.ended_at = Some(at);
            subscription.activates_at = None;
        }
        self.begin(id, Action::Unsubscribe, source, OperationStatus::Succeeded, at)
    }

    /// Something happens on Microsoft's side. Fails with a sentence where the state does not allow it.
    pub fn act(&mut self, id: Uuid, action: Action) -> Result<Uuid, String> {
        self.settle(id);
        let at = self.now;
        let subscription = self.state.subscriptions.get_mut(&id).ok_or("There is no such subscription.")?;
        let status = subscription.status;
        let wrong = |needed: &str| Err(format!("The subscription is {status:?}; {needed}."));
        let done = OperationStatus::Succeeded;
        match action {
            Action::ChangePlan(_) | Action::ChangeQuantity(_) => {
                if status != Status::Subscribed {
                    return wrong("only a Subscribed one can be changed");
                }
                if subscription.open_operation().is_some() {
                    return Err("Another operation is pending.".into());
                }
                Ok(self.begin(id, action, Source::Azure, OperationStatus::InProgress, at))
            }
            Action::Suspend => {
                if status != Status::Subscribed {
                    return wrong("only a Subscribed one can be suspended");
                }
                subscription.refuse_all("The subscription was suspended.");
                subscription.status = Status::Suspended;
                subscription.suspended_at = Some(at);
                Ok(self.begin(id, action, Source::Azure, done, at))
            }
            Action::Reinstate => {
                if status != Status::Suspended {
                    return wrong("only a Suspended one can be reinstated");
                }
                if subscription.open_operation().is_some() {
                    return Err("Another operation is pending.".into());
                }
                Ok(self.begin(id, action, Source::Azure, OperationStatus::InProgress, at))
            }
            Action::Renew => {
                if status != Status::Subscribed {
                    return wrong("only a Subscribed one renews");
                }
                subscription.renewals += 1;
                subscription.free_trial = false;
                Ok(self.begin(id, action, Source::Azure, done, at))
            }
            Action::Unsubscribe => {
                if status == Status::Unsubscribed {
                    return wrong("it cannot end twice");
                }
                Ok(self.end(id, Source::Azure, at))
            }
            Action::Subscribe => {
                if status == Status::PendingFulfillmentStart {
                    subscription.start(at);
                }
                Ok(self.begin(id, action, Source::Azure, done, at))
            }
            Action::Unknown(_) => Ok(self.begin(id, action, Source::Azure, done, at)),
        }
    }

    /// The product answered a webhook; `None` when it could not be reached. Says where the webhook is now.
    pub fn answered(&mut self, webhook_id: Uuid, status: Option<u16>) -> Option<WebhookState> {
        let now = self.now;
        let webhook = self.state.webhook_mut(webhook_id)?;
        let id = webhook.subscription;
        let revert = self.faults.get().revert_refused_changes;
        let subscription = self.state.subscriptions.get_mut(&id)?;
        let operation = subscription.operation(webhook_id)?.clone();
        let state = match status {
            Some(200..=299) => {
                match (&operation.action, operation.source) {
                    (Action::Reinstate, _) | (_, Source::Partner) => subscription.accept(webhook_id),
                    _ => {
                        if let Some(open) = subscription.operation_mut(webhook_id) {
                            open.decide_at.get_or_insert(now + DECISION_WINDOW);
                        }
                    }
                }
                WebhookState::Delivered
            }
            Some(400..=499) if operation.action.is_change() => {
                if operation.source == Source::Partner {
                    // Observed: what the publisher asked for always succeeds once it was accepted.
                    subscription.accept(webhook_id);
                } else if operation.is_open() {
                    subscription.refuse(webhook_id, "The publisher refused the change.");
                    if revert {
                        self.revert(id, &operation.action);
                    }
                }
                WebhookState::Rejected
            }
            _ => WebhookState::Pending,
        };
        let webhook = self.state.webhook_mut(webhook_id)?;
        // A late repetition does not take back what was settled.
        if webhook.state != WebhookState::Delivered && webhook.state != WebhookState::Rejected {
            let lost = webhook.state == WebhookState::Dropped && state == WebhookState::Pending;
            webhook.state = if lost { WebhookState::Dropped } else { state };
        }
        Some(webhook.state)
    }

    /// A change "back" to the current value, which has to be accepted.
    pub fn revert(&mut self, id: Uuid, refused: &Action) {
        let Some(subscription) = self.state.subscriptions.get(&id) else { return };
        let action = match refused {
            Action::ChangePlan(_) => Action::ChangePlan(subscription.plan_id.clone()),
            _ => Action::ChangeQuantity(subscription.quantity.unwrap_or_default()),
        };
        self.begin(id, action, Source::Azure, OperationStatus::InProgress, self.now);
    }

    /// Microsoft gives up on a webhook after its last attempt; an open operation fails with it.
    pub fn expire(&mut self, webhook_id: Uuid) {
        let Some(webhook) = self.state.webhook_mut(webhook_id) else { return };
        webhook.state = WebhookState::Expired;
        let id = webhook.subscription;
        if let Some(subscription) = self.state.subscriptions.get_mut(&id) {
            subscription.refuse(webhook_id, "The publisher did not answer.");
        }
    }
}
