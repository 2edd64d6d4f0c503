//! The simulator's own rules, and its HTTP face as a product would meet it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use uuid::Uuid;
use warp::Filter as _;

use super::*;
use crate::foundation::clock::{SystemClock, VirtualClock};
use crate::foundation::rng::SeededRandom;

/// A product that answers every webhook with the status it was told.
async fn product(status: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = warp::any().map(move || {
        let code = status.load(Ordering::SeqCst);
        warp::reply::with_status("{}", StatusCode::from_u16(code).unwrap())
    });
    tokio::spawn(warp::serve(answer).incoming(listener).run());
    url
}

pub(super) struct World {
    pub(super) simulator: Simulator,
    pub(super) clock: Arc<VirtualClock>,
    /// What the product answers to webhooks.
    answer: Arc<AtomicU16>,
    pub(super) http: Client,
    pub(super) token: String,
}

impl World {
    pub(super) async fn start() -> Self {
        let clock = Arc::new(VirtualClock::at("2026-01-31T10:00:00Z".parse().unwrap()));
        let answer = Arc::new(AtomicU16::new(200));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulator = Simulator::new(SimulatorOptions {
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(7)),
            base_url: format!("http://{}", listener.local_addr().unwrap()),
            product_url: product(answer.clone()).await,
            delivery: Delivery::Manual,
        });
        tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut world = World { simulator, clock, answer, http, token: String::new() };
        world.token = world.access_token().await["access_token"].as_str().unwrap().to_owned();
        world
    }

    pub(super) fn base(&self) -> &str {
        self.simulator.base_url()
    }

    async fn access_token(&self) -> Value {
        let config = self.simulator.config();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &config.client_id),
            ("client_secret", &config.client_secret),
            ("scope", "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default"),
        ];
        let url = format!("{}/{}/oauth2/v2.0/token", self.base(), config.tenant_id);
        self.http.post(url).form(&form).send().await.unwrap().json().await.unwrap()
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let join = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/api/saas/subscriptions{path}{join}api-version=2018-08-31", self.base());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn json(&self, path: &str) -> Value {
        self.call(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    async fn status(&self, method: Method, path: &str, body: Value) -> u16 {
        self.call(method, path).json(&body).send().await.unwrap().status().as_u16()
    }

    pub(super) fn bought(&self, plan: &str) -> Uuid {
        let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
        let made = self.simulator.purchase("mediagenie", plan, None, &Person::contoso_buyer(), None, options);
        made.subscription_id
    }

    fn field(&self, id: Uuid, field: &str) -> Value {
        self.simulator.subscription(id).unwrap()[field].clone()
    }

    fn operation_status(&self, id: Uuid, operation: Uuid) -> Value {
        self.simulator.operation(id, operation).unwrap()["status"].clone()
    }
}

#[tokio::test]
async fn a_purchase_is_resolved_and_activated() {
    let world = World::start().await;
    let buyer = Person::contoso_buyer();
    let made = world.simulator.purchase("mediagenie", "team", Some(5), &buyer, None, PurchaseOptions::default());
    assert!(made.token.contains('+') && made.token.contains('/') && made.token.ends_with('='));
    let url = url::Url::parse(&made.landing_url).unwrap();
    assert_eq!(url.query_pairs().next().unwrap().1, made.token);

    let resolve = |token: String| world.call(Method::POST, "/resolve").header("x-ms-marketplace-token", token);
    let resolved: Value = resolve(made.token.clone()).send().await.unwrap().json().await.unwrap();
    assert_eq!(resolved["quantity"], 5);
    assert_eq!(resolved["subscription"]["saasSubscriptionStatus"], "PendingFulfillmentStart");
    let blanks = resolve(made.token.replace('+', " ")).send().await.unwrap();
    assert_eq!(blanks.status(), 400);
    assert_eq!(world.call(Method::POST, "/resolve").send().await.unwrap().status(), 400);

    let path = format!("/{}/activate", made.subscription_id);
    assert_eq!(world.status(Method::POST, &path, json!({})).await, 400);
    world.simulator.faults().activation_delay(SignedDuration::from_secs(60));
    assert_eq!(world.status(Method::POST, &path, json!({"planId": "team"})).await, 200);
    assert_eq!(world.field(made.subscription_id, "saasSubscriptionStatus"), "PendingFulfillmentStart");
    world.simulator.advance(SignedDuration::from_secs(60));
    assert_eq!(world.field(made.subscription_id, "saasSubscriptionStatus"), "Subscribed");
    world.simulator.advance(SignedDuration::from_hours(24));
    assert_eq!(resolve(made.token).send().await.unwrap().status(), 400);
    assert!(world.simulator.pending_webhooks().is_empty());
}

#[tokio::test]
async fn calls_need_a_token_and_a_version() {
    let world = World::start().await;
    let url = format!("{}/api/saas/subscriptions?api-version=2018-08-31", world.base());
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 401);
    let forged = world.http.get(&url).bearer_auth(world.simulator.webhook_token()).send().await.unwrap();
    assert_eq!(forged.status(), 403);
    assert!(forged.json::<Value>().await.unwrap().is_string());
    let old = world.call(Method::GET, "?api-version=2017-01-01").send().await.unwrap();
    assert!(old.headers().contains_key("x-ms-requestid") && old.headers()["x-simulated"] == "true");
    assert_eq!(old.status(), 200, "the last of several api-versions counts");
    let none =
        world.http.get(url.replace("api-version=2018-08-31", "")).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(none.status(), 400);
    assert_eq!(none.json::<Value>().await.unwrap()["Error"]["Code"], "ApiVersionUnspecified");
    world.simulator.revoke_access_tokens();
    assert_eq!(world.status(Method::GET, "", Value::Null).await, 403);
    assert_eq!(world.simulator.request_count("list"), 5);
}

#[tokio::test]
async fn the_list_is_paged_and_empty_without_purchases() {
    let world = World::start().await;
    assert_eq!(world.call(Method::GET, "").send().await.unwrap().text().await.unwrap(), "");
    world.simulator.set_page_size(2);
    for _ in 0..5 {
        world.bought("starter");
    }
    let mut next = format!("{}/api/saas/subscriptions?api-version=2018-08-31", world.base());
    let mut sizes = Vec::new();
    while !next.is_empty() {
        let page: Value = world.http.get(&next).bearer_auth(&world.token).send().await.unwrap().json().await.unwrap();
        sizes.push(page["subscriptions"].as_array().unwrap().len());
        next = page["@nextLink"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn a_customers_change_waits_for_a_word_and_is_then_accepted() {
    let world = World::start().await;
    let id = world.bought("starter");
    let change = || world.simulator.act(id, Action::ChangePlan("metered".into()));
    let operation = change().unwrap();
    assert!(change().is_err(), "a pending operation locks the subscription");
    assert_eq!(world.status(Method::PATCH, &format!("/{id}"), json!({"planId": "team"})).await, 400);
    assert_eq!(world.status(Method::DELETE, &format!("/{id}"), Value::Null).await, 409);
    let pending = world.simulator.pending_webhooks();
    assert_eq!(pending[0].action, "Subscribe");
    assert_eq!(pending[1].body["planId"], "metered");
    assert_eq!(pending[1].body["subscription"]["planId"], "starter");
    assert_eq!(pending[1].body["timeStamp"], "2026-01-31T10:00:00.0000000Z");
    assert_eq!(world.simulator.deliver_all().await, 2);
    assert_eq!(world.operation_status(id, operation), "InProgress");
    assert_eq!(world.json(&format!("/{id}/operations")).await["operations"][0]["id"], json!(operation));
    world.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(world.operation_status(id, operation), "Succeeded");
    assert_eq!(world.field(id, "planId"), "metered");
    assert_eq!(world.json(&format!("/{id}/operations")).await, json!({}));
    let path = format!("/{id}/operations/{operation}");
    assert_eq!(world.status(Method::PATCH, &path, json!({"status": "Success"})).await, 409);
}

#[tokio::test]
async fn a_change_is_refused_by_a_webhook_answer_or_by_a_word() {
    let world = World::start().await;
    let id = world.bought("team");
    world.simulator.deliver_all().await;
    world.simulator.faults().revert_refused_changes(true);
    world.answer.store(400, Ordering::SeqCst);
    let operation = world.simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    assert_eq!(world.simulator.deliver(operation).await, DeliveryOutcome::Rejected(400));
    assert_eq!(world.operation_status(id, operation), "Failed");
    world.answer.store(200, Ordering::SeqCst);
    let revert = world.simulator.pending_webhooks().remove(0);
    assert_eq!(revert.body["quantity"], revert.body["subscription"]["quantity"]);
    world.simulator.deliver_all().await;
    world.simulator.settle_operations();
    assert_eq!(world.operation_status(id, revert.id), "Succeeded");

    world.simulator.faults().clear();
    let operation = world.simulator.act(id, Action::ChangeQuantity(9)).unwrap();
    let path = format!("/{id}/operations/{operation}");
    assert_eq!(world.status(Method::PATCH, &path, json!({"status": "nonsense"})).await, 200);
    assert_eq!(world.operation_status(id, operation), "InProgress");
    assert_eq!(world.status(Method::PATCH, &path, json!({"status": "Failure"})).await, 200);
    assert_eq!(world.operation_status(id, operation), "Failed");
    assert_eq!(world.field(id, "quantity"), 1);
}

#[tokio::test]
async fn the_publishers_own_change_always_succeeds_and_takes_no_word() {
    let world = World::start().await;
    let id = world.bought("team");
    for wrong in [json!({"quantity": 1}), json!({"quantity": 201}), json!({"planId": "team"}), json!({"planId": "x"})] {
        assert_eq!(world.status(Method::PATCH, &format!("/{id}"), wrong).await, 400);
    }
    let reply = world.call(Method::PATCH, &format!("/{id}")).json(&json!({"quantity": 7})).send().await.unwrap();
    assert_eq!(reply.status(), 202);
    let location = reply.headers()["operation-location"].to_str().unwrap().to_owned();
    let operation: Uuid = reply.headers()["operation-id"].to_str().unwrap().parse().unwrap();
    assert_eq!(world.simulator.pending_webhooks()[1].body["operationRequestSource"], "Partner");
    let path = format!("/{id}/operations/{operation}");
    assert_eq!(world.status(Method::PATCH, &path, json!({"status": "Success"})).await, 500);
    let seen: Value = world.http.get(location).bearer_auth(&world.token).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["status"], "Succeeded");
    assert_eq!(world.field(id, "quantity"), 7);
    assert_eq!(world.status(Method::DELETE, &format!("/{id}"), Value::Null).await, 202);
    assert!(world.field(id, "quantity").is_null(), "the quantity disappears with the end");
    assert_eq!(world.status(Method::GET, &format!("/{id}/listAvailablePlans"), Value::Null).await, 403);
}

#[tokio::test]
async fn a_reinstatement_is_done_when_the_webhook_arrived() {
    let world = World::start().await;
    let id = world.bought("starter");
    world.simulator.act(id, Action::Suspend).unwrap();
    assert_eq!(world.status(Method::POST, &format!("/{id}/activate"), json!({"planId": "starter"})).await, 400);
    world.simulator.act(id, Action::Reinstate).unwrap();
    assert_eq!(world.field(id, "saasSubscriptionStatus"), "Suspended");
    world.answer.store(503, Ordering::SeqCst);
    assert_eq!(world.simulator.deliver_all().await, 0);
    assert_eq!(world.simulator.pending_webhooks().len(), 3);
    world.answer.store(200, Ordering::SeqCst);
    assert_eq!(world.simulator.deliver_all().await, 3);
    assert_eq!(world.field(id, "saasSubscriptionStatus"), "Subscribed");
    assert_eq!(world.simulator.webhook_log().len(), 6);
}

#[tokio::test]
async fn time_renews_ends_and_gives_up() {
    let world = World::start().await;
    let renewing = world.bought("trial");
    let buy = |options| {
        let buyer = Person::fabrikam_buyer();
        world.simulator.purchase("mediagenie", "starter", None, &buyer, None, options).subscription_id
    };
    let waiting = buy(PurchaseOptions::default());
    let once = buy(PurchaseOptions { auto_activate: true, auto_renew: false, ..PurchaseOptions::default() });
    assert_eq!(world.field(renewing, "isFreeTrial"), true);
    assert_eq!(world.field(renewing, "term")["endDate"], "2026-02-27T00:00:00Z");
    world.simulator.advance(SignedDuration::from_hours(24 * 31));
    assert_eq!(world.field(renewing, "isFreeTrial"), false);
    assert_eq!(world.field(renewing, "term")["startDate"], "2026-02-28T00:00:00Z");
    assert_eq!(world.field(renewing, "term")["endDate"], "2026-03-30T00:00:00Z");
    for ended in [waiting, once] {
        assert_eq!(world.field(ended, "saasSubscriptionStatus"), "Unsubscribed");
    }
    let actions: Vec<String> = world.simulator.pending_webhooks().into_iter().map(|hook| hook.action).collect();
    assert_eq!(actions, ["Subscribe", "Subscribe", "Renew", "Unsubscribe", "Unsubscribe"]);
}

#[tokio::test]
async fn faults_strike_as_often_as_asked() {
    let world = World::start().await;
    let id = world.bought("starter");
    world.simulator.faults().throttle_next(1, 3);
    let limited = world.call(Method::GET, &format!("/{id}")).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    world.simulator.faults().set_fail_next(1, 500);
    let path = format!("/{id}");
    assert_eq!(world.status(Method::GET, &path, Value::Null).await, 500);
    assert_eq!(world.status(Method::GET, &path, Value::Null).await, 200);
    world.simulator.faults().set_drop_next_webhooks(1);
    world.simulator.act(id, Action::Suspend).unwrap();
    assert_eq!(world.simulator.pending_webhooks().len(), 1);
    world.simulator.faults().operation_visible_after(1);
    let operation = world.simulator.pending_webhooks()[0].id;
    let path = format!("/{id}/operations/{operation}");
    assert_eq!(world.status(Method::GET, &path, Value::Null).await, 400);
    assert_eq!(world.status(Method::GET, &path, Value::Null).await, 200);
}

/// The way back from a silent sign-in: the product's callback with a code.
async fn silent_sign_in(world: &World, verifier: &str) -> url::Url {
    let config = world.simulator.config();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let query = [
        ("client_id", config.sign_in_client_id.as_str()),
        ("redirect_uri", "http://127.0.0.1:1/callback"),
        ("response_type", "code"),
        ("scope", "openid profile email"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("prompt", "none"),
        ("login_hint", "ravi@mediagenie.example"),
    ];
    let url = format!("{}/common/oauth2/v2.0/authorize", world.base());
    let reply = world.http.get(url).query(&query).send().await.unwrap();
    assert_eq!(reply.status(), 303);
    reply.headers()["location"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_code_works_once_and_only_with_its_verifier() {
    let world = World::start().await;
    let config = world.simulator.config();
    let redeem = |code: String, verifier: &'static str| {
        let form = [
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", "http://127.0.0.1:1/callback".to_owned()),
            ("code_verifier", verifier.to_owned()),
        ];
        let url = format!("{}/common/oauth2/v2.0/token", world.base());
        let (id, secret) = (&config.sign_in_client_id, &config.sign_in_client_secret);
        let request = world.http.post(url).basic_auth(id, Some(secret)).form(&form);
        async move { request.send().await.unwrap() }
    };
    let code = |url: url::Url| url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let first = code(silent_sign_in(&world, "right").await);
    assert_eq!(redeem(first, "wrong").await.status(), 400);
    let second = code(silent_sign_in(&world, "right").await);
    let answer: Value = redeem(second.clone(), "right").await.json().await.unwrap();
    assert_eq!(redeem(second, "right").await.status(), 400);

    let discovery = format!("{}/common/v2.0/.well-known/openid-configuration", world.base());
    let discovery: Value = world.http.get(discovery).send().await.unwrap().json().await.unwrap();
    assert_eq!(discovery["issuer"], format!("{}/{{tenantid}}/v2.0", world.base()));
    let keys = world.http.get(discovery["jwks_uri"].as_str().unwrap()).send().await.unwrap();
    let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&[config.sign_in_client_id]);
    rules.set_issuer(&[format!("{}/{}/v2.0", world.base(), config.tenant_id)]);
    rules.validate_exp = false; // the virtual clock is not the machine's
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&world.simulator.key_id()).unwrap()).unwrap();
    let token = answer["id_token"].as_str().unwrap();
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!((&claims["nonce"], &claims["roles"]), (&json!("n"), &json!(["Publisher.Reader"])));
    assert_eq!(claims["iat"], world.clock.now().as_second());
    world.simulator.rotate_keys();
    assert!(keys.find(&world.simulator.key_id()).is_none());
}

#[tokio::test]
async fn every_page_says_that_it_is_simulated() {
    let world = World::start().await;
    let id = world.bought("team");
    world.simulator.act(id, Action::ChangeQuantity(3)).unwrap();
    world.simulator.deliver_all().await;
    for path in [
        "/",
        "/purchases",
        &format!("/purchases/{id}"),
        "/webhooks",
        "/usage",
        "/managed-apps",
        "/leads",
        "/controls",
        "/purchases/x",
    ] {
        let page = world.http.get(format!("{}{path}", world.base())).send().await.unwrap();
        assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        let text = page.text().await.unwrap();
        assert!(text.contains("Simulated Microsoft</strong>"), "{path}: {text}");
    }
    let form = [("plan", "team"), ("buyer", "clara@contoso.example"), ("seats", "201")];
    let refused = world.http.post(format!("{}/subscribe", world.base())).form(&form).send().await.unwrap();
    assert!(refused.headers()["location"].to_str().unwrap().starts_with("/?problem="));
}

#[tokio::test]
async fn webhooks_go_out_by_themselves_and_are_tried_again() {
    let answer = Arc::new(AtomicU16::new(500));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = Simulator::new(SimulatorOptions {
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(8)),
        base_url: format!("http://{}", listener.local_addr().unwrap()),
        product_url: product(answer.clone()).await,
        delivery: Delivery::Automatic,
    });
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    simulator.purchase("mediagenie", "starter", None, &Person::personal(), None, options);
    let wait = async {
        while simulator.webhook_log().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        answer.store(200, Ordering::SeqCst);
        while !simulator.pending_webhooks().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.unwrap();
    let statuses: Vec<_> = simulator.webhook_log().iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(200)]);
}
