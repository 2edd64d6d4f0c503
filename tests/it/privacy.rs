//! A person is handed out and taken out: of rows, of the file under them, of the log.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::identity::{KeyTerms, api_keys};
use mediagenie::leads;
use mediagenie::simulator::{Action, Lead, Person, PurchaseOptions};
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::browser::Page;
use crate::support::gate::Act;

const SPEECH: &str = "speech_minutes";
const HERE: &str = "/publisher/privacy";

/// What one test's product logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Until the guards go, everything that this thread and the products that it starts log is kept.
fn listen() -> (Log, (tracing::subscriber::DefaultGuard, tracing::Dispatch)) {
    let log = Log::default();
    // With one subscriber in the process, `tracing` asks only that of the thread which comes to a line first, and other
    // tests' threads have none; with two it asks both.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    let (writer, filter) = (log.clone(), tracing_subscriber::EnvFilter::new("mediagenie=trace"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).finish();
    (log, (tracing::subscriber::set_default(subscriber), second))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let (bytes, text) = (lower(bytes), lower(text.as_bytes()));
    bytes.windows(text.len()).any(|window| window == text)
}

/// The files under a folder in which a text stands.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if holds(&std::fs::read(&path).unwrap(), text) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn send(app: &TestApp, address: &str, lead: &Lead) {
    let answer = app.simulator.send_lead(address, lead).await;
    assert_eq!(answer.status, Some(200), "{answer:?}");
}

/// How many leads there are, by kind.
async fn count(app: &TestApp) -> usize {
    leads::leads(&app.host.app, &leads::Filter::default(), None, 100).await.unwrap().rows.len()
}

async fn find(app: &TestApp, email: &str) -> (crate::support::browser::Browser, Page) {
    let admin = app.signed_in(&Person::staff_admin()).await;
    let page = admin.get(HERE).await;
    let found = admin.submit(&page, HERE, &[("email", email)]).await;
    (admin, found)
}

#[tokio::test]
async fn after_an_erasure_nothing_of_the_person_is_found_and_every_total_is_as_before() {
    let (log, _listening) = listen();
    let app = TestApp::start().await;
    let clara = Person::contoso_buyer();
    let (email, object) = (clara.email.as_str(), clara.object_id.to_string());
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1020").await;
    app.clock.advance(SignedDuration::from_hours(2));
    app.fire("SubmitUsage").await;
    let subscription = SubscriptionId(id);
    api_keys::create(&app.host.app, subscription, "ci", email, KeyTerms::default()).await.unwrap();
    let address = leads::create_address(&app.host.app, "mediagenie", "MediaGenie").await.unwrap();
    let address = leads::url(&app.host.app, &address.keys[0].key);
    let phone = "+49 170 5550 123";
    let hers = Lead::default()
        .with("FirstName", "Clara")
        .with("LastName", "Contoso")
        .with("Email", email.to_uppercase())
        .with("Phone", phone)
        .with("Description", "Clara wants to see a demo");
    send(&app, &address, &hers).await;
    send(&app, &address, &hers.clone().action("PLT")).await;
    send(&app, &address, &Lead::raw(format!("{{broken \"{email}\""))).await;
    send(&app, &address, &Lead::of(&Person::fabrikam_buyer())).await;
    app.settle().await;
    let lead = leads::leads(&app.host.app, &leads::Filter { text: email.into(), ..Default::default() }, None, 10).await;
    let lead = lead.unwrap().rows[0].id.clone();
    let actor = leads::Actor { id: "staff".into(), name: "Sam".into() };
    leads::add_note(&app.host.app, &lead, &format!("Called Clara at {phone}"), &actor).await.unwrap();
    app.settle().await;
    let (balance, leads_before) = (app.balance(id, SPEECH).await, count(&app).await);
    assert_eq!(leads_before, 4);
    for text in [email, "clara", phone, object.as_str()] {
        assert!(!files_with(app.folder.path(), text).is_empty(), "{text} was there");
    }

    // Handed out.
    let (admin, found) = find(&app, email).await;
    assert!(found.says("Subscriptions that still live: 1"), "{}", found.body);
    let file = admin.submit(&found, &format!("{HERE}/export"), &[]).await;
    let file: Value = serde_json::from_str(&file.body).unwrap();
    assert_eq!(
        (file["leads"]["leads"].as_array().unwrap().len(), file["leads"]["quarantined"].as_array().unwrap().len()),
        (2, 1)
    );
    assert_eq!(file["subscriptions"][0]["subscription"]["facts"]["purchaser"]["email"], email);

    // Taken out: what lives waits, and goes when it has ended.
    let sent = admin.submit(&found, &format!("{HERE}/erase"), &[("confirm", "yes")]).await;
    assert!(sent.says("The request was taken"), "{}", sent.body);
    app.settle().await;
    assert!(admin.get(HERE).await.says("Waits for the end of"));
    assert_eq!(app.facts(id).await.purchaser.email, email, "it has to be served");
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    app.settle().await;
    app.fire("KeepPrivacy").await;
    app.settle().await;
    let page = admin.get(HERE).await;
    assert!(page.says("forgotten") && page.says("Done"), "{}", page.body);

    // Microsoft still knows, and is asked.
    let detail = admin.get(&format!("/publisher/subscriptions/{id}")).await;
    admin.submit(&detail, &format!("/publisher/subscriptions/{id}/sync"), &[]).await;
    app.fire("ReconcileSubscriptions").await;
    app.settle().await;
    app.host.app.rows.forget().await.unwrap();

    for text in [email, "clara", phone, "5550", object.as_str(), "wants to see"] {
        assert_eq!(files_with(app.folder.path(), text), Vec::<String>::new(), "{text} is still there");
    }
    assert!(!files_with(app.folder.path(), &Person::fabrikam_buyer().email).is_empty(), "others stay");
    let log = log.0.lock().unwrap().clone();
    assert!(holds(&log, "the erasure of a person was requested"));
    for text in [email, "clara", phone, object.as_str()] {
        assert!(!holds(&log, text), "the log has {text}");
    }
    assert_eq!((app.balance(id, SPEECH).await, count(&app).await), (balance, leads_before));
    let (_, found) = find(&app, email).await;
    assert!(!found.says("Subscriptions that still live"), "{}", found.body);
    assert_eq!(app.get_api(&format!("/api/leads/{lead}")).await.0, 200);
}

#[tokio::test]
async fn an_erased_person_who_comes_again_is_somebody_new_and_nothing_goes_to_a_destination() {
    let app = TestApp::start().await;
    let address = leads::create_address(&app.host.app, "mediagenie", "MediaGenie").await.unwrap();
    let address = leads::url(&app.host.app, &address.keys[0].key);
    let hers = Lead::default().with("Email", "ann@contoso.example");
    send(&app, &address, &hers).await;
    app.settle().await;
    let (admin, found) = find(&app, "Ann@Contoso.example ").await;
    admin.submit(&found, &format!("{HERE}/erase"), &[("confirm", "yes")]).await;
    app.settle().await;
    app.clock.advance(SignedDuration::from_mins(30));
    send(&app, &address, &hers).await;
    app.settle().await;
    let rows = leads::leads(&app.host.app, &leads::Filter::default(), None, 10).await.unwrap().rows;
    let emails: Vec<&str> = rows.iter().map(|row| row.email.as_str()).collect();
    assert_eq!(emails.len(), 2);
    assert!(emails[0] == "ann@contoso.example" && emails[1].ends_with("@erased.invalid"), "{emails:?}");
}

#[tokio::test]
async fn leads_lose_their_people_when_their_time_is_over() {
    let app = TestApp::with(&[("LEAD_RETENTION_DAYS", "30")]).await;
    let address = leads::create_address(&app.host.app, "mediagenie", "MediaGenie").await.unwrap();
    let address = leads::url(&app.host.app, &address.keys[0].key);
    send(&app, &address, &Lead::default().with("Email", "old@contoso.example")).await;
    send(&app, &address, &Lead::raw("rubbish of old@contoso.example")).await;
    app.settle().await;
    app.clock.advance(SignedDuration::from_hours(29 * 24));
    send(&app, &address, &Lead::default().with("Email", "new@contoso.example")).await;
    app.settle().await;
    app.fire("KeepPrivacy").await;
    assert!(!files_with(app.folder.path(), "old@contoso.example").is_empty());
    app.clock.advance(SignedDuration::from_hours(2 * 24));
    app.fire("KeepPrivacy").await;
    app.settle().await;
    assert_eq!(files_with(app.folder.path(), "old@contoso.example"), Vec::<String>::new());
    assert!(!files_with(app.folder.path(), "new@contoso.example").is_empty());
    assert_eq!(count(&app).await, 3);
}

#[tokio::test]
async fn only_administrators_see_and_erase_and_what_is_wrong_is_told() {
    let app = TestApp::start().await;
    let operator = app.signed_in(&Person::staff_reader()).await;
    assert!(operator.get(HERE).await.says("Administrators hand out and erase"));
    let (_, found) = find(&app, "no address").await;
    assert!(found.status == 400 && found.says("This is no e-mail address"), "{}", found.body);
    let (admin, found) = find(&app, "nobody@contoso.example").await;
    let page = admin.submit(&found, &format!("{HERE}/erase"), &[]).await;
    assert!(page.says("it was not confirmed") && page.says("No request yet"), "{}", page.body);
}

async fn erase(app: &TestApp, email: &str) {
    let (admin, found) = find(app, email).await;
    admin.submit(&found, &format!("{HERE}/erase"), &[("confirm", "yes")]).await;
    app.settle().await;
}

#[tokio::test]
async fn an_address_that_ends_or_begins_with_another_ones_is_somebody_elses() {
    let app = TestApp::start().await;
    let address = leads::create_address(&app.host.app, "mediagenie", "MediaGenie").await.unwrap();
    let address = leads::url(&app.host.app, &address.keys[0].key);
    for other in ["joann@contoso.example", "ann@contoso.example.au"] {
        send(&app, &address, &Lead::raw(format!("{{broken \"{other}\""))).await;
    }
    send(&app, &address, &Lead::raw("{broken: ann@contoso.example.")).await;
    app.settle().await;
    erase(&app, "ann@contoso.example").await;
    for other in ["joann@contoso.example", "ann@contoso.example.au"] {
        assert!(!files_with(app.folder.path(), other).is_empty(), "{other} did not ask for it");
    }
    assert_eq!(files_with(app.folder.path(), "broken: ann@"), Vec::<String>::new());
}

#[tokio::test]
async fn somebody_who_neither_bought_nor_uses_a_subscription_and_made_keys_of_it_is_taken_out_of_them() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let carl = Person::contoso_colleague();
    let subscription = SubscriptionId(id);
    api_keys::create(&app.host.app, subscription, "ci", &carl.email, KeyTerms::default()).await.unwrap();
    erase(&app, &carl.email).await;
    app.host.app.rows.forget().await.unwrap();
    assert_eq!(files_with(app.folder.path(), &carl.email), Vec::<String>::new());
    assert_eq!(api_keys::list(&app.host.app, subscription).await.unwrap().len(), 1, "the key goes on");
}

#[tokio::test]
async fn azures_reasons_that_name_a_person_lose_them() {
    let app = TestApp::start().await;
    let uri = "/subscriptions/37f9dea2-4345-438f-b0bd-03d40d28c7e0/resourceGroups/rg/providers/Microsoft.Solutions/applications/shop";
    let said = "The client 'live.com#ann@contoso.example' with object id 'x' does not have authorization";
    let body = serde_json::json!({
        "eventType": "PUT", "provisioningState": "Failed", "eventTime": app.now().to_string(), "applicationId": uri,
        "error": { "code": "AuthorizationFailed", "message": said, "details": [{ "code": "x", "message": said }] },
    });
    assert_eq!(app.simulator.managed_apps().send_raw(&body).await, Ok(200));
    let mut rubbish = body.clone();
    rubbish["eventTime"] = "soon".into();
    assert_eq!(app.simulator.managed_apps().send_raw(&rubbish).await, Ok(400));
    app.settle().await;
    assert!(!files_with(app.folder.path(), "ann@contoso.example").is_empty());
    erase(&app, "ann@contoso.example").await;
    app.fire("CompareManagedApps").await;
    app.settle().await;
    app.host.app.rows.forget().await.unwrap();
    assert_eq!(files_with(app.folder.path(), "ann@contoso.example"), Vec::<String>::new());
    let fleet = mediagenie::managed_apps::fleet(&app.host.app).await.unwrap();
    assert_eq!(fleet[0].0.present().unwrap().error.as_ref().unwrap().code, "AuthorizationFailed");
}

#[tokio::test]
async fn an_erasure_that_dies_at_any_write_leaves_nothing_of_a_personal_account() {
    for stop in 0.. {
        let app = TestApp::start().await;
        let petra = Person::personal();
        let bought = app.purchase_by(&petra, "metered", None, PurchaseOptions::default());
        let browser = crate::support::browser::Browser::new(&app.address).of(&petra);
        let landing = browser.get(&bought.landing_url).await;
        browser.submit(&landing, "/marketplace/landing", &[]).await;
        app.settle().await;
        app.simulator.act(bought.subscription_id, Action::Unsubscribe).unwrap();
        app.settle().await;
        let (admin, found) = find(&app, &petra.email).await;
        let seen = Arc::new(AtomicUsize::new(0));
        let writes = Arc::clone(&seen);
        app.gate.next(Act::Fail, move |table, _| {
            let counts = table.0.starts_with("Subscription") || table.0 == "PrivacyRequests";
            // The first one is the request itself.
            counts && writes.fetch_add(1, Ordering::Relaxed) == stop + 1
        });
        admin.submit(&found, &format!("{HERE}/erase"), &[("confirm", "yes")]).await;
        app.settle().await;
        let ended = seen.load(Ordering::Relaxed) <= stop + 1;
        app.gate.next(Act::Fail, |_, _| false);
        app.fire("KeepPrivacy").await;
        app.settle().await;
        app.host.app.rows.forget().await.unwrap();
        for text in [petra.email.as_str(), &petra.object_id.to_string()] {
            assert_eq!(files_with(app.folder.path(), text), Vec::<String>::new(), "{text}, dead at {stop}");
        }
        if ended {
            assert!(stop > 3, "{stop}");
            break;
        }
    }
}
