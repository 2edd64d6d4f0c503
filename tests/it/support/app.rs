//! The product in this process: real HTTP on a port of its own, the simulated Microsoft on another, a clock that moves
//! only when told, seeded randomness, the embedded store in a temporary folder. Queue and timers run when the test says.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mediagenie::app::App;
use mediagenie::foundation::clock::{Clock, VirtualClock};
use mediagenie::foundation::rng::SeededRandom;
use mediagenie::foundation::settings::Settings;
use mediagenie::host::bindings::Trigger;
use mediagenie::host::edge::{self, Door};
use mediagenie::host::{Host, poller, scheduler};
use mediagenie::simulator::{Delivery, Person, Purchase, PurchaseOptions, Simulator, SimulatorOptions};
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::browser::Browser;
use super::destination::Stub;
use super::gate::Gate;

pub struct TestApp {
    pub host: Host,
    pub simulator: Simulator,
    pub clock: Arc<VirtualClock>,
    pub address: String,
    pub folder: Arc<TempDir>,
    /// Stops or fails chosen writes.
    pub gate: Arc<Gate>,
    simulating: Option<tokio::task::JoinHandle<()>>,
    /// The product's own runtime: shutting it down ends its connections too, as the end of a process would.
    product: Option<tokio::runtime::Runtime>,
    leftovers_expected: bool,
}

/// The key of the publisher's own system in all tests.
pub const PUBLISHER_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The `sig` of the notification address in all tests.
pub const NOTIFICATION_SECRET: &str = "a-notification-secret-of-32-chars";

/// The day on which all tests begin.
pub fn first_day() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

/// Settings that lead to a simulator, for this process or for another one.
pub fn settings_for(simulator: &Simulator, address: &str) -> HashMap<String, String> {
    let config = simulator.config();
    [
        ("PUBLIC_BASE_URL", address.to_owned()),
        ("ENTRA_AUTHORITY", config.entra_authority),
        ("MARKETPLACE_TENANT_ID", config.tenant_id),
        ("MARKETPLACE_CLIENT_ID", config.client_id),
        ("MARKETPLACE_CLIENT_SECRET", config.client_secret),
        ("MARKETPLACE_API_URL", config.api_url),
        ("MARKETPLACE_CALLER_IDS", config.caller_id),
        ("SIGN_IN_CLIENT_ID", config.sign_in_client_id),
        ("SIGN_IN_CLIENT_SECRET", config.sign_in_client_secret),
        ("STAFF_OBJECT_IDS", config.staff_object_id),
        ("PUBLISHER_API_KEYS", format!("billing={PUBLISHER_KEY}")),
        ("MANAGED_APP_SECRETS", NOTIFICATION_SECRET.to_owned()),
        ("ARM_URL", config.arm_url),
        ("ANALYTICS_API_URL", config.analytics_url),
        ("IDENTITY_ENDPOINT", config.identity_endpoint),
        ("IDENTITY_HEADER", config.identity_header),
        ("SUPPORT_EMAIL", "help@mediagenie.example".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The same for a process with an embedded store in `folder` that says little.
pub fn embedded_settings(simulator: &Simulator, address: &str, folder: &TempDir) -> HashMap<String, String> {
    let mut settings = settings_for(simulator, address);
    settings.insert("DATA_DIR".into(), folder.path().to_str().unwrap().into());
    settings.insert("LOG_LEVEL".into(), "error".into());
    settings
}

/// What leads to the simulated AI services, with the file of deployments in `folder`.
pub fn ai_settings(simulator: &Simulator, folder: &TempDir) -> HashMap<String, String> {
    let (ai, file) = (simulator.ai_config(), folder.path().join(DEPLOYMENTS));
    if !file.exists() {
        std::fs::write(&file, ai.deployments().to_string()).unwrap();
    }
    [
        ("AI_DEPLOYMENTS_FILE", file.to_str().unwrap().to_owned()),
        ("AZURE_OPENAI_KEY", ai.api_key),
        ("AZURE_SPEECH_KEY", ai.speech_key),
        ("AZURE_VISION_KEY", ai.vision_key),
        ("JWT_SECRET", "a secret of at least thirty-two characters".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The simulated Microsoft on a port of its own, delivering webhooks when told.
pub async fn simulator(clock: Arc<dyn Clock>, seed: u64) -> (Simulator, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = Simulator::new(SimulatorOptions {
        clock,
        random: Arc::new(SeededRandom::new(seed)),
        base_url: format!("http://{}", listener.local_addr().unwrap()),
        product_url: "http://127.0.0.1:1".into(),
        delivery: Delivery::Manual,
    });
    let server = tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    (simulator, server)
}

/// Beside the store, so that a restarted product finds it again.
const DEPLOYMENTS: &str = "deployments.json";

impl TestApp {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With settings that differ from the usual ones.
    pub async fn with(changes: &[(&str, &str)]) -> Self {
        let clock = Arc::new(VirtualClock::at(first_day()));
        let (simulator, server) = simulator(clock.clone(), 7).await;
        Self::on(clock, simulator, Arc::new(TempDir::new().unwrap()), changes, Some(server), None).await
    }

    /// With a destination for leads, and settings that differ from the usual ones.
    pub async fn forwarding_to(destination: &Stub, changes: &[(&str, &str)]) -> Self {
        let clock = Arc::new(VirtualClock::at(first_day()));
        let (simulator, server) = simulator(clock.clone(), 7).await;
        Self::on(clock, simulator, Arc::new(TempDir::new().unwrap()), changes, Some(server), Some(destination)).await
    }

    /// With deployments of all simulated AI services.
    pub async fn with_ai() -> Self {
        Self::with_deployments(|_| {}, &[]).await
    }

    /// The same with a changed file of deployments, and settings that differ from the usual ones.
    pub async fn with_deployments(change: impl FnOnce(&mut serde_json::Value), settings: &[(&str, &str)]) -> Self {
        let clock = Arc::new(VirtualClock::at(first_day()));
        let (simulator, server) = simulator(clock.clone(), 7).await;
        let folder = Arc::new(TempDir::new().unwrap());
        let mut deployments = simulator.ai_config().deployments();
        change(&mut deployments);
        std::fs::write(folder.path().join(DEPLOYMENTS), deployments.to_string()).unwrap();
        Self::on(clock, simulator, folder, settings, Some(server), None).await
    }

    /// With the simulated Dynamics and Teams as destinations of leads, as the demo has them.
    pub async fn with_destinations() -> Self {
        let clock = Arc::new(VirtualClock::at(first_day()));
        let (simulator, server) = simulator(clock.clone(), 7).await;
        let folder = Arc::new(TempDir::new().unwrap());
        let (crm, file) = (simulator.crm_config(), folder.path().join("destinations.json"));
        std::fs::write(&file, crm.demo().to_string()).unwrap();
        let settings = [("LEAD_DESTINATIONS_FILE", file.to_str().unwrap()), ("LEAD_KEYS", &crm.keys())];
        Self::on(clock, simulator, folder, &settings, Some(server), None).await
    }

    /// The same world after this product's process has ended: same clock, simulator and folder.
    pub async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    /// The same with settings that differ from the usual ones.
    pub async fn restart_with(mut self, changes: &[(&str, &str)]) -> Self {
        self.leftovers_expected = true;
        let (clock, simulator, folder, simulating) =
            (self.clock.clone(), self.simulator.clone(), self.folder.clone(), self.simulating.take());
        drop(self);
        Self::on(clock, simulator, folder, changes, simulating, None).await
    }

    async fn on(
        clock: Arc<VirtualClock>,
        simulator: Simulator,
        folder: Arc<TempDir>,
        changes: &[(&str, &str)],
        simulating: Option<tokio::task::JoinHandle<()>>,
        destination: Option<&Stub>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        simulator.set_product_url(&address);
        simulator.set_notification_address(&format!("{address}/marketplace/managed-app?sig={NOTIFICATION_SECRET}"));
        let mut settings = settings_for(&simulator, &address);
        settings.insert("DATA_DIR".into(), folder.path().to_str().unwrap().into());
        if folder.path().join(DEPLOYMENTS).exists() {
            settings.extend(ai_settings(&simulator, &folder));
        }
        settings.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let settings = Settings::read(&|name| settings.get(name).cloned()).unwrap();
        // The last product's threads may still be closing its file.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let (app, gate) = loop {
            match App::build(settings.clone(), clock.clone(), Arc::new(SeededRandom::new(1))).await {
                Ok(mut app) => {
                    let inner = Arc::get_mut(&mut app).unwrap();
                    let gate = Gate::before(inner.rows.clone());
                    inner.rows = gate.clone();
                    inner.destinations.0.extend(destination.map(Stub::configured));
                    break (app, gate);
                }
                Err(error) if error.to_string().contains("in use") && std::time::Instant::now() < deadline => {
                    tokio::task::yield_now().await
                }
                Err(error) => panic!("{error}"),
            }
        };
        let host = Host::new(app).unwrap();
        // Whoever listens to this test's log hears the product's threads, too.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let product = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&log)))
            .build()
            .unwrap();
        let served = host.clone();
        product.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            warp::serve(edge::filter(served, Door::Public)).incoming(listener).run().await;
        });
        Self {
            host,
            simulator,
            clock,
            address,
            folder,
            gate,
            simulating,
            product: Some(product),
            leftovers_expected: false,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// A browser of nobody yet.
    pub fn anonymous(&self) -> Browser {
        Browser::new(&self.address)
    }

    /// A browser whose person is signed in.
    pub async fn signed_in(&self, person: &Person) -> Browser {
        let browser = Browser::new(&self.address).of(person);
        let page = browser.get("/sign-in?return=/portal").await;
        assert_eq!(page.status, 200, "{}", page.body);
        browser
    }

    /// Something bought by Contoso's buyer.
    pub fn purchase(&self, plan: &str, quantity: Option<u32>) -> Purchase {
        self.purchase_by(&Person::contoso_buyer(), plan, quantity, PurchaseOptions::default())
    }

    pub fn purchase_by(&self, buyer: &Person, plan: &str, quantity: Option<u32>, options: PurchaseOptions) -> Purchase {
        self.simulator.purchase("mediagenie", plan, quantity, buyer, None, options)
    }

    /// Buys and activates as a person would: landing page, sign-in, confirm.
    pub async fn buy(&self, plan: &str, quantity: Option<u32>) -> (Uuid, Browser) {
        let purchase = self.purchase(plan, quantity);
        let browser = Browser::new(&self.address).of(&Person::contoso_buyer());
        let landing = browser.get(&purchase.landing_url).await;
        assert_eq!(landing.status, 200, "{}", landing.body);
        let done = browser.submit(&landing, "/marketplace/landing", &[]).await;
        assert_eq!(done.status, 200, "{}", done.body);
        self.settle().await;
        (purchase.subscription_id, browser)
    }

    /// Works on all visible messages.
    pub async fn drain(&self) -> usize {
        poller::drain(&self.host).await.unwrap()
    }

    /// Delivers webhooks and works on messages, moving the clock as far as needed, until nothing is left to do.
    pub async fn settle(&self) {
        for _ in 0..200 {
            self.simulator.deliver_all().await;
            self.simulator.managed_apps().deliver_all().await;
            self.drain().await;
            let waiting = self.simulator.pending_webhooks().len() + self.simulator.managed_apps().pending().len();
            if self.waiting().await == 0 && waiting == 0 {
                return;
            }
            self.clock.advance(SignedDuration::from_secs(5));
        }
        panic!("does not settle: {} messages, webhooks {:?}", self.waiting().await, self.simulator.pending_webhooks());
    }

    /// Messages in all queues, delayed ones included.
    pub async fn waiting(&self) -> usize {
        let mut count = 0;
        for function in self.host.functions.all() {
            if let Trigger::Queue { queue } = &function.trigger {
                count += self.host.app.queues.depth(queue).await.unwrap();
            }
        }
        count
    }

    /// Moves the clock to just after the timer's next due time and lets it tick.
    pub async fn run_timer(&self, name: &str) {
        let function = self.host.functions.by_name(name).unwrap();
        // The first look at a new timer only begins its schedule.
        scheduler::tick(&self.host, function).await.unwrap();
        self.clock.advance(SignedDuration::from_hours(25));
        assert!(scheduler::tick(&self.host, function).await.unwrap(), "{name} was not due");
    }

    /// Lets a timer's function run now, whenever it is due.
    pub async fn fire(&self, name: &str) {
        let function = self.host.functions.by_name(name).unwrap();
        mediagenie::host::dispatch::timer(&self.host, function).await.unwrap();
    }

    /// What we hold about a subscription: the parts of the row that Microsoft's truth decides.
    pub async fn facts(&self, id: Uuid) -> mediagenie::fulfillment::model::facts::Facts {
        self.detail(id).await.subscription.facts
    }

    pub async fn detail(&self, id: Uuid) -> mediagenie::fulfillment::Detail {
        let id = mediagenie::foundation::ids::SubscriptionId(id);
        mediagenie::fulfillment::detail(&self.host.app, id).await.unwrap().expect("the subscription is known")
    }

    /// The kinds of the timeline's entries, oldest first.
    pub async fn story(&self, id: Uuid) -> Vec<String> {
        let id = mediagenie::foundation::ids::SubscriptionId(id);
        let (events, _) = mediagenie::fulfillment::timeline(&self.host.app, id, None, 200).await.unwrap();
        events
            .iter()
            .rev()
            .map(|event| serde_json::to_value(event).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Leftover messages are part of this test.
    pub fn expect_leftovers(&mut self) {
        self.leftovers_expected = true;
    }
}

impl Drop for TestApp {
    /// A message that nobody worked on is a forgotten consequence.
    fn drop(&mut self) {
        if let Some(simulating) = &self.simulating {
            simulating.abort();
        }
        if let Some(product) = self.product.take() {
            product.shutdown_background();
        }
        if std::thread::panicking() || self.leftovers_expected {
            return;
        }
        let host = self.host.clone();
        let count = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut count = 0;
                for function in host.functions.all() {
                    if let Trigger::Queue { queue } = &function.trigger {
                        count += host.app.queues.depth(queue).await.unwrap();
                        count += host.app.queues.depth(&format!("{queue}-poison")).await.unwrap();
                    }
                }
                count
            })
        })
        .join()
        .unwrap();
        assert_eq!(count, 0, "messages were left behind");
    }
}
