//! The whole life of a subscription, as its people make it.

use mediagenie::fulfillment::model::facts::Status;
use mediagenie::simulator::{Action, Person};

use crate::support::app::TestApp;

#[tokio::test]
async fn a_purchase_goes_from_click_to_active_subscription_and_through_every_change() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    assert_eq!(app.facts(id).await.status, Status::Subscribed);

    let address = format!("/portal/subscriptions/{id}");
    let page = browser.get(&address).await;
    assert!(page.status == 200 && page.says(&id.to_string()), "{}", page.body);

    // The customer changes seats and plan in our portal.
    let page = browser.submit(&page, &format!("{address}/quantity"), &[("quantity", "8")]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(8));
    let page = browser.get(&address).await;
    browser.submit(&page, &format!("{address}/plan"), &[("plan", "starter")]).await;
    app.settle().await;
    assert_eq!(app.facts(id).await.plan_id, "starter");

    // Microsoft's side: each arrives.
    for (action, status) in [
        (Action::ChangePlan("team".into()), Status::Subscribed),
        (Action::Suspend, Status::Suspended),
        (Action::Reinstate, Status::Subscribed),
        (Action::Renew, Status::Subscribed),
        (Action::Unsubscribe, Status::Unsubscribed),
    ] {
        let text = format!("{action:?}");
        app.simulator.act(id, action).unwrap();
        app.settle().await;
        app.simulator.settle_operations();
        app.settle().await;
        assert_eq!(app.facts(id).await.status, status, "{text}");
    }
    let story = app.story(id).await;
    for kind in [
        "discovered",
        "activation_requested",
        "activation_accepted",
        "change_requested",
        "change_ended",
        "renewed",
        "decided",
        "settled",
    ] {
        assert!(story.iter().any(|entry| entry == kind), "{kind} is missing in {story:?}");
    }
    let page = browser.get(&address).await;
    assert_eq!(page.status, 200);
    assert!(browser.get("/portal").await.says(&id.to_string()));
}

#[tokio::test]
async fn staff_find_the_subscription_with_its_story() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let list = staff.get("/publisher/subscriptions?q=contoso").await;
    assert!(list.says(&id.to_string()), "{}", list.body);
    assert!(!staff.get("/publisher/subscriptions?q=fabrikam").await.says(&id.to_string()));
    assert!(!staff.get("/publisher/subscriptions?status=Suspended").await.says(&id.to_string()));
    let page = staff.get(&format!("/publisher/subscriptions/{id}")).await;
    assert!(page.status == 200 && page.says(&id.to_string()), "{}", page.body);
    let csv = staff.get("/publisher/subscriptions.csv").await;
    assert_eq!(csv.body.lines().count(), 2);
    app.simulator.act(id, Action::Suspend).unwrap();
    app.settle().await;
    let log = staff.get("/publisher/webhooks").await;
    assert!(log.says("Suspension"), "{}", log.body);
}
