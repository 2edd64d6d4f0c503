//! What goes wrong at the AI services when it is asked to, and that the truth is told all the same.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use super::tests::{ask, records, with};
use crate::simulator::tests::World;

/// The question's answer has eight words.
async fn stream(world: &World) -> Response {
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    world.ai("chat/completions", &with(ask("one two"), more)).send().await.unwrap()
}

/// What arrives, and whether it ended in good order.
async fn read(mut reply: Response) -> (Vec<Value>, bool) {
    let mut text = String::new();
    loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => return (records(&text), true),
            Err(_) => return (records(&text), false),
        }
    }
}

/// The pieces of content among the records.
fn words(records: &[Value]) -> usize {
    let spoken =
        |record: &&Value| record["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty());
    records.iter().filter(spoken).count()
}

/// Waits until the simulator has noticed that the caller of the last call is gone.
async fn client_gone(world: &World) -> bool {
    for _ in 0..200 {
        if world.last_call().client_gone {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn refusals_strike_as_often_as_asked() {
    let world = World::start().await;
    let faults = world.simulator.faults();
    faults.ai_throttle_next(1, Duration::from_millis(1500));
    let limited = world.ai("chat/completions", &ask("Hi")).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after-ms"]), (429, &"1500".parse().unwrap()));
    assert_eq!(limited.headers()["retry-after"], "2");
    assert_eq!(limited.json::<Value>().await.unwrap()["error"]["code"], "429");
    faults.ai_fail_next(1, 500);
    let models = world.http.get(format!("{}/openai/v1/models", world.base()));
    assert_eq!(models.bearer_auth(world.simulator.ai_config().api_key).send().await.unwrap().status(), 200);
    assert_eq!(world.chat(&ask("Hi")).await.0, 500);
    faults.ai_html_next(1);
    let page = world.ai("embeddings", &json!({})).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    faults.ai_down(true);
    assert_eq!(world.chat(&ask("Hi")).await.0, 503);
    faults.ai_down(false);
    assert!(world.simulator.ai_calls().is_empty());
    assert_eq!(world.chat(&ask("Hi")).await.0, 200);
}

#[tokio::test]
async fn a_cut_breaks_the_connection() {
    let world = World::start().await;
    world.simulator.faults().ai_cut_next(3);
    let (half, whole) = read(stream(&world).await).await;
    assert_eq!((words(&half), whole), (4, false));
    let call = world.last_call();
    assert_eq!((call.completion_tokens, call.cut, call.finished, call.client_gone), (4, true, false, false));
    world.simulator.faults().ai_cut_after_chunks(Some(0));
    let (none, whole) = read(stream(&world).await).await;
    assert_eq!((none.len(), whole, world.last_call().completion_tokens), (2, false, 0));
    let unstreamed = world.ai("chat/completions", &ask("one two")).send().await.unwrap();
    assert!(unstreamed.status() == 200 && unstreamed.bytes().await.is_err());
    assert!(world.last_call().cut && world.last_call().completion_tokens == 8);
    let (all, whole) = read(stream(&world).await).await;
    assert!(whole && words(&all) == 8 && world.last_call().finished);
}

#[tokio::test]
async fn streams_end_wrongly_but_in_good_order() {
    let world = World::start().await;
    let faults = world.simulator.faults();
    faults.ai_no_done_next(2);
    let (all, whole) = read(stream(&world).await).await;
    assert!(whole && all.last().unwrap()["usage"]["completion_tokens"] == 8);
    assert!(world.last_call().cut && !world.last_call().finished);
    faults.ai_cut_after_chunks(Some(3));
    let (some, whole) = read(stream(&world).await).await;
    assert_eq!((some.len(), words(&some), whole), (5, 3, true));
    faults.ai_error_in_stream_next(1);
    let (some, whole) = read(stream(&world).await).await;
    assert_eq!((words(&some), whole, world.last_call().completion_tokens), (3, true, 3));
    assert_eq!(some.last().unwrap()["error"]["type"], "server_error");
    faults.ai_no_usage_next(2);
    let (all, _) = read(stream(&world).await).await;
    assert!(all.iter().all(|record| record["usage"].is_null()) && all.last().unwrap() == "[DONE]");
    assert!(world.chat(&ask("one two")).await.1.get("usage").is_none());
    assert!(world.last_call().finished && world.last_call().completion_tokens == 8);
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_noticed() {
    let world = World::start().await;
    world.simulator.faults().ai_chunk_delay(Duration::from_millis(20));
    let mut reply = stream(&world).await;
    let mut text = String::new();
    while words(&records(&text)) < 2 {
        let chunk = reply.chunk().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    // What was read has arrived before the answer is complete; from here on, the next record is far away.
    world.simulator.faults().ai_chunk_delay(Duration::from_secs(600));
    assert!(!world.last_call().finished && !text.contains("[DONE]"));
    drop(reply);
    assert!(client_gone(&world).await);
    let call = world.last_call();
    assert!((2..8).contains(&call.completion_tokens) && !call.finished && !call.cut, "{call:?}");

    world.simulator.faults().ai_delay(Duration::from_secs(30));
    let request = world.ai("chat/completions", &ask("Hi")).timeout(Duration::from_millis(100)).send();
    assert!(request.await.unwrap_err().is_timeout());
    assert!(client_gone(&world).await && world.last_call().completion_tokens == 0);
}

#[tokio::test]
async fn the_control_api_shows_the_truth() {
    let world = World::start().await;
    world.chat(&ask("Hi")).await;
    let get = async |verb: &str| -> Value {
        let url = format!("{}/simulator/{verb}", world.base());
        world.http.get(url).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(get("ai-calls").await["calls"][0]["kind"], "chat");
    assert_eq!(get("ai-config").await["chat_model"], "sim-chat");
    let faults = json!({ "ai_chunk_delay_ms": 5, "ai_cut_after_chunks": 2 });
    let set = world.http.post(format!("{}/simulator/faults", world.base())).json(&faults).send().await.unwrap();
    assert_eq!(set.json::<Value>().await.unwrap()["ai_cut_after_chunks"], 2);
}
