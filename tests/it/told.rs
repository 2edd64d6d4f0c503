//! What the product announces by callback: jobs that are over, changed subscriptions, lost usage.

use jiff::SignedDuration;
use mediagenie::callbacks::Owner;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::simulator::Action;
use mediagenie::store::Write;
use serde_json::json;

use crate::ai_media::png;
use crate::callbacks::endpoint;
use crate::media;
use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::gate::Act;
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_job_that_is_over_is_told_to_its_customer_and_the_publisher_after_it_can_be_read_so() {
    let receiver = Receiver::start().await;
    let app = TestApp::with_deployments(|_| {}, &[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let customer = Owner::Subscription(SubscriptionId(id));
    let (secret, _) = endpoint(&app, &customer, &receiver.url("/customer"), &["job.succeeded"]).await;
    endpoint(&app, &Owner::Publisher, &receiver.url("/publisher"), &["job.succeeded", "subscription.changed"]).await;
    let file = media::upload(&program, &png(60, 60), "a.png").await;
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "file_id": file }] }, "metadata": { "order": "66" } });
    let job = media::submit(&program, &body).await;
    // The first time, the process can not forget that the job was active: it is told again, and told once.
    app.gate.next(Act::Fail, |table, writes| {
        table.0 == "MediaActive" && writes.iter().any(|write| matches!(write, Write::Delete { .. }))
    });
    app.settle().await;
    app.clock.advance(SignedDuration::from_mins(2));
    app.fire("ReviveMediaJobs").await;
    app.settle().await;
    let got = receiver.take();
    let mut paths: Vec<&str> = got.iter().map(|got| got.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/customer", "/publisher"]);
    let told = got.iter().find(|got| got.path == "/customer").unwrap();
    assert!(told.is_signed_with(&secret));
    let data = &told.json()["data"];
    assert_eq!((data["job"].as_str(), data["metadata"]["order"].as_str()), (Some(job.as_str()), Some("66")));
    assert_eq!(
        (data["cost"]["amount"].as_str(), data["progress"]["items_succeeded"].as_u64()),
        (Some("0.002"), Some(1))
    );
    assert_eq!(media::seen(&program, &format!("media/jobs/{job}")).await["result_file_id"], data["result_file_id"]);
}

#[tokio::test]
async fn a_changed_subscription_is_told_to_the_publisher_once() {
    let receiver = Receiver::start().await;
    let app = TestApp::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    let (id, _) = app.buy("team", Some(5)).await;
    endpoint(&app, &Owner::Publisher, &receiver.url("/publisher"), &["subscription.changed"]).await;
    for (action, field, value) in [
        (Action::ChangeQuantity(7), "quantity", json!(7)),
        (Action::ChangePlan("starter".into()), "plan", json!("starter")),
        (Action::Suspend, "status", json!("Suspended")),
    ] {
        app.simulator.act(id, action).unwrap();
        app.settle().await;
        let message = json!({ "subscription": id }).to_string();
        app.host.app.queues.send("subscription-changed", &message, std::time::Duration::ZERO).await.unwrap();
        app.settle().await;
        let got = receiver.take();
        assert_eq!(got.len(), 1, "{field}: {got:?}");
        let event = got[0].json();
        assert_eq!((event["type"].as_str(), &event["data"][field]), (Some("subscription.changed"), &value), "{event}");
        assert_eq!(event["data"]["subscription"], id.to_string());
    }
}

#[tokio::test]
async fn usage_that_is_lost_is_told_to_the_publisher_once() {
    let receiver = Receiver::start().await;
    let app = TestApp::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    let (id, _) = app.buy("metered", None).await;
    endpoint(&app, &Owner::Publisher, &receiver.url("/publisher"), &["usage.lost"]).await;
    let record = json!({ "id": "much", "subscription": id, "dimension": "speech_minutes", "quantity": "100000" });
    assert_eq!(app.post_usage(&record).await.0, 201);
    app.simulator.faults().metering_down(true);
    for _ in 0..30 {
        app.clock.advance(SignedDuration::from_hours(1));
        app.fire("SubmitUsage").await;
        app.settle().await;
    }
    let got = receiver.take();
    assert_eq!(got.len(), 1, "{got:?}");
    let data = &got[0].json()["data"];
    assert_eq!(
        (data["dimension"].as_str(), data["reason"].as_str()),
        (Some("speech_minutes"), Some("expired")),
        "{data}"
    );
}
