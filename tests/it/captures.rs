//! Kept calls: only where the customer asked for it, only for as long, and only for their eyes.

use jiff::SignedDuration;
use mediagenie::simulator::Person;
use serde_json::json;

use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::browser::Browser;

#[tokio::test]
async fn calls_are_kept_for_a_key_and_a_time_read_by_its_customer_alone_and_removed_after_a_week() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let ask = async |text: &str, stream: bool| {
        let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } });
        let content = json!([{ "type": "text", "text": text }, image]);
        let body = json!({ "model": "chat", "stream": stream, "messages": [{ "role": "user", "content": content }] });
        let answer = program.send("chat/completions", &body).await;
        let request = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.text().await.unwrap();
        request
    };
    let captures = format!("/portal/subscriptions/{id}/captures");
    ask("before anybody asked for it", false).await;
    assert!(browser.get(&captures).await.says("Nothing is kept"));
    let keys = browser.get(&format!("/portal/subscriptions/{id}/keys")).await;
    let switch = format!("/portal/subscriptions/{id}/keys/{}/capture", program.prefix);
    assert_eq!(browser.submit(&keys, &switch, &[("hours", "5")]).await.status, 400);
    assert!(browser.submit(&keys, &switch, &[("hours", "1")]).await.says("Calls are kept until"));
    app.clock.advance(SignedDuration::from_secs(3));
    let whole = ask("What about <b>this</b>?", false).await;
    let streamed = ask("And as a stream?", true).await;
    let list = browser.get(&captures).await;
    assert!(list.says(&whole) && list.says(&streamed), "{}", list.body);
    let page = browser.get(&format!("{captures}/{whole}")).await;
    assert!(
        page.says("What about &lt;b&gt;this&lt;&#x2f;b&gt;?") || page.says("What about &lt;b&gt;this&lt;/b&gt;?"),
        "{}",
        page.body
    );
    assert!(page.says("data: 26 characters") && page.says("simulated answer"), "{}", page.body);
    assert!(browser.get(&format!("{captures}/{streamed}")).await.says("[DONE]"));
    // Nobody else sees it, under whatever address.
    let (other, stranger) = {
        let stranger = Browser::new(&app.address).of(&Person::fabrikam_buyer());
        let (other, _) = app.buy("metered", None).await;
        (other, stranger)
    };
    assert_eq!(stranger.get(&format!("{captures}/{whole}")).await.status, 404);
    assert_eq!(browser.get(&format!("/portal/subscriptions/{other}/captures/{whole}")).await.status, 404);
    assert_eq!(browser.get(&format!("{captures}/nothing'here")).await.status, 404);
    // The hour is over, and then the week.
    app.clock.advance(SignedDuration::from_hours(1));
    let late = ask("after the hour", false).await;
    assert!(!browser.get(&captures).await.says(&late));
    app.clock.advance(SignedDuration::from_hours(7 * 24));
    app.fire("PurgeExpired").await;
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    assert!(browser.get(&captures).await.says("Nothing is kept"));
    assert_eq!(browser.get(&format!("{captures}/{whole}")).await.status, 404);
}

#[tokio::test]
async fn a_customer_removes_what_was_kept() {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let keys = browser.get(&format!("/portal/subscriptions/{id}/keys")).await;
    let switch = format!("/portal/subscriptions/{id}/keys/{}/capture", program.prefix);
    browser.submit(&keys, &switch, &[("hours", "24")]).await;
    let body = json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hello" }] });
    assert_eq!(program.post("chat/completions", &body).await.0, 200);
    let captures = format!("/portal/subscriptions/{id}/captures");
    let list = browser.get(&captures).await;
    assert!(list.says("req_"));
    let cleared = browser.submit(&list, &format!("{captures}/clear"), &[]).await;
    assert!(cleared.says("Everything that was kept is removed") && cleared.says("Nothing is kept"), "{}", cleared.body);
}
