//! Rules around usage: changes of plan, trials, unusual quantities, managed applications, files, many writers.

use std::sync::Arc;

use jiff::SignedDuration;
use mediagenie::foundation::outbound::client;
use mediagenie::simulator::Action;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::usage::balance;

const SPEECH: &str = "speech_minutes";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// A product with a catalogue of its own; the folder holds the file.
async fn with_catalogue(catalogue: &Value) -> (TestApp, TempDir) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("catalogue.json");
    std::fs::write(&file, catalogue.to_string()).unwrap();
    (TestApp::with(&[("CATALOGUE_FILE", file.to_str().unwrap())]).await, folder)
}

fn dimensions() -> Value {
    json!({ SPEECH: { "name": "Speech", "unit": "minute", "price": "0.02", "included": { "P1M": "10" } } })
}

#[tokio::test]
async fn usage_before_a_change_of_plan_is_billed_under_the_old_plan_and_after_it_under_the_new_one() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1200").await;
    app.clock.advance(minutes(10));
    app.simulator.act(id, Action::ChangePlan("metered-large".into())).unwrap();
    app.settle().await;
    assert_eq!(app.facts(id).await.plan_id, "metered-large");
    app.use_up(id, "b", SPEECH, "510").await;
    // Late ones of the old plan count with the hour that is open, and do not push the new plan's away.
    for number in 0..12 {
        let late = json!({ "id": format!("late-{number}"), "subscription": id, "dimension": SPEECH, "quantity": 1, "occurred_at": "2026-03-02T09:01:00Z" });
        let (status, answer) = app.post_usage(&late).await;
        assert_eq!((status, &answer["record"]["hour"]), (201, &json!("2026-03-02T09")));
        app.clock.advance(minutes(1));
        app.fire("SubmitUsage").await;
    }
    for _ in 0..3 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    // One slot an hour: the new plan's units of the first hour wait for the next.
    assert_eq!(
        app.booked()
            .iter()
            .map(|(_, hour, plan, quantity)| (hour.as_str(), plan.as_str(), quantity.as_str()))
            .collect::<Vec<_>>(),
        [("2026-03-02T09:00:00Z", "metered", "212"), ("2026-03-02T10:00:00Z", "metered-large", "10"),]
    );
    // 1,500 less the 1,000 that the old plan has included already.
    assert_eq!(app.balance(id, SPEECH).await, balance(["1722", "1500", "222", "0", "0", "0"]));
}

#[tokio::test]
async fn usage_of_a_free_trial_is_recorded_and_never_sent() {
    let (app, _folder) = with_catalogue(&json!({ "plans": { "trial": { "dimensions": dimensions() } } })).await;
    let (id, _) = app.buy("trial", None).await;
    assert!(app.facts(id).await.is_free_trial);
    app.use_up(id, "a", SPEECH, "500").await;
    app.clock.advance(hours(2));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked(), []);
    assert_eq!(app.balance(id, SPEECH).await, balance(["500", "500", "0", "0", "0", "0"]));
}

#[tokio::test]
async fn a_quantity_far_outside_the_customers_history_waits_for_a_person_but_not_past_its_deadline() {
    let (app, _folder) =
        with_catalogue(&json!({ "plans": { "metered": { "hold": { "factor": 10, "least": "50" } } } })).await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "pot", SPEECH, "1000").await;
    for hour in 0..12 {
        app.use_up(id, &format!("usual-{hour}"), SPEECH, "20").await;
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    app.clock.advance(minutes(10));
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await["accepted"], "240");
    app.use_up(id, "many", SPEECH, "200").await;
    app.clock.advance(hours(1));
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await["accepted"], "440", "ten times the largest is still usual");
    app.use_up(id, "spike", SPEECH, "200000").await;
    for _ in 0..22 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
        assert_eq!(app.balance(id, SPEECH).await["accepted"], "440");
    }
    assert_eq!(app.balance(id, SPEECH).await["held"], "200000");
    app.clock.advance(hours(1));
    app.fire("SubmitUsage").await;
    assert_eq!(
        app.balance(id, SPEECH).await,
        balance(["201440", "1000", "200440", "0", "0", "0"]),
        "an hour before its end it was sent"
    );
}

#[tokio::test]
async fn a_managed_application_is_metered_by_its_address_with_the_marketplaces_token() {
    let (app, _folder) = with_catalogue(&json!({ "plans": { "gold": { "dimensions": dimensions() } } })).await;
    let uri = "/subscriptions/37F9DEA2-4345-438F-B0BD-03D40D28C7E0/resourceGroups/Shop/providers/Microsoft.Solutions/applications/Genie";
    app.simulator.register_managed_app(uri, "gold");
    let record = json!({ "id": "a", "resource_uri": uri, "dimension": SPEECH, "quantity": 12 });
    assert_eq!(app.post_usage(&record).await.0, 404, "not registered here");
    let (status, answer) =
        app.post_api("/api/usage/managed-apps", &json!({ "resource_uri": uri, "plan": "silver" })).await;
    assert_eq!((status, &answer["code"]), (400, &json!("unknown_plan")));
    let (status, answer) =
        app.post_api("/api/usage/managed-apps", &json!({ "resource_uri": uri, "plan": "gold" })).await;
    assert_eq!(status, 200, "{answer}");
    let key = answer["key"].as_str().unwrap().to_owned();
    assert_eq!(app.post_usage(&record).await.0, 201);
    app.clock.advance(hours(2));
    app.fire("SubmitUsage").await;
    let book = app.simulator.usage_book();
    assert_eq!((book[0].resource.as_str(), book[0].quantity), (uri.to_lowercase().as_str(), 2_000_000));
    let (_, answer) = app.get_api(&format!("/api/usage/resources/{key}")).await;
    assert_eq!(answer["usage"]["periods"][0]["dimensions"][0]["balance"]["accepted"], "2");
}

#[tokio::test]
async fn two_hundred_writers_on_one_subscription_lose_and_double_nothing() {
    let app = Arc::new(TestApp::start().await);
    let (id, _) = app.buy("metered", None).await;
    let writers: Vec<_> = (0..200)
        .map(|writer| {
            let app = Arc::clone(&app);
            tokio::spawn(async move {
                for round in 0..3 {
                    // Every record twice, the second time with another writer's.
                    for name in [format!("{writer}-{round}"), format!("{}-{round}", (writer + 1) % 200)] {
                        let record = json!({ "id": name, "subscription": id, "dimension": SPEECH, "quantity": "0.5" });
                        let (status, answer) = app.post_usage(&record).await;
                        assert!(status == 201 || status == 200, "{answer}");
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(app.balance(id, SPEECH).await["recorded"], "300");
}

fn csv(id: Uuid, lines: &[(&str, &str)]) -> String {
    let lines: String = lines.iter().map(|(name, quantity)| format!("{name},{id},{SPEECH},{quantity}\n")).collect();
    format!("id,subscription,dimension,quantity\n{lines}")
}

#[tokio::test]
async fn a_file_is_checked_before_it_counts_and_every_wrong_line_is_named() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let text = csv(id, &[("a", "1.5"), ("b", "-2"), ("a", "1.5"), ("c", "x"), ("d", "4")]).replace(",4", ",\"4\"");
    let text = format!("{text}e,{},{SPEECH},1\n", Uuid::from_u128(9));
    let (status, answer) = app.post_csv("?dry_run=true", text.clone().into_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    let problems: Vec<_> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["line"].as_u64().unwrap(), line["code"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(
        problems,
        [(3, "invalid_quantity".into()), (5, "invalid_quantity".into()), (7, "unknown_resource".into())]
    );
    assert_eq!(app.get_api(&format!("/api/usage/resources/{id}")).await.0, 404, "a dry run leaves no trace");
    // As other programs write it: byte order mark, semicolons, CRLF.
    let foreign = format!("\u{feff}{}", text.replace(',', ";").replace('\n', "\r\n"));
    for (recorded, repeated) in [(2, 1), (0, 3)] {
        let (_, answer) = app.post_csv("", foreign.clone().into_bytes()).await;
        assert_eq!(
            (&answer["recorded"], &answer["repeated"], &answer["refused"]),
            (&json!(recorded), &json!(repeated), &json!(3)),
            "{answer}"
        );
    }
    assert_eq!(app.balance(id, SPEECH).await["recorded"], "5.5");
    let (status, answer) = app.post_csv("", b"id,quantity\n\"a,1\n".to_vec()).await;
    assert_eq!((status, answer["problems"][0]["code"].clone()), (200, json!("broken_line")));
    let (status, answer) = app.post_csv("", vec![b'x'; 17 * 1024 * 1024]).await;
    assert_eq!((status, answer["code"].clone()), (413, json!("body_too_large")));
    assert_eq!(app.post_csv("?dry_run=perhaps", Vec::new()).await.0, 400);
}

#[tokio::test]
async fn the_key_of_the_publisher_opens_the_interface_and_nothing_else_does() {
    let app = TestApp::start().await;
    let http = client().unwrap();
    for (header, code) in [
        (None, "no_key"),
        (Some("Bearer wrong"), "key_refused"),
        (Some("Basic abc"), "no_key"),
        (Some("Bearer "), "no_key"),
    ] {
        let mut request = http.get(app.url("/api/usage/status"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    assert_eq!(app.get_api("/api/usage/status").await.0, 200);
    for path in
        ["/api/usage/losses?month=March", "/api/usage/losses?month=2026-13", "/api/usage/differences?day=yesterday"]
    {
        assert_eq!(app.get_api(path).await.0, 400, "{path}");
    }
    for path in ["/api/usage/resources/nobody", "/api/usage/resources/..%2F", "/api/usage/resources/%20"] {
        assert_eq!(app.get_api(path).await.0, 404, "{path}");
    }
}
