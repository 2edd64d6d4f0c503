//! The AI services as a product meets them: shapes, counts, and who is let in. Faults are in `tests_of_faults`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::simulator::tests::World;
use crate::simulator::{AiCall, AiKind};

impl World {
    /// A POST to the v1 family with the right key.
    pub(super) fn ai(&self, path: &str, body: &Value) -> RequestBuilder {
        let config = self.simulator.ai_config();
        self.http.post(format!("{}/{path}", config.base_url)).header("api-key", config.api_key).json(body)
    }

    pub(super) async fn chat(&self, body: &Value) -> (u16, Value) {
        let reply = self.ai("chat/completions", body).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    async fn good_chat(&self, body: &Value) -> Value {
        let (status, answer) = self.chat(body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(super) fn last_call(&self) -> AiCall {
        self.simulator.ai_calls().pop().unwrap()
    }
}

pub(super) fn ask(question: &str) -> Value {
    json!({ "model": "sim-chat", "messages": [{ "role": "user", "content": question }] })
}

pub(super) fn with(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The records of a stream that came to its end; `[DONE]` is text.
pub(super) fn records(text: &str) -> Vec<Value> {
    let lines = text.split("\n\n").filter(|line| !line.is_empty()).map(|line| line.strip_prefix("data: ").unwrap());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
}

async fn streamed(world: &World, body: Value) -> Vec<Value> {
    let reply = world.ai("chat/completions", &with(body, json!({ "stream": true }))).send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "text/event-stream; charset=utf-8");
    records(&reply.text().await.unwrap())
}

#[tokio::test]
async fn a_whole_answer_has_the_shape_and_the_counts() {
    let world = World::start().await;
    let reply = world.ai("chat/completions", &ask("What is a cue?")).send().await.unwrap();
    for name in ["apim-request-id", "x-request-id", "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"] {
        assert!(reply.headers().contains_key(name), "{name}");
    }
    let answer: Value = reply.json().await.unwrap();
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "This is a simulated answer to: What is a cue?");
    assert_eq!((&choice["finish_reason"], &answer["object"]), (&json!("stop"), &json!("chat.completion")));
    assert_ne!(answer["model"], "sim-chat");
    // 14 characters are 4 tokens, with 3 for the message and 3 for the prompt.
    let usage = &answer["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(10), &json!(10)));
    let call = world.last_call();
    assert_eq!((call.number, call.deployment.as_str(), call.kind), (1, "sim-chat", AiKind::Chat));
    assert_eq!((call.prompt_tokens, call.completion_tokens), (10, 10));
    assert!(call.finished && !call.streamed && !call.cut && !call.client_gone);
    assert_eq!(world.simulator.request_count("ai.chat"), 1);
}

#[tokio::test]
async fn a_stream_comes_in_the_order_of_the_real_one() {
    let world = World::start().await;
    let usage = json!({ "stream_options": { "include_usage": true } });
    let records = streamed(&world, with(ask("Hello there"), usage)).await;
    let [first, role, words @ .., finish, usage, done] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((&first["id"], &first["model"], &first["choices"]), (&json!(""), &json!(""), &json!([])));
    assert!(first["prompt_filter_results"].is_array());
    assert_eq!(role["choices"][0]["delta"]["role"], "assistant");
    let said: String = words.iter().map(|word| word["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(said, "This is a simulated answer to: Hello there");
    assert!(words.iter().all(|word| word["choices"][0]["content_filter_results"]["hate"]["filtered"] == false));
    assert!(words[0]["usage"].is_null() && words[0].get("usage").is_some());
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(words.len())));
    assert_eq!(done, "[DONE]");
    let call = world.last_call();
    assert_eq!(usage["usage"]["prompt_tokens"], call.prompt_tokens);
    assert!(call.finished && call.streamed && call.completion_tokens == words.len() as u64);

    let without = streamed(&world, ask("Hello there")).await;
    assert!(without.iter().all(|record| record.get("usage").is_none()));
    assert_eq!(without.len(), records.len() - 1);
}

#[tokio::test]
async fn only_one_right_key_in_one_header_opens() {
    let world = World::start().await;
    let config = world.simulator.ai_config();
    let at = |url: String| world.http.post(url).json(&ask("Hi"));
    let v1 = || at(format!("{}/chat/completions", config.base_url));
    let dated = |version: &str| at(format!("{}/deployments/sim-chat/chat/completions{version}", config.dated_base_url));
    let status = async |request: RequestBuilder| request.send().await.unwrap().status().as_u16();
    let key = config.api_key.as_str();
    assert_eq!(status(v1().bearer_auth(key)).await, 200);
    assert_eq!(status(v1().header("api-key", key).bearer_auth(key)).await, 400);
    assert_eq!(status(v1().header("api-key", "wrong")).await, 401);
    assert_eq!(v1().send().await.unwrap().json::<Value>().await.unwrap()["error"]["code"], "401");
    assert_eq!(status(dated("?api-version=2024-10-21").header("api-key", key)).await, 200);
    assert_eq!(status(dated("?api-version=2024-10-21").bearer_auth(key)).await, 401);
    assert_eq!(status(dated("").header("api-key", key)).await, 404);
    let old = with(ask("Hi"), json!({ "stream": true, "stream_options": { "include_usage": true } }));
    assert_eq!(status(dated("?api-version=2024-06-01").header("api-key", key).json(&old)).await, 400);
    assert_eq!(status(dated("?api-version=2024-09-01-preview").header("api-key", key).json(&old)).await, 200);
    let models = world.http.get(format!("{}/models", config.base_url)).bearer_auth(key).send().await.unwrap();
    let models: Value = models.json().await.unwrap();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("sim-chat")));
    assert_eq!(world.simulator.ai_calls().len(), 3);
}

#[tokio::test]
async fn requests_that_cannot_be_served_are_refused() {
    let world = World::start().await;
    for (more, code) in [
        (json!({ "model": "gpt-9" }), (404, json!("DeploymentNotFound"))),
        (json!({ "model": "sim-embed" }), (400, json!("OperationNotSupported"))),
        (json!({ "model": "sim-reason", "max_tokens": 5 }), (400, json!("unsupported_parameter"))),
        (json!({ "max_tokens": 5, "max_completion_tokens": 5 }), (400, Value::Null)),
        (json!({ "max_tokens": 0 }), (400, Value::Null)),
        (json!({ "n": 9 }), (400, Value::Null)),
        (json!({ "messages": [] }), (400, Value::Null)),
        (json!({ "messages": [{ "role": "owner", "content": "" }] }), (400, Value::Null)),
        (json!({ "stream_options": { "include_usage": true } }), (400, Value::Null)),
    ] {
        let (status, answer) = world.chat(&with(ask("Hi"), more.clone())).await;
        assert_eq!((status, &answer["error"]["code"]), (code.0, &code.1), "{more}: {answer}");
    }
    assert!(world.simulator.ai_calls().is_empty());
}

#[tokio::test]
async fn limits_choices_and_pictures_count() {
    let world = World::start().await;
    let cut = world.good_chat(&with(ask("Hi"), json!({ "max_tokens": 3, "n": 2 }))).await;
    assert_eq!(cut["choices"][1]["message"]["content"], "This is a ");
    assert_eq!(cut["choices"][1]["finish_reason"], "length");
    assert_eq!((&cut["usage"]["completion_tokens"], world.last_call().completion_tokens), (&json!(6), 6));
    let two = streamed(&world, with(ask("Hi"), json!({ "max_completion_tokens": 3, "n": 2 }))).await;
    let of = |index: u64| two.iter().filter(move |record| record["choices"][0]["index"] == index).count();
    assert_eq!((of(0), of(1), world.last_call().completion_tokens), (5, 5, 6));

    let picture = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } });
    let parts = json!([{ "type": "text", "text": "12345" }, picture]);
    let messages = json!([{ "role": "system", "content": "1234" }, { "role": "user", "content": parts }]);
    let seen = world.good_chat(&json!({ "model": "sim-chat-west", "messages": messages })).await;
    assert_eq!(seen["usage"]["prompt_tokens"], 3 + (3 + 1) + (3 + 2 + 85));
    assert_eq!(world.last_call().deployment, "sim-chat-west");
}

#[tokio::test]
async fn long_prompts_are_cached_and_reasoning_is_counted() {
    let world = World::start().await;
    let long = ask(&"word ".repeat(2_000));
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
    assert_eq!(cached(&world.good_chat(&long).await), 0);
    assert_eq!(cached(&world.good_chat(&long).await), 2048);
    assert_eq!((world.last_call().prompt_tokens, world.last_call().cached_tokens), (2506, 2048));
    world.good_chat(&ask("short")).await;
    assert_eq!(cached(&world.good_chat(&ask("short")).await), 0);

    let reasoned = world.good_chat(&with(ask("Why"), json!({ "model": "sim-reason" }))).await;
    let usage = &reasoned["usage"];
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 16);
    assert_eq!((&usage["completion_tokens"], world.last_call().completion_tokens), (&json!(16 + 7), 23));
    let short = json!({ "model": "sim-reason", "max_completion_tokens": 10 });
    let nothing = world.good_chat(&with(ask("Why"), short)).await;
    assert_eq!((&nothing["choices"][0]["message"]["content"], world.last_call().completion_tokens), (&json!(""), 10));
    assert_eq!(nothing["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn tools_and_json_are_answered_as_such() {
    let world = World::start().await;
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "look_up", "parameters": {} } }] });
    let asked = with(ask("Use the tool"), tools);
    let answer = world.good_chat(&asked).await;
    let choice = &answer["choices"][0];
    let function = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!((&function["name"], &function["arguments"]), (&json!("look_up"), &json!("{}")));
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    assert_eq!(world.last_call().completion_tokens, 2);
    let records = streamed(&world, asked.clone()).await;
    let call = |at: usize| &records[at]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!((&call(2)["function"]["name"], &call(2)["index"]), (&json!("look_up"), &json!(0)));
    assert_eq!(call(3)["function"]["arguments"], "{}");
    let mut back = asked;
    let result = json!({ "role": "tool", "tool_call_id": "x", "content": "found" });
    back["messages"].as_array_mut().unwrap().push(result);
    assert_eq!(world.good_chat(&back).await["choices"][0]["finish_reason"], "stop");
    let wanted = with(ask("Hi"), json!({ "response_format": { "type": "json_object" } }));
    let content = world.good_chat(&wanted).await["choices"][0]["message"]["content"].clone();
    assert_eq!(serde_json::from_str::<Value>(content.as_str().unwrap()).unwrap(), json!({ "simulated": true }));
}

#[tokio::test]
async fn the_filter_blocks_prompts_and_ends_answers() {
    let world = World::start().await;
    let (status, refused) = world.chat(&ask("Say [blocked] things")).await;
    let error = &refused["error"];
    assert_eq!((status, &error["code"]), (400, &json!("content_filter")));
    assert_eq!(error["innererror"]["code"], "ResponsibleAIPolicyViolation");
    let call = world.last_call();
    assert!(call.blocked && !call.finished && !call.client_gone && call.completion_tokens == 0);

    let whole = world.good_chat(&ask("Say [filtered] things")).await;
    assert_eq!(whole["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(whole["choices"][0]["message"]["content"], "This is a ");
    let records = streamed(&world, ask("Say [filtered] things")).await;
    let end = &records[records.len() - 2]["choices"][0];
    assert_eq!((&end["finish_reason"], end.get("delta")), (&json!("content_filter"), None));
    assert!(world.last_call().finished && world.last_call().completion_tokens == 3);
}

#[tokio::test]
async fn embeddings_are_the_same_in_both_formats() {
    let world = World::start().await;
    let embed = async |more: Value| -> Response {
        world.ai("embeddings", &with(json!({ "model": "sim-embed" }), more)).send().await.unwrap()
    };
    let plain: Value = embed(json!({ "input": ["12345", "other"] })).await.json().await.unwrap();
    assert_eq!((&plain["usage"]["prompt_tokens"], &plain["data"][1]["index"]), (&json!(4), &json!(1)));
    let numbers: Vec<f64> = serde_json::from_value(plain["data"][0]["embedding"].clone()).unwrap();
    let packed: Value = embed(json!({ "input": "12345", "encoding_format": "base64" })).await.json().await.unwrap();
    let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let unpacked = bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
    assert_eq!((numbers.len(), &unpacked.collect::<Vec<_>>()), (8, &numbers));
    let call = world.last_call();
    assert_eq!((call.kind, call.prompt_tokens, call.completion_tokens, call.finished), (AiKind::Embedding, 2, 0, true));
    let counted: Value = embed(json!({ "input": [[1, 2, 3], [4]], "dimensions": 40 })).await.json().await.unwrap();
    assert_eq!(counted["usage"]["total_tokens"], 4);
    assert_eq!(counted["data"][0]["embedding"].as_array().unwrap().len(), 40);
    for refused in [json!({}), json!({ "input": [] }), json!({ "input": "x", "encoding_format": "hex" })] {
        assert_eq!(embed(refused).await.status(), 400);
    }
    let config = world.simulator.ai_config();
    let url = format!("{}/deployments/sim-embed/embeddings?api-version=2024-10-21", config.dated_base_url);
    let dated = world.http.post(url).header("api-key", config.api_key).json(&json!({ "input": "x" }));
    assert_eq!(dated.send().await.unwrap().status(), 200);
}
