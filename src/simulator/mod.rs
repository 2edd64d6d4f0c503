//! The outside world for demo and tests: a simulated Microsoft with its commercial marketplace and its Entra sign-in,
//! served over real HTTP, so that the product meets it through its ordinary settings.
//!
//! It owns: the marketplace's books (`state`, `model`, `lifecycle`, `publisher`; metered usage in `usage` and
//! `millionths`), managed applications with what Azure tells of them (`managed_apps`), leads (`leads`), the HTTP faces of
//! marketplace and sign-in (`fulfillment`, `metering`, `entra`), the AI services that the product sells on (`ai`), the
//! systems of sales that leads go to (`crm`), the analytics API with its datasets (`analytics`), webhooks on their way to
//! the product (`webhooks`), what may go wrong (`faults`), what is sold and to whom (`catalogue`, `people`), and pages and
//! a JSON API to drive it by hand (`pages`, `control`). It knows nothing of the product but two addresses: the landing page
//! and the webhook. Everything is in memory, large files of analytics on disk, and gone at the end.
//!
//! The behaviour follows `marketplace contract`, with the oddities that were observed on the real service.
//! Two clocks: tokens live by the base clock that is given in; business time (terms, deadlines, windows of decision) is
//! the base clock plus what [`Simulator::advance`] has added.

pub mod ai;
pub mod analytics;
pub mod catalogue;
mod control;
pub mod crm;
mod entra;
pub mod faults;
mod fulfillment;
mod http;
mod keys;
pub mod leads;
mod lifecycle;
pub mod managed_apps;
mod metering;
#[cfg(test)]
mod metering_tests;
mod millionths;
pub mod model;
mod pages;
pub mod people;
mod publisher;
mod sending;
mod state;
#[cfg(test)]
mod tests;
mod usage;
mod webhooks;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::foundation::clock::Clock;
use crate::foundation::rng::Random;
use keys::SigningKey;
use state::{State, Turn};

pub use ai::{AiCall, AiConfig, AiKind};
pub use analytics::{Analytics, AnalyticsHistory};
pub use crm::{CrmConfig, CrmRecord};
pub use faults::Faults;
pub use leads::{Lead, LeadAnswer};
pub use managed_apps::{Deployment, Ending, ManagedApp, ManagedApps};
pub use model::Action;
pub use people::{Person, people};
pub use state::{Purchase, PurchaseOptions, WebhookAttempt};
pub use usage::{BookedUsage, ReconStatus};
pub use webhooks::{DeliveryOutcome, PendingWebhook};

/// Who sends the webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The simulator, in the background, with retries as Microsoft makes them. For the demo.
    Automatic,
    /// The caller, by [`Simulator::deliver`] and [`Simulator::deliver_all`]. For tests.
    Manual,
}

/// What a simulator is made of.
#[derive(Debug)]
pub struct SimulatorOptions {
    /// Token times come from here; business time is this plus an offset.
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Where the simulator is reached, such as `http://127.0.0.1:8090`.
    pub base_url: String,
    /// Where the product is reached, such as `http://127.0.0.1:8080`.
    pub product_url: String,
    pub delivery: Delivery,
}

/// The values the product has to be set with. All of them work with the simulator only.
#[derive(Debug, Clone, Serialize)]
pub struct ProductConfig {
    /// `ENTRA_AUTHORITY`
    pub entra_authority: String,
    /// `MARKETPLACE_TENANT_ID`
    pub tenant_id: String,
    /// `MARKETPLACE_CLIENT_ID`
    pub client_id: String,
    /// `MARKETPLACE_CLIENT_SECRET`
    pub client_secret: String,
    /// `MARKETPLACE_API_URL`
    pub api_url: String,
    /// `MARKETPLACE_CALLER_IDS`
    pub caller_id: String,
    /// `SIGN_IN_CLIENT_ID`
    pub sign_in_client_id: String,
    /// `SIGN_IN_CLIENT_SECRET`
    pub sign_in_client_secret: String,
    /// `STAFF_OBJECT_IDS`
    pub staff_object_id: String,
    pub staff_tenant_id: String,
    pub publisher_id: String,
    /// `IDENTITY_ENDPOINT`
    pub identity_endpoint: String,
    /// `IDENTITY_HEADER`
    pub identity_header: String,
    /// `ARM_URL`
    pub arm_url: String,
    /// `ANALYTICS_API_URL`
    pub analytics_url: String,
    /// `ANALYTICS_RESOURCE`
    pub analytics_resource: String,
}

/// How far business time may be from the base clock: about ten years, so that no date runs over.
const FURTHEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

struct Inner {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    base_url: String,
    delivery: Delivery,
    product_url: Mutex<String>,
    page_size: Mutex<usize>,
    state: Mutex<State>,
    issued: Mutex<entra::Issued>,
    identity: Mutex<managed_apps::identity::Tokens>,
    key: Mutex<SigningKey>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    faults: Faults,
    ai: Mutex<ai::Books>,
    crm: Mutex<crm::Books>,
    http: reqwest::Client,
}

/// The simulated Microsoft. Clones share one world.
#[derive(Clone)]
pub struct Simulator(Arc<Inner>);

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("base_url", &self.0.base_url).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    pub fn new(options: SimulatorOptions) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(webhooks::ANSWER_TIMEOUT)
            .build()
            .expect("a client with built-in settings can be made");
        let key = SigningKey::first(options.random.as_ref());
        Self(Arc::new(Inner {
            clock: options.clock,
            random: options.random,
            base_url: options.base_url.trim_end_matches('/').to_owned(),
            delivery: options.delivery,
            product_url: Mutex::new(options.product_url.trim_end_matches('/').to_owned()),
            page_size: Mutex::new(100),
            state: Mutex::default(),
            issued: Mutex::default(),
            identity: Mutex::default(),
            key: Mutex::new(key),
            counts: Mutex::default(),
            faults: Faults::default(),
            ai: Mutex::default(),
            crm: Mutex::default(),
            http,
        }))
    }

    /// Serves until `shutdown` ends. With automatic delivery, webhooks are sent meanwhile.
    pub fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send {
        // Not in the future: a caller may connect before that is first polled.
        crate::foundation::web::send_at_once(&listener);
        async move {
            let senders = (self.0.delivery == Delivery::Automatic).then(|| {
                let notifications = managed_apps::deliver_in_background(self.clone());
                let callbacks = analytics::deliver_in_background(self.clone());
                let webhooks = self.clone().deliver_in_background();
                [tokio::spawn(webhooks), tokio::spawn(notifications), tokio::spawn(callbacks)]
            });
            http::serve(self, listener, shutdown).await;
            for sender in senders.into_iter().flatten() {
                sender.abort();
            }
        }
    }

    /// The values the product must be set with.
    pub fn config(&self) -> ProductConfig {
        ProductConfig {
            entra_authority: self.0.base_url.clone(),
            tenant_id: people::PUBLISHER_TENANT.to_string(),
            client_id: people::CLIENT_ID.to_string(),
            client_secret: people::CLIENT_SECRET.to_owned(),
            api_url: self.api_url(),
            caller_id: people::MARKETPLACE_APP.to_string(),
            sign_in_client_id: people::SIGN_IN_CLIENT_ID.to_string(),
            sign_in_client_secret: people::SIGN_IN_CLIENT_SECRET.to_owned(),
            staff_object_id: Person::staff_admin().object_id.to_string(),
            staff_tenant_id: people::PUBLISHER_TENANT.to_string(),
            publisher_id: people::PUBLISHER_ID.to_owned(),
            identity_endpoint: format!("{}{}", self.0.base_url, managed_apps::identity::ROUTE),
            identity_header: managed_apps::identity::IDENTITY_HEADER.to_owned(),
            arm_url: format!("{}/arm", self.0.base_url),
            analytics_url: format!("{}{}", self.0.base_url, analytics::BASE),
            analytics_resource: analytics::RESOURCE.to_owned(),
        }
    }

    /// The product's address, for those who learn it later.
    pub fn set_product_url(&self, url: &str) {
        *lock(&self.0.product_url) = url.trim_end_matches('/').to_owned();
    }

    /// How many subscriptions one page of the list holds; 100 unless set.
    pub fn set_page_size(&self, size: usize) {
        *lock(&self.0.page_size) = size.max(1);
    }

    /// Somebody buys. Any offer and plan can be bought, also ones that are not in the catalogue.
    pub fn purchase(
        &self,
        offer: &str,
        plan: &str,
        quantity: Option<u32>,
        buyer: &Person,
        beneficiary: Option<&Person>,
        options: PurchaseOptions,
    ) -> Purchase {
        let (subscription_id, token) = self.turn(|turn| {
            let id = turn.purchase(offer, plan, quantity, buyer, beneficiary, options);
            (id, turn.token(id))
        });
        let landing_url = self.landing_address(&token);
        Purchase { subscription_id, token, landing_url }
    }

    /// A fresh way to the landing page, as "Configure account" and "Manage account" give one.
    pub fn landing_url(&self, subscription: Uuid) -> Option<String> {
        let token =
            self.turn(|turn| turn.state.subscriptions.contains_key(&subscription).then(|| turn.token(subscription)))?;
        Some(self.landing_address(&token))
    }

    fn landing_address(&self, token: &str) -> String {
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        format!("{}/marketplace/landing?token={token}", self.product_url())
    }

    /// Something happens on Microsoft's side; answers the operation's id, or why the state does not allow it.
    /// A change to the value that is in effect already is allowed: it is the "revert" that was observed.
    pub fn act(&self, subscription: Uuid, action: Action) -> Result<Uuid, String> {
        self.turn(|turn| turn.act(subscription, action))
    }

    /// The subscription as the API shows it.
    pub fn subscription(&self, id: Uuid) -> Option<Value> {
        self.turn(|turn| {
            turn.settle(id);
            turn.state.subscriptions.get(&id).map(model::Subscription::view)
        })
    }

    /// The operation as the API shows it; looking at it here changes nothing.
    pub fn operation(&self, subscription: Uuid, id: Uuid) -> Option<Value> {
        self.turn(|turn| {
            turn.settle(subscription);
            let found = turn.state.subscriptions.get(&subscription)?;
            Some(found.operation_view(found.operation(id)?))
        })
    }

    /// Every window of decision that is open elapses now: silence becomes consent.
    pub fn settle_operations(&self) {
        self.turn(|turn| turn.settle_windows());
    }

    /// Moves business time, with everything that falls due on the way. Backwards works too, but undoes nothing.
    pub fn advance(&self, by: SignedDuration) {
        {
            let mut state = lock(&self.0.state);
            state.offset = state.offset.saturating_add(by).clamp(-FURTHEST, FURTHEST);
        }
        self.turn(|turn| turn.settle_all());
    }

    /// Business time.
    pub fn now(&self) -> Timestamp {
        self.turn(|turn| turn.now)
    }

    /// What may go wrong.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// A token with these claims, RS256 with the published key id.
    pub fn sign_token(&self, claims: Value) -> String {
        self.key().sign(&claims)
    }

    /// The private key that signs now, PKCS#1 DER.
    pub fn signing_key_der(&self) -> Vec<u8> {
        self.key().private_der().to_vec()
    }

    /// The public key that is published now, as PEM.
    pub fn public_key_pem(&self) -> String {
        self.key().public_pem()
    }

    /// The key id that is published now.
    pub fn key_id(&self) -> String {
        self.key().kid
    }

    /// A new key with a new id is published; the old one is gone.
    pub fn rotate_keys(&self) {
        let next = self.key().next(self.0.random.as_ref());
        *lock(&self.0.key) = next;
    }

    /// All access tokens handed out so far stop working.
    pub fn revoke_access_tokens(&self) {
        self.issued().revoke_all();
        lock(&self.0.identity).revoke_all();
    }

    /// How many calls of a kind were seen, whatever was answered: `resolve`, `activate`, `get`, `list`, `plans`,
    /// `patch`, `delete`, `operations`, `operation.get`, `operation.patch`, `usage`, `usage.batch`, `usage.list`, `token`, `keys`,
    /// `identity.token`, `arm.application`, `arm.graph`,
    /// `ai.chat`, `ai.embeddings`, `ai.models`, and the other doors of the AI services by the names they have there; `crm.dynamics`, `crm.dynamics.token`
    /// and the other doors of the systems of sales; `analytics.datasets`, `analytics.executions`, `analytics.download`,
    /// `analytics.query.create` (`list`, `test`, `delete`), `analytics.report.create` (`list`, `update`, `pause`, `resume`,
    /// `delete`).
    pub fn request_count(&self, label: &str) -> u64 {
        lock(&self.0.counts).get(label).copied().unwrap_or(0)
    }

    fn turn<T>(&self, look: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let mut state = lock(&self.0.state);
        let base_now = self.base_now();
        let now = base_now.saturating_add(state.offset).unwrap_or(base_now);
        let random = self.0.random.as_ref();
        look(&mut Turn { state: &mut state, base_now, now, random, faults: &self.0.faults })
    }

    fn count(&self, label: &'static str) {
        *lock(&self.0.counts).entry(label).or_default() += 1;
    }

    fn key(&self) -> SigningKey {
        lock(&self.0.key).clone()
    }

    fn issued(&self) -> MutexGuard<'_, entra::Issued> {
        lock(&self.0.issued)
    }

    fn accepts_access_token(&self, token: &str) -> bool {
        let now = self.base_now();
        self.issued().accepts(token, now)
    }

    fn base_now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn base_url(&self) -> &str {
        &self.0.base_url
    }

    fn api_url(&self) -> String {
        format!("{}/api", self.0.base_url)
    }

    fn product_url(&self) -> String {
        lock(&self.0.product_url).clone()
    }

    fn page_size(&self) -> usize {
        *lock(&self.0.page_size)
    }

    fn secret(&self) -> String {
        self.0.random.token()
    }

    fn new_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.random.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn http(&self) -> &reqwest::Client {
        &self.0.http
    }
}
