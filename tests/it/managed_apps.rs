//! Managed applications: notifications as Azure sends them, late, doubled, out of order and not at all; what the fleet says;
//! what metering learns from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use mediagenie::callbacks::{self, Owner};
use mediagenie::managed_apps::{self, Application, Attention, Confirmation, State};
use mediagenie::simulator::managed_apps::{AppKind, Deployment, Ending, IdSpelling};
use mediagenie::simulator::{ManagedApp, Person};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::callbacks::endpoint;
use crate::support::app::{NOTIFICATION_SECRET, PUBLISHER_KEY, TestApp};
use crate::support::gate::Act;
use crate::support::receiver::Receiver;

const SPEECH: &str = "speech_minutes";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The product with a catalogue that prices the plan of managed applications.
async fn start(settings: &[(&str, &str)]) -> (TestApp, TempDir) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("catalogue.json");
    let dimensions =
        json!({ SPEECH: { "name": "Speech", "unit": "minute", "price": "0.02", "included": { "P1M": "10" } } });
    let plans = json!({ "plans": { "metered": { "dimensions": dimensions }, "sealed": { "dimensions": dimensions } } });
    std::fs::write(&file, plans.to_string()).unwrap();
    let all = [&[("CATALOGUE_FILE", file.to_str().unwrap())], settings].concat();
    (TestApp::with(&all).await, folder)
}

async fn fleet(app: &TestApp) -> Vec<Application> {
    managed_apps::fleet(&app.host.app).await.unwrap().into_iter().map(|(application, _)| application).collect()
}

async fn only(app: &TestApp) -> (Application, Vec<Attention>) {
    let mut fleet = managed_apps::fleet(&app.host.app).await.unwrap();
    assert_eq!(fleet.len(), 1);
    fleet.remove(0)
}

/// What Azure has in the words of the fleet.
fn truth(managed: &ManagedApp) -> State {
    match managed.provisioning_state.name() {
        "Succeeded" => State::Active,
        "Failed" => State::Failed,
        "Deleting" => State::Deleting,
        "Deleted" => State::Deleted,
        _ if managed.provisioned.is_some() => State::Updating,
        _ => State::Installing,
    }
}

async fn post(app: &TestApp, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(app.url(path)).body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn record(app: &TestApp, body: &Value) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(app.url("/api/usage")).bearer_auth(PUBLISHER_KEY).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

fn address(path: &str) -> String {
    format!("/marketplace/managed-app{path}?sig={NOTIFICATION_SECRET}")
}

fn notification(event: &str, state: &str, time: &str) -> Value {
    json!({
        "eventType": event, "provisioningState": state, "eventTime": time,
        "applicationId": "/subscriptions/37f9dea2-4345-438f-b0bd-03d40d28c7e0/resourceGroups/rg/providers/Microsoft.Solutions/applications/shop",
        "billingDetails": { "resourceUsageId": "37f9dea2-4345-438f-b0bd-03d40d28c7e1" },
        "plan": { "publisher": "p", "product": "offer", "name": "metered", "version": "1.0.0" },
    })
}

#[tokio::test]
async fn a_life_is_followed_and_its_usage_billed_under_both_names_until_it_is_deleted() {
    let (app, _folder) = start(&[]).await;
    let azure = app.simulator.managed_apps();
    let shop = azure.deploy(Deployment {
        no_leading_slash: true,
        spelling: IdSpelling::Changing,
        ..Deployment::named("shop")
    });
    let shop = shop.unwrap();
    app.settle().await;
    let (application, attention) = only(&app).await;
    assert_eq!((application.present().unwrap().state, attention), (State::Active, vec![]));
    assert_eq!(
        (application.confirmation, application.region.as_deref()),
        (Confirmation::Confirmed, Some("westeurope"))
    );
    // Under its usage id and under its address it is one resource, with one event an hour.
    let usage_id = shop.resource_usage_id.unwrap();
    let by_id = json!({ "id": "a", "resource_id": usage_id, "dimension": SPEECH, "quantity": 12 });
    let by_uri = json!({ "id": "b", "resource_uri": shop.application_id, "dimension": SPEECH, "quantity": 5 });
    assert_eq!(record(&app, &by_id).await.0, 201);
    assert_eq!(record(&app, &by_uri).await.0, 201);
    let again = json!({ "id": "a", "resource_uri": shop.application_id, "dimension": SPEECH, "quantity": 12 });
    assert_eq!(record(&app, &again).await.0, 200, "the same record under the other name");
    azure.update(&shop.application_id, "1.1.0", Ending::Succeeds).unwrap();
    app.settle().await;
    let present = only(&app).await.0.instances.pop().unwrap();
    assert_eq!((present.state, present.plan().unwrap().version.as_str()), (State::Active, "1.1.0"));
    azure.delete(&shop.application_id, Ending::Succeeds).unwrap();
    app.settle().await;
    let (application, attention) = only(&app).await;
    assert_eq!((application.present().unwrap().state, attention), (State::Deleted, vec![]));
    let (status, answer) =
        record(&app, &json!({ "id": "c", "resource_id": usage_id, "dimension": SPEECH, "quantity": 1 })).await;
    assert_eq!((status, &answer["code"]), (400, &json!("ended")), "{answer}");
    // The open hour is closed minutes after the end, not at the end of the hour.
    app.clock.advance(SignedDuration::from_mins(6));
    app.fire("SubmitUsage").await;
    let book = app.simulator.usage_book();
    assert_eq!(book.len(), 1, "{book:?}");
    assert_eq!((book[0].quantity, book[0].resource.clone()), (7_000_000, usage_id.to_string()));
}

#[tokio::test]
async fn an_application_that_is_created_again_under_its_name_has_a_ledger_of_its_own() {
    let (app, _folder) = start(&[]).await;
    let azure = app.simulator.managed_apps();
    let first = azure.deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    azure.delete(&first.application_id, Ending::Succeeds).unwrap();
    app.settle().await;
    let second = azure.deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    assert!(first.resource_usage_id != second.resource_usage_id);
    let (application, _) = only(&app).await;
    let ids: Vec<_> = application.instances.iter().map(|instance| instance.usage_id).collect();
    assert_eq!(ids, [first.resource_usage_id, second.resource_usage_id]);
    let by_uri = json!({ "id": "a", "resource_uri": second.application_id, "dimension": SPEECH, "quantity": 11 });
    assert_eq!(record(&app, &by_uri).await.0, 201);
    app.clock.advance(HOUR * 2);
    app.fire("SubmitUsage").await;
    assert_eq!(app.simulator.usage_book()[0].resource, second.resource_usage_id.unwrap().to_string());
}

#[tokio::test]
async fn of_forty_lives_with_one_notification_in_ten_withheld_the_comparison_finds_every_state() {
    let (app, _folder) = start(&[]).await;
    let azure = app.simulator.managed_apps();
    let mut withheld = 0;
    let mut count = 0;
    let mut forget = async |app: &TestApp| {
        for round in 0..3 {
            // Late and out of order: the newest first in every other round.
            let mut pending = azure.pending();
            if round % 2 == 0 {
                pending.reverse();
            }
            for one in pending {
                count += 1;
                // The eleventh application is never heard of at all.
                if count % 10 == 0 || one.application_id.ends_with("/app-11") {
                    azure.drop_notification(one.id);
                    withheld += 1;
                } else {
                    azure.deliver(one.id).await;
                    if count % 7 == 0 {
                        assert_eq!(azure.send_raw(&one.body).await, Ok(200), "a repeated delivery");
                    }
                }
            }
            app.clock.advance(SignedDuration::from_secs(10));
        }
    };
    for number in 0..40 {
        let ending = |fails: bool| if fails { Ending::Fails } else { Ending::Succeeds };
        let deployment =
            Deployment { provisioning_fails: number % 9 == 4, ..Deployment::named(&format!("app-{number}")) };
        let id = azure.deploy(deployment).unwrap().application_id;
        forget(&app).await;
        if number % 3 == 0 {
            azure.update(&id, "2.0.0", ending(number % 2 == 0)).unwrap();
            forget(&app).await;
        }
        if number % 4 == 0 {
            azure.delete(&id, ending(number % 8 == 0)).unwrap();
            forget(&app).await;
        }
    }
    assert!(withheld >= 10, "{withheld}");
    app.settle().await;
    app.clock.advance(HOUR);
    app.fire("CompareManagedApps").await;
    app.settle().await;
    let fleet = fleet(&app).await;
    assert_eq!(fleet.len(), 40, "also those of which nothing was ever told");
    for managed in azure.list() {
        let ours = fleet.iter().find(|ours| ours.uri == managed.application_id.to_lowercase()).unwrap();
        let present = ours.present().unwrap();
        // A deletion that failed leaves what is there active, with its error.
        let failed = present.error.is_some() || present.state == State::Failed;
        let same = present.state == truth(&managed) || truth(&managed) == State::Failed && failed;
        assert!(same, "{}: {:?}, Azure has {:?}", managed.application_id, present, managed.provisioning_state);
        if truth(&managed) != State::Deleted {
            assert_eq!(present.usage_id, managed.resource_usage_id, "{}", managed.application_id);
        }
    }
    // Nothing more is found.
    app.clock.advance(HOUR);
    app.fire("CompareManagedApps").await;
    assert_eq!(app.waiting().await, 0);
}

#[tokio::test]
async fn only_the_right_sig_opens_the_address_and_both_do_while_it_is_rotated() {
    const NEW: &str = "another-notification-secret-of-32";
    let both = format!("{NEW},{NOTIFICATION_SECRET}");
    let (app, _folder) = start(&[("MANAGED_APP_SECRETS", &both)]).await;
    let body = || notification("PUT", "Accepted", "2026-03-02T08:59:00Z").to_string();
    let at = "/marketplace/managed-app/resource";
    for (path, status, code) in [
        (at.to_owned(), 401, "no_sig"),
        (format!("{at}?sig="), 401, "wrong_sig"),
        (format!("{at}?sig={NEW}x"), 401, "wrong_sig"),
        (format!("{at}?sig={NEW}"), 200, ""),
        (format!("{at}?sig={NOTIFICATION_SECRET}"), 200, ""),
        (format!("{at}/?sig={NEW}"), 200, ""),
        (format!("{at}/resource?sig={NEW}"), 200, ""),
        (format!("/marketplace/managed-app?sig={NEW}"), 404, "not_found"),
        (format!("/marketplace/managed-app/other?sig={NEW}"), 404, "not_found"),
    ] {
        let (got, answer) = post(&app, &path, body()).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{path}: {answer}");
    }
    let (_, answer) = post(&app, &format!("/marketplace/managed-app?sig={NEW}"), body()).await;
    assert!(answer["detail"].as_str().unwrap().contains("/resource"), "{answer}");
    app.settle().await;
    let detail = managed_apps::detail(&app.host.app, &only(&app).await.0.key).await.unwrap().unwrap();
    // Nothing of Azure's is there, so that is the second line.
    let told = detail.lines.iter().filter(|line| !line.heard.body.is_empty()).count();
    assert_eq!(told, 1, "the same notification counts once");
}

#[tokio::test]
async fn rubbish_is_refused_by_name_and_kept_and_unknown_combinations_change_nothing() {
    let (app, _folder) = start(&[("MANAGED_APPS_WITHOUT_ACCESS", "*")]).await;
    let at = address("/resource");
    let whole = notification("PUT", "Succeeded", "2026-03-02T08:00:00.1234567Z");
    for (field, bad) in [
        ("applicationId", json!("/subscriptions/x/resourceGroups/y")),
        ("applicationId", json!("<script>alert(1)</script>")),
        ("eventTime", json!("soon")),
        ("eventType", json!("")),
        ("provisioningState", Value::Null),
    ] {
        let mut body = whole.clone();
        body[field] = bad;
        let (status, answer) = post(&app, &at, body.to_string()).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["title"].as_str().unwrap().contains(field) || answer["field"] == "body", "{answer}");
    }
    assert_eq!(post(&app, &at, &b"\xff\xfe\x00"[..]).await.0, 400);
    assert_eq!(managed_apps::unread(&app.host.app).await.unwrap().len(), 6, "kept for people");
    assert!(fleet(&app).await.is_empty());
    assert_eq!(post(&app, &at, whole.to_string()).await.0, 200);
    for (event, state) in [("POST", "Succeeded"), ("PUT", "Moved"), ("DELETE", "Succeeded")] {
        assert_eq!(post(&app, &at, notification(event, state, "2026-03-02T08:30:00Z").to_string()).await.0, 200);
    }
    // A time that lies a year ahead does not stand above what comes later.
    let mut failed = notification("DELETE", "Deleting", "2027-03-02T08:00:00Z");
    failed["error"] = json!({ "code": "Later", "message": "界".repeat(400_000), "details": [] });
    assert_eq!(post(&app, &at, failed.to_string()).await.0, 200, "an error of a megabyte");
    app.settle().await;
    assert_eq!(only(&app).await.0.present().unwrap().state, State::Deleting);
    app.clock.advance(HOUR);
    let mut body = notification("DELETE", "Failed", "2026-03-02T09:50:00Z");
    body["error"] = json!({ "code": "ScopeLocked", "message": "界".repeat(1_000_000) });
    assert_eq!(post(&app, &at, body.to_string()).await.0, 200);
    app.settle().await;
    let (application, attention) = only(&app).await;
    assert_eq!((application.present().unwrap().state, attention), (State::Active, vec![Attention::Failed]));
    let detail = managed_apps::detail(&app.host.app, &application.key).await.unwrap().unwrap();
    assert_eq!(detail.lines.len(), 6, "everything that was told is kept");
    let (status, _) = post(&app, &at, vec![b' '; 5 * 1024 * 1024]).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_store_that_is_away_is_answered_so_that_azure_comes_again_and_no_write_is_left_half_done() {
    for act in [Act::Fail, Act::Stop] {
        for stop in 0.. {
            let (app, _folder) = start(&[]).await;
            let azure = app.simulator.managed_apps();
            let seen = Arc::new(AtomicUsize::new(0));
            let writes = Arc::clone(&seen);
            let hit = move |table: mediagenie::store::Table, _: &[mediagenie::store::Write]| {
                (table.0.starts_with("ManagedApp") || table.0.starts_with("Usage"))
                    && writes.fetch_add(1, Ordering::Relaxed) == stop
            };
            app.gate.next(act, hit);
            let shop = azure.deploy(Deployment::named("shop")).unwrap();
            azure.settle();
            let life = async {
                azure.deliver_all().await;
                app.clock.advance(SignedDuration::from_secs(2));
                app.drain().await;
            };
            tokio::select! {
                () = life => {}
                () = app.gate.arrived() => {}
            }
            let ended = seen.load(Ordering::Relaxed) <= stop;
            app.gate.open();
            app.gate.next(act, |_, _| false);
            app.settle().await;
            let (application, attention) = only(&app).await;
            assert_eq!((application.present().unwrap().state, attention), (State::Active, vec![]), "{act:?} at {stop}");
            let by_uri = json!({ "id": "a", "resource_uri": shop.application_id, "dimension": SPEECH, "quantity": 11 });
            assert_eq!(record(&app, &by_uri).await.0, 201, "{act:?} at {stop}");
            if ended {
                assert!(stop > 4, "{stop}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_deletion_that_azure_knows_nothing_of_does_not_end_the_metering() {
    let (app, _folder) = start(&[]).await;
    let shop = app.simulator.managed_apps().deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    let mut forged = notification("DELETE", "Deleted", &app.now().to_string());
    forged["applicationId"] = json!(shop.application_id);
    forged["billingDetails"]["resourceUsageId"] = json!(shop.resource_usage_id);
    assert_eq!(post(&app, &address("/resource"), forged.to_string()).await.0, 200);
    app.settle().await;
    app.clock.advance(HOUR);
    app.fire("CompareManagedApps").await;
    app.settle().await;
    assert_eq!(only(&app).await.0.present().unwrap().state, State::Active);
    let used = json!({ "id": "a", "resource_id": shop.resource_usage_id, "dimension": SPEECH, "quantity": 11 });
    assert_eq!(record(&app, &used).await.0, 201);
}

#[tokio::test]
async fn where_azure_does_not_let_us_read_notifications_count_and_silence_is_told() {
    let (app, _folder) = start(&[("MANAGED_APPS_WITHOUT_ACCESS", "sealed")]).await;
    let azure = app.simulator.managed_apps();
    let sealed = Deployment { plan: "sealed".into(), publisher_access: false, ..Deployment::named("sealed") };
    azure.deploy(sealed).unwrap();
    azure.deploy(Deployment { publisher_access: false, ..Deployment::named("shut") }).unwrap();
    app.settle().await;
    let all = managed_apps::fleet(&app.host.app).await.unwrap();
    let of = |name: &str| all.iter().find(|(application, _)| application.uri.ends_with(name)).unwrap();
    assert_eq!((&of("sealed").0.confirmation, &of("sealed").1), (&Confirmation::NoAccess, &vec![]));
    let (shut, attention) = of("shut");
    assert!(
        matches!(&shut.confirmation, Confirmation::Denied { said } if said.contains("AuthorizationFailed")),
        "{shut:?}"
    );
    assert_eq!((shut.present().unwrap().state, attention), (State::Active, &vec![Attention::Denied]));
    // Its usage is not lost for that.
    let used = json!({ "id": "a", "resource_uri": shut.shown, "dimension": SPEECH, "quantity": 11 });
    assert_eq!(record(&app, &used).await.0, 201);
    azure.delete(&of("sealed").0.shown, Ending::Succeeds).unwrap();
    azure.deliver_all().await;
    azure.settle();
    for lost in azure.pending() {
        azure.drop_notification(lost.id);
    }
    app.settle().await;
    app.clock.advance(HOUR * 11);
    let all = managed_apps::fleet(&app.host.app).await.unwrap();
    let (sealed, attention) = all.iter().find(|(application, _)| application.uri.ends_with("sealed")).unwrap();
    assert_eq!((sealed.present().unwrap().state, attention), (State::Deleting, &vec![Attention::Silent]));
}

#[tokio::test]
async fn trouble_of_azure_is_waited_for_and_an_application_that_does_not_exist_ends() {
    let (app, _folder) = start(&[]).await;
    app.simulator.faults().arm_down(true);
    app.simulator.faults().identity_down(true);
    app.simulator
        .managed_apps()
        .deploy(Deployment { kind: AppKind::ServiceCatalog, ..Deployment::named("shop") })
        .unwrap();
    app.simulator.managed_apps().deliver_all().await;
    app.clock.advance(SignedDuration::from_secs(2));
    app.drain().await;
    let (application, _) = only(&app).await;
    assert_eq!((application.confirmation, application.asked), (Confirmation::Open, None));
    app.simulator.faults().identity_down(false);
    app.clock.advance(SignedDuration::from_mins(3));
    app.drain().await;
    assert_eq!(only(&app).await.0.asked, None, "there is a token, and nobody who takes it");
    app.simulator.faults().arm_down(false);
    app.settle().await;
    let (application, _) = only(&app).await;
    assert_eq!((&application.confirmation, application.present().unwrap().plan()), (&Confirmation::Confirmed, None));
    assert!(application.present().unwrap().definition.is_some());
    // Told with the right secret, about something that is not there.
    let body = notification("PUT", "Succeeded", &app.now().to_string());
    assert_eq!(post(&app, &address("/resource"), body.to_string()).await.0, 200);
    app.clock.advance(SignedDuration::from_secs(2));
    app.drain().await;
    let all = managed_apps::fleet(&app.host.app).await.unwrap();
    assert_eq!(all[0].1, [Attention::Missing]);
    app.settle().await;
    let all = managed_apps::fleet(&app.host.app).await.unwrap();
    let ghost = all.iter().find(|(application, _)| application.uri.contains("/resourcegroups/rg/")).unwrap();
    assert_eq!((ghost.0.present().unwrap().state, &ghost.1), (State::Deleted, &vec![]));
}

#[tokio::test]
async fn staff_see_the_fleet_and_one_application_and_try_the_address() {
    let (app, _folder) = start(&[]).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    assert!(staff.get("/publisher/managed-apps").await.says("No application yet"));
    let azure = app.simulator.managed_apps();
    azure.deploy(Deployment::named("shop")).unwrap();
    azure.deploy(Deployment { provisioning_fails: true, ..Deployment::named("broken") }).unwrap();
    app.settle().await;
    let page = staff.get("/publisher/managed-apps").await;
    assert!(page.says("shop") && page.says("Applications that need somebody: 1") && page.says("sig="), "{}", page.body);
    let page = staff.get("/publisher/managed-apps?q=SHOP&state=active").await;
    assert!(page.says("Shown: 1 of 2"), "{}", page.body);
    let tested = staff.submit(&page, "/publisher/managed-apps-test", &[]).await;
    assert!(tested.says("The address works"), "{}", tested.body);
    assert_eq!(fleet(&app).await.len(), 2, "a test is no application");
    let broken = fleet(&app).await.into_iter().find(|application| application.uri.ends_with("broken")).unwrap();
    let at = format!("/publisher/managed-apps/{}", broken.key);
    let page = staff.get(&at).await;
    assert!(page.says("PUT Failed") && page.says("Azure’s reason") && page.says("PUT Accepted"), "{}", page.body);
    let again = staff.submit(&page, &format!("{at}/look"), &[]).await;
    assert!(again.says("Azure was asked"), "{}", again.body);
    let reader = app.signed_in(&Person::staff_reader()).await;
    assert!(!reader.get("/publisher/managed-apps").await.says("sig="), "the secret is for those who may act");
    assert_eq!(reader.get("/publisher/managed-apps/uri-00000000000000000000000000000000").await.status, 404);
}

#[tokio::test]
async fn looking_again_at_a_name_that_was_used_twice_changes_nothing_of_whose_usage_it_is() {
    let (app, _folder) = start(&[]).await;
    let azure = app.simulator.managed_apps();
    let first = azure.deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    azure.delete(&first.application_id, Ending::Succeeds).unwrap();
    app.settle().await;
    azure.deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    // Whoever looks may die at any write, and usage comes at any time: the address must not go through the first life.
    let seen = Arc::new(AtomicUsize::new(0));
    let writes = Arc::clone(&seen);
    app.gate.next(Act::Fail, move |table, _| {
        writes.fetch_add(usize::from(table.0 == "UsageAliases"), Ordering::Relaxed);
        false
    });
    app.fire("CompareManagedApps").await;
    assert_eq!(seen.load(Ordering::Relaxed), 0, "nothing has changed, so no alias is written");
}

#[tokio::test]
async fn two_lives_in_one_ledger_that_was_registered_by_address_do_not_take_turns_in_ending_it() {
    let (app, _folder) = start(&[]).await;
    let azure = app.simulator.managed_apps();
    let first = azure.deploy(Deployment::named("shop")).unwrap();
    let body = json!({ "resource_uri": first.application_id, "plan": "metered" });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let at = app.url("/api/usage/managed-apps");
    assert_eq!(http.post(at).bearer_auth(PUBLISHER_KEY).json(&body).send().await.unwrap().status(), 200);
    app.settle().await;
    azure.delete(&first.application_id, Ending::Succeeds).unwrap();
    app.settle().await;
    azure.deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    let by_uri = json!({ "id": "a", "resource_uri": first.application_id, "dimension": SPEECH, "quantity": 11 });
    assert_eq!(record(&app, &by_uri).await.0, 201);
    let seen = Arc::new(AtomicUsize::new(0));
    let writes = Arc::clone(&seen);
    app.gate.next(Act::Fail, move |table, rows| {
        let terms = table.0 == "Usage" && rows.iter().any(|row| row.key() == "head:terms");
        writes.fetch_add(usize::from(terms), Ordering::Relaxed);
        false
    });
    app.fire("CompareManagedApps").await;
    assert_eq!(seen.load(Ordering::Relaxed), 0, "the ledger of what lives is not ended and begun again");
}

#[tokio::test]
async fn an_application_that_lives_again_days_after_its_deletion_is_found_though_nothing_was_told() {
    for kind in [AppKind::MarketPlace, AppKind::ServiceCatalog] {
        let (app, _folder) = start(&[]).await;
        let azure = app.simulator.managed_apps();
        let first = azure.deploy(Deployment { kind, ..Deployment::named("shop") }).unwrap();
        app.settle().await;
        azure.delete(&first.application_id, Ending::Succeeds).unwrap();
        app.settle().await;
        app.clock.advance(HOUR * 48);
        app.fire("CompareManagedApps").await;
        azure.deploy(Deployment { kind, ..Deployment::named("shop") }).unwrap();
        for _ in 0..2 {
            azure.settle();
            for lost in azure.pending() {
                azure.drop_notification(lost.id);
            }
            app.clock.advance(HOUR);
        }
        app.fire("CompareManagedApps").await;
        app.settle().await;
        let (application, _) = only(&app).await;
        assert_eq!((application.instances.len(), application.present().unwrap().state), (2, State::Active), "{kind:?}");
        let lines = managed_apps::detail(&app.host.app, &application.key).await.unwrap().unwrap().lines.len();
        app.clock.advance(HOUR);
        app.fire("CompareManagedApps").await;
        let again = managed_apps::detail(&app.host.app, &application.key).await.unwrap().unwrap().lines.len();
        assert_eq!(lines, again, "{kind:?}: nothing more is found");
    }
}

#[tokio::test]
async fn an_address_of_azure_that_is_wrong_ends_no_application() {
    let (mut app, folder) = start(&[]).await;
    let shop = app.simulator.managed_apps().deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    let catalogue = folder.path().join("catalogue.json");
    for wrong in ["/arm/nowhere", "/nowhere"] {
        let url = format!("{}{wrong}", app.simulator.config().arm_url.replace("/arm", ""));
        app = app.restart_with(&[("CATALOGUE_FILE", catalogue.to_str().unwrap()), ("ARM_URL", &url)]).await;
        app.clock.advance(HOUR);
        app.fire("CompareManagedApps").await;
        let (application, attention) = only(&app).await;
        assert_eq!(
            (application.present().unwrap().state, attention),
            (State::Active, vec![Attention::Denied]),
            "{wrong}"
        );
        let used = json!({ "id": wrong, "resource_id": shop.resource_usage_id, "dimension": SPEECH, "quantity": 1 });
        assert_eq!(record(&app, &used).await.0, 201);
    }
}

#[tokio::test]
async fn a_change_of_long_ago_is_not_told_again_each_month() {
    let receiver = Receiver::start().await;
    let (app, _folder) = start(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    endpoint(&app, &Owner::Publisher, &receiver.url("/hook"), &["managed_app.changed"]).await;
    app.simulator.managed_apps().deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    assert!(!receiver.take().is_empty());
    app.clock.advance(callbacks::KEPT + HOUR * 48);
    app.fire("ExpireCallbacks").await;
    app.fire("CompareManagedApps").await;
    app.settle().await;
    assert_eq!(receiver.take().len(), 0, "an old change is told again");
}
