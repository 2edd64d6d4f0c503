//! Limits, budgets, scopes and tokens from outside: nobody gets more than was allowed, however many ask at once.

use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use mediagenie::ai::budgets::{self, ALL, Claim, row_of_key};
use mediagenie::ai::model::budget::Rate;
use mediagenie::ai::model::used::{Part, Used};
use mediagenie::ai::{Budget, Unit, Window};
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::identity::{KeyTerms, Limits, Scope};
use mediagenie::store::{Table, Write};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::gate::Act;

fn chat(words: &str, most: u64) -> Value {
    json!({ "model": "chat", "messages": [{ "role": "user", "content": words }], "max_completion_tokens": most })
}

async fn budget(app: &TestApp, id: Uuid, row: &str, unit: Unit, hard: Decimal) {
    let wanted = Budget::new(unit, Window::Month, None, Some(hard), app.now());
    budgets::set(&app.host.app, SubscriptionId(id), row, Some(wanted)).await.unwrap();
}

async fn state(app: &TestApp, id: Uuid, row: &str) -> (Decimal, Decimal) {
    let budget = budgets::list(&app.host.app, SubscriptionId(id)).await.unwrap().remove(row).unwrap();
    (budget.spent(app.now()), budget.reserved())
}

#[tokio::test]
async fn a_plans_limits_hold_for_all_of_its_keys_together_and_tell_when_to_come_again() {
    let limits = |list: &mut Value| list["limits"] = json!({ "plans": { "metered": { "requests_per_minute": 3 } } });
    let app = TestApp::with_deployments(limits, &[]).await;
    let (id, _) = app.buy("metered", None).await;
    let programs = [Program::of(&app, id).await, Program::of(&app, id).await];
    for number in 0..3 {
        let answer = programs[number % 2].send("chat/completions", &chat("Hi", 5)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-ratelimit-remaining-requests"], (2 - number).to_string().as_str());
    }
    let refused = programs[0].send("chat/completions", &chat("Hi", 5)).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after-ms"].to_str().unwrap()), (429, "20000"));
    assert_eq!(refused.headers()["retry-after"], "20");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(
        (body["error"]["code"].as_str(), body["error"]["type"].as_str()),
        (Some("rate_limit_exceeded"), Some("rate_limit_error"))
    );
    app.clock.advance(SignedDuration::from_secs(20));
    assert_eq!(programs[0].post("chat/completions", &chat("Hi", 5)).await.0, 200);
    // Another subscription has limits of its own.
    let (other, _) = app.buy("metered", None).await;
    assert_eq!(Program::of(&app, other).await.post("chat/completions", &chat("Hi", 5)).await.0, 200);
}

#[tokio::test]
async fn a_keys_own_limits_count_tokens_and_calls_at_the_same_time() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let terms = |limits| KeyTerms { limits, ..KeyTerms::default() };
    let slow = Program::with(&app, id, terms(Limits { tokens_per_minute: Some(100), ..Limits::default() })).await;
    assert_eq!(slow.post("chat/completions", &chat("Hi", 90)).await.0, 200);
    // Only what was used is counted, so there is room again at once.
    assert_eq!(slow.post("chat/completions", &chat("Hi", 60)).await.0, 200);
    let (status, body) = slow.post("chat/completions", &chat("Hi", 99)).await;
    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("rate_limit_exceeded")), "{body}");
    let single = Program::with(&app, id, terms(Limits { parallel: Some(1), ..Limits::default() })).await;
    app.simulator.faults().ai_delay(std::time::Duration::from_millis(300));
    let body = chat("Hi", 5);
    let answers = join_all((0..4).map(|_| single.post("chat/completions", &body))).await;
    app.simulator.faults().ai_delay(std::time::Duration::ZERO);
    let codes: Vec<&str> = answers.iter().filter_map(|(_, body)| body["error"]["code"].as_str()).collect();
    assert_eq!(codes, ["concurrency_exceeded"; 3]);
    assert_eq!(single.post("chat/completions", &body).await.0, 200, "who has left makes room");
}

#[tokio::test]
async fn five_hundred_calls_at_once_on_a_budget_for_a_hundred_never_spend_more() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let body = json!({ "model": "speech", "voice": "alloy", "input": "fourteen chars", "response_format": "pcm" });
    for round in 0..50 {
        let program = Program::of(&app, id).await;
        let row = row_of_key(&program.prefix);
        budget(&app, id, &row, Unit::Meter("spoken_characters".into()), 1_400.into()).await;
        // That there was no budget is believed for two seconds.
        app.clock.advance(SignedDuration::from_secs(3));
        let before = app.simulator.ai_calls().len();
        let answers = join_all((0..500).map(|_| async {
            let answer = program.send("audio/speech", &body).await;
            (answer.status().as_u16(), answer.bytes().await.unwrap())
        }))
        .await;
        let served = answers.iter().filter(|(status, _)| *status == 200).count();
        let told: u64 = app.simulator.ai_calls()[before..].iter().map(|call| call.characters).sum();
        assert_eq!((served, told), (100, 1_400), "round {round}: neither more nor less");
        assert_eq!(state(&app, id, &row).await, (1_400.into(), Decimal::ZERO), "round {round}");
        let (_, refused) = answers.iter().find(|(status, _)| *status == 429).unwrap();
        let refused: Value = serde_json::from_slice(refused).unwrap();
        assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    }
    assert_eq!(app.recorded_of(id, "spoken_1k_chars").await, "70");
}

#[tokio::test]
async fn calls_whose_end_is_open_reserve_their_worst_case_and_give_back_what_they_did_not_use() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let row = row_of_key(&program.prefix);
    budget(&app, id, &row, Unit::Meter("chat_tokens".into()), 1_500.into()).await;
    let body = chat("Hi", 200);
    let answers = join_all((0..100).map(|_| program.post("chat/completions", &body))).await;
    let served = answers.iter().filter(|(status, _)| *status == 200).count();
    let told: u64 = app.simulator.ai_calls().iter().map(|call| call.prompt_tokens + call.completion_tokens).sum();
    assert!(served > 0 && told <= 1_500, "{served} calls took {told}");
    assert_eq!(state(&app, id, &row).await, (told.into(), Decimal::ZERO));
}

#[tokio::test]
async fn a_call_that_ends_gives_its_part_back_while_no_other_fits_into_the_row() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    budget(&app, id, ALL, Unit::Meter("chat_tokens".into()), 1_000_000.into()).await;
    // Long ids fill a row soon.
    let claim = |number: u32| Claim {
        call: format!("{number:0>4000}"),
        subscription: SubscriptionId(id),
        key: "none".to_owned(),
        held: SignedDuration::from_mins(45),
    };
    let rates = [Rate { part: Part::Input, meter: "chat_tokens".to_owned(), price: Decimal::ZERO }];
    let (host, worst) = (&app.host.app, Used::of(Part::Input, 10));
    let mut held = 0;
    while budgets::reserve(host, &claim(held), &worst, &rates).await.is_ok() {
        held += 1;
    }
    assert_eq!(state(&app, id, ALL).await.1, (held * 10).into());
    // An end and two beginnings in the same write.
    let (first, next, last) = (claim(0), claim(held), claim(held + 1));
    let ended = budgets::settle(host, &first, &worst);
    let begun = join(budgets::reserve(host, &next, &worst, &rates), budgets::reserve(host, &last, &worst, &rates));
    let (ended, begun) = join(ended, begun).await;
    assert!(ended.is_ok() && begun.0.is_err() && begun.1.is_err(), "{ended:?} {begun:?}");
    assert_eq!(state(&app, id, ALL).await, (10.into(), ((held - 1) * 10).into()));
}

#[tokio::test]
async fn a_budget_in_money_counts_list_prices_and_says_what_is_left() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    // A cent is a thousand tokens.
    budget(&app, id, ALL, Unit::Money, "0.01".parse().unwrap()).await;
    assert_eq!(program.post("chat/completions", &chat("Hi", 50)).await.0, 200);
    let call = app.simulator.ai_calls().remove(0);
    let (spent, _) = state(&app, id, ALL).await;
    assert_eq!(spent, Decimal::from(call.prompt_tokens + call.completion_tokens) / Decimal::from(100_000));
    let refused = program.send("chat/completions", &chat("Hi", 5_000)).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["x-should-retry"]), (429, &"false".parse().unwrap()));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(
        (body["error"]["type"].as_str(), body["error"]["param"].as_str()),
        (Some("insufficient_quota"), Some("max_completion_tokens"))
    );
    assert!(body["error"]["message"].as_str().unwrap().contains("USD left this month"), "{body}");
    // What is not limited gets a limit, so that the worst case is known: 16,384 are too many here.
    let open = json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hi" }] });
    assert_eq!(program.post("chat/completions", &open).await.0, 429);
    // A failed call gives everything back, and a new month begins at nothing.
    app.simulator.faults().ai_fail_next(1, 500);
    assert_eq!(program.post("chat/completions", &chat("Hi", 50)).await.0, 502);
    // The answer does not wait for that.
    while state(&app, id, ALL).await.1 != Decimal::ZERO {
        tokio::task::yield_now().await;
    }
    assert_eq!(state(&app, id, ALL).await.0, spent);
    app.clock.advance(SignedDuration::from_hours(24 * 30));
    assert_eq!(state(&app, id, ALL).await.0, Decimal::ZERO);
}

#[tokio::test]
async fn what_a_died_process_had_reserved_is_settled_by_the_ledger() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let row = row_of_key(&program.prefix);
    budget(&app, id, &row, Unit::Meter("chat_tokens".into()), 1_000.into()).await;
    // The process dies after the record, before the budget is settled.
    let writes = std::sync::atomic::AtomicUsize::new(0);
    let second = move |table: Table, _: &[Write]| {
        table.0 == "AiBudgets" && writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1
    };
    app.gate.next(Act::Stop, second);
    let body = chat("Hi", 50);
    tokio::select! {
        _ = program.post("chat/completions", &body) => panic!("it should have been stopped"),
        () = app.gate.arrived() => {}
    }
    let call = app.simulator.ai_calls().remove(0);
    let key = program.key.clone();
    let app = app.restart().await;
    let program = Program { address: app.address.clone(), key, ..program };
    let (spent, reserved) = state(&app, id, &row).await;
    assert!(spent.is_zero() && reserved > Decimal::ZERO);
    app.clock.advance(SignedDuration::from_mins(46));
    assert_eq!(program.post("chat/completions", &chat("Hi", 5)).await.0, 200);
    let second = app.simulator.ai_calls().remove(1);
    let both = [call, second].iter().map(|call| call.prompt_tokens + call.completion_tokens).sum::<u64>();
    assert_eq!(state(&app, id, &row).await, (Decimal::from(both), Decimal::ZERO));
}

#[tokio::test]
async fn a_key_opens_only_what_it_is_for() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let terms = KeyTerms { scopes: Some(vec![Scope::Embeddings]), ..KeyTerms::default() };
    let program = Program::with(&app, id, terms).await;
    assert_eq!(program.post("embeddings", &json!({ "model": "embed", "input": "Hi" })).await.0, 200);
    let (status, body) = program.post("chat/completions", &chat("Hi", 5)).await;
    assert_eq!(
        (status, body["error"]["code"].as_str(), body["error"]["type"].as_str()),
        (403, Some("scope_missing"), Some("permission_error"))
    );
    let models =
        program.http.get(format!("{}/v1/models", program.address)).bearer_auth(&program.key).send().await.unwrap();
    assert_eq!(models.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_of_a_key_is_short_lived_opens_no_more_than_the_key_and_dies_with_it() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let (status, token) = program.post("tokens", &json!({ "expires_in": 60, "scopes": ["chat"] })).await;
    assert_eq!(
        (status, token["expires_in"].as_i64(), token["token_type"].as_str()),
        (200, Some(60), Some("Bearer")),
        "{token}"
    );
    let with = |key: &str| Program {
        key: key.to_owned(),
        http: program.http.clone(),
        address: program.address.clone(),
        prefix: program.prefix.clone(),
    };
    let browser = with(token["access_token"].as_str().unwrap());
    assert_eq!(browser.post("chat/completions", &chat("Hi", 5)).await.0, 200);
    let (status, body) = browser.post("embeddings", &json!({ "model": "embed", "input": "Hi" })).await;
    assert_eq!((status, body["error"]["code"].as_str()), (403, Some("scope_missing")));
    assert_eq!(browser.post("tokens", &json!({})).await.0, 403, "a token makes no tokens");
    // Another secret, another algorithm, a changed body.
    let parts: Vec<&str> = browser.key.split('.').collect();
    for forged in [
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(43)),
        format!("eyJhbGciOiJub25lIn0.{}.", parts[1]),
        "a.b.c".into(),
    ] {
        assert_eq!(with(&forged).post("chat/completions", &chat("Hi", 5)).await.0, 401);
    }
    app.clock.advance(SignedDuration::from_secs(61));
    let (status, body) = browser.post("chat/completions", &chat("Hi", 5)).await;
    assert_eq!((status, body["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    let (_, token) = program.post("tokens", &json!({})).await;
    let browser = with(token["access_token"].as_str().unwrap());
    mediagenie::identity::api_keys::end(&app.host.app, SubscriptionId(id), &program.prefix, SignedDuration::ZERO)
        .await
        .unwrap();
    assert_eq!(browser.post("chat/completions", &chat("Hi", 5)).await.0, 401);
    for wrong in [
        json!({ "expires_in": 59 }),
        json!({ "expires_in": 3601 }),
        json!({ "scopes": ["everything"] }),
        json!({ "scopes": "chat" }),
    ] {
        let other = Program::of(&app, id).await;
        assert_eq!(other.post("tokens", &wrong).await.0, 400, "{wrong}");
    }
}
