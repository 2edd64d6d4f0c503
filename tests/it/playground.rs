//! The playground over HTTP: a signed-in person calls the models of their own subscription from a page of ours, and
//! learns what each call used and costs.

use mediagenie::ai::{Budget, Unit, Window, budgets};
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::simulator::{Action, Person};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ai_media::{png, wav};
use crate::support::app::TestApp;
use crate::support::browser::Browser;

fn address(id: Uuid) -> String {
    format!("/portal/subscriptions/{id}/playground")
}

/// The script of a page in somebody's browser.
struct Script {
    http: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Script {
    async fn of(app: &TestApp, browser: &Browser, id: Uuid) -> Self {
        let page = browser.get("/portal").await;
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: app.url(&address(id)),
            cookie: format!("mediagenie-session={}", browser.cookie("mediagenie-session").unwrap()),
            csrf: page.fields("/sign-out")["csrf"].clone(),
        }
    }

    fn call(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/{path}", self.base));
        request.header("cookie", &self.cookie).header("x-csrf-token", &self.csrf)
    }

    async fn chat(&self, body: &Value) -> reqwest::Response {
        self.call("chat").json(body).send().await.unwrap()
    }

    async fn price(&self, request: &str) -> Value {
        let address = format!("{}/price?request={request}", self.base);
        let answer = self.http.get(address).header("cookie", &self.cookie).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
        answer.json().await.unwrap()
    }
}

fn prompt() -> Value {
    json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hello there" }] })
}

fn id_of(answer: &reqwest::Response) -> String {
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_chat_streams_and_its_price_is_known_at_its_end() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    assert!(browser.get(&format!("/portal/subscriptions/{id}")).await.says(&address(id)), "there is a way to it");
    let script = Script::of(&app, &browser, id).await;
    let mut body = prompt();
    body["stream"] = true.into();
    let answer = script.chat(&body).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"text/event-stream; charset=utf-8".parse().unwrap())
    );
    let request = id_of(&answer);
    let text = answer.text().await.unwrap();
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    let counted = app.simulator.ai_calls().remove(0);
    let price = script.price(&request).await;
    let used = |part: &str| {
        price["used"].as_array().unwrap().iter().find(|one| one["part"] == part).unwrap()["amount"].as_u64()
    };
    assert_eq!(price["recorded"], true, "{price}");
    assert_eq!((used("input"), used("output")), (Some(counted.prompt_tokens), Some(counted.completion_tokens)));
    // The plan's list price is 0.01 for a thousand.
    let expected = Decimal::from(counted.prompt_tokens + counted.completion_tokens) * Decimal::new(1, 5);
    assert_eq!(price["price"], format!("USD {}", expected.normalize()), "{price}");
    for unknown in ["", "req_0", "..%2F..", &"x".repeat(200)] {
        assert_eq!(script.price(unknown).await, json!({ "recorded": false }), "{unknown}");
    }
    let whole = script.chat(&prompt()).await;
    assert_eq!(whole.status(), 200);
    let (other, _) = app.buy("metered", None).await;
    let elsewhere = Script::of(&app, &browser, other).await;
    assert_eq!(elsewhere.price(&request).await["recorded"], false, "a call belongs to its subscription");
}

#[tokio::test]
async fn recordings_texts_and_images_are_taken_as_the_api_takes_them() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let page = browser.get(&address(id)).await;
    for (tool, model) in [("transcribe", "transcribe-fast"), ("speak", "speech-azure"), ("analyze", "vision-old")] {
        assert!(page.says(&format!("id=\"{tool}\"")) && page.says(&format!("<option>{model}</option>")), "{tool}");
    }
    let script = Script::of(&app, &browser, id).await;
    let used = async |answer: reqwest::Response| {
        assert_eq!(answer.status(), 200);
        let request = id_of(&answer);
        let bytes = answer.bytes().await.unwrap();
        assert!(!bytes.is_empty());
        let price = script.price(&request).await;
        assert!(price["price"].as_str().unwrap().starts_with("USD 0.0"), "{price}");
        price["used"].clone()
    };
    let file = reqwest::multipart::Part::bytes(wav(16_000, 1_500)).file_name("a.wav");
    let form = reqwest::multipart::Form::new().text("model", "transcribe-fast").part("file", file);
    let heard = script.call("transcribe").multipart(form).send().await.unwrap();
    assert_eq!(used(heard).await, json!([{ "part": "audio_ms", "amount": 1_500 }]));
    let text = json!({ "model": "speech", "voice": "alloy", "input": "Good morning", "response_format": "wav" });
    let spoken = script.call("speak").json(&text).send().await.unwrap();
    assert_eq!(spoken.headers()["content-type"], "audio/wav");
    assert_eq!(used(spoken).await, json!([{ "part": "characters", "amount": 12 }]));
    let request = script.call("analyze?model=vision&features=caption,objects").header("content-type", "image/png");
    let seen = request.body(png(640, 480)).send().await.unwrap();
    assert_eq!(used(seen).await, json!([{ "part": "transactions", "amount": 2 }]));
    let bad = script.call("analyze?model=vision&features=tags").body("<svg/>").send().await.unwrap();
    assert_eq!(bad.status(), 400);
    assert_eq!(bad.json::<Value>().await.unwrap()["code"], "invalid_image");
}

#[tokio::test]
async fn only_a_page_of_ours_can_call_and_only_for_its_owner() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let script = Script::of(&app, &browser, id).await;
    let send = async |script: &Script, token: &str, origin: Option<&str>| {
        let mut request =
            script.http.post(format!("{}/chat", script.base)).header("cookie", &script.cookie).json(&prompt());
        if !token.is_empty() {
            request = request.header("x-csrf-token", token);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap()["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let stale = (403, "stale_form".to_owned());
    assert_eq!(send(&script, "", None).await, stale, "no token");
    assert_eq!(send(&script, "abc", None).await, stale, "a wrong token");
    assert_eq!(send(&script, &script.csrf, Some("https://evil.example")).await, stale, "a foreign origin");
    assert_eq!(send(&script, &script.csrf, Some("null")).await, stale, "an opaque origin");
    assert_eq!(send(&script, &script.csrf, Some(&app.address)).await.0, 200);
    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    assert_eq!(stranger.get(&address(id)).await.status, 404);
    assert_eq!(stranger.get(&format!("{}/price?request=req_0", address(id))).await.status, 404);
    let foreign = Script::of(&app, &stranger, id).await;
    assert_eq!(send(&foreign, &foreign.csrf, None).await, (404, "not_found".to_owned()));
    let nobody = Script { cookie: String::new(), ..Script::of(&app, &browser, id).await };
    assert_eq!(send(&nobody, &nobody.csrf, None).await, (401, "signed_out".to_owned()));
    assert_eq!(app.simulator.ai_calls().len(), 1);
}

#[tokio::test]
async fn what_the_api_refuses_is_refused_here_in_the_portals_form() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let script = Script::of(&app, &browser, id).await;
    let code = async |body: &Value| {
        let answer = script.chat(body).await;
        let (status, request) = (answer.status().as_u16(), id_of(&answer));
        let said: Value = answer.json().await.unwrap();
        assert!(said["request_id"].is_null() || said["request_id"] == request.as_str(), "{said}");
        (status, said["code"].as_str().or(said["error"]["code"].as_str()).unwrap_or_default().to_owned())
    };
    assert_eq!(code(&json!({ "messages": [] })).await, (400, "missing_model".into()));
    assert_eq!(code(&json!({ "model": "nothing", "messages": [] })).await, (404, "model_not_found".into()));
    let blocked = json!({ "model": "chat", "messages": [{ "role": "user", "content": "[blocked]" }] });
    assert_eq!(code(&blocked).await, (400, "content_filter".into()));
    let budget = Budget::new(Unit::Money, Window::Month, None, Some(Decimal::new(1, 6)), app.now());
    budgets::set(&app.host.app, SubscriptionId(id), budgets::ALL, Some(budget)).await.unwrap();
    app.clock.advance(jiff::SignedDuration::from_secs(3));
    assert_eq!(code(&prompt()).await, (429, "insufficient_quota".into()), "the subscription's budget holds here, too");
    // More than a form may have, and less than a recording.
    let large = script.call("chat").body(vec![b' '; 2 * 1024 * 1024]).send().await.unwrap();
    assert_eq!(large.status(), 400, "it is no JSON, and not too large");
    let larger = script.call("chat").body(vec![b' '; 28 * 1024 * 1024]).send().await.unwrap();
    assert_eq!(larger.status(), 413);
}

#[tokio::test]
async fn the_page_has_the_tools_whose_models_there_are_and_samples_at_the_customers_address() {
    let chat_only = |file: &mut Value| {
        file["deployments"].as_array_mut().unwrap().retain(|one| one["model"] == "chat" || one["kind"] == "embeddings");
    };
    let app = TestApp::with_deployments(chat_only, &[]).await;
    let (id, browser) = app.buy("metered", None).await;
    let page = browser.get(&address(id)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.says("id=\"chat\"") && page.says("<option>chat</option>"), "{}", page.body);
    for tool in ["transcribe", "speak", "analyze"] {
        assert!(!page.says(&format!("id=\"{tool}\"")), "{tool} has no model");
    }
    assert!(page.says("<noscript>") && page.says("/assets/playground.js?v="));
    assert!(page.says(&format!("{}/v1/chat/completions", app.address)), "{}", page.body);
    assert!(!browser.get("/portal").await.says("playground.js"), "the script is for this page only");
    let chinese = Browser::new(&app.address).of(&Person::contoso_buyer()).speaking("zh-Hans").get(&address(id)).await;
    assert!(chinese.says("试用") && chinese.says("新对话"), "{}", chinese.body);
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    let page = browser.get(&address(id)).await;
    assert!(page.says("The subscription is not active") && !page.says("id=\"chat\""), "{}", page.body);
    let bare = TestApp::start().await;
    let (other, browser) = bare.buy("metered", None).await;
    let page = browser.get(&address(other)).await;
    assert!(page.says("There are no models to try") && !page.says("playground.js"), "{}", page.body);
}
