//! The customer's page of API keys: a secret is seen once, an ended key stays ended, and nobody sees another's.

use std::collections::HashMap;

use jiff::SignedDuration;
use mediagenie::foundation::ids::{RequestId, SubscriptionId};
use mediagenie::foundation::web::Request;
use mediagenie::identity::{KeyError, KeyTerms, Scope, StoredKey, api_key, api_keys};
use mediagenie::simulator::{Action, Person};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page};

fn address(id: Uuid) -> String {
    format!("/portal/subscriptions/{id}/keys")
}

async fn keys(app: &TestApp, id: Uuid) -> Vec<StoredKey> {
    api_keys::list(&app.host.app, SubscriptionId(id)).await.unwrap()
}

async fn create(browser: &Browser, id: Uuid, filled: &[(&str, &str)]) -> Page {
    let page = browser.get(&address(id)).await;
    browser.submit(&page, &address(id), filled).await
}

/// The whole keys that a page shows, each once.
fn secrets(page: &Page) -> Vec<String> {
    let mut found: Vec<String> = page
        .body
        .split("mgk-")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect())
        .filter(|rest: &String| rest.len() > 20)
        .map(|rest| format!("mgk-{rest}"))
        .collect();
    found.dedup();
    found
}

/// Whether a call with the key would be let in, once what was read a moment ago is no longer trusted.
async fn opens(app: &TestApp, secret: &str) -> Result<SubscriptionId, KeyError> {
    app.clock.advance(SignedDuration::from_secs(3));
    let authorization = format!("Bearer {secret}").parse().unwrap();
    let request = Request {
        id: RequestId::new(app.now(), &*app.host.app.random),
        method: http::Method::POST,
        path: "/v1/chat/completions".into(),
        raw_query: String::new(),
        headers: http::HeaderMap::from_iter([(http::header::AUTHORIZATION, authorization)]),
        params: HashMap::new(),
        body: bytes::Bytes::new(),
    };
    api_key(&app.host.app, &request).await.unwrap().map(|key| key.subscription)
}

#[tokio::test]
async fn a_created_key_is_shown_once_and_not_on_the_next_load() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    assert!(browser.get(&format!("/portal/subscriptions/{id}")).await.says(&address(id)), "there is a way to it");
    let empty = browser.get(&address(id)).await;
    assert_eq!(empty.status, 200, "{}", empty.body);
    assert!(empty.says("There are no keys yet") && empty.says(&format!("{}/v1/chat/completions", app.address)));

    let made = create(&browser, id, &[("name", "Call <centre>"), ("expires", "90")]).await;
    assert_eq!((made.status, made.url.path(), made.url.query()), (200, address(id).as_str(), None), "{}", made.body);
    let [secret] = &secrets(&made)[..] else { panic!("one secret: {:?}", secrets(&made)) };
    assert!(made.says("It is not shown again") && made.says("Call &lt;centre&gt;") && !made.says("<centre>"));
    let key = keys(&app, id).await.remove(0);
    assert_eq!((key.name.as_str(), key.created_by), ("Call <centre>", Person::contoso_buyer().email));
    assert_eq!(key.terms.expires, Some(key.created + SignedDuration::from_hours(24 * 90)));

    let later = browser.get(&address(id)).await;
    assert!(later.says(&format!("mgk-{}-…", key.prefix)) && later.says("Not used yet") && later.says("Live"));
    assert!(secrets(&later).is_empty() && !later.says(secret.as_str()), "{}", later.body);
    assert_eq!(opens(&app, secret).await, Ok(SubscriptionId(id)));
    assert!(!browser.get(&address(id)).await.says("Not used yet"), "its use is seen");

    create(&browser, id, &[("name", "Archive")]).await;
    assert_eq!(keys(&app, id).await.iter().find(|key| key.name == "Archive").unwrap().terms.expires, None);
    app.clock.advance(SignedDuration::from_hours(24 * 90));
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    assert!(browser.get(&address(id)).await.says("Expired"));
    assert_eq!(opens(&app, secret).await, Err(KeyError::Expired));
}

#[tokio::test]
async fn the_answer_with_a_secret_is_kept_by_nobody_and_leads_nowhere() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let csrf = browser.get(&address(id)).await.fields(&address(id))["csrf"].clone();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs([("csrf", &*csrf), ("name", "n")]).finish();
    let answer = http
        .post(app.url(&address(id)))
        .header("cookie", format!("mediagenie-session={}", browser.cookie("mediagenie-session").unwrap()))
        .header("origin", &app.address)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (200, None));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers().values().all(|value| !String::from_utf8_lossy(value.as_bytes()).contains("mgk-")));
    assert!(answer.text().await.unwrap().contains("mgk-"));
}

#[tokio::test]
async fn a_revoked_key_is_shown_as_revoked_and_opens_nothing() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let made = create(&browser, id, &[("name", "Call centre")]).await;
    let secret = secrets(&made).remove(0);
    let prefix = keys(&app, id).await.remove(0).prefix;
    let revoke = format!("{}/{prefix}/revoke", address(id));

    let unsure = browser.submit(&made, &revoke, &[]).await;
    assert_eq!(unsure.status, 400);
    assert!(unsure.says("Tick the box to confirm.") && unsure.says(&format!("{prefix}-confirm-wrong")));
    assert_eq!(opens(&app, &secret).await, Ok(SubscriptionId(id)), "nothing happened yet");

    let done = browser.submit(&made, &revoke, &[("confirm", "yes")]).await;
    assert_eq!((done.status, done.url.path()), (200, address(id).as_str()), "{}", done.body);
    assert!(done.says("The key “Call centre” was revoked") && done.says(">Revoked</span>"), "{}", done.body);
    assert!(!done.says(&revoke), "there is nothing left to revoke");
    assert_eq!(opens(&app, &secret).await, Err(KeyError::Revoked));
    let again = browser.submit(&made, &format!("{}/{prefix}/rotate", address(id)), &[]).await;
    assert_eq!(again.status, 409, "it has no successor");
    assert!(again.says("The key has ended already"));
    assert_eq!(keys(&app, id).await.len(), 1);
}

#[tokio::test]
async fn a_rotated_key_works_for_a_day_beside_its_successor() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let made = create(&browser, id, &[("name", "Call centre"), ("expires", "30")]).await;
    let old = secrets(&made).remove(0);
    let prefix = keys(&app, id).await.remove(0).prefix;
    assert!(made.says("value=\"30\" selected"), "the successor is offered the same lifetime");
    let rotate = format!("{}/{prefix}/rotate", address(id));
    let wrong = browser.submit(&made, &rotate, &[("expires", "31")]).await;
    assert_eq!((wrong.status, keys(&app, id).await.len()), (400, 1));
    assert!(wrong.says(&format!("{prefix}-expires-wrong")));

    app.clock.advance(SignedDuration::from_mins(1));
    let rotated = browser.submit(&made, &rotate, &[("expires", "365")]).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let new = secrets(&rotated).remove(0);
    assert!(rotated.says(&format!("The old key mgk-{prefix}-… works for at most 24 hours")), "{}", rotated.body);
    assert!(secrets(&browser.get(&address(id)).await).is_empty());
    let known = keys(&app, id).await;
    assert_eq!(known.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["Call centre", "Call centre"]);
    assert_eq!(known[0].terms.expires, Some(known[0].created + SignedDuration::from_hours(24 * 365)));
    assert_eq!(opens(&app, &old).await, Ok(SubscriptionId(id)));
    assert_eq!(opens(&app, &new).await, Ok(SubscriptionId(id)));
    app.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(opens(&app, &old).await, Err(KeyError::Expired));
    assert_eq!(opens(&app, &new).await, Ok(SubscriptionId(id)));
}

#[tokio::test]
async fn what_a_key_may_do_is_chosen_when_it_is_made_shown_and_kept_by_its_successor() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    create(&browser, id, &[("name", "Everything")]).await;
    assert_eq!(keys(&app, id).await[0].terms, KeyTerms::default(), "nothing is ticked: everything");
    let page = browser.get(&address(id)).await;
    assert!(page.says("<dd>Everything</dd>") && page.says("None of its own"), "{}", page.body);
    app.clock.advance(SignedDuration::from_secs(1));
    let limited = [
        ("name", "Subtitles"),
        ("expires", "30"),
        ("scope-chat", "on"),
        ("scope-audio", "on"),
        ("requests_per_minute", "60"),
        ("parallel", "1000000"),
    ];
    let made = create(&browser, id, &limited).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let key = keys(&app, id).await.remove(0);
    assert_eq!(key.terms.scopes, Some(vec![Scope::Chat, Scope::Audio]));
    let limits = &key.terms.limits;
    assert_eq!(
        (limits.requests_per_minute, limits.tokens_per_minute, limits.parallel),
        (Some(60), None, Some(1_000_000))
    );
    assert!(made.says("60 requests per minute") && made.says("1,000,000 calls at the same time"), "{}", made.body);
    let rotate = format!("{}/{}/rotate", address(id), key.prefix);
    let rotated = browser.submit(&made, &rotate, &[("expires", "90")]).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let successor = keys(&app, id).await.into_iter().find(|one| one.name == "Subtitles" && one.prefix != key.prefix);
    let terms = successor.unwrap().terms;
    assert_eq!((&terms.scopes, &terms.limits), (&key.terms.scopes, &key.terms.limits));
    assert_ne!(terms.expires, key.terms.expires);

    let count = keys(&app, id).await.len();
    for field in ["requests_per_minute", "tokens_per_minute", "parallel"] {
        for wrong in ["0", "1000001", "1.5", "many"] {
            let filled = [("name", "Wrong"), ("scope-vision", "on"), (field, wrong)];
            let page = create(&browser, id, &filled).await;
            assert_eq!(page.status, 400, "{field} {wrong}");
            assert!(
                page.says(&format!("id=\"key-{field}-wrong\"")) && page.says(&format!("href=\"#key-{field}\"")),
                "{}",
                page.body
            );
            assert!(page.says(&format!("value=\"{wrong}\"")), "what was typed is kept");
            assert!(page.says("name=\"scope-vision\" value=\"on\" checked"), "what was ticked is kept");
        }
    }
    assert_eq!(keys(&app, id).await.len(), count);
}

#[tokio::test]
async fn nobody_else_sees_or_touches_the_keys_of_a_subscription() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let (other, _) = app.buy("starter", None).await;
    create(&browser, id, &[("name", "Call centre")]).await;
    let prefix = keys(&app, id).await.remove(0).prefix;
    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    assert_eq!(stranger.get(&address(id)).await.status, 404);
    let foreign = stranger.get("/portal").await.fields("/sign-out")["csrf"].clone();
    let own = browser.get("/portal").await.fields("/sign-out")["csrf"].clone();
    for (who, csrf, path) in [
        (&stranger, &foreign, address(id)),
        (&stranger, &foreign, format!("{}/{prefix}/revoke", address(id))),
        (&stranger, &foreign, format!("{}/{prefix}/rotate", address(id))),
        // A key is found through its own subscription only.
        (&browser, &own, format!("{}/{prefix}/revoke", address(other))),
        (&browser, &own, format!("{}/{prefix}/rotate", address(other))),
        (&browser, &own, format!("{}/abc/revoke", address(id))),
        (&browser, &own, format!("{}/abc/rotate", address(id))),
    ] {
        let fields = [("csrf", csrf.as_str()), ("name", "x"), ("confirm", "yes")];
        let sent = who.post_with(&path, &fields, &[("origin", &app.address)]).await;
        assert_eq!(sent.status, 404, "{path}");
    }
    let known = keys(&app, id).await;
    assert_eq!((known.len(), known[0].is_live(app.now()), known[0].terms.expires), (1, true, None), "nothing happened");
    assert!(keys(&app, other).await.is_empty());
}

#[tokio::test]
async fn a_refused_form_says_what_is_wrong_beside_the_field_and_keeps_what_was_typed() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let long = "ü".repeat(61);
    for (name, expires, wrong) in [
        ("  ", "30", "key-name-wrong"),
        (long.as_str(), "30", "key-name-wrong"),
        ("two\nlines", "30", "key-name-wrong"),
        ("Call centre", "7", "key-expires-wrong"),
    ] {
        let page = create(&browser, id, &[("name", name), ("expires", expires)]).await;
        assert_eq!(page.status, 400, "{name}");
        assert!(page.says(&format!("id=\"{wrong}\"")) && page.says("aria-invalid=\"true\""), "{name}: {}", page.body);
        assert!(page.says(&format!("value=\"{}\"", name.trim())), "{name}: what was typed is kept");
        assert_eq!(page.says("value=\"30\" selected"), expires == "30", "{name}");
    }
    assert!(keys(&app, id).await.is_empty());
    assert_eq!(create(&browser, id, &[("name", &"ü".repeat(60))]).await.status, 200);

    for number in 1..api_keys::MOST_KEYS {
        let made =
            api_keys::create(&app.host.app, SubscriptionId(id), &number.to_string(), "test", KeyTerms::default()).await;
        assert!(made.unwrap().is_some());
    }
    let full = create(&browser, id, &[("name", "One too many")]).await;
    assert_eq!((full.status, keys(&app, id).await.len()), (409, api_keys::MOST_KEYS));
    assert!(full.says("There are too many live keys") && full.says("value=\"One too many\""), "{}", full.body);
    let chinese = Browser::new(&app.address).of(&Person::contoso_buyer()).speaking("zh-Hans").get(&address(id)).await;
    assert!(chinese.says("API 密钥") && chinese.says("撤销密钥"), "{}", chinese.body);
}

#[tokio::test]
async fn a_suspended_subscription_gets_no_new_keys_and_its_keys_can_still_be_revoked() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let made = create(&browser, id, &[("name", "Call centre")]).await;
    let prefix = keys(&app, id).await.remove(0).prefix;
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    let page = browser.get(&address(id)).await;
    assert!(page.says("No keys can be created now") && page.says("a payment is missing"), "{}", page.body);
    assert!(!page.says("id=\"key-name\"") && !page.says("/rotate\""), "there is no form for it");
    for action in [address(id), format!("{}/{prefix}/rotate", address(id))] {
        let sent = browser.submit(&made, &action, &[("name", "x")]).await;
        assert_eq!(sent.status, 409, "{action}");
        assert!(sent.says("Only an active subscription can have new keys"));
    }
    let revoked = browser.submit(&made, &format!("{}/{prefix}/revoke", address(id)), &[("confirm", "yes")]).await;
    assert!(revoked.says(">Revoked</span>"), "{}", revoked.body);
    assert_eq!(keys(&app, id).await.len(), 1);
}
