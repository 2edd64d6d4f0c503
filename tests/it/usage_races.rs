//! What must not go wrong between two writes: records and rounds at the same time, saves that fail, repeats after the
//! world has changed, one bad batch among good ones.

use std::sync::Arc;

use jiff::SignedDuration;
use mediagenie::simulator::{Action, BookedUsage, Person, PurchaseOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::gate::Act;
use crate::support::usage::balance;

const SPEECH: &str = "speech_minutes";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn record(subscription: Uuid, id: &str, quantity: &str, at: Option<String>) -> Value {
    json!({ "id": id, "subscription": subscription, "dimension": SPEECH, "quantity": quantity, "occurred_at": at })
}

#[tokio::test]
async fn a_round_between_the_listing_of_a_resource_and_its_record_does_not_forget_it() {
    let app = Arc::new(TestApp::start().await);
    let (id, _) = app.buy("metered", None).await;
    app.clock.advance(hours(3));
    app.gate.next(Act::Stop, |table, writes| {
        table.0 == "Usage" && writes.iter().any(|write| write.key().starts_with("journal:"))
    });
    let (sender, at) = (Arc::clone(&app), (app.now() - hours(2)).to_string());
    let posting = tokio::spawn(async move { sender.post_usage(&record(id, "late", "1010", Some(at))).await.0 });
    app.gate.arrived().await;
    app.fire("SubmitUsage").await;
    app.gate.open();
    assert_eq!(posting.await.unwrap(), 201);
    for number in 0..3 {
        app.use_up(id, &format!("{number}"), SPEECH, "1").await;
        app.clock.advance(hours(1) + minutes(6));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, SPEECH).await, balance(["1013", "1000", "13", "0", "0", "0"]));
}

#[tokio::test]
async fn answers_that_can_not_be_stored_are_asked_for_again() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1010").await;
    app.clock.advance(hours(2));
    app.gate.next(Act::Fail, |table, writes| {
        table.0 == "Usage" && writes.iter().any(|write| write.body().unwrap_or_default().contains(r#""is":"accepted""#))
    });
    let function = app.host.functions.by_name("SubmitUsage").unwrap();
    let first = mediagenie::host::dispatch::timer(&app.host, function).await;
    assert!(first.is_err(), "the failure is told");
    for _ in 0..3 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.booked().len(), 1);
    assert_eq!(app.balance(id, SPEECH).await, balance(["1010", "1000", "10", "0", "0", "0"]));
    assert_eq!(app.get_api("/api/usage/status").await.1["at_work"], 0);
}

#[tokio::test]
async fn a_repeat_is_a_repeat_whatever_has_changed_since() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let old = record(id, "old", "10", Some(app.now().to_string()));
    assert_eq!(app.post_usage(&old).await.0, 201);
    app.clock.advance(hours(25));
    let recent = json!({ "id": "recent", "subscription": id, "dimension": SPEECH, "quantity": 10 });
    let correction =
        json!({ "id": "back", "subscription": id, "dimension": SPEECH, "quantity": -10, "corrects": "recent" });
    assert_eq!(app.post_usage(&recent).await.0, 201);
    assert_eq!(app.post_usage(&correction).await.0, 201);
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    app.settle().await;
    for again in [&old, &recent, &correction] {
        let (status, answer) = app.post_usage(again).await;
        assert_eq!((status, &answer["status"]), (200, &json!("repeated")), "{answer}");
    }
    let mut other = old.clone();
    other["quantity"] = "11".into();
    assert_eq!(app.post_usage(&other).await.0, 409);
}

#[tokio::test]
async fn nothing_is_refused_for_a_dimension_while_the_plan_can_not_be_read() {
    let app = TestApp::start().await;
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    let id = app.purchase_by(&Person::contoso_buyer(), "metered", None, options).subscription_id;
    app.fire("ReconcileSubscriptions").await;
    app.settle().await;
    app.simulator.faults().api_down(true);
    let (status, answer) = app.post_usage(&record(id, "a", "10", None)).await;
    assert_eq!((status, &answer["status"]), (503, &json!("not_judged")), "{answer}");
    let (status, _) =
        app.post_csv("", format!("id,subscription,dimension,quantity\nb,{id},{SPEECH},1\n").into_bytes()).await;
    assert_eq!(status, 503);
    app.simulator.faults().api_down(false);
    assert_eq!(app.post_usage(&record(id, "a", "10", None)).await.0, 201);
}

#[tokio::test]
async fn a_foreign_booking_is_shown_and_never_taken_for_a_part_of_ours() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1010").await;
    app.clock.advance(hours(1) + minutes(6));
    app.simulator.faults().metering_down(true);
    app.fire("SubmitUsage").await;
    app.simulator.faults().metering_down(false);
    let hour = "2026-03-02T03:00:00Z".parse().unwrap();
    app.simulator.edit_usage_book(|book| {
        let plan = "metered".to_owned();
        book.push(BookedUsage {
            resource: id.to_string(),
            dimension: SPEECH.into(),
            hour,
            effective_start: hour,
            plan,
            quantity: 4_000_000,
            ..BookedUsage::default()
        });
    });
    app.post_api("/api/usage/read-back?day=2026-03-02", &json!({})).await;
    for _ in 0..2 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, SPEECH).await["accepted"], "10");
    app.post_api("/api/usage/read-back?day=2026-03-02", &json!({})).await;
    let (_, answer) = app.get_api("/api/usage/differences?day=2026-03-02").await;
    let difference = &answer["differences"][0];
    assert_eq!(
        (&difference["kind"], &difference["ours"], &difference["theirs"]),
        (&json!("quantity_differs"), &json!("10"), &json!("14"))
    );
}

#[tokio::test]
async fn thirty_dimensions_after_an_outage_and_a_change_of_plan_fit_into_their_transactions() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("catalogue.json");
    let dimensions: serde_json::Map<String, Value> =
        (0..30).map(|number| (format!("d{number:02}"), json!({ "name": "D", "unit": "u", "price": "1" }))).collect();
    std::fs::write(
        &file,
        json!({ "plans": { "p": { "dimensions": dimensions }, "q": { "dimensions": dimensions } } }).to_string(),
    )
    .unwrap();
    let app = TestApp::with(&[("CATALOGUE_FILE", file.to_str().unwrap())]).await;
    let uri = "/subscriptions/37F9DEA2-4345-438F-B0BD-03D40D28C7E0/resourceGroups/Shop/providers/Microsoft.Solutions/applications/Genie";
    app.simulator.register_managed_app(uri, "p");
    let register = async |plan: &str| {
        app.post_api(
            "/api/usage/managed-apps",
            &json!({ "resource_uri": uri, "plan": plan, "since": "2026-02-20T00:00:00Z" }),
        )
        .await
        .1
    };
    let key = register("p").await["key"].as_str().unwrap().to_owned();
    let use_all = async |id: &str, at: Option<String>| {
        let records: Vec<Value> = (0..30)
            .map(|number| json!({ "id": format!("{id}-{number}"), "resource_uri": uri, "dimension": format!("d{number:02}"), "quantity": 1, "occurred_at": at }))
            .collect();
        assert_eq!(app.post_usage(&json!(records)).await.1["recorded"], 30);
    };
    app.simulator.faults().metering_down(true);
    for hour in 0..4 {
        use_all(&format!("h{hour}"), None).await;
        app.clock.advance(hours(1) + minutes(2));
        app.fire("SubmitUsage").await;
    }
    let before = app.now().to_string();
    app.clock.advance(minutes(1));
    register("q").await;
    app.simulator.register_managed_app(uri, "q");
    use_all("new", None).await;
    use_all("late", Some(before)).await;
    app.simulator.faults().metering_down(false);
    // The simulated service takes the registered plan only; what it refuses waits for a person.
    for _ in 0..4 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    let (_, answer) = app.get_api(&format!("/api/usage/resources/{key}")).await;
    for dimension in answer["usage"]["periods"][0]["dimensions"].as_array().unwrap() {
        assert_eq!(dimension["balance"], balance(["6", "0", "1", "0", "5", "0"]));
    }
    // A plan that was registered is the plan of the next record.
    let (_, answer) =
        app.post_usage(&json!({ "id": "last", "resource_uri": uri, "dimension": "d00", "quantity": 1 })).await;
    assert_eq!(answer["record"]["plan"], "q");
}

#[tokio::test]
async fn usage_on_no_list_is_found_by_the_morning() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1010").await;
    // Whatever may have taken it off the list.
    let key = id.to_string();
    for partition in 0..16 {
        let work = mediagenie::store::Table("UsageWork");
        let gone = mediagenie::store::Write::Delete { key: key.clone(), etag: None };
        app.host.app.rows.write(work, &format!("{partition:02x}"), vec![gone]).await.unwrap();
    }
    app.clock.advance(hours(2));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked(), []);
    app.fire("ReadBackUsage").await;
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked().len(), 1);
}
