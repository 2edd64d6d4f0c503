//! A month of real life: subscriptions and managed applications that use something every day, with a change of plan, of
//! seats and a cancellation, sent hourly and read back nightly.

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use mediagenie::simulator::managed_apps::Deployment;
use mediagenie::simulator::{Action, ManagedApp, Person, PurchaseOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::app::TestApp;

pub const SPEECH: &str = "speech_minutes";
/// The plan of the managed applications; the simulator prices what it does not sell itself at a cent.
pub const STUDIO: &str = "studio";
/// The first day is before April, the last one behind it.
pub const FIRST: Date = date(2026, 3, 30);
pub const LAST: Date = date(2026, 5, 3);

pub struct Life {
    pub app: TestApp,
    _folder: TempDir,
    /// On metered plans; the first one changes its plan, the second one is cancelled.
    pub subscriptions: Vec<Uuid>,
    /// With seats; the first one gets more of them.
    pub teams: Vec<Uuid>,
    /// An application that sends under its usage id and its address, and one whose ledger stands under its address.
    pub shop: ManagedApp,
    pub hall: ManagedApp,
}

impl Life {
    pub async fn begin(subscriptions: usize, teams: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("catalogue.json");
        let dimensions = json!({ SPEECH: { "name": "Speech", "unit": "minute", "price": "0.01" } });
        std::fs::write(&file, json!({ "plans": { STUDIO: { "dimensions": dimensions } } }).to_string()).unwrap();
        let settings = [("CATALOGUE_FILE", file.to_str().unwrap()), ("ANALYTICS_DATASETS", "all")];
        let app = TestApp::with(&settings).await;
        to(&app, "2026-03-29T09:00:00Z");
        let bought = |plan: &str, seats: Option<u32>, count: usize| -> Vec<Uuid> {
            let options = || PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
            let buy = |_| app.purchase_by(&Person::contoso_buyer(), plan, seats, options()).subscription_id;
            (0..count).map(buy).collect()
        };
        let (subscriptions, teams) = (bought("metered", None, subscriptions), bought("team", Some(5), teams));
        app.fire("ReconcileSubscriptions").await;
        app.settle().await;
        let deploy = |name: &str| {
            let order = Deployment { plan: STUDIO.into(), ..Deployment::named(name) };
            app.simulator.managed_apps().deploy(order).unwrap()
        };
        let hall = deploy("hall");
        let known = json!({ "resource_uri": hall.application_id, "plan": STUDIO });
        assert_eq!(app.post_api("/api/usage/managed-apps", &known).await.0, 200);
        let shop = deploy("shop");
        app.settle().await;
        Self { app, _folder: folder, subscriptions, teams, shop, hall }
    }

    pub fn subscription(&self, number: usize) -> String {
        self.subscriptions[number].to_string()
    }

    /// The names under which our ledger has the applications.
    pub fn shop(&self) -> String {
        self.shop.resource_usage_id.unwrap().to_string()
    }

    pub fn hall(&self) -> String {
        self.hall.application_id.to_lowercase()
    }

    /// All days; it is the morning of 4 May.
    pub async fn live(&self) {
        self.days(FIRST, LAST).await;
    }

    /// These days, and the morning after them.
    pub async fn days(&self, first: Date, last: Date) {
        let mut day = first;
        while day <= last {
            self.day(day).await;
            day = day.tomorrow().unwrap();
        }
    }

    async fn day(&self, day: Date) {
        let app = &self.app;
        to(app, &format!("{day}T08:00:00Z"));
        let event = match (day.month(), day.day()) {
            (4, 10) => self.teams.first().map(|id| (*id, Action::ChangeQuantity(8))),
            (4, 15) => Some((self.subscriptions[0], Action::ChangePlan("metered-large".into()))),
            (4, 20) => Some((self.subscriptions[1], Action::Unsubscribe)),
            _ => None,
        };
        if let Some((id, action)) = event {
            app.simulator.act(id, action).unwrap();
            app.settle().await;
        }
        to(app, &format!("{day}T10:05:00Z"));
        self.send(&self.records(day, "")).await;
        if day == date(2026, 4, 30) {
            // What somebody tells of the month's last evening only in the next one.
            to(app, "2026-05-01T00:20:00Z");
            let mut late = self.records(day, "late-");
            late.iter_mut().for_each(|record| record["occurred_at"] = json!("2026-04-30T22:30:00Z"));
            self.send(&late[..1]).await;
        }
        to(app, &format!("{}T05:40:00Z", day.tomorrow().unwrap()));
        app.fire("ReadBackUsage").await;
        app.fire("ReconcileSubscriptions").await;
        app.settle().await;
    }

    /// One of each, another quantity every day, always above what a term includes.
    fn records(&self, day: Date, prefix: &str) -> Vec<Value> {
        let since = FIRST.until(day).unwrap().get_days();
        let gone = |number: usize| number == 1 && day >= date(2026, 4, 20);
        let quantity = |number: usize| format!("{}.{:03}", 1600 + 3 * since, number);
        let record = |number: usize, name: &str, resource: &str| {
            let id = format!("{prefix}{day}-{number}");
            json!({ "id": id, name: resource, "dimension": SPEECH, "quantity": quantity(number) })
        };
        let of_subscriptions = self.subscriptions.iter().enumerate().filter(|(number, _)| !gone(*number));
        let mut records: Vec<Value> =
            of_subscriptions.map(|(number, id)| record(number, "subscription", &id.to_string())).collect();
        records.push(record(900, "resource_id", &self.shop()));
        records.push(record(901, "resource_uri", &self.shop.application_id));
        records.push(record(902, "resource_uri", &self.hall.application_id));
        records
    }

    /// Recorded, and sent when its hour is over.
    pub async fn send(&self, records: &[Value]) {
        let (_, answer) = self.app.post_usage(&json!(records)).await;
        assert_eq!(answer["recorded"], records.len(), "{answer}");
        self.app.clock.advance(SignedDuration::from_mins(65));
        self.app.fire("SubmitUsage").await;
    }

    /// Every day is read back once more.
    pub async fn read_back(&self) {
        let mut day = FIRST;
        while day <= LAST {
            let (status, answer) = self.app.post_api(&format!("/api/usage/read-back?day={day}"), &json!({})).await;
            assert_eq!(status, 200, "{answer}");
            day = day.checked_add(1.day()).unwrap();
        }
    }
}

/// Moves the clock, never back.
pub fn to(app: &TestApp, at: &str) {
    let at: Timestamp = at.parse().unwrap();
    assert!(at >= app.now(), "{at} is over");
    app.clock.advance(at.duration_since(app.now()));
}
