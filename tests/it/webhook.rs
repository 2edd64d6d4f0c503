//! `POST /marketplace/webhook`: who may call it, what it keeps, what it decides, and what repeats and faults do.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mediagenie::foundation::clock::Clock as _;
use mediagenie::fulfillment::model::facts::Status;
use mediagenie::simulator::Person;
use mediagenie::simulator::{Action, DeliveryOutcome, PurchaseOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;

/// Microsoft's marketplace service as a client: a token and a body.
struct Microsoft<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
}

impl<'a> Microsoft<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self { app, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn send(&self, token: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self
            .http
            .post(self.app.url("/marketplace/webhook"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn notify(&self, body: &Value) -> (u16, Value) {
        self.send(&self.app.simulator.webhook_token(), body.to_string()).await
    }

    /// Right claims, to be bent.
    fn claims(&self) -> Value {
        let config = self.app.simulator.config();
        let now = self.app.clock.now().as_second();
        json!({
            "aud": config.client_id, "tid": config.tenant_id, "iss": format!("{}/{}/v2.0", config.entra_authority, config.tenant_id),
            "azp": config.caller_id, "iat": now, "nbf": now, "exp": now + 3600, "sub": "x", "ver": "2.0"
        })
    }
}

fn body(subscription: Uuid, operation: Uuid, action: &str) -> Value {
    json!({"id": operation, "activityId": Uuid::nil(), "subscriptionId": subscription, "action": action, "timeStamp": "2026-03-02T09:00:00.1234567Z"})
}

#[tokio::test]
async fn false_tokens_are_refused_and_change_nothing() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let before = app.detail(id).await;
    let microsoft = Microsoft::new(&app);
    let good = microsoft.claims();
    let bent = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        app.simulator.sign_token(claims)
    };
    let now = app.clock.now().as_second();
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string()),
        URL_SAFE_NO_PAD.encode(good.to_string())
    );
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(app.simulator.key_id());
    let confused =
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(app.simulator.public_key_pem().as_bytes()))
            .unwrap();
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("unknown-key".into());
    let unknown =
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_rsa_der(&app.simulator.signing_key_der())).unwrap();
    let whole = app.simulator.sign_token(good.clone());
    let parts: Vec<&str> = whole.split('.').collect();
    let swapped = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(bent_text(&good)), parts[2]);
    let false_ones = [
        ("algorithm none", none),
        ("HS256 with the public key", confused),
        ("an unknown key", unknown),
        ("claims exchanged under the signature", swapped),
        ("expired", bent("exp", json!(now - 3600))),
        ("not yet valid", bent("nbf", json!(now + 3600))),
        ("another tenant", bent("tid", json!(Uuid::nil()))),
        (
            "another tenant's issuer",
            bent("iss", json!(format!("{}/{}/v2.0", app.simulator.config().entra_authority, Uuid::nil()))),
        ),
        ("another audience", bent("aud", json!(Uuid::nil()))),
        ("another caller", bent("azp", json!(Uuid::nil()))),
        ("no caller", bent("azp", Value::Null)),
        ("10 kB of rubbish", "x".repeat(10_000)),
        ("10 kB of rubbish with dots", format!("{0}.{0}.{0}", "eyJh".repeat(850))),
        ("an empty token", String::new()),
    ];
    for (what, token) in false_ones {
        let (status, problem) = microsoft.send(&token, body(id, Uuid::from_u128(1), "Unsubscribe").to_string()).await;
        assert_eq!(status, 401, "{what}: {problem}");
    }
    let (status, _) = microsoft
        .send(&app.simulator.sign_token(good.clone()), body(id, Uuid::from_u128(2), "Renew").to_string())
        .await;
    assert_eq!(status, 200, "the right token is accepted");
    app.settle().await;
    let after = app.detail(id).await;
    assert_eq!(before.subscription.facts, after.subscription.facts);
    assert_eq!(after.operations.len(), before.operations.len() + 1, "no false webhook was kept");
}

fn bent_text(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(9_999_999_999u64);
    claims.to_string()
}

#[tokio::test]
async fn both_versions_of_tokens_are_accepted() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    for v1 in [false, true] {
        app.simulator.faults().webhook_token_v1(v1);
        let operation = app.simulator.act(id, Action::Renew).unwrap();
        assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Delivered(200), "version 1: {v1}");
    }
    let claims = Microsoft::new(&app).claims();
    let mut sts = claims.clone();
    sts["iss"] = json!(format!("https://sts.windows.net/{}/", app.simulator.config().tenant_id));
    sts["appid"] = sts["azp"].take();
    let (status, _) = Microsoft::new(&app)
        .send(&app.simulator.sign_token(sts), body(id, Uuid::from_u128(5), "Renew").to_string())
        .await;
    assert_eq!(status, 200, "the public cloud's own version 1 issuer");
    app.settle().await;
}

#[tokio::test]
async fn a_rotated_key_is_fetched_and_the_old_one_no_longer_counts() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let old = app.simulator.webhook_token();
    app.clock.advance(SignedDuration::from_secs(60));
    app.simulator.rotate_keys();
    let microsoft = Microsoft::new(&app);
    let (status, _) = microsoft.notify(&body(id, Uuid::from_u128(1), "Renew")).await;
    assert_eq!(status, 200);
    app.clock.advance(SignedDuration::from_secs(60));
    let (status, _) = microsoft.send(&old, body(id, Uuid::from_u128(2), "Renew").to_string()).await;
    assert_eq!(status, 401);
    app.settle().await;
}

#[tokio::test]
async fn a_token_that_can_not_be_checked_is_answered_503_so_that_microsoft_comes_again() {
    let app = TestApp::start().await;
    app.simulator.faults().keys_down(true);
    let (id, operation) = (Uuid::from_u128(9), Uuid::from_u128(1));
    let microsoft = Microsoft::new(&app);
    let (status, problem) = microsoft.notify(&body(id, operation, "ChangePlan")).await;
    assert_eq!((status, &problem["code"]), (503, &json!("token_unchecked")));
    app.simulator.faults().clear();
    app.clock.advance(SignedDuration::from_secs(30));
    let (status, _) = microsoft.notify(&body(id, operation, "Renew")).await;
    assert_eq!(status, 200);
    app.settle().await;
}

#[tokio::test]
async fn unreadable_bodies_get_an_answer_that_names_the_field() {
    let app = TestApp::start().await;
    let microsoft = Microsoft::new(&app);
    let token = app.simulator.webhook_token();
    let id = Uuid::from_u128(7);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (what, text, word) in [
        ("empty", String::new(), "the body"),
        ("not JSON", "hello".into(), "the body"),
        ("not an object", "[1]".into(), "the body"),
        ("deep nesting", deep, "the body"),
        ("no operation id", json!({"subscriptionId": id, "action": "Renew"}).to_string(), "id"),
        ("no subscription", json!({"id": id, "action": "Renew"}).to_string(), "subscriptionId"),
        ("no action", json!({"id": id, "subscriptionId": id}).to_string(), "action"),
        ("wrong types", json!({"id": 5, "subscriptionId": [id], "action": {}}).to_string(), "id"),
    ] {
        let (status, problem) = microsoft.send(&token, text).await;
        assert_eq!((status, &problem["code"]), (400, &json!("unreadable_webhook")), "{what}");
        assert!(problem["title"].as_str().unwrap().contains(word), "{what}: {problem}");
    }
    let (status, problem) = microsoft.send(&token, "x".repeat(10 * 1024 * 1024)).await;
    assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn unknown_actions_are_kept_and_answered_200() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let (status, _) = Microsoft::new(&app).notify(&body(id, Uuid::from_u128(1), "Transfer")).await;
    assert_eq!(status, 200);
    app.settle().await;
    let detail = app.detail(id).await;
    let kept = detail.operations.iter().find(|operation| operation.id.0 == Uuid::from_u128(1)).unwrap();
    assert!(kept.settled.is_some() && kept.body.as_ref().unwrap().contains("Transfer"));
    assert_eq!(detail.subscription.facts.status, Status::Subscribed);
}

#[tokio::test]
async fn a_repeated_webhook_changes_nothing() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    app.simulator.deliver(operation).await;
    app.settle().await;
    let (before, story) = (app.detail(id).await, app.story(id).await);
    for _ in 0..5 {
        assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Delivered(200));
    }
    app.settle().await;
    let after = app.detail(id).await;
    assert_eq!(before.subscription.facts, after.subscription.facts);
    assert_eq!((before.operations, story), (after.operations, app.story(id).await));
}

#[tokio::test]
async fn a_change_outside_the_rules_is_rejected_and_stays_rejected() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    browser.get(&format!("/portal/subscriptions/{id}")).await;
    // The plan's limit is 200 seats; Microsoft's own check is passed over here.
    let operation = Uuid::from_u128(77);
    let mut change = body(id, operation, "ChangeQuantity");
    change["quantity"] = json!(5000);
    let microsoft = Microsoft::new(&app);
    for _ in 0..2 {
        let (status, problem) = microsoft.notify(&change).await;
        assert_eq!((status, &problem["code"]), (400, &json!("change_rejected")), "{problem}");
    }
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(5));
}

#[tokio::test]
async fn a_change_is_applied_only_when_microsoft_says_that_it_succeeded() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    let operation = app.simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Delivered(200));
    assert_eq!(app.facts(id).await.quantity, Some(5), "accepted is not applied");
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(9));
    assert!(app.simulator.request_count("operation.patch") >= 1, "our word was sent");
    assert!(app.story(id).await.contains(&"acknowledged".to_owned()));
}

#[tokio::test]
async fn a_change_that_can_not_be_confirmed_is_neither_accepted_nor_rejected() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    let operation = app.simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    app.simulator.faults().api_down(true);
    assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Pending(Some(503)));
    app.simulator.faults().clear();
    assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Delivered(200));
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(9));
}

#[tokio::test]
async fn our_own_changes_are_never_acknowledged() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let before = app.simulator.request_count("operation.patch");
    let address = format!("/portal/subscriptions/{id}");
    let page = browser.get(&address).await;
    browser.submit(&page, &format!("{address}/quantity"), &[("quantity", "6")]).await;
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(6));
    assert_eq!(app.simulator.request_count("operation.patch"), before);
}

#[tokio::test]
async fn auto_activation_makes_a_subscription_before_anybody_lands() {
    let app = TestApp::start().await;
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    let purchase = app.purchase_by(&Person::contoso_buyer(), "starter", None, options);
    app.settle().await;
    assert_eq!(app.facts(purchase.subscription_id).await.status, Status::Subscribed);
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    let landing = browser.get(&purchase.landing_url).await;
    assert!(
        landing.status == 200 && landing.says(&format!("/portal/subscriptions/{}", purchase.subscription_id)),
        "{}",
        landing.body
    );
    assert_eq!(app.simulator.request_count("activate"), 0, "nothing is activated twice");
}

#[tokio::test]
async fn a_lost_webhook_is_found_by_the_hourly_comparison() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    app.simulator.drop_webhook(operation);
    app.run_timer("ReconcileSubscriptions").await;
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Suspended);
    let found =
        mediagenie::fulfillment::timeline(&app.host.app, mediagenie::foundation::ids::SubscriptionId(id), None, 50)
            .await
            .unwrap()
            .0;
    let entry = found
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .find(|event| event["kind"] == "status_changed" && event["to"] == "Suspended")
        .unwrap();
    assert_eq!(entry["cause"]["why"], "reconcile", "the timeline says how it was found");
}

#[tokio::test]
async fn a_lost_webhook_of_an_open_operation_is_found_too() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    let operation = app.simulator.act(id, Action::ChangeQuantity(7)).unwrap();
    app.simulator.drop_webhook(operation);
    app.run_timer("ReconcileSubscriptions").await;
    app.settle().await;
    app.simulator.settle_operations();
    app.run_timer("ReconcileSubscriptions").await;
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(7));
}

#[tokio::test]
async fn throttling_and_failures_of_the_api_lose_nothing() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    app.simulator.faults().set_fail_next(2, 500);
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    app.simulator.deliver(operation).await;
    app.drain().await;
    app.simulator.faults().throttle_next(1, 0);
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Suspended);
}

#[tokio::test]
async fn refused_credentials_are_renewed_once_and_then_reported() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    app.simulator.revoke_access_tokens();
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Suspended, "a revoked token is replaced");
    let tokens = app.simulator.request_count("token");
    app.simulator.faults().deny_tokens(true);
    let operation = app.simulator.act(id, Action::Reinstate).unwrap();
    app.simulator.deliver(operation).await;
    app.drain().await;
    assert!(app.simulator.request_count("token") <= tokens + 2, "no storm of token requests");
    app.simulator.faults().clear();
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Subscribed);
}

#[tokio::test]
async fn a_slow_marketplace_does_not_use_up_the_ten_seconds() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    let operation = app.simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    app.simulator.faults().set_delay(Duration::from_secs(12));
    let started = std::time::Instant::now();
    let (status, _) = Microsoft::new(&app).notify(&app.simulator.pending_webhooks()[0].body).await;
    assert_eq!(status, 503);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    app.simulator.faults().clear();
    app.simulator.deliver(operation).await;
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(9));
}

#[tokio::test]
async fn looks_that_overlap_do_not_break_the_chain_that_leads_to_the_end() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    // Microsoft does not know this operation, so several looks are needed before the subscription alone is followed.
    let operation = Uuid::from_u128(55);
    let suspend = body(id, operation, "Suspend");
    let microsoft = Microsoft::new(&app);
    for millis in [0, 1_100, 900, 600, 1_700, 300] {
        app.clock.advance(SignedDuration::from_millis(millis));
        assert_eq!(microsoft.notify(&suspend).await.0, 200);
        app.drain().await;
    }
    app.settle().await;
    let detail = app.detail(id).await;
    let settled = detail.operations.iter().find(|known| known.id.0 == operation).unwrap().settled;
    assert!(settled.is_some(), "without the help of the hourly comparison");
}

#[tokio::test]
async fn a_plan_that_is_newer_than_our_memory_is_not_refused() {
    use mediagenie::store::{Table, Write};
    let app = TestApp::start().await;
    let (id, browser) = app.buy("starter", None).await;
    browser.get(&format!("/portal/subscriptions/{id}")).await;
    // What we remember was listed before the publisher added the other plans.
    let key = id.to_string();
    let known = app.host.app.rows.get(Table("Subscriptions"), &key, "plans").await.unwrap().unwrap();
    let mut plans: Vec<Value> = serde_json::from_str(&known.body).unwrap();
    plans.retain(|plan| plan["id"] == "starter");
    assert_eq!(plans.len(), 1);
    let old = Write::Upsert { key: "plans".into(), body: json!(plans).to_string() };
    app.host.app.rows.write(Table("Subscriptions"), &key, vec![old]).await.unwrap();
    let operation = app.simulator.act(id, Action::ChangePlan("metered".into())).unwrap();
    assert_eq!(app.simulator.deliver(operation).await, DeliveryOutcome::Delivered(200));
    app.settle().await;
    assert_eq!(app.facts(id).await.plan_id, "metered");
}

#[tokio::test]
async fn a_webhook_without_the_plan_that_its_operation_names_is_not_refused() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::ChangePlan("metered".into())).unwrap();
    let mut change = app.simulator.pending_webhooks()[0].body.clone();
    change["planId"] = json!("");
    assert_eq!(Microsoft::new(&app).notify(&change).await.0, 200);
    app.simulator.deliver(operation).await;
    app.settle().await;
    assert_eq!(app.facts(id).await.plan_id, "metered");
}

#[tokio::test]
async fn webhooks_of_a_subscription_that_ended_unseen_are_followed_by_the_comparison() {
    let mut app = TestApp::start().await;
    app.expect_leftovers();
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    let id = app.purchase_by(&Person::contoso_buyer(), "starter", None, options).subscription_id;
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    app.simulator.deliver_all().await;
    app.simulator.faults().deny_tokens(true);
    for _ in 0..8 {
        app.drain().await;
        app.clock.advance(SignedDuration::from_secs(100));
    }
    app.simulator.faults().clear();
    app.run_timer("ReconcileSubscriptions").await;
    let detail = app.detail(id).await;
    assert_eq!(detail.subscription.facts.status, Status::Unsubscribed);
    assert!(detail.operations.iter().all(|operation| operation.settled.is_some()));
}

#[tokio::test]
async fn a_long_retry_after_is_waited_for_and_costs_no_tries() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    app.simulator.deliver(operation).await;
    app.clock.advance(SignedDuration::from_secs(2));
    app.simulator.faults().throttle_next(1, 120);
    app.drain().await;
    app.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(app.drain().await, 0, "not before Microsoft's time");
    app.clock.advance(SignedDuration::from_secs(61));
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Suspended);
    assert_eq!(app.host.app.queues.depth("subscription-sync-poison").await.unwrap(), 0);
}
