//! The comparison with what Microsoft has booked: planted differences are found, and no other.

use jiff::SignedDuration;
use mediagenie::simulator::{BookedUsage, ReconStatus};
use mediagenie::simulator::{Person, PurchaseOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;

#[tokio::test]
async fn thirty_planted_differences_are_found_and_no_other() {
    let app = TestApp::start().await;
    let mut ids: Vec<Uuid> = Vec::new();
    for _ in 0..50 {
        let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
        ids.push(app.purchase_by(&Person::contoso_buyer(), "metered", None, options).subscription_id);
    }
    app.fire("ReconcileSubscriptions").await;
    app.settle().await;
    for hour in 0..3 {
        let records: Vec<Value> = ids
            .iter()
            .map(|id| json!({ "id": format!("r{hour}"), "subscription": id, "dimension": "speech_minutes", "quantity": 1500 + hour }))
            .collect();
        assert_eq!(app.post_usage(&json!(records)).await.1["recorded"], 50);
        app.clock.advance(SignedDuration::from_mins(65));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.simulator.usage_book().len(), 150);
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    app.simulator.edit_usage_book(|book| {
        // Six of each kind, on thirty subscriptions.
        book.retain(|entry| !names[0..6].contains(&entry.resource));
        let first = |book: &mut Vec<BookedUsage>, name: &String, change: &dyn Fn(&mut BookedUsage)| {
            book.iter_mut().filter(|entry| entry.resource == *name).take(1).for_each(change)
        };
        for name in &names[6..12] {
            first(book, name, &|entry| entry.quantity += 1);
        }
        for name in &names[12..18] {
            let entry = book.iter().find(|entry| entry.resource == *name).unwrap().clone();
            book.push(BookedUsage { dimension: "vision_images".into(), quantity: 1, ..entry });
        }
        for name in &names[18..24] {
            first(book, name, &|entry| entry.recon_override = Some(ReconStatus::Rejected));
        }
        for name in &names[24..30] {
            first(book, name, &|entry| {
                entry.recon_override = Some(ReconStatus::Mismatch);
                entry.processed_override = Some(entry.quantity - 1);
            });
        }
    });
    app.fire("ReadBackUsage").await;
    app.clock.advance(SignedDuration::from_hours(24));
    app.fire("ReadBackUsage").await;
    let (_, answer) = app.get_api("/api/usage/differences?day=2026-03-02").await;
    let mut found: Vec<(String, String)> = answer["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| {
            (difference["resource"].as_str().unwrap().to_owned(), difference["kind"].as_str().unwrap().to_owned())
        })
        .collect();
    let kinds = ["missing_at_microsoft", "quantity_differs", "missing_here", "rejected", "processed_other"];
    let mut planted: Vec<(String, String)> =
        names[..30].iter().enumerate().map(|(index, name)| (name.clone(), kinds[index / 6].to_owned())).collect();
    found.sort();
    planted.sort();
    assert_eq!(found, planted);
    assert_eq!(answer["compared"]["compared"], 56, "fifty sums of ours and six of nobody");
    // What Microsoft puts right is no difference any more.
    app.simulator.edit_usage_book(|book| {
        for entry in book.iter_mut() {
            entry.recon_override = None;
            entry.processed_override = None;
        }
    });
    app.post_api("/api/usage/read-back?day=2026-03-02", &json!({})).await;
    let (_, answer) = app.get_api("/api/usage/differences?day=2026-03-02").await;
    assert_eq!(answer["differences"].as_array().unwrap().len(), 18);
}

#[tokio::test]
async fn a_booking_of_which_no_answer_ever_told_is_found_and_the_loss_is_taken_back() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", "speech_minutes", "1010").await;
    app.clock.advance(SignedDuration::from_mins(65));
    app.simulator.faults().metering_drop_answer_next(1);
    app.fire("SubmitUsage").await;
    app.simulator.faults().metering_down(true);
    for _ in 0..26 {
        app.clock.advance(SignedDuration::from_hours(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, "speech_minutes").await["lost"], "10");
    app.simulator.faults().metering_down(false);
    app.fire("ReadBackUsage").await;
    let balance = app.balance(id, "speech_minutes").await;
    assert_eq!((&balance["lost"], &balance["accepted"]), (&json!("0"), &json!("10")));
    let (_, answer) = app.get_api("/api/usage/losses?month=2026-03").await;
    assert!(!answer["losses"][0]["recovered"].is_null(), "{answer}");
}

#[tokio::test]
async fn what_microsoft_has_not_processed_yet_is_told_apart() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", "speech_minutes", "1010").await;
    app.clock.advance(SignedDuration::from_mins(65));
    app.fire("SubmitUsage").await;
    app.post_api("/api/usage/read-back?day=2026-03-02", &json!({})).await;
    let (_, answer) = app.get_api("/api/usage/differences?day=2026-03-02").await;
    assert_eq!(answer["differences"][0]["kind"], "not_yet_processed");
}
