//! The AI API from outside: chat whole and streamed, embeddings, keys, fallback, and that the ledger has what the service
//! counted, also when the customer hangs up.

use futures_util::StreamExt as _;
use jiff::SignedDuration;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::identity::{KeyTerms, api_keys};
use mediagenie::simulator::Action;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::ai::Program;
use crate::support::app::TestApp;

fn prompt(text: &str) -> Value {
    json!({ "model": "chat", "messages": [{ "role": "user", "content": text }] })
}

fn stream(text: &str) -> Value {
    json!({ "model": "chat", "stream": true, "messages": [{ "role": "user", "content": text }] })
}

/// Tokens in the ledger, in thousands, as text.
async fn recorded(app: &TestApp, id: Uuid) -> String {
    app.recorded_of(id, "chat_1k_tokens").await
}

/// What the service counted of finished calls, in thousands, as text.
fn counted(app: &TestApp) -> String {
    let calls = app.simulator.ai_calls();
    let tokens: u64 =
        calls.iter().filter(|call| call.finished).map(|call| call.prompt_tokens + call.completion_tokens).sum();
    mediagenie::metering::model::quantity::Quantity(i128::from(tokens) * 1_000).to_string()
}

#[tokio::test]
async fn a_chat_is_answered_under_our_name_and_metered_by_the_services_count() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let (status, answer) = program.post("chat/completions", &prompt("Hello there")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((answer["model"].as_str(), answer["object"].as_str()), (Some("chat"), Some("chat.completion")));
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().contains("simulated"));
    assert_eq!(recorded(&app, id).await, counted(&app));
    assert_ne!(counted(&app), "0");
    let (status, answer) = program.post("embeddings", &json!({ "model": "embed", "input": ["a", "bc"] })).await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 2), "{answer}");
    assert_eq!(recorded(&app, id).await, counted(&app));
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_with_done_at_its_end_and_usage_only_when_asked_for() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    for wants in [false, true] {
        let mut body = stream("Tell me something long enough to be cut into pieces");
        if wants {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let answer = program.send("chat/completions", &body).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert!(answer.headers().contains_key("x-request-id"));
        let text = answer.text().await.unwrap();
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.last(), Some(&"[DONE]"));
        let chunks: Vec<Value> =
            data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
        assert!(chunks.iter().all(|chunk| chunk["model"] == "chat"));
        assert_eq!(chunks.iter().filter(|chunk| chunk["usage"].is_object()).count(), usize::from(wants));
        assert_eq!(
            chunks.iter().filter(|chunk| chunk["choices"].as_array().unwrap().is_empty()).count(),
            usize::from(wants)
        );
        assert_eq!(recorded(&app, id).await, counted(&app), "durable before the last byte");
    }
}

#[tokio::test]
async fn a_customer_who_hangs_up_anywhere_in_a_stream_has_used_what_the_service_counted() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    for position in 0..200 {
        let text = format!(
            "Number {position}: one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
        );
        let mut answer = program.send("chat/completions", &stream(&text)).await.bytes_stream();
        for _ in 0..position {
            if answer.next().await.is_none() {
                break;
            }
        }
        drop(answer);
        // The relay reads on for the usage.
        for _ in 0..2_000 {
            if app.simulator.ai_calls().len() == position + 1 && recorded(&app, id).await == counted(&app) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(app.simulator.ai_calls().len(), position + 1);
        assert!(app.simulator.ai_calls().iter().all(|call| call.finished && !call.client_gone), "position {position}");
        assert_eq!(recorded(&app, id).await, counted(&app), "position {position}");
    }
}

#[tokio::test]
async fn what_the_service_breaks_is_told_and_costs_nothing() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let faults = app.simulator.faults();
    let breaks: [&dyn Fn(); 3] =
        [&|| faults.ai_cut_next(1), &|| faults.ai_no_done_next(1), &|| faults.ai_error_in_stream_next(1)];
    for (number, strike) in breaks.iter().enumerate() {
        strike();
        let text = program
            .send("chat/completions", &stream("Break this answer somewhere in the middle please"))
            .await
            .text()
            .await
            .unwrap();
        let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
        let error: Value = serde_json::from_str(last).unwrap();
        assert_eq!(error["error"]["code"], "upstream_stream_interrupted", "break {number}");
        assert!(!text.contains("[DONE]"));
    }
    let both: [(&str, &dyn Fn(), &str); 2] = [
        ("html", &|| faults.ai_html_next(1), "upstream_invalid"),
        ("cut", &|| faults.ai_cut_next(1), "upstream_invalid"),
    ];
    for (name, strike, code) in both {
        strike();
        let (status, answer) = program.post("chat/completions", &prompt("x")).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (502, Some(code)), "{name}: {answer}");
    }
    assert_eq!(recorded(&app, id).await, "0");
    // Nobody said how much it was: counted by us, and flagged.
    faults.ai_no_usage_next(1);
    assert_eq!(program.post("chat/completions", &prompt("How much was it?")).await.0, 200);
    assert_ne!(recorded(&app, id).await, "0");
}

#[tokio::test]
async fn another_deployment_answers_when_the_first_can_not() {
    let prompt = |text: &str| json!({ "model": "chat-pool", "messages": [{ "role": "user", "content": text }] });
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    for status in [429, 500, 503, 401] {
        app.simulator.faults().ai_fail_next(1, status);
        let (answered, answer) = program.post("chat/completions", &prompt("Hello")).await;
        assert_eq!(answered, 200, "{status}: {answer}");
        let calls = app.simulator.ai_calls();
        assert!(calls.last().unwrap().deployment.ends_with("-west"), "{status}");
        // The first one is left alone for a while, and then asked again.
        assert_eq!(program.post("chat/completions", &prompt("Hello")).await.0, 200);
        assert!(app.simulator.ai_calls().last().unwrap().deployment.ends_with("-west"), "{status}");
        app.clock.advance(SignedDuration::from_secs(61));
        assert_eq!(program.post("chat/completions", &prompt("Hello")).await.0, 200);
        assert!(!app.simulator.ai_calls().last().unwrap().deployment.ends_with("-west"), "{status}");
    }
    app.simulator.faults().ai_throttle_next(2, std::time::Duration::from_millis(1500));
    let answer = program.send("chat/completions", &prompt("Hello")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after-ms"], &answer.headers()["retry-after"]),
        (429, &"1500".parse().unwrap(), &"2".parse().unwrap())
    );
    app.simulator.faults().ai_down(true);
    let (status, answer) = program.post("chat/completions", &prompt("Hello")).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (502, Some("upstream_unavailable")), "{answer}");
    app.simulator.faults().ai_down(false);
    // What is the customer's own mistake goes to nobody else.
    let before = app.simulator.request_count("ai.chat");
    let (status, answer) = program.post("chat/completions", &prompt("[blocked]")).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("content_filter")), "{answer}");
    assert_eq!(app.simulator.request_count("ai.chat"), before + 1);
    assert_eq!(recorded(&app, id).await, counted(&app), "a blocked prompt is not billed");
}

#[tokio::test]
async fn only_a_live_key_of_an_active_subscription_opens_the_api() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let error = async |key: &str| {
        let answer = program
            .http
            .post(format!("{}/v1/chat/completions", app.address))
            .bearer_auth(key)
            .json(&prompt("x"))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["error"]["code"].as_str().unwrap().to_owned())
    };
    let refused = (401, "invalid_api_key".to_owned());
    for wrong in
        ["", "sk-123", "mgk-000000000000-abc", &program.key[..program.key.len() - 1], &format!("{}x", program.key)]
    {
        assert_eq!(error(wrong).await, refused, "{wrong}");
    }
    // As Azure's SDKs send it.
    let azure =
        program.http.get(format!("{}/v1/models", app.address)).header("api-key", &program.key).send().await.unwrap();
    let models: Value = azure.json().await.unwrap();
    assert_eq!(
        models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect::<Vec<_>>(),
        [
            "chat",
            "chat-pool",
            "embed",
            "image",
            "speech",
            "speech-azure",
            "transcribe",
            "transcribe-fast",
            "transcribe-short",
            "vision",
            "vision-old"
        ]
    );
    let (status, answer) = program.post("chat/completions", &json!({ "model": "nothing", "messages": [] })).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str(), answer["error"]["param"].as_str()),
        (404, Some("model_not_found"), Some("model"))
    );
    assert_eq!(program.post("chat/completions", &json!({ "messages": [] })).await.1["error"]["code"], "missing_model");
    assert_eq!(program.post("chat/completions", &json!([])).await.0, 400);
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    assert_eq!(error(&program.key).await, (403, "subscription_suspended".to_owned()));
    app.simulator.act(id, Action::Reinstate).unwrap();
    app.settle().await;
    assert_eq!(program.post("chat/completions", &prompt("x")).await.0, 200);
    let prefix = program.key.split('-').nth(1).unwrap();
    assert!(api_keys::end(&app.host.app, SubscriptionId(id), prefix, SignedDuration::ZERO).await.unwrap());
    assert_eq!(error(&program.key).await, refused, "revoked");
    let expiring = app.now() + SignedDuration::from_hours(1);
    let made = api_keys::create(
        &app.host.app,
        SubscriptionId(id),
        "short",
        "nobody",
        KeyTerms { expires: Some(expiring), ..KeyTerms::default() },
    )
    .await
    .unwrap()
    .unwrap();
    app.clock.advance(SignedDuration::from_hours(2));
    assert_eq!(error(made.0.expose()).await, refused, "expired");
    // Without deployments there are no models.
    let bare = TestApp::start().await;
    let (other, _) = bare.buy("metered", None).await;
    let (status, _) = Program::of(&bare, other).await.post("chat/completions", &prompt("x")).await;
    assert_eq!(status, 404);
}
