//! One scenario behind every front door: in this process, under `serve`, and packaged under a stand-in for the Functions
//! host with state in Azure Storage (Azurite).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mediagenie::foundation::azure_account::AzureAccount;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::managed_identity::ManagedIdentity;
use mediagenie::foundation::outbound;
use mediagenie::foundation::secret::Secret;
use mediagenie::foundation::settings::{Cloud, IdentityEndpoint, StorageAccount};
use mediagenie::host::package;
use mediagenie::queue::AzureQueues;
use mediagenie::simulator::{Action, Person, Simulator};
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::app::{TestApp, settings_for, simulator};
use crate::support::azurite::{Azurite, free_port};
use crate::support::browser::Browser;
use crate::support::fake_host::FakeHost;
use crate::support::process::{Process, executable};

/// A front door: where it is, and how time passes behind it.
enum Door<'a> {
    InProcess(&'a TestApp),
    /// Queue and clock go by themselves.
    Process,
}

impl Door<'_> {
    /// Until the staff's list shows this of the subscription.
    async fn eventually(
        &self,
        staff: &Browser,
        simulator: &Simulator,
        id: Uuid,
        plan: &str,
        seats: &str,
        status: &str,
    ) {
        let wanted = format!(",{plan},{seats},{status},");
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = String::new();
        while Instant::now() < deadline {
            simulator.deliver_all().await;
            match self {
                Self::InProcess(app) => app.settle().await,
                Self::Process => tokio::time::sleep(Duration::from_millis(30)).await,
            }
            last = staff.get(&format!("/publisher/subscriptions.csv?q={id}")).await.body;
            if last.contains(&wanted) {
                return;
            }
        }
        panic!("never became {wanted}: {last}");
    }
}

/// Buys, changes and ends a subscription, from outside only, and gives the story as the customer reads it.
async fn scenario(door: Door<'_>, address: &str, simulator: &Simulator) -> Vec<String> {
    let buyer = Person::contoso_buyer();
    let purchase = simulator.purchase("mediagenie", "team", Some(4), &buyer, None, Default::default());
    let id = purchase.subscription_id;
    let browser = Browser::new(address).of(&buyer);
    let staff = Browser::new(address).of(&Person::staff_admin());
    assert_eq!(staff.get("/publisher/subscriptions").await.status, 200);
    let landing = browser.get(&purchase.landing_url).await;
    assert_eq!(landing.status, 200, "{}", landing.body);
    assert_eq!(browser.submit(&landing, "/marketplace/landing", &[]).await.status, 200);
    door.eventually(&staff, simulator, id, "team", "4", "Subscribed").await;

    let portal = format!("/portal/subscriptions/{id}");
    let page = browser.get(&portal).await;
    assert_eq!(browser.submit(&page, &format!("{portal}/quantity"), &[("quantity", "6")]).await.status, 200);
    door.eventually(&staff, simulator, id, "team", "6", "Subscribed").await;

    simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    door.eventually(&staff, simulator, id, "team", "9", "Subscribed").await;
    for (action, status) in [
        (Action::Suspend, "Suspended"),
        (Action::Reinstate, "Subscribed"),
        (Action::Renew, "Subscribed"),
        (Action::Unsubscribe, "Unsubscribed"),
    ] {
        simulator.act(id, action).unwrap();
        door.eventually(&staff, simulator, id, "team", "9", status).await;
    }
    // Kinds of actions that were settled, as the staff see them.
    let page = staff.get(&format!("/publisher/subscriptions/{id}")).await;
    let mut seen: Vec<String> = ["Suspension", "Reinstatement", "Renewal", "Cancellation"]
        .iter()
        .filter(|word| page.says(word))
        .map(ToString::to_string)
        .collect();
    seen.push(format!("{}", page.status));
    seen
}

#[tokio::test]
async fn the_scenario_passes_in_process() {
    let app = TestApp::start().await;
    let seen = scenario(Door::InProcess(&app), &app.address, &app.simulator).await;
    assert_eq!(seen.last().unwrap(), "200", "{seen:?}");
}

#[tokio::test]
async fn the_scenario_passes_under_serve_and_sigterm_ends_it_cleanly() {
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 11).await;
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = settings_for(&simulator, &address);
    settings.insert("DATA_DIR".into(), folder.path().to_str().unwrap().into());
    let mut process = Process::serve(&settings, port);
    scenario(Door::Process, &address, &simulator).await;
    assert_eq!(process.terminate(), Some(0));
}

#[tokio::test]
async fn the_scenario_passes_packaged_under_the_functions_host_on_azure_storage() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 12).await;
    let folder = TempDir::new().unwrap();
    assert!(
        std::process::Command::new(executable())
            .arg("package")
            .arg(folder.path().join("app"))
            .output()
            .unwrap()
            .status
            .success()
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    simulator.set_product_url(&address);
    let host = FakeHost::start(
        &folder.path().join("app"),
        azure_settings(&simulator, &address, &azurite),
        queues(&azurite),
        listener,
    )
    .await;

    scenario(Door::Process, &host.address, &simulator).await;
    host.tick("ReconcileSubscriptions").await;
    host.tick("PurgeExpired").await;

    // The handler is killed without notice while a purchase is under way.
    let purchase =
        simulator.purchase("mediagenie", "starter", None, &Person::contoso_buyer(), None, Default::default());
    let browser = Browser::new(&host.address).of(&Person::contoso_buyer());
    let landing = browser.get(&purchase.landing_url).await;
    host.restart_handler().await;
    assert_eq!(
        browser.submit(&landing, "/marketplace/landing", &[]).await.status,
        200,
        "session and visit outlive the process"
    );
    let staff = Browser::new(&host.address).of(&Person::staff_admin());
    staff.get("/publisher/subscriptions").await;
    Door::Process.eventually(&staff, &simulator, purchase.subscription_id, "starter", "", "Subscribed").await;

    // Trigger functions are out of reach from outside, and nothing was answered in a way that the host punishes.
    assert_eq!(browser.post("/SyncSubscription", &[]).await.status, 404);
    assert_eq!(host.offences(), Vec::<String>::new());
}

pub fn azure_settings(simulator: &Simulator, address: &str, azurite: &Azurite) -> HashMap<String, String> {
    let mut settings = settings_for(simulator, address);
    settings.insert("STORAGE".into(), "azure".into());
    settings.insert("AzureWebJobsStorage".into(), azurite.connection_string());
    settings
}

pub fn account(azurite: &Azurite) -> AzureAccount {
    let http = outbound::client().unwrap();
    let identity = ManagedIdentity::new(http.clone(), Arc::new(SystemClock), IdentityEndpoint::default(), None);
    let connection = StorageAccount::ConnectionString(Secret::new(azurite.connection_string()));
    AzureAccount::new(&connection, Cloud::Global, http, Arc::new(identity)).unwrap()
}

pub fn queues(azurite: &Azurite) -> Arc<AzureQueues> {
    Arc::new(AzureQueues::new(&account(azurite)))
}

#[test]
fn a_package_in_an_unwritable_place_is_refused() {
    assert!(package::write(std::path::Path::new("/proc/none/package")).is_err());
}
