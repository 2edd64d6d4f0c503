//! Signed callbacks: told once and surely, to whoever asked for it and proved to be there.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use mediagenie::callbacks::{self, Delivery, Endpoint, EventKind, Owner, Reason, State, Wanted};
use mediagenie::foundation::ids::SubscriptionId;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::gate::Act;
use crate::support::receiver::Receiver;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The product with somebody who listens.
struct World {
    app: TestApp,
    receiver: Receiver,
    owner: Owner,
    endpoint: Endpoint,
    secret: String,
}

impl World {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// An endpoint of some customer that has chosen these events.
    async fn with(kinds: &[&str]) -> Self {
        let receiver = Receiver::start().await;
        let app = TestApp::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
        let owner = Owner::Subscription(SubscriptionId(uuid::Uuid::from_u128(7)));
        let (secret, endpoint) = endpoint(&app, &owner, &receiver.url("/hook"), kinds).await;
        Self { app, receiver, owner, endpoint, secret }
    }

    async fn announce(&self, kind: EventKind, subject: &str) {
        self.announce_at(kind, subject, self.app.now()).await;
    }

    async fn announce_at(&self, kind: EventKind, subject: &str, at: Timestamp) {
        let data = json!({ "job": subject });
        callbacks::announce(&self.app.host.app, &self.owner, kind, subject, at, data).await.unwrap();
    }

    /// The deliveries of the endpoint, newest first.
    async fn deliveries(&self) -> Vec<Delivery> {
        let (told, _) = callbacks::deliveries(&self.app.host.app, &self.endpoint, None, 100).await.unwrap();
        told.into_iter().map(|told| told.delivery).collect()
    }

    async fn endpoint(&self) -> Endpoint {
        callbacks::endpoint(&self.app.host.app, &self.owner, self.endpoint.id.as_str()).await.unwrap()
    }

    /// Works on what is visible after a time.
    async fn after(&self, wait: SignedDuration) -> usize {
        self.app.clock.advance(wait);
        self.app.drain().await;
        self.receiver.take().len()
    }

    /// Lets time pass with all timers until nothing is left to do.
    async fn settle(&self) {
        for _ in 0..20 {
            self.app.clock.advance(SignedDuration::from_mins(5));
            self.app.fire("ReviveCallbacks").await;
            self.app.drain().await;
        }
    }
}

pub async fn endpoint(app: &TestApp, owner: &Owner, url: &str, kinds: &[&str]) -> (String, Endpoint) {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let wanted = Wanted { url: url.to_owned(), description: "test".into(), kinds };
    let (secret, endpoint) = callbacks::create(&app.host.app, owner, &wanted).await.unwrap();
    (secret.expose().to_owned(), endpoint)
}

#[tokio::test]
async fn an_event_arrives_signed_and_once_however_often_it_is_announced() {
    let world = World::start().await;
    let at = world.app.now();
    for _ in 0..3 {
        world.announce_at(EventKind::JobSucceeded, "job_1", at).await;
    }
    world.app.drain().await;
    world.announce_at(EventKind::JobSucceeded, "job_1", at).await;
    world.app.drain().await;
    let got = world.receiver.take();
    assert_eq!(got.len(), 1);
    assert!(got[0].is_signed_with(&world.secret), "{:?}", got[0]);
    assert_eq!(got[0].header("webhook-timestamp"), at.as_second().to_string());
    assert_eq!(got[0].header("content-type"), "application/json");
    assert!(got[0].header("webhook-id").starts_with("evt_") && got[0].path == "/hook");
    assert_eq!(
        got[0].json(),
        json!({ "type": "job.succeeded", "timestamp": "2026-03-02T09:00:00Z", "data": { "job": "job_1" } })
    );
    let delivery = &world.deliveries().await[0];
    assert_eq!((delivery.state, delivery.attempts[0].status), (State::Delivered, Some(204)));
    // The same at another time is something else.
    world.announce_at(EventKind::JobSucceeded, "job_1", at + SECOND).await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 1);
}

#[tokio::test]
async fn only_what_was_chosen_is_told_and_only_to_its_owner() {
    let world = World::with(&["job.failed"]).await;
    let stranger = Owner::Subscription(SubscriptionId(uuid::Uuid::from_u128(8)));
    endpoint(&world.app, &stranger, &world.receiver.url("/stranger"), &[]).await;
    endpoint(&world.app, &Owner::Publisher, &world.receiver.url("/publisher"), &[]).await;
    world.announce(EventKind::JobSucceeded, "job_1").await;
    world.announce(EventKind::JobFailed, "job_2").await;
    world.app.drain().await;
    let got = world.receiver.take();
    assert_eq!(
        got.iter().map(|got| (got.path.as_str(), got.json()["data"]["job"].clone())).collect::<Vec<_>>(),
        [("/hook", json!("job_2"))]
    );
    let app = &world.app.host.app;
    let lost = callbacks::announce(app, &world.owner, EventKind::UsageLost, "x", world.app.now(), Value::Null).await;
    assert!(lost.is_err(), "customers do not hear of what the publisher lost");
    callbacks::announce(app, &Owner::Publisher, EventKind::UsageLost, "x", world.app.now(), Value::Null).await.unwrap();
    world.app.drain().await;
    assert_eq!(world.receiver.take().iter().map(|got| got.path.as_str()).collect::<Vec<_>>(), ["/publisher"]);
}

#[tokio::test]
async fn a_failure_is_tried_again_ever_later_and_given_up_after_three_days() {
    let world = World::start().await;
    world.receiver.always(500);
    world.announce(EventKind::JobFailed, "job_1").await;
    assert_eq!(world.after(SignedDuration::ZERO).await, 1);
    let seconds = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400];
    for wait in seconds.map(SignedDuration::from_secs) {
        let delivery = world.deliveries().await.remove(0);
        let left = delivery.due.duration_since(world.app.now());
        assert!(left >= wait && left <= wait + wait / 10, "{wait:?}: {left:?}");
        assert_eq!(world.after(left - SECOND).await, 0, "too early after {wait:?}");
        assert_eq!(world.after(SECOND).await, 1, "not tried after {wait:?}");
    }
    let delivery = world.deliveries().await.remove(0);
    assert_eq!((delivery.state, delivery.attempts.len()), (State::Failed, 10));
    assert_eq!((delivery.attempts[9].status, delivery.attempts[9].error.as_str()), (Some(500), "no"));
    assert_eq!(world.app.waiting().await, 0);
    // Sent again by hand, the same event has the same id and a new signature.
    world.receiver.always(200);
    let app = &world.app.host.app;
    callbacks::resend(app, &world.owner, &world.endpoint.id, delivery.event.as_str()).await.unwrap();
    world.app.drain().await;
    let got = world.receiver.take().remove(0);
    assert!(got.is_signed_with(&world.secret) && got.header("webhook-id") == delivery.event.as_str());
    assert_eq!(got.header("webhook-timestamp"), world.app.now().as_second().to_string());
}

#[tokio::test]
async fn a_message_that_comes_twice_or_never_neither_repeats_nor_loses() {
    let world = World::start().await;
    world.announce(EventKind::JobFailed, "job_1").await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 1);
    let id = world.deliveries().await[0].event.clone();
    let queues = &world.app.host.app.queues;
    for message in [
        json!({ "owner": world.owner, "event": id }),
        json!({ "owner": world.owner, "endpoint": world.endpoint.id, "event": id }),
        json!({ "owner": world.owner, "endpoint": world.endpoint.id }),
        json!({ "owner": world.owner }),
    ] {
        queues.send("callbacks", &message.to_string(), std::time::Duration::ZERO).await.unwrap();
    }
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 0);
    // All messages of the next events are lost: that of the event, and that of a later try.
    let lose = async || {
        world.app.clock.advance(SignedDuration::from_hours(1));
        for message in queues.receive("callbacks", 32, std::time::Duration::from_secs(30)).await.unwrap() {
            queues.delete("callbacks", &message).await.unwrap();
        }
    };
    world.receiver.answer(503, &[], "");
    world.announce(EventKind::JobFailed, "job_2").await;
    lose().await;
    world.app.fire("ReviveCallbacks").await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 1, "the event is revived");
    lose().await;
    world.app.fire("ReviveCallbacks").await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 1, "the later try is revived");
    world.app.clock.advance(SignedDuration::from_hours(1));
    world.app.fire("ReviveCallbacks").await;
    assert_eq!(world.app.waiting().await, 0, "nothing is open");
}

#[tokio::test]
async fn a_process_that_dies_or_fails_at_any_write_loses_no_event() {
    for act in [Act::Stop, Act::Fail] {
        for stop in 0..13 {
            let world = World::start().await;
            world.receiver.answer(500, &[], "");
            let writes = AtomicUsize::new(0);
            let hit = move |table: mediagenie::store::Table, _: &[mediagenie::store::Write]| {
                table.0.starts_with("Callback") && writes.fetch_add(1, Ordering::Relaxed) == stop
            };
            world.app.gate.next(act, hit);
            let at = world.app.now();
            let life = async {
                let announced = callbacks::announce(
                    &world.app.host.app,
                    &world.owner,
                    EventKind::JobFailed,
                    "job_1",
                    at,
                    Value::Null,
                );
                let announced = announced.await.is_ok();
                world.app.drain().await;
                announced
            };
            let announced = tokio::select! {
                announced = life => announced,
                () = world.app.gate.arrived() => false,
            };
            // Where it ended before that write, the next one goes through.
            world.app.gate.open();
            if !announced {
                // Whoever announced it does so again, until it is done.
                world.announce_at(EventKind::JobFailed, "job_1", at).await;
            }
            world.settle().await;
            let got = world.receiver.take();
            let delivered = world.deliveries().await;
            assert_eq!(delivered.iter().map(|d| d.state).collect::<Vec<_>>(), [State::Delivered], "{act:?} at {stop}");
            assert!((2..=3).contains(&got.len()), "{act:?} at {stop}: {}", got.len());
            assert!(got.iter().all(|other| other.header("webhook-id") == got[0].header("webhook-id")));
            assert_eq!(world.app.waiting().await, 0, "{act:?} at {stop}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_at_once() {
    let world = World::start().await;
    world.receiver.answer(410, &[], "moved away");
    world.announce(EventKind::JobFailed, "job_1").await;
    world.announce(EventKind::JobFailed, "job_2").await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 1);
    assert_eq!(world.endpoint().await.disabled.map(|disabled| disabled.why), Some(Reason::Gone));
    assert!(world.deliveries().await.iter().all(|delivery| delivery.state == State::Failed));
    world.announce(EventKind::JobFailed, "job_3").await;
    assert_eq!(world.app.waiting().await, 0, "nobody listens");
    // Enabled again, it gets what it missed when somebody asks for it.
    let app = &world.app.host.app;
    let since = world.app.now() - SECOND;
    assert_eq!(
        callbacks::recover(app, &world.owner, &world.endpoint.id, since).await.unwrap_err().code,
        "endpoint_disabled"
    );
    callbacks::switch(app, &world.owner, &world.endpoint.id, true).await.unwrap();
    callbacks::recover(app, &world.owner, &world.endpoint.id, since).await.unwrap();
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 3);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_disabled() {
    let world = World::start().await;
    world.receiver.always(500);
    for day in 0..6 {
        assert!(world.endpoint().await.disabled.is_none(), "after {day} days");
        world.announce(EventKind::JobFailed, &format!("job_{day}")).await;
        for _ in 0..24 {
            world.app.clock.advance(SignedDuration::from_hours(1));
            world.app.drain().await;
        }
    }
    let disabled = world.endpoint().await.disabled.unwrap();
    assert_eq!(disabled.why, Reason::Failing);
    world.receiver.take();
    world.app.clock.advance(DAY);
    world.settle().await;
    assert_eq!((world.receiver.take().len(), world.app.waiting().await), (0, 0));
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_for_a_day() {
    let world = World::start().await;
    let (new, _) = callbacks::rotate(&world.app.host.app, &world.owner, &world.endpoint.id).await.unwrap();
    let send = async |subject: &str| {
        world.announce(EventKind::JobFailed, subject).await;
        world.app.drain().await;
        world.receiver.take().remove(0)
    };
    let both = send("job_1").await;
    assert!(both.is_signed_with(&world.secret) && both.is_signed_with(new.expose()));
    world.app.clock.advance(DAY);
    let one = send("job_2").await;
    assert!(!one.is_signed_with(&world.secret) && one.is_signed_with(new.expose()));
    let header = one.header("webhook-signature");
    assert!(!header.contains(' '), "{header}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let world = World::start().await;
    let inside = world.receiver.url("/inside");
    for target in ["https://169.254.169.254/latest", inside.as_str()] {
        world.receiver.answer(307, &[("location", target)], "over there");
    }
    world.announce(EventKind::JobFailed, "job_1").await;
    assert_eq!(world.after(SignedDuration::ZERO).await, 1);
    assert_eq!(world.after(SECOND * 6).await, 1);
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery.attempts.iter().map(|a| a.status).collect::<Vec<_>>(), [Some(307), Some(307)]);
    assert_eq!(delivery.attempts[0].error, "over there");
    assert_eq!(world.after(SECOND * 331).await, 1, "and then it arrives");
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let world = World::start().await;
    world.receiver.answer(429, &[("retry-after", "3600")], "");
    world.receiver.answer(503, &[("retry-after", "9999999")], "");
    world.announce(EventKind::JobFailed, "job_1").await;
    assert_eq!(world.after(SignedDuration::ZERO).await, 1);
    assert_eq!(world.after(SECOND * 3599).await, 0);
    assert_eq!(world.after(SECOND).await, 1);
    assert_eq!(world.after(DAY - SECOND).await, 0);
    assert_eq!(world.after(SECOND).await, 1);
    assert_eq!(world.deliveries().await[0].state, State::Delivered);
}

#[tokio::test]
async fn recovering_sends_what_was_missed_and_nothing_twice() {
    let world = World::with(&["job.failed", "job.cancelled"]).await;
    let app = &world.app.host.app;
    world.announce(EventKind::JobFailed, "before").await;
    world.app.drain().await;
    callbacks::switch(app, &world.owner, &world.endpoint.id, false).await.unwrap();
    world.app.clock.advance(DAY);
    let since = world.app.now();
    // More than one slice, in the order of their time.
    for number in 0..120 {
        world.app.clock.advance(SECOND);
        world.announce(EventKind::JobFailed, &format!("job_{number:03}")).await;
    }
    world.announce(EventKind::JobSucceeded, "not chosen").await;
    callbacks::switch(app, &world.owner, &world.endpoint.id, true).await.unwrap();
    world.announce(EventKind::JobCancelled, "arrived").await;
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 2, "before and arrived");
    callbacks::recover(app, &world.owner, &world.endpoint.id, since).await.unwrap();
    world.app.drain().await;
    let mut jobs: Vec<String> =
        world.receiver.take().iter().map(|got| got.json()["data"]["job"].as_str().unwrap().to_owned()).collect();
    jobs.sort();
    assert_eq!(jobs, (0..120).map(|number| format!("job_{number:03}")).collect::<Vec<_>>());
    assert!(world.endpoint().await.recovery.is_none());
    callbacks::recover(app, &world.owner, &world.endpoint.id, since).await.unwrap();
    world.app.drain().await;
    assert_eq!(world.receiver.take().len(), 0, "it has everything");
    let old = world.app.now() - DAY * 31;
    assert_eq!(callbacks::recover(app, &world.owner, &world.endpoint.id, old).await.unwrap_err().field, Some("since"));
}

#[tokio::test]
async fn a_recovery_whose_process_dies_goes_on() {
    for stop in 0..10 {
        let world = World::start().await;
        let app = &world.app.host.app;
        callbacks::switch(app, &world.owner, &world.endpoint.id, false).await.unwrap();
        let since = world.app.now();
        for number in 0..3 {
            world.announce(EventKind::JobFailed, &format!("job_{number}")).await;
        }
        callbacks::switch(app, &world.owner, &world.endpoint.id, true).await.unwrap();
        callbacks::recover(app, &world.owner, &world.endpoint.id, since).await.unwrap();
        let writes = AtomicUsize::new(0);
        world.app.gate.next(Act::Stop, move |table, _| {
            table.0.starts_with("Callback") && writes.fetch_add(1, Ordering::Relaxed) == stop
        });
        tokio::select! {
            _ = world.app.drain() => {}
            () = world.app.gate.arrived() => {}
        }
        world.app.gate.open();
        world.settle().await;
        assert_eq!(world.deliveries().await.iter().filter(|d| d.state == State::Delivered).count(), 3, "at {stop}");
        assert!(world.endpoint().await.recovery.is_none(), "at {stop}");
        let ids: std::collections::BTreeSet<String> =
            world.receiver.take().iter().map(|got| got.header("webhook-id").to_owned()).collect();
        assert_eq!(ids.len(), 3, "at {stop}");
    }
}

#[tokio::test]
async fn events_and_deliveries_end_after_thirty_days() {
    let world = World::start().await;
    world.app.fire("ExpireCallbacks").await;
    world.announce(EventKind::JobFailed, "job_1").await;
    world.app.drain().await;
    world.app.clock.advance(DAY * 29);
    world.app.fire("ExpireCallbacks").await;
    assert_eq!(world.deliveries().await.len(), 1);
    world.app.clock.advance(DAY + SignedDuration::from_hours(2));
    world.app.fire("ExpireCallbacks").await;
    assert!(world.deliveries().await.is_empty());
    let (events, all) = (mediagenie::store::Table("CallbackEvents"), mediagenie::store::RowRange::all());
    let left = world.app.host.app.rows.query(events, &world.owner.to_string(), &all, 10).await;
    assert!(left.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_customer_adds_tests_rotates_and_removes_an_endpoint_in_the_portal() {
    let receiver = Receiver::start().await;
    let app = TestApp::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let list = format!("/portal/subscriptions/{id}/callbacks");
    assert!(browser.get(&format!("/portal/subscriptions/{id}")).await.says(&list), "the subscription leads there");
    let page = browser.get(&list).await;
    assert!(page.says("There is no endpoint yet") && !page.says("usage.lost"), "{}", page.body);
    for (url, said) in [
        ("http://example.com/", "Only https"),
        ("https://127.0.0.1/x", "public internet"),
        ("https://[::ffff:10.0.0.1]/x", "public internet"),
        ("https://localhost/x", "public internet"),
        ("https://me:secret@example.com/", "user name"),
        ("nonsense", "can not be read"),
    ] {
        let refused = browser.submit(&page, &list, &[("url", url), ("kind-job.failed", "on")]).await;
        assert_eq!(refused.status, 400, "{url}");
        assert!(refused.says(said) && refused.says("id=\"callback-url-wrong\""), "{url}: {}", refused.body);
        assert!(refused.says("name=\"kind-job.failed\" value=\"on\" checked"), "what was typed stays");
    }
    let url = receiver.url("/hook");
    let made = browser.submit(&page, &list, &[("url", &url), ("description", "<b>mine</b>")]).await;
    assert!(made.status == 200 && made.says("This secret is shown only now"), "{}", made.body);
    let secret_of = |page: &crate::support::browser::Page| {
        let start = page.body.find("data-copy=\"whsec_").unwrap() + "data-copy=\"".len();
        page.body[start..].split('"').next().unwrap().replace("&#x3d;", "=")
    };
    let secret = secret_of(&made);
    let owner = Owner::Subscription(SubscriptionId(id));
    let endpoint = callbacks::endpoints(&app.host.app, &owner).await.unwrap().remove(0);
    let one = format!("{list}/{}", endpoint.id);
    let page = browser.get(&one).await;
    assert!(!page.says("whsec_") && !browser.get(&list).await.says("whsec_") && !page.says("<b>mine"));
    // A test, whatever was chosen.
    let sent = browser.submit(&page, &format!("{one}/test"), &[]).await;
    assert!(sent.says("A test is on its way") && sent.says("data-refresh"), "{}", sent.body);
    app.drain().await;
    let got = receiver.take().remove(0);
    assert!(got.is_signed_with(&secret) && got.json()["type"] == "webhook.test", "{got:?}");
    let page = browser.get(&one).await;
    assert!(page.says("Delivered") && page.says("204") && !page.says("data-refresh"), "{}", page.body);
    let rotated = browser.submit(&page, &format!("{one}/rotate"), &[]).await;
    assert!(rotated.says("new secret") && secret_of(&rotated) != secret);
    let again = browser.submit(&page, &format!("{one}/resend"), &[]).await;
    assert!(again.says("on its way again"), "{}", again.body);
    app.drain().await;
    let got = receiver.take().remove(0);
    assert!(got.is_signed_with(&secret) && got.is_signed_with(&secret_of(&rotated)));
    let bad = browser.submit(&page, &format!("{one}/recover"), &[("since", "2020-01-01")]).await;
    assert!(bad.status == 400 && bad.says("callback-since-wrong"));
    assert!(browser.submit(&page, &format!("{one}/recover"), &[]).await.says("missed events are on their way"));
    app.drain().await;
    let off = browser.submit(&page, &format!("{one}/disable"), &[]).await;
    assert!(off.says("Somebody disabled it"), "{}", off.body);
    assert!(browser.submit(&off, &format!("{one}/enable"), &[]).await.says("The endpoint is enabled"));
    let kept = browser.submit(&page, &format!("{one}/delete"), &[]).await;
    assert!(kept.status == 400 && kept.says("callback-confirm-wrong"));
    assert_eq!(browser.submit(&page, &format!("{one}/delete"), &[("confirm", "yes")]).await.url.path(), list);
    assert_eq!(browser.get(&one).await.status, 404);
}

#[tokio::test]
async fn a_foreign_customers_endpoint_does_not_exist() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let (other, _) = app.buy("team", Some(5)).await;
    let owner = Owner::Subscription(SubscriptionId(id));
    let (_, endpoint) = endpoint(&app, &owner, "https://example.com/", &[]).await;
    let stranger = app.signed_in(&mediagenie::simulator::Person::fabrikam_buyer()).await;
    let path = |id: uuid::Uuid| format!("/portal/subscriptions/{id}/callbacks/{}", endpoint.id);
    assert_eq!(stranger.get(&path(id)).await.status, 404);
    assert_eq!(browser.get(&path(other)).await.status, 404, "under the address of another subscription");
    assert_eq!(browser.get(&path(id)).await.status, 200);
    let csrf = stranger.get("/portal").await.fields("/sign-out")["csrf"].clone();
    for action in ["test", "rotate", "disable", "delete", "resend", "recover", "nonsense"] {
        let sent = stranger.post(&format!("{}/{action}", path(id)), &[("csrf", &csrf), ("confirm", "yes")]).await;
        assert_eq!(sent.status, 404, "{action}");
    }
    assert!(callbacks::endpoint(&app.host.app, &owner, endpoint.id.as_str()).await.unwrap().disabled.is_none());
}

#[tokio::test]
async fn staff_see_the_publishers_endpoints_and_operators_act_on_them() {
    let receiver = Receiver::start().await;
    let app = TestApp::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    let admin = app.signed_in(&mediagenie::simulator::Person::staff_admin()).await;
    let list = "/publisher/callbacks";
    let page = admin.get(list).await;
    assert!(page.says("usage.lost") && page.says("lead.arrived"), "{}", page.body);
    let form = [("url", receiver.url("/hook")), ("kind-usage.lost", "on".to_owned())];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert!(admin.submit(&page, list, &form).await.says("whsec_"));
    let endpoint = callbacks::endpoints(&app.host.app, &Owner::Publisher).await.unwrap().remove(0);
    let one = format!("{list}/{}", endpoint.id);
    receiver.answer(500, &[], "out of <order>");
    let at = app.now();
    for number in 0..25 {
        let kind = EventKind::UsageLost;
        let at = at + SECOND * number;
        callbacks::announce(&app.host.app, &Owner::Publisher, kind, "s", at, json!({ "n": number })).await.unwrap();
    }
    app.drain().await;
    let reader = app.signed_in(&mediagenie::simulator::Person::staff_reader()).await;
    let seen = reader.get(&one).await;
    assert!(seen.says("usage.lost") && seen.says("Next page") && !seen.says("<form class=\"inline\""), "{}", seen.body);
    let next = seen.body.split("?after=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let second = reader.get(&format!("{one}?after={next}")).await;
    assert!(second.says("out of &lt;order&gt;") && second.says("First page"), "{}", second.body);
    assert!(admin.get(&one).await.says("Send a test"));
    let chinese = crate::support::browser::Browser::new(&app.address)
        .of(&mediagenie::simulator::Person::staff_reader())
        .speaking("zh-CN");
    assert!(chinese.get(&one).await.says("投递记录") && chinese.get(list).await.says("端点"));
    app.clock.advance(SECOND * 6);
    app.drain().await;
}
