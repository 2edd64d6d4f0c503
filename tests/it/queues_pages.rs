//! Queues for staff: what waits, what was given up, and the jobs that run.

use std::time::Duration;

use jiff::SignedDuration;
use mediagenie::host::bindings::Trigger;
use mediagenie::simulator::Person;
use serde_json::{Value, json};

use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page};

const HERE: &str = "/publisher/queues";
const QUEUE: &str = "subscription-sync";
const ASIDE: &str = "subscription-sync-poison";
const JOBS: &str = "media-jobs";

async fn set_aside(app: &TestApp, text: &str) {
    app.host.app.queues.send(ASIDE, text, Duration::ZERO).await.unwrap();
}

/// The ids of the messages that the page can replay, with their texts.
async fn given_up(app: &TestApp) -> Vec<(String, String)> {
    app.host.app.queues.peek(ASIDE, 32).await.unwrap().into_iter().map(|m| (m.id, m.text)).collect()
}

async fn act(browser: &Browser, page: &Page, verb: &str, id: &str) -> Page {
    browser.submit(page, &format!("{HERE}/{verb}"), &[("queue", QUEUE), ("id", id)]).await
}

/// Submits a job of one item.
async fn speech_job(program: &Program) -> String {
    let body = json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "text": "Hello." } });
    crate::media::submit(program, &body).await
}

#[tokio::test]
async fn every_queue_is_listed_with_what_waits_and_for_how_long() {
    let app = TestApp::start().await;
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    let page = staff.get(HERE).await;
    for function in app.host.functions.all() {
        let Trigger::Queue { queue } = &function.trigger else { continue };
        assert!(page.says(&format!("<code>{queue}</code>")) && page.says(&function.name), "{queue}: {}", page.body);
    }
    assert!(!page.says("Replay") && page.says("None."), "{}", page.body);
    let missing = json!({ "subscription": uuid::Uuid::nil(), "job": "job_00000000000000000000000000000000" });
    app.host.app.queues.send(JOBS, &missing.to_string(), Duration::ZERO).await.unwrap();
    app.clock.advance(SignedDuration::from_secs(125));
    assert!(staff.get(HERE).await.says("2 min 5 s"));
    app.settle().await;
    assert!(!staff.get(HERE).await.says("2 min"));
    let customer = Browser::new(&app.address).of(&Person::contoso_buyer());
    assert_eq!(customer.get(HERE).await.status, 404);
}

#[tokio::test]
async fn a_message_that_was_given_up_is_shown_and_replayed_once() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let job = &speech_job(&program).await;
    // As the poller does after five failures.
    let queues = &app.host.app.queues;
    set_aside(&app, &json!({ "subscription": id }).to_string()).await;
    set_aside(&app, "not <b>ours</b>").await;
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    let page = staff.get(HERE).await;
    for text in
        [job, "Given up: subscription-sync", "not &lt;b&gt;ours&lt;/b&gt;", "Nobody has it", "Queued", "Replay all"]
    {
        assert!(page.says(text), "{text}: {}", page.body);
    }
    let waiting = given_up(&app).await;
    let wanted = waiting.iter().find(|(_, text)| text.contains(&id.to_string())).unwrap().0.clone();
    let done = act(&staff, &page, "replay", &wanted).await;
    assert!(done.says("Replayed: 1"), "{}", done.body);
    assert_eq!((queues.depth(QUEUE).await.unwrap(), queues.depth(ASIDE).await.unwrap()), (1, 1));
    let again = act(&staff, &page, "replay", &wanted).await;
    assert!(again.says("Nothing was done"), "{}", again.body);
    assert_eq!(queues.depth(QUEUE).await.unwrap(), 1, "it went back once");
    app.settle().await;
    let request = program.http.get(format!("{}/v1/media/jobs/{job}", program.address)).bearer_auth(&program.key);
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "succeeded");
    // The other one can be seen and acted on at once.
    let rest = given_up(&app).await;
    assert_eq!(rest.len(), 1);
    let page = staff.get(HERE).await;
    assert!(act(&staff, &page, "remove", &rest[0].0).await.says("The message is removed"));
    assert!(act(&staff, &page, "remove", &rest[0].0).await.says("Nothing was done"));
    assert!(given_up(&app).await.is_empty());
}

#[tokio::test]
async fn all_are_replayed_at_once_and_only_by_who_may() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    for _ in 0..40 {
        set_aside(&app, &json!({ "subscription": id }).to_string()).await;
    }
    let reader = Browser::new(&app.address).of(&Person::staff_reader());
    let page = reader.get(HERE).await;
    assert!(page.says("40 in all, the oldest 32 are shown") && !page.says("Replay"), "{}", page.body);
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    let page = staff.get(HERE).await;
    let csrf = page.fields(&format!("{HERE}/replay-all"))["csrf"].clone();
    for queue in ["", "nothing", ASIDE] {
        let sent = staff.post(&format!("{HERE}/replay-all"), &[("csrf", &csrf), ("queue", queue)]).await;
        assert_eq!(sent.status, 404, "{queue}: there is no such queue");
    }
    let done = staff.submit(&page, &format!("{HERE}/replay-all"), &[]).await;
    assert!(done.says("Replayed: 40"), "{}", done.body);
    assert_eq!(app.host.app.queues.depth(QUEUE).await.unwrap(), 40);
    app.settle().await;
}

#[tokio::test]
async fn a_job_that_was_given_up_is_submitted_again() {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let job = &speech_job(&program).await;
    // Its message never comes to anything.
    let queues = &app.host.app.queues;
    let message = queues.receive(JOBS, 1, Duration::from_secs(30)).await.unwrap().remove(0);
    queues.delete(JOBS, &message).await.unwrap();
    let staff = Browser::new(&app.address).of(&Person::staff_admin());
    let all = app.host.functions.all();
    let poison = |trigger: &Trigger| matches!(trigger, Trigger::Queue { queue } if queue == "media-jobs-poison");
    let function = all.iter().find(|function| poison(&function.trigger)).unwrap();
    for _ in 0..3 {
        assert!(staff.get(HERE).await.says("Nobody has it"));
        mediagenie::host::dispatch::queue(&app.host, function, message.text.clone()).await.unwrap();
        while let Some(again) = queues.receive(JOBS, 1, Duration::from_secs(30)).await.unwrap().pop() {
            queues.delete(JOBS, &again).await.unwrap();
        }
        // Within a few seconds it would be the same one once more.
        app.clock.advance(SignedDuration::from_secs(6));
    }
    let page = staff.get(HERE).await;
    assert!(page.says("Media jobs that were given up") && page.says("given_up"), "{}", page.body);
    let again = staff.submit(&page, &format!("{HERE}/resubmit"), &[]).await;
    assert!(again.says("The job begins again") && again.says("Queued"), "{}", again.body);
    app.settle().await;
    let page = staff.get(HERE).await;
    assert!(!page.says(job), "{}", page.body);
    assert_eq!(app.recorded_of(id, "spoken_1k_chars").await, "0.006");
}
