//! The edge: limits, headers, forms of problems, health, and the document that describes it all.

use serde_json::Value;

use mediagenie::functions::{Handler, TABLE};

use crate::support::app::TestApp;

fn http() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_a_request_id() {
    let app = TestApp::start().await;
    for path in ["/", "/health/live", "/nothing", "/portal", "/assets/app.css"] {
        let answer = http().get(app.url(path)).header("accept", "text/html").send().await.unwrap();
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(header("x-request-id").starts_with("req_"), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            (header("x-content-type-options").as_str(), header("x-frame-options").as_str()),
            ("nosniff", "DENY"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn problems_come_as_json_to_programs_and_as_pages_to_people_with_the_same_id() {
    let app = TestApp::start().await;
    let answer = http().get(app.url("/nothing")).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
        (404, "application/problem+json")
    );
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!((problem["code"].as_str(), problem["request_id"].as_str()), (Some("not_found"), Some(id.as_str())));
    let answer = http().get(app.url("/nothing")).header("accept", "text/html").send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(answer.text().await.unwrap().contains(&id));
    let answer = http().delete(app.url("/portal")).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    let head = http().head(app.url("/health/live")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap().len()), (200, 0));
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_taken_and_a_large_one_refused() {
    let app = TestApp::start().await;
    let chunks = |count: usize| {
        reqwest::Body::wrap_stream(futures_util::stream::iter(
            (0..count).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024])),
        ))
    };
    let small = http().post(app.url("/language")).body(chunks(1)).send().await.unwrap();
    assert_eq!(small.status(), 303);
    let large = http().post(app.url("/language")).body(chunks(40)).send().await;
    // The server may close before all is sent; then the client sees a broken pipe instead of the answer.
    assert!(large.is_err() || large.unwrap().status() == 413);
}

#[tokio::test]
async fn other_origins_may_call_only_when_they_are_listed() {
    let app = TestApp::with(&[("CORS_ALLOWED_ORIGINS", "https://app.example")]).await;
    let ask = async |origin: &'static str| {
        let answer = http()
            .request(reqwest::Method::OPTIONS, app.url("/health/live"))
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(ask("https://app.example").await.as_deref(), Some("https://app.example"));
    assert_eq!(ask("https://evil.example").await, None);
}

#[tokio::test]
async fn readiness_names_each_dependency_with_state_and_age() {
    let app = TestApp::start().await;
    let ready = async || -> (u16, Value) {
        let answer = http().get(app.url("/health/ready")).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    };
    let (status, body) = ready().await;
    assert_eq!((status, body["status"].as_str()), (200, Some("ready")));
    for check in ["store", "queue", "sign_in_keys", "marketplace_token"] {
        assert_eq!(body["checks"][check]["state"], "ok", "{check}");
    }
    app.clock.advance(jiff::SignedDuration::from_mins(3));
    assert_eq!(ready().await.1["checks"]["sign_in_keys"]["age_seconds"], 180);
    app.simulator.faults().keys_down(true);
    app.simulator.faults().token_endpoint_down(true);
    app.clock.advance(jiff::SignedDuration::from_hours(80));
    let (status, body) = ready().await;
    assert_eq!(
        (status, body["status"].as_str()),
        (200, Some("degraded")),
        "Microsoft's absence does not take us out of rotation"
    );
    assert_eq!(body["checks"]["marketplace_token"]["state"], "failing");
    assert_eq!(http().get(app.url("/health/live")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn with_the_marketplace_switched_off_everything_says_so() {
    let app = TestApp::with(&[("MARKETPLACE_MODE", "false")]).await;
    let webhook = http().post(app.url("/marketplace/webhook")).body("{}").send().await.unwrap();
    assert_eq!(
        (webhook.status().as_u16(), webhook.json::<Value>().await.unwrap()["code"].as_str().map(str::to_owned)),
        (503, Some("marketplace_off".into()))
    );
    assert_eq!(http().get(app.url("/sign-in")).send().await.unwrap().status(), 503);
    assert_eq!(http().get(app.url("/health/ready")).send().await.unwrap().status(), 200);
    assert_eq!(http().get(app.url("/")).header("accept", "text/html").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_the_interface_answers_with_a_key_is_what_the_document_says() {
    let app = TestApp::start().await;
    let document: Value = http().get(app.url("/docs/openapi.json")).send().await.unwrap().json().await.unwrap();
    let (id, _) = app.buy("metered", None).await;
    let record = |name: &str| serde_json::json!({ "id": name, "subscription": id, "dimension": "speech_minutes", "quantity": 1 });
    let none = serde_json::json!({});
    let calls = [
        ("post", "/api/usage", "", record("a"), 201),
        ("post", "/api/usage", "", serde_json::json!([record("a"), record("b"), none]), 200),
        ("post", "/api/usage/csv", "?dry_run=true", none.clone(), 400),
        ("post", "/api/usage/submit", "", none.clone(), 200),
        ("post", "/api/usage/read-back", "", none.clone(), 200),
        ("post", "/api/usage/managed-apps", "", none.clone(), 400),
        ("get", "/api/usage/status", "", none.clone(), 200),
        ("get", "/api/usage/resources/{resource}", "", none.clone(), 200),
        ("get", "/api/usage/losses", "", none.clone(), 200),
        ("get", "/api/usage/differences", "", none.clone(), 200),
        ("get", "/api/leads", "", none.clone(), 200),
        ("get", "/api/leads", "?since=x", none.clone(), 400),
        ("get", "/api/reconciliation/{month}", "", none.clone(), 404),
        ("post", "/api/reconciliation/{month}/run", "", none.clone(), 200),
        ("get", "/api/reconciliation/{month}", "?class=late&limit=5", none.clone(), 200),
        ("get", "/api/reconciliation/{month}", "?class=x", none.clone(), 400),
        ("post", "/api/closes", "", serde_json::json!({ "month": "2026-02" }), 201),
        ("post", "/api/closes", "", none.clone(), 400),
        ("get", "/api/closes", "", none.clone(), 200),
        ("get", "/api/funnel/{month}", "", none.clone(), 200),
        ("get", "/api/customers", "", none, 200),
    ];
    for (method, path, query, body, expected) in calls {
        let address = format!("{}{query}", path.replace("{resource}", &id.to_string()).replace("{month}", "2026-02"));
        let (status, answer) =
            if method == "get" { app.get_api(&address).await } else { app.post_api(&address, &body).await };
        assert_eq!(status, expected, "{method} {path}: {answer}");
        let declared = resolve(&document, &document["paths"][path][method]["responses"][status.to_string()]);
        let schema = declared["content"].as_object().unwrap().values().next().unwrap()["schema"].clone();
        check(&document, &schema, &answer, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn the_openapi_document_and_the_running_server_agree() {
    let app = TestApp::start().await;
    let document: Value = http().get(app.url("/docs/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let name = operation["operationId"].as_str().unwrap();
            let function = app.host.functions.by_name(name).unwrap_or_else(|| panic!("{name} is no function"));
            match app.host.functions.route(&method, path) {
                mediagenie::host::bindings::Route::Function(found, _) => {
                    assert_eq!(found.name, function.name, "{method} {path}")
                }
                _ => panic!("{method} {path} leads nowhere"),
            }
            let answer = http().request(method.clone(), app.url(path)).send().await.unwrap();
            let (status, kind) =
                (answer.status().as_u16().to_string(), answer.headers()["content-type"].to_str().unwrap().to_owned());
            let declared = &operation["responses"][&status];
            assert!(declared.is_object(), "{method} {path} answered {status}, which is not declared");
            let content = resolve(&document, declared)["content"].as_object().cloned().unwrap_or_default();
            assert!(
                content.keys().any(|declared| kind.starts_with(declared.as_str())),
                "{method} {path}: {kind} is not declared"
            );
            if kind.contains("json") {
                let schema = content.values().next().unwrap()["schema"].clone();
                let body: Value = answer.json().await.unwrap();
                check(&document, &schema, &body, &format!("{method} {path}"));
            }
        }
    }
    // Whatever a program can call stands in the document.
    let mut names = vec!["Webhook", "HealthLive", "HealthReady", "OpenApiDocument", "StaffSubscriptionsCsv"];
    let keyed = |handler: &Handler| matches!(handler, Handler::Publisher(_) | Handler::Key(_) | Handler::KeyUpload(_));
    names.extend(TABLE.iter().filter(|(_, handler)| keyed(handler)).map(|(name, _)| *name));
    for name in names {
        assert!(document.to_string().contains(&format!("\"operationId\":\"{name}\"")), "{name}");
    }
    let page = http().get(app.url("/docs")).header("accept", "text/html").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("webhook"));
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("the reference leads somewhere"),
        None => value,
    }
}

/// The parts of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema);
    if let Some(constant) = schema.get("const") {
        assert_eq!(constant, value, "{at}");
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(!value[name.as_str().unwrap()].is_null(), "{at} lacks {name}");
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if !value[name].is_null() {
            check(document, inner, &value[name], &format!("{at}.{name}"));
        }
    }
    if let Some(inner) = schema["additionalProperties"].as_object() {
        for (name, value) in value.as_object().into_iter().flatten() {
            check(document, &Value::Object(inner.clone()), value, &format!("{at}.{name}"));
        }
    }
}
