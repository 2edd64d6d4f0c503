//! From a usage record to Microsoft's book: hours, included quantities, answers, deadlines, the end of a subscription.

use jiff::SignedDuration;
use mediagenie::simulator::{Action, BookedUsage};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::usage::balance;

const SPEECH: &str = "speech_minutes";

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[tokio::test]
async fn only_what_exceeds_the_included_quantity_is_billed_hour_by_hour() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "900").await;
    app.use_up(id, "b", SPEECH, "150.25").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1050.25", "1000", "0", "50.25", "0", "0"]));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked(), [], "the hour is not over");
    app.clock.advance(hours(1) + minutes(5));
    app.use_up(id, "c", SPEECH, "7").await;
    app.fire("SubmitUsage").await;
    let first = (SPEECH.to_owned(), "2026-03-02T09:00:00Z".to_owned(), "metered".to_owned(), "50.25".to_owned());
    assert_eq!(app.booked(), std::slice::from_ref(&first));
    assert_eq!(app.balance(id, SPEECH).await, balance(["1057.25", "1000", "50.25", "7", "0", "0"]));
    app.clock.advance(hours(1));
    app.fire("SubmitUsage").await;
    app.fire("SubmitUsage").await;
    let second = (SPEECH.to_owned(), "2026-03-02T10:00:00Z".to_owned(), "metered".to_owned(), "7".to_owned());
    assert_eq!(app.booked(), [first, second]);
    assert_eq!(app.balance(id, SPEECH).await, balance(["1057.25", "1000", "57.25", "0", "0", "0"]));
}

#[tokio::test]
async fn a_repeated_record_counts_once_and_another_one_under_its_id_is_shown_both() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let record = json!({ "id": "r-1", "subscription": id, "dimension": SPEECH, "quantity": 5 });
    assert_eq!(app.post_usage(&record).await.0, 201);
    app.clock.advance(hours(30));
    let (status, answer) = app.post_usage(&record).await;
    assert_eq!((status, &answer["status"]), (200, &json!("repeated")), "{answer}");
    let other = json!({ "id": "r-1", "subscription": id, "dimension": SPEECH, "quantity": 6 });
    let (status, answer) = app.post_usage(&other).await;
    assert_eq!(status, 409);
    assert_eq!((&answer["accepted"]["quantity"], &answer["sent"]["quantity"]), (&json!("5"), &json!("6")));
    assert_eq!(app.balance(id, SPEECH).await["recorded"], "5");
}

#[tokio::test]
async fn each_record_of_a_list_has_its_own_result() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let stranger = uuid::Uuid::from_u128(77);
    let record = |name: &str, quantity: &str| json!({ "id": name, "subscription": id, "dimension": SPEECH, "quantity": quantity });
    let mut old = record("old", "1");
    old["occurred_at"] = "2026-03-01T07:59:00Z".into();
    let mut future = record("future", "1");
    future["occurred_at"] = "2026-03-02T10:30:00Z".into();
    let mut unknown = record("unknown", "1");
    unknown["dimension"] = "minutes".into();
    let mut nobody = record("nobody", "1");
    nobody["subscription"] = json!(stranger);
    let mut meter = record("meter", "90000");
    meter.as_object_mut().unwrap().remove("dimension");
    meter["meter"] = "speech_to_text_ms".into();
    let mut odd = record("odd", "1");
    odd["colour"] = "red".into();
    let list = json!([
        record("good", "2"), record("good", "2"), record("good", "3"), record("negative", "-1"), record("zero", "0"),
        record("nan", "NaN"), record("long", "123456789012345678901234567890"), record("fine", "0.0000001"),
        old, future, unknown, nobody, meter, odd, { "id": "empty" }, 7,
    ]);
    let (status, answer) = app.post_usage(&list).await;
    assert_eq!(status, 200, "{answer}");
    let seen: Vec<(String, String)> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let code = result["code"].as_str().or(result["status"].as_str()).unwrap();
            (result["id"].as_str().unwrap().to_owned(), code.to_owned())
        })
        .collect();
    let expected = [
        ("good", "recorded"),
        ("good", "repeated"),
        ("good", "conflict"),
        ("negative", "invalid_quantity"),
        ("zero", "invalid_quantity"),
        ("nan", "invalid_quantity"),
        ("long", "invalid_quantity"),
        ("fine", "invalid_quantity"),
        ("old", "too_old"),
        ("future", "in_future"),
        ("unknown", "unknown_dimension"),
        ("nobody", "unknown_resource"),
        ("meter", "recorded"),
        ("odd", "unreadable"),
        ("empty", "missing"),
        ("", "unreadable"),
    ];
    let seen: Vec<(&str, &str)> = seen.iter().map(|(id, code)| (id.as_str(), code.as_str())).collect();
    assert_eq!(seen, expected);
    let message = answer["results"][10]["message"].as_str().unwrap();
    assert!(
        message.contains(
            "chat_1k_tokens, generated_images, speech_minutes, spoken_1k_chars, stored_gib_hours, vision_images"
        ),
        "{message}"
    );
    // 90,000 ms are a minute and a half.
    assert_eq!(app.balance(id, SPEECH).await["recorded"], "3.5");
    let many: Vec<_> = (0..1001).map(|n| record(&n.to_string(), "1")).collect();
    assert_eq!(app.post_usage(&json!(many)).await.1["code"], "too_many_records");
}

#[tokio::test]
async fn a_correction_takes_back_what_was_recorded_and_no_more() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1010").await;
    let correction = |name: &str, quantity: &str, corrects: &str| json!({ "id": name, "subscription": id, "dimension": SPEECH, "quantity": quantity, "corrects": corrects, "note": "counted twice" });
    assert_eq!(app.post_usage(&correction("b", "-1011", "a")).await.1["code"], "invalid_correction");
    assert_eq!(app.post_usage(&correction("b", "-1", "x")).await.1["code"], "invalid_correction");
    assert_eq!(app.post_usage(&correction("b", "-6", "a")).await.0, 201);
    // All corrections of a record together take back no more than it has, also side by side.
    let both = json!([correction("x", "-1004", "a"), correction("y", "-1", "a")]);
    let (_, answer) = app.post_usage(&both).await;
    assert_eq!(
        (&answer["results"][0]["status"], &answer["results"][1]["code"]),
        (&json!("recorded"), &json!("invalid_correction"))
    );
    assert_eq!(app.post_usage(&correction("z", "-1", "x")).await.1["code"], "invalid_correction");
    app.use_up(id, "a2", SPEECH, "1004").await;
    app.clock.advance(hours(2));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked()[0].3, "4");
    // After Microsoft's booking a correction can only be set against later usage.
    assert_eq!(app.post_usage(&correction("c", "-3", "a2")).await.0, 201);
    app.use_up(id, "d", SPEECH, "5").await;
    app.clock.advance(hours(2));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked()[1].3, "2");
    assert_eq!(app.balance(id, SPEECH).await, balance(["1006", "1000", "6", "0", "0", "0"]));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_booked_once() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1010").await;
    app.clock.advance(hours(2));
    app.simulator.faults().metering_drop_answer_next(1);
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1010", "1000", "0", "10", "0", "0"]), "nobody knows yet");
    app.clock.advance(minutes(6));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked().len(), 1);
    assert_eq!(app.balance(id, SPEECH).await, balance(["1010", "1000", "10", "0", "0", "0"]));
}

#[tokio::test]
async fn what_microsoft_booked_less_of_is_carried_to_a_later_hour_and_noted() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1009").await;
    app.clock.advance(hours(1) + minutes(5));
    app.simulator.faults().metering_accept_other_quantity_next(1);
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1009", "1000", "4.5", "4.5", "0", "0"]));
    app.clock.advance(hours(1));
    app.fire("SubmitUsage").await;
    let quantities: Vec<_> = app.booked().into_iter().map(|(_, hour, _, quantity)| (hour, quantity)).collect();
    assert_eq!(
        quantities,
        [("2026-03-02T09:00:00Z".into(), "4.5".into()), ("2026-03-02T10:00:00Z".into(), "4.5".into())]
    );
    assert_eq!(app.balance(id, SPEECH).await, balance(["1009", "1000", "9", "0", "0", "0"]));
    let (_, answer) = app.get_api("/api/usage/differences?day=2026-03-02").await;
    assert_eq!(
        (&answer["differences"][0]["kind"], &answer["differences"][0]["ours"], &answer["differences"][0]["theirs"]),
        (&json!("answered_other"), &json!("9"), &json!("4.5"))
    );
}

#[tokio::test]
async fn a_slot_that_somebody_else_took_is_settled_by_its_quantity_and_the_rest_is_carried() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1009").await;
    app.clock.advance(hours(1) + minutes(5));
    let hour = "2026-03-02T09:00:00Z".parse().unwrap();
    app.simulator.edit_usage_book(|book| {
        book.push(BookedUsage {
            resource: id.to_string(),
            dimension: SPEECH.into(),
            hour,
            effective_start: hour,
            plan: "metered".into(),
            quantity: 5_000_000,
            ..BookedUsage::default()
        });
    });
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1009", "1000", "5", "4", "0", "0"]));
    app.clock.advance(hours(1));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked()[1].3, "4");
    assert_eq!(app.balance(id, SPEECH).await["pending"], "0");
}

#[tokio::test]
async fn an_outage_of_almost_a_day_loses_nothing() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    // The purchase has moved the clock by a few seconds.
    app.clock.advance("2026-03-02T10:00:00Z".parse::<jiff::Timestamp>().unwrap().duration_since(app.now()));
    app.use_up(id, "a", SPEECH, "1030").await;
    app.simulator.faults().metering_down(true);
    for _ in 0..143 {
        app.clock.advance(minutes(10));
        app.fire("SubmitUsage").await;
    }
    app.simulator.faults().metering_down(false);
    assert_eq!(app.now().to_string(), "2026-03-03T09:50:00Z");
    for _ in 0..9 {
        app.clock.advance(minutes(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, SPEECH).await, balance(["1030", "1000", "30", "0", "0", "0"]));
    let (_, answer) = app.get_api("/api/usage/losses?month=2026-03").await;
    assert_eq!(answer["losses"], json!([]));
}

#[tokio::test]
async fn an_outage_of_more_than_a_day_stands_in_the_loss_ledger_to_the_last_unit() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.clock.advance("2026-03-02T10:00:00Z".parse::<jiff::Timestamp>().unwrap().duration_since(app.now()));
    app.use_up(id, "a", SPEECH, "1030.125").await;
    app.clock.advance(hours(1));
    app.use_up(id, "b", SPEECH, "12").await;
    app.simulator.faults().metering_down(true);
    for _ in 0..139 {
        app.clock.advance(minutes(10));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.now().to_string(), "2026-03-03T10:10:00Z");
    app.simulator.faults().metering_down(false);
    for _ in 0..6 {
        app.clock.advance(minutes(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, SPEECH).await, balance(["1042.125", "1000", "12", "0", "0", "30.125"]));
    let (_, answer) = app.get_api("/api/usage/losses?month=2026-03").await;
    let losses = answer["losses"].as_array().unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!(
        (&losses[0]["quantity"], &losses[0]["amount"], &losses[0]["currency"], &losses[0]["reason"]),
        (&json!("30.125"), &json!("0.6025"), &json!("USD"), &json!("expired"))
    );
}

#[tokio::test]
async fn usage_while_suspended_waits_and_is_sent_after_the_reinstatement() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", SPEECH, "1001").await;
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    app.use_up(id, "b", SPEECH, "2").await;
    app.clock.advance(hours(3));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked(), []);
    assert_eq!(app.balance(id, SPEECH).await, balance(["1003", "1000", "0", "0", "3", "0"]));
    app.clock.advance(hours(2));
    app.simulator.act(id, Action::Reinstate).unwrap();
    app.settle().await;
    app.clock.advance(minutes(6));
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1003", "1000", "3", "0", "0", "0"]));
}

#[tokio::test]
async fn a_suspension_of_more_than_a_day_loses_nothing_of_a_customer_who_is_reinstated() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "before", SPEECH, "1003").await;
    // Frozen, and not sent when the suspension comes.
    app.simulator.faults().metering_down(true);
    app.clock.advance(hours(1) + minutes(6));
    app.fire("SubmitUsage").await;
    app.simulator.faults().metering_down(false);
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    app.use_up(id, "during", SPEECH, "2").await;
    for _ in 0..30 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.booked(), []);
    app.simulator.act(id, Action::Reinstate).unwrap();
    app.settle().await;
    app.clock.advance(hours(1) + minutes(6));
    app.fire("SubmitUsage").await;
    let quantities: Vec<_> = app.booked().into_iter().map(|(_, _, _, quantity)| quantity).collect();
    let (_, answer) = app.get_api("/api/usage/losses?month=2026-03").await;
    // What was on its way without an answer may have been booked, so its deadline counts.
    assert_eq!((quantities, answer["losses"][0]["quantity"].as_str()), (vec!["2".to_owned()], Some("3")));
    assert_eq!(app.balance(id, SPEECH).await, balance(["1005", "1000", "2", "0", "0", "3"]));
}

#[tokio::test]
async fn usage_that_was_never_sent_outlives_any_suspension() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "before", SPEECH, "1003").await;
    app.simulator.faults().metering_status_override(Some("ResourceNotActive"));
    app.clock.advance(hours(1) + minutes(6));
    app.fire("SubmitUsage").await;
    app.simulator.faults().metering_status_override(None);
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    for _ in 0..50 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    assert_eq!(app.balance(id, SPEECH).await, balance(["1003", "1000", "0", "0", "3", "0"]));
    app.simulator.act(id, Action::Reinstate).unwrap();
    app.settle().await;
    app.clock.advance(hours(1) + minutes(6));
    app.fire("SubmitUsage").await;
    assert_eq!(app.balance(id, SPEECH).await, balance(["1003", "1000", "3", "0", "0", "0"]));
}

#[tokio::test]
async fn the_end_of_a_subscription_closes_the_open_hour_and_waits_for_the_last_records() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "pot", SPEECH, "1001").await;
    // Billed every hour, so that no other slot is free.
    for hour in 0..26 {
        app.clock.advance(hours(1));
        app.use_up(id, &format!("{hour}"), SPEECH, "1").await;
        app.fire("SubmitUsage").await;
    }
    app.clock.advance(minutes(20));
    let before = app.now();
    app.clock.advance(minutes(1));
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    app.settle().await;
    let late = |name: &str, at: jiff::Timestamp| json!({ "id": name, "subscription": id, "dimension": SPEECH, "quantity": 500, "occurred_at": at.to_string() });
    assert_eq!(app.post_usage(&late("straggler", before)).await.0, 201);
    app.clock.advance(minutes(6));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked().last().unwrap().3, "501", "long before the hour is over");
    let (_, answer) = app.post_usage(&late("after", app.now())).await;
    assert_eq!(answer["code"], "ended");
    assert_eq!(app.balance(id, SPEECH).await, balance(["1527", "1000", "527", "0", "0", "0"]));
    // What comes later still finds no free hour, and says so.
    assert_eq!(app.post_usage(&late("too late", before)).await.0, 201);
    for _ in 0..3 {
        app.clock.advance(hours(1));
        app.fire("SubmitUsage").await;
    }
    let (_, answer) = app.get_api("/api/usage/losses?month=2026-03").await;
    assert_eq!(
        (answer["losses"].as_array().unwrap().len(), &answer["losses"][0]["reason"]),
        (1, &json!("no_free_hour"))
    );
}

#[tokio::test]
async fn refusals_that_a_person_must_mend_become_dead_letters_and_others_are_tried_again() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    for (status, state) in [
        ("InvalidDimension", "dead_letter"),
        ("BadArgument", "dead_letter"),
        ("ResourceNotFound", "dead_letter"),
        ("ResourceNotAuthorized", "pending"),
        ("Error", "pending"),
    ] {
        app.use_up(id, status, SPEECH, "1001").await;
        app.simulator.faults().metering_status_override(Some(status));
        app.clock.advance(hours(1) + minutes(5));
        app.fire("SubmitUsage").await;
        let (_, answer) = app.get_api(&format!("/api/usage/resources/{id}")).await;
        let newest = answer["hours"].as_array().unwrap().last().unwrap()["event"].clone();
        assert_eq!((&newest["said"]["status"], &newest["state"]), (&json!(status), &json!(state)));
    }
    let (_, answer) = app.get_api("/api/usage/status").await;
    assert_eq!(answer["dead_letters"], 3, "{answer}");
    app.simulator.faults().metering_status_override(None);
    app.clock.advance(minutes(31));
    app.fire("SubmitUsage").await;
    assert_eq!(app.booked().len(), 2, "what can be tried again was");
    assert_eq!(app.balance(id, SPEECH).await["held"], "2003", "those wait for a person");
}
