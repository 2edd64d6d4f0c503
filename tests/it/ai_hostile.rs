//! Services that answer what no contract has: nothing of it is billed, believed or passed on.

use serde_json::{Value, json};
use warp::Filter as _;

use crate::support::ai::Program;
use crate::support::app::TestApp;

/// A service that answers a chat with what its request's `user` holds, as status and JSON, and speaks without a sound.
async fn hostile() -> String {
    let chat = warp::path!("v1" / "chat" / "completions").and(warp::body::json()).map(|body: Value| {
        let wish: Value = serde_json::from_str(body["user"].as_str().unwrap()).unwrap();
        let status = wish["status"].as_u64().unwrap_or(200) as u16;
        let (text, kind) = match wish["stream"].as_str() {
            Some(text) => (text.to_owned(), "text/event-stream"),
            None => (wish["body"].to_string(), "application/json"),
        };
        http::Response::builder().status(status).header("content-type", kind).body(text).unwrap()
    });
    let speech = warp::path!("v1" / "audio" / "speech")
        .map(|| http::Response::builder().header("content-type", "audio/mpeg").body(String::new()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(warp::serve(chat.or(speech)).incoming(listener).run());
    address
}

async fn start() -> (TestApp, uuid::Uuid, Program) {
    let address = hostile().await;
    let change = |list: &mut Value| {
        for entry in list["deployments"].as_array_mut().unwrap() {
            if entry["model"] == "chat" || entry["model"] == "speech" {
                (entry["endpoint"], entry["deployment"]) = (address.clone().into(), "secret-deployment".into());
            }
        }
    };
    let app = TestApp::with_deployments(change, &[]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    (app, id, program)
}

fn ask(wish: &Value, stream: bool) -> Value {
    json!({ "model": "chat", "user": wish.to_string(), "stream": stream, "messages": [{ "role": "user", "content": "Hi" }] })
}

#[tokio::test]
async fn an_error_of_a_service_tells_nothing_of_our_side() {
    let (_app, _, program) = start().await;
    let error = json!({ "message": "secret-deployment at 127.0.0.1 refuses", "param": { "deep": "secret-deployment" }, "code": 400,
        "innererror": { "code": "ResponsibleAIPolicyViolation", "deployment": "secret-deployment", "content_filter_result": { "hate": { "filtered": true } } } });
    let (status, answer) =
        program.post("chat/completions", &ask(&json!({ "status": 400, "body": { "error": error } }), false)).await;
    assert_eq!((status, &answer["error"]["param"], &answer["error"]["code"]), (400, &Value::Null, &json!("400")));
    assert_eq!(answer["error"]["innererror"]["content_filter_result"]["hate"]["filtered"], true);
    let text = answer.to_string();
    assert!(!text.contains("secret-deployment") && !text.contains("127.0.0.1"), "{text}");
}

#[tokio::test]
async fn what_no_service_can_have_used_is_not_believed_and_what_is_nothing_is_not_billed() {
    let (app, id, program) = start().await;
    let choices = json!([{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "x" } }]);
    let usage = json!({ "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX });
    let body = json!({ "id": "c", "choices": choices, "usage": usage });
    let (status, answer) = program.post("chat/completions", &ask(&json!({ "body": body }), false)).await;
    assert!(status == 200 && answer["usage"]["total_tokens"].as_u64().unwrap() < 200, "{answer}");
    let before = app.recorded_of(id, "chat_1k_tokens").await;
    let text =
        program.send("chat/completions", &ask(&json!({ "stream": "data: [DONE]\n\n" }), true)).await.text().await;
    assert!(text.unwrap().contains("upstream_stream_interrupted"));
    assert_eq!(app.recorded_of(id, "chat_1k_tokens").await, before);
    let silence = program.send("audio/speech", &json!({ "model": "speech", "voice": "alloy", "input": "Hello" })).await;
    assert!(silence.bytes().await.is_err(), "an answer without its end breaks");
    assert_eq!(app.recorded_of(id, "spoken_1k_chars").await, "0");
}

#[tokio::test]
async fn what_costs_more_than_its_tokens_is_refused() {
    let (app, _, program) = start().await;
    for (field, value) in
        [("service_tier", json!("priority")), ("web_search_options", json!({})), ("prompt", json!({ "id": "p" }))]
    {
        let mut body = ask(&json!({ "body": {} }), false);
        body[field] = value;
        let (status, answer) = program.post("chat/completions", &body).await;
        assert_eq!((status, answer["error"]["param"].as_str()), (400, Some(field)), "{answer}");
    }
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let large =
        nobody.post(app.url("/v1/chat/completions")).bearer_auth("mgk-000000000000-x").body(vec![b' '; 20_000_000]);
    assert_eq!(large.send().await.unwrap().status(), 401, "who has no key is told so, however much they send");
}
