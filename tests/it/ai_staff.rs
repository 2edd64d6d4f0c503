//! What staff see of the AI API, and the emergency stop.

use jiff::SignedDuration;
use mediagenie::simulator::Person;
use serde_json::{Value, json};

use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::browser::Browser;

fn chat() -> Value {
    json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hello there" }] })
}

#[tokio::test]
async fn staff_see_what_calls_earn_and_cost_by_model_and_customer() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    assert!(staff.get("/publisher/ai").await.says("No calls in this month"));
    for _ in 0..3 {
        assert_eq!(program.post("chat/completions", &chat()).await.0, 200);
    }
    app.simulator.faults().ai_fail_next(1, 500);
    assert_eq!(program.post("chat/completions", &chat()).await.0, 502);
    let page = staff.get("/publisher/ai").await;
    let tokens: u64 = app.simulator.ai_calls().iter().map(|call| call.prompt_tokens + call.completion_tokens).sum();
    // A cent for a thousand tokens, and two to eight dollars for a million of them.
    let price = tokens as f64 / 1000.0 * 0.01;
    assert!(page.says(format!("USD {price:.4}").trim_end_matches('0')), "{price}: {}", page.body);
    assert!(page.says("1 failed") && page.says("Cooling down"), "{}", page.body);
    // What a process has not written before its end is written at the end or with the page; another one reads it.
    let app = app.restart().await;
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    assert!(staff.get("/publisher/ai").await.says("1 failed"));
    assert!(staff.get("/publisher/ai?month=2026-02").await.says("No calls in this month"));
    assert_eq!(staff.get("/publisher/ai?month=soon").await.status, 400);
    // Each record in the ledger has both as well.
    let (_, records) = app.get_api(&format!("/api/usage/resources/{id}")).await;
    assert!(records.is_object());
    let csv = staff.get(&format!("/publisher/usage/resources/{id}/records.csv")).await;
    assert!(csv.body.contains("cost 0.0000") && csv.body.contains(" USD"), "{}", csv.body);
}

#[tokio::test]
async fn an_emergency_stop_of_a_model_or_a_customer_holds_at_once_and_until_it_is_lifted() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let (other, _) = app.buy("metered", None).await;
    let (program, neighbour) = (Program::of(&app, id).await, Program::of(&app, other).await);
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    let stop = async |target: &str, subscription: &str, reason: &str| {
        let page = staff.get("/publisher/ai").await;
        staff
            .submit(
                &page,
                "/publisher/ai/stop",
                &[("target", target), ("subscription", subscription), ("reason", reason)],
            )
            .await
    };
    let code = async |program: &Program| {
        let (status, answer) = program.post("chat/completions", &chat()).await;
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    for (target, subscription, reason) in
        [("model:nothing", "", "x"), ("subscription", "nobody", "x"), ("model:chat", "", "")]
    {
        let refused = stop(target, subscription, reason).await;
        assert!(refused.status == 400 && refused.says("Nothing was stopped"), "{}", refused.body);
    }
    assert_eq!(code(&program).await.0, 200);
    assert_eq!(stop("model:chat", "", "too expensive").await.status, 200);
    assert_eq!(code(&program).await, (503, "model_stopped".into()));
    let page = staff.get("/publisher/ai").await;
    assert!(page.says("too expensive"));
    staff.submit(&page, "/publisher/ai/resume", &[]).await;
    assert_eq!(code(&program).await.0, 200);
    // Another instance would hear of it within two seconds.
    assert_eq!(stop("subscription", &id.to_string(), "abuse").await.status, 200);
    app.clock.advance(SignedDuration::from_secs(3));
    assert_eq!(code(&program).await, (403, "access_stopped".into()));
    assert_eq!(code(&neighbour).await.0, 200);
    let reader = Browser::new(&app.address).of(&Person::contoso_buyer());
    assert_eq!(reader.get("/publisher/ai").await.status, 404);
}
