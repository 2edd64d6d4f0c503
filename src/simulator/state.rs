//! The marketplace's books: subscriptions, purchase tokens and webhooks, behind one lock. A [`Turn`] is one look at
//! them at one moment of the business clock; the rules of that moment live in `lifecycle.rs` and `publisher.rs`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::faults::Faults;
use super::model::Subscription;
use super::people::Person;
use super::usage::UsageBook;
use crate::foundation::rng::Random;

/// A purchase token opens the landing page for this long.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How a purchase is made. The default is a monthly purchase that renews itself.
#[derive(Debug, Clone)]
pub struct PurchaseOptions {
    /// Subscribed and billed from the start, announced by a `Subscribe` webhook.
    pub auto_activate: bool,
    /// Begins with a free trial, also where the plan has none.
    pub free_trial: bool,
    /// Bought through a reseller: the publisher may only read. Without a beneficiary, the reseller of the simulated
    /// directory buys for the buyer.
    pub csp: bool,
    pub auto_renew: bool,
    /// `P1M`, `P1Y`, `P2Y`, `P3Y`, `P4Y`, `P5Y`; nothing for the plan's first term.
    pub term: Option<String>,
    /// Bought from preview: the offer id arrives with `-preview` behind it.
    pub preview: bool,
    /// Bought by a private offer: `sourceOffers` is shown with the purchased plan.
    pub private_offer: bool,
    /// The customer's name for it; nothing for one made from plan and buyer.
    pub name: Option<String>,
}

impl Default for PurchaseOptions {
    fn default() -> Self {
        Self {
            auto_activate: false,
            free_trial: false,
            csp: false,
            auto_renew: true,
            term: None,
            preview: false,
            private_offer: false,
            name: None,
        }
    }
}

/// What a purchase hands to the buyer's browser.
#[derive(Debug, Clone, Serialize)]
pub struct Purchase {
    pub subscription_id: Uuid,
    /// Opaque; contains `+`, `/` and `=`.
    pub token: String,
    /// The product's landing page with the token percent-encoded once.
    pub landing_url: String,
}

/// Where a webhook is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum WebhookState {
    Pending,
    Delivered,
    /// Answered 4xx where that means "refused".
    Rejected,
    /// Lost on the way.
    Dropped,
    /// Given up after the last attempt.
    Expired,
}

/// A webhook. Its id is the id of its operation.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub id: Uuid,
    pub subscription: Uuid,
    pub action: String,
    pub body: Value,
    pub state: WebhookState,
    pub attempts: u32,
    /// Base clock; the automatic delivery waits for it.
    pub first_due: Timestamp,
    pub due: Timestamp,
    pub in_flight: bool,
}

/// One POST to the product.
#[derive(Debug, Clone, Serialize)]
pub struct WebhookAttempt {
    pub webhook_id: Uuid,
    pub subscription: Uuid,
    pub action: String,
    /// Base clock.
    pub at: Timestamp,
    /// Nothing when there was no answer; then `error` says why.
    pub status: Option<u16>,
    pub latency_ms: u64,
    pub error: Option<String>,
}

/// Everything the marketplace knows.
#[derive(Default)]
pub struct State {
    pub subscriptions: HashMap<Uuid, Subscription>,
    /// In order of purchase.
    pub order: Vec<Uuid>,
    tokens: HashMap<String, (Uuid, Timestamp)>,
    /// In order of creation.
    pub webhooks: Vec<Webhook>,
    webhook_index: HashMap<Uuid, usize>,
    pub log: Vec<WebhookAttempt>,
    /// Metered usage that was accepted.
    pub usage: UsageBook,
    /// Plans of the managed apps that were registered for usage only, by address in lower case.
    pub managed_apps: HashMap<String, String>,
    /// The life of managed apps, and notifications of it.
    pub managed: super::managed_apps::Book,
    /// Leads that were sent.
    pub leads: super::leads::Book,
    /// Reports of the analytics API, and what they are made of beside these books.
    pub analytics: super::analytics::Book,
    /// Business time minus base time.
    pub offset: SignedDuration,
}

impl State {
    pub fn webhook_mut(&mut self, id: Uuid) -> Option<&mut Webhook> {
        self.webhooks.get_mut(*self.webhook_index.get(&id)?)
    }

    pub fn push_webhook(&mut self, webhook: Webhook) {
        self.webhook_index.insert(webhook.id, self.webhooks.len());
        self.webhooks.push(webhook);
    }

    /// The webhooks that wait for delivery, in the order in which they are to be sent.
    pub fn pending(&self, newest_first: bool) -> Vec<&Webhook> {
        let mut pending: Vec<&Webhook> =
            self.webhooks.iter().filter(|webhook| webhook.state == WebhookState::Pending).collect();
        if newest_first {
            pending.reverse();
        }
        pending
    }
}

/// One look at the books, at one moment.
pub struct Turn<'a> {
    pub state: &'a mut State,
    /// The base clock.
    pub base_now: Timestamp,
    /// The business clock.
    pub now: Timestamp,
    pub random: &'a dyn Random,
    pub faults: &'a Faults,
}

impl Turn<'_> {
    /// A fresh random id.
    pub fn id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A fresh purchase token for a subscription.
    pub fn token(&mut self, subscription: Uuid) -> String {
        let mut bytes = [0; 64];
        self.random.fill(&mut bytes);
        // These become `+/` in the middle; 64 bytes end in `==`. So every token has what careless decoding breaks.
        bytes[30..32].copy_from_slice(&[0xfb, 0xff]);
        let token = STANDARD.encode(bytes);
        self.state.tokens.insert(token.clone(), (subscription, self.now + TOKEN_LIFE));
        token
    }

    /// The subscription that a purchase token stands for, if the token is still good.
    pub fn resolve(&self, token: &str) -> Option<Uuid> {
        let (subscription, expires) = self.state.tokens.get(token)?;
        (self.now < *expires).then_some(*subscription)
    }

    /// Books a purchase; the webhook of an auto-activated one is queued.
    pub fn purchase(
        &mut self,
        offer: &str,
        plan_id: &str,
        quantity: Option<u32>,
        buyer: &Person,
        beneficiary: Option<&Person>,
        options: PurchaseOptions,
    ) -> Uuid {
        use super::model::{Action, Bought, OperationStatus, Source, Status};
        let id = self.id();
        let plan = super::catalogue::plan(plan_id);
        let (purchaser, beneficiary) = match beneficiary {
            Some(beneficiary) => (buyer.clone(), beneficiary.clone()),
            None if options.csp => (Person::reseller(), buyer.clone()),
            None => (buyer.clone(), buyer.clone()),
        };
        let seats = plan.and_then(|plan| plan.seats);
        let first_term = plan.and_then(|plan| plan.terms.first()).map_or("P1M", |term| term.unit);
        let name =
            options.name.unwrap_or_else(|| format!("{} for {}", plan.map_or(plan_id, |p| p.name), beneficiary.name));
        let quantity = quantity.or(seats.map(|(least, _)| least));
        let trial = options.free_trial || plan.is_some_and(|plan| plan.free_trial);
        let mut subscription = Subscription {
            id,
            name,
            offer_id: if options.preview { format!("{offer}-preview") } else { offer.to_owned() },
            plan_id: plan_id.to_owned(),
            quantity,
            bought: Bought { plan: plan_id.to_owned(), quantity, trial },
            status: Status::PendingFulfillmentStart,
            purchaser,
            beneficiary,
            csp: options.csp,
            private_offer: options.private_offer.then(|| self.id()),
            term_unit: options.term.unwrap_or_else(|| first_term.to_owned()),
            anchor: None,
            renewals: 0,
            auto_renew: options.auto_renew,
            free_trial: trial,
            created: self.now,
            activates_at: None,
            activation_fails: false,
            suspended_at: None,
            ended_at: None,
            operations: Vec::new(),
        };
        if options.auto_activate {
            subscription.start(self.now);
        }
        self.state.subscriptions.insert(id, subscription);
        self.state.order.push(id);
        if options.auto_activate {
            self.begin(id, Action::Subscribe, Source::Azure, OperationStatus::Succeeded, self.now);
        }
        id
    }
}
