//! The customer's page of budgets: what is set holds for the next call, what is spent is shown, and nobody else sees it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use mediagenie::ai::{Budget, Unit, Window, budgets};
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::identity::{KeyTerms, api_keys};
use mediagenie::simulator::{Action, Person};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page};

fn address(id: Uuid) -> String {
    format!("/portal/subscriptions/{id}/budgets")
}

async fn stored(app: &TestApp, id: Uuid) -> BTreeMap<String, Budget> {
    budgets::list(&app.host.app, SubscriptionId(id)).await.unwrap()
}

async fn set(browser: &Browser, id: Uuid, of: &str, unit: &str, window: &str, soft: &str, hard: &str) -> Page {
    let page = browser.get(&address(id)).await;
    let filled = [("unit", unit), ("window", window), ("soft", soft), ("hard", hard)];
    browser.submit(&page, &format!("{}/{of}", address(id)), &filled).await
}

/// A key, as secret and prefix.
async fn key(app: &TestApp, id: Uuid, name: &str) -> (String, String) {
    let made = api_keys::create(&app.host.app, SubscriptionId(id), name, "nobody", KeyTerms::default()).await;
    let (secret, key) = made.unwrap().unwrap();
    (secret.expose().to_owned(), key.prefix)
}

/// A chat of at most so many tokens: the status and the code of an error.
async fn chat(app: &TestApp, secret: &str, most: u32) -> (u16, Option<String>) {
    // Budgets that were read a moment ago are believed.
    app.clock.advance(SignedDuration::from_secs(3));
    let body =
        json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hello" }], "max_completion_tokens": most });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(app.url("/v1/chat/completions")).bearer_auth(secret).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    let answer: Value = answer.json().await.unwrap();
    (status, answer["error"]["code"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_budget_is_set_shown_changed_and_removed() {
    let chat_only = |file: &mut Value| {
        file["deployments"].as_array_mut().unwrap().retain(|one| one["model"] == "chat");
    };
    let app = TestApp::with_deployments(chat_only, &[]).await;
    let (id, browser) = app.buy("metered", None).await;
    assert!(browser.get(&format!("/portal/subscriptions/{id}")).await.says(&address(id)), "there is a way to it");
    let empty = browser.get(&address(id)).await;
    assert_eq!(empty.status, 200, "{}", empty.body);
    assert!(empty.says("No budget") && empty.says("insufficient_quota") && empty.says("list price"), "{}", empty.body);
    assert!(
        empty.says("value=\"chat_tokens\"") && !empty.says("value=\"vision_transactions\""),
        "only what models count on"
    );

    let page = set(&browser, id, "all", "money", "month", "80", "100.50").await;
    assert_eq!((page.status, page.url.query()), (200, Some("saved=all")), "{}", page.body);
    assert!(page.says("budget was saved") && page.says("USD 80.00") && page.says("USD 100.50"), "{}", page.body);
    assert!(page.says("Within its limits") && page.says("value=\"100.5\""), "{}", page.body);
    let budget = stored(&app, id).await.remove(budgets::ALL).unwrap();
    assert_eq!((&budget.unit, budget.window, budget.soft), (&Unit::Money, Window::Month, Some(Decimal::from(80))));

    let page = set(&browser, id, "all", "chat_tokens", "day", "", "2000").await;
    assert!(
        page.says("Tokens of chat and embeddings") && page.says("Every day") && page.says("2,000"),
        "{}",
        page.body
    );
    let budget = stored(&app, id).await.remove(budgets::ALL).unwrap();
    assert_eq!((budget.unit, budget.soft), (Unit::Meter("chat_tokens".into()), None));

    let removed = browser.submit(&page, &format!("{}/all/remove", address(id)), &[]).await;
    assert!(removed.says("has no budget any more") && removed.says("No budget:"), "{}", removed.body);
    assert!(stored(&app, id).await.is_empty());
    let again = browser.submit(&page, &format!("{}/all/remove", address(id)), &[]).await;
    assert_eq!(again.status, 200, "removed is removed");
}

#[tokio::test]
async fn limits_warn_and_refuse_and_the_page_says_so() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let (secret, prefix) = key(&app, id, "Call centre").await;
    let (other, _) = key(&app, id, "Archive").await;
    set(&browser, id, &prefix, "chat_tokens", "month", "1", "500").await;
    assert_eq!(chat(&app, &secret, 50).await, (200, None));
    let page = browser.get(&address(id)).await;
    let spent = stored(&app, id).await[&budgets::row_of_key(&prefix)].spent(app.now());
    assert!(spent > Decimal::ONE);
    assert!(page.says("The budget of the key “Call centre” has reached its soft limit"), "{}", page.body);
    assert!(page.says(&format!("<span class=\"amount\">{}</span>", spent.normalize())), "{spent}: {}", page.body);
    assert!(page.says(&format!("<span class=\"amount\">{}</span>", (Decimal::from(500) - spent).normalize())));
    let subscription = browser.get(&format!("/portal/subscriptions/{id}")).await;
    assert!(subscription.says("The budget of the key “Call centre” has reached its soft limit"));

    let refused = (429, Some("insufficient_quota".to_owned()));
    assert_eq!(chat(&app, &secret, 10_000).await, refused, "more than is left");
    assert_eq!(chat(&app, &other, 10_000).await, (200, None), "another key has no budget");
    set(&browser, id, &prefix, "chat_tokens", "month", "", "2").await;
    let page = browser.get(&address(id)).await;
    assert!(
        page.says("The budget of the key “Call centre” is used up") && page.says("Hard limit reached"),
        "{}",
        page.body
    );
    assert_eq!(
        stored(&app, id).await[&budgets::row_of_key(&prefix)].spent(app.now()),
        spent,
        "other limits keep the count"
    );
    set(&browser, id, "all", "money", "never", "", "0.000001").await;
    assert_eq!(chat(&app, &other, 10).await, refused, "the subscription's budget holds for every key");
}

#[tokio::test]
async fn a_refused_budget_says_what_is_wrong_beside_the_field_and_keeps_what_was_typed() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let (_, prefix) = key(&app, id, "Call centre").await;
    for (unit, window, soft, hard, field) in [
        ("money", "month", "", "", "hard"),
        ("money", "month", "0", "5", "soft"),
        ("money", "month", "5", "-1", "hard"),
        ("money", "month", "1,000", "", "soft"),
        ("money", "month", "", "1e3", "hard"),
        ("money", "month", "6", "5.99", "soft"),
        ("gold", "month", "5", "6", "unit"),
        ("money", "year", "5", "6", "window"),
    ] {
        let page = set(&browser, id, &prefix, unit, window, soft, hard).await;
        assert_eq!(page.status, 400, "{soft} {hard}");
        let at = format!("{prefix}-{field}");
        assert!(
            page.says(&format!("id=\"{at}-wrong\"")) && page.says(&format!("href=\"#{at}\"")),
            "{at}: {}",
            page.body
        );
        for (name, value) in [("soft", soft), ("hard", hard)] {
            let kept = format!(
                "id=\"{prefix}-{name}\" name=\"{name}\" type=\"text\" inputmode=\"decimal\" autocomplete=\"off\" maxlength=\"20\" value=\"{value}\""
            );
            assert!(page.says(&kept), "{kept}: {}", page.body);
        }
    }
    assert!(stored(&app, id).await.is_empty());
    let chinese = Browser::new(&app.address).of(&Person::contoso_buyer()).speaking("zh-Hans").get(&address(id)).await;
    assert!(chinese.says("预算") && chinese.says("硬性限制"), "{}", chinese.body);
}

#[tokio::test]
async fn nobody_else_sees_or_sets_the_budgets_of_a_subscription() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let (other, _) = app.buy("starter", None).await;
    let (_, prefix) = key(&app, id, "Call centre").await;
    let (_, ended) = key(&app, id, "Old").await;
    api_keys::end(&app.host.app, SubscriptionId(id), &ended, SignedDuration::ZERO).await.unwrap();
    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    assert_eq!(stranger.get(&address(id)).await.status, 404);
    let foreign = stranger.get("/portal").await.fields("/sign-out")["csrf"].clone();
    let own = browser.get("/portal").await.fields("/sign-out")["csrf"].clone();
    for (who, csrf, path) in [
        (&stranger, &foreign, format!("{}/all", address(id))),
        (&stranger, &foreign, format!("{}/all/remove", address(id))),
        // A key is found through its own subscription only, and while it lives.
        (&browser, &own, format!("{}/{prefix}", address(other))),
        (&browser, &own, format!("{}/{ended}", address(id))),
        (&browser, &own, format!("{}/abc", address(id))),
    ] {
        let fields = [("csrf", csrf.as_str()), ("unit", "money"), ("window", "month"), ("hard", "5")];
        let sent = who.post_with(&path, &fields, &[("origin", &app.address)]).await;
        assert_eq!(sent.status, 404, "{path}");
    }
    assert!(stored(&app, id).await.is_empty() && stored(&app, other).await.is_empty());
    // What is over has no budgets to set.
    let page = browser.get(&address(id)).await;
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    app.settle().await;
    let late = browser
        .submit(&page, &format!("{}/all", address(id)), &[("unit", "money"), ("window", "month"), ("hard", "5")])
        .await;
    assert_eq!(late.status, 409, "{}", late.body);
    assert!(late.says("Budgets can not be changed now") && !late.says("/all\""), "{}", late.body);
}

#[tokio::test]
async fn the_successor_of_a_key_has_its_budget() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let (_, old) = key(&app, id, "Call centre").await;
    set(&browser, id, &old, "money", "month", "5", "10").await;
    let keys = format!("/portal/subscriptions/{id}/keys");
    let page = browser.get(&keys).await;
    app.clock.advance(SignedDuration::from_secs(1));
    let rotated = browser.submit(&page, &format!("{keys}/{old}/rotate"), &[("expires", "never")]).await;
    assert!(rotated.says("has the same budget as the old one"), "{}", rotated.body);
    let new = api_keys::list(&app.host.app, SubscriptionId(id)).await.unwrap().remove(0).prefix;
    assert_ne!(new, old);
    let known = stored(&app, id).await;
    let limits = |prefix: &str| {
        let budget = &known[&budgets::row_of_key(prefix)];
        (budget.unit.clone(), budget.window, budget.soft, budget.hard)
    };
    assert_eq!(limits(&new), limits(&old));
}
