//! `/marketplace/landing`: every state has its page, tokens survive sign-in, strangers see nothing.

use mediagenie::fulfillment::model::facts::Status;
use mediagenie::simulator::{Action, Person, PurchaseOptions};

use crate::support::app::TestApp;
use crate::support::browser::Browser;

#[tokio::test]
async fn the_token_survives_sign_in_and_leaves_the_address_bar() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    let page = browser.get(&purchase.landing_url).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(!page.url.as_str().contains("token=") && page.url.path() == "/marketplace/landing");
    assert!(!page.fields("/marketplace/landing")["csrf"].is_empty());
    assert_eq!(app.simulator.request_count("activate"), 0, "nothing is activated before the buyer confirms");
}

#[tokio::test]
async fn tokens_damaged_on_their_way_are_mended_or_explained() {
    let app = TestApp::start().await;
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    let purchase = app.purchase("starter", None);
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let once = encode(&purchase.token);
    let blanks = purchase.token.replace('+', "%20").replace('/', "%2F").replace('=', "%3D");
    let open = purchase.token.replace('%', "%25").replace('#', "%23").replace('&', "%26");
    for (what, token) in [
        ("encoded once", once.clone()),
        ("blanks for plus signs", blanks),
        ("not encoded", open),
        ("encoded twice", encode(&once)),
    ] {
        let page = browser.get(&format!("/marketplace/landing?token={token}")).await;
        assert_eq!(page.status, 200, "{what}: {}", page.body);
        assert!(page.says(&purchase.subscription_id.to_string()), "{what}");
    }
    for (what, token) in [
        ("8 kB", "a".repeat(8000)),
        ("rubbish", "%00%ff%0d%0a".into()),
        ("unknown", "bm90LWEtdG9rZW4%3D".into()),
        ("empty", String::new()),
    ] {
        let page = browser.get(&format!("/marketplace/landing?token={token}")).await;
        assert_eq!(page.status, 400, "{what}: {}", page.body);
        assert!(page.says("Configure"), "{what} says where a new one comes from: {}", page.body);
    }
}

#[tokio::test]
async fn without_a_token_there_is_the_product_page() {
    let app = TestApp::start().await;
    let page = Browser::new(&app.address).get("/marketplace/landing").await;
    assert_eq!(page.status, 200);
    assert!(page.says("MediaGenie"));
}

#[tokio::test]
async fn somebody_of_another_tenant_is_turned_away_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let stranger = Browser::new(&app.address).of(&Person::fabrikam_buyer());
    let page = stranger.get(&purchase.landing_url).await;
    assert_eq!(page.status, 403, "{}", page.body);
    assert!(!page.says(&purchase.subscription_id.to_string()));
    assert!(page.says("anna@") || page.says("fabrikam"), "it says who is signed in: {}", page.body);
    let id = mediagenie::foundation::ids::SubscriptionId(purchase.subscription_id);
    assert!(mediagenie::fulfillment::detail(&app.host.app, id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_colleague_of_the_buyer_may_land_too() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let colleague = Browser::new(&app.address).of(&Person::contoso_colleague());
    assert_eq!(colleague.get(&purchase.landing_url).await.status, 200);
}

#[tokio::test]
async fn personal_accounts_can_buy_but_do_not_share_with_each_other() {
    let app = TestApp::start().await;
    let owner = Person::personal();
    let purchase = app.purchase_by(&owner, "starter", None, PurchaseOptions::default());
    let browser = Browser::new(&app.address).of(&owner);
    assert_eq!(browser.get(&purchase.landing_url).await.status, 200);
    let facts = app.facts(purchase.subscription_id).await;
    let other = mediagenie::foundation::ids::ObjectId(uuid::Uuid::from_u128(1));
    assert!(facts.belongs_to(facts.beneficiary.tenant_id.unwrap(), facts.beneficiary.object_id.unwrap()));
    assert!(
        !facts.belongs_to(facts.beneficiary.tenant_id.unwrap(), other),
        "the tenant of all personal accounts is no company"
    );
}

#[tokio::test]
async fn every_later_state_has_its_page() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("starter", None).await;
    let landing = async || browser.get(&app.simulator.landing_url(id).unwrap()).await;
    let page = landing().await;
    assert!(page.status == 200 && page.says(&format!("/portal/subscriptions/{id}")), "active: {}", page.body);
    app.simulator.act(id, Action::Suspend).unwrap();
    let page = landing().await;
    assert!(page.status == 200 && page.says("payment"), "suspended: {}", page.body);
    app.settle().await;
    app.simulator.act(id, Action::Unsubscribe).unwrap();
    let page = landing().await;
    assert!(page.status == 200 && !page.says("name=\"subscription\""), "ended, and nothing to confirm: {}", page.body);
    app.settle().await;
    assert_eq!(app.facts(id).await.status, Status::Unsubscribed);
}

#[tokio::test]
async fn when_the_marketplace_is_away_the_page_says_so_and_the_visit_can_go_on_later() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    app.simulator.faults().api_down(true);
    let page = browser.get(&purchase.landing_url).await;
    assert_eq!(page.status, 503, "{}", page.body);
    app.simulator.faults().clear();
    let again = browser.get(page.url.as_str()).await;
    assert_eq!(again.status, 200, "the same address works when Microsoft is back: {}", again.body);
}

#[tokio::test]
async fn two_activations_at_once_are_one() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    let page = browser.get(&purchase.landing_url).await;
    let (first, second) = tokio::join!(
        browser.submit(&page, "/marketplace/landing", &[]),
        browser.submit(&page, "/marketplace/landing", &[])
    );
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.body, second.body);
    app.settle().await;
    assert_eq!(app.facts(purchase.subscription_id).await.status, Status::Subscribed);
    assert_eq!(app.simulator.request_count("activate"), 1);
    let story = app.story(purchase.subscription_id).await;
    assert_eq!(story.iter().filter(|kind| *kind == "activation_requested").count(), 1, "{story:?}");
}

#[tokio::test]
async fn an_activation_cut_short_is_finished_by_the_queue() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    let page = browser.get(&purchase.landing_url).await;
    app.simulator.faults().api_down(true);
    let done = browser.submit(&page, "/marketplace/landing", &[]).await;
    assert_eq!(done.status, 200, "it is under way: {}", done.body);
    app.simulator.faults().clear();
    app.settle().await;
    assert_eq!(app.facts(purchase.subscription_id).await.status, Status::Subscribed);
}

#[tokio::test]
async fn a_slow_activation_shows_progress_until_microsoft_is_done() {
    let app = TestApp::start().await;
    app.simulator.faults().activation_delay(jiff::SignedDuration::from_secs(40));
    let purchase = app.purchase("starter", None);
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    let page = browser.get(&purchase.landing_url).await;
    let done = browser.submit(&page, "/marketplace/landing", &[]).await;
    assert!(done.says("http-equiv=\"refresh\""), "the page comes back by itself: {}", done.body);
    app.settle().await;
    assert_eq!(app.facts(purchase.subscription_id).await.status, Status::Subscribed);
    assert_eq!(app.simulator.request_count("activate"), 1, "patience, not repetition");
}

#[tokio::test]
async fn a_returning_visitor_is_no_new_purchase() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("starter", None).await;
    let story = app.story(id).await;
    for _ in 0..3 {
        browser.get(&app.simulator.landing_url(id).unwrap()).await;
    }
    assert_eq!(app.story(id).await, story);
}

#[tokio::test]
async fn pages_speak_chinese_when_the_browser_does() {
    let app = TestApp::start().await;
    let purchase = app.purchase("starter", None);
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer()).speaking("zh-CN,zh;q=0.9,en;q=0.5");
    let page = browser.get(&purchase.landing_url).await;
    assert!(page.says("lang=\"zh-Hans\"") && page.says("订阅"), "{}", page.body);
    let english = browser.post("/language", &[("language", "en"), ("return", "/")]).await;
    assert!(english.says("lang=\"en\""), "the choice is remembered");
}

#[test]
fn no_token_whatever_its_bytes_breaks_the_page() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    let browser = runtime.block_on(app.signed_in(&Person::contoso_buyer()));
    let mut runner = TestRunner::new(Config { cases: 150, ..Config::default() });
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let texts = "[A-Za-z0-9+/=%&;# ]{0,200}";
    let tokens = prop_oneof![
        bytes
            .prop_map(|bytes| percent_encoding::percent_encode(&bytes, percent_encoding::NON_ALPHANUMERIC).to_string()),
        texts.prop_map(|text| text.replace(' ', "+").replace('#', "%23")),
    ];
    runner
        .run(&tokens, |token| {
            let page = runtime.block_on(browser.get(&format!("/marketplace/landing?token={token}")));
            prop_assert!(page.status < 500, "{} for {token}", page.status);
            Ok(())
        })
        .unwrap();
}
