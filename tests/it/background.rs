//! Queue and timers under `serve`: poison, renewal of hiding, one run in all replicas, runs after a downtime.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use mediagenie::app::App;
use mediagenie::foundation::rng::SeededRandom;
use mediagenie::fulfillment::QUEUE;
use mediagenie::host::{Host, scheduler, serve};
use mediagenie::simulator::Action;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_message_that_fails_five_times_is_set_aside_and_the_hourly_comparison_goes_on() {
    let mut app = TestApp::start().await;
    app.expect_leftovers();
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    app.simulator.deliver(operation).await;
    app.simulator.faults().deny_tokens(true);
    let poison = format!("{QUEUE}-poison");
    for _ in 0..8 {
        app.drain().await;
        app.clock.advance(SignedDuration::from_secs(100));
    }
    assert_eq!(app.host.app.queues.depth(&poison).await.unwrap(), 1);
    assert_eq!(app.host.app.queues.depth(QUEUE).await.unwrap(), 0);
    app.simulator.faults().clear();
    app.run_timer("ReconcileSubscriptions").await;
    assert_eq!(app.facts(id).await.status.as_str(), "Suspended", "a lost message costs time and nothing else");
}

#[tokio::test]
async fn rubbish_in_the_queue_is_given_up_at_once() {
    let app = TestApp::start().await;
    for text in ["", "hello", "{}", "{\"subscription\":\"x\"}", "[1]"] {
        app.host.app.queues.send(QUEUE, text, Duration::ZERO).await.unwrap();
    }
    app.drain().await;
    assert_eq!(app.waiting().await, 0);
}

#[tokio::test]
async fn two_replicas_run_a_timer_once() {
    let app = TestApp::start().await;
    // A second replica on the same store: the embedded file has one owner, so it shares the handle.
    let first = &app.host;
    let function = first.functions.by_name("ReconcileSubscriptions").unwrap();
    assert!(!scheduler::tick(first, function).await.unwrap(), "the first look only begins the schedule");
    for _ in 0..5 {
        app.clock.advance(SignedDuration::from_hours(1));
        let ran = futures_util::future::join_all((0..4).map(|_| scheduler::tick(first, function))).await;
        assert_eq!(ran.into_iter().filter(|ran| *ran.as_ref().unwrap()).count(), 1);
    }
    assert_eq!(app.simulator.request_count("list"), 5);
}

#[tokio::test]
async fn after_a_downtime_there_is_one_run_however_many_were_missed() {
    let app = TestApp::start().await;
    let function = app.host.functions.by_name("ReconcileSubscriptions").unwrap();
    scheduler::tick(&app.host, function).await.unwrap();
    app.clock.advance(SignedDuration::from_hours(30));
    assert!(scheduler::tick(&app.host, function).await.unwrap());
    assert!(!scheduler::tick(&app.host, function).await.unwrap());
    assert_eq!(app.simulator.request_count("list"), 1);
}

#[tokio::test]
async fn a_failed_run_waits_for_its_next_due_time() {
    let app = TestApp::start().await;
    let function = app.host.functions.by_name("ReconcileSubscriptions").unwrap();
    scheduler::tick(&app.host, function).await.unwrap();
    app.simulator.faults().deny_tokens(true);
    app.clock.advance(SignedDuration::from_hours(1));
    assert!(scheduler::tick(&app.host, function).await.unwrap());
    assert!(!scheduler::tick(&app.host, function).await.unwrap());
    app.simulator.faults().clear();
    app.clock.advance(SignedDuration::from_hours(1));
    assert!(scheduler::tick(&app.host, function).await.unwrap());
}

#[tokio::test]
async fn the_poller_works_without_being_told_and_stops_when_asked() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("starter", None).await;
    let operation = app.simulator.act(id, Action::Suspend).unwrap();
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve::run(app.host.clone(), listener, stopping));
    app.simulator.deliver(operation).await;
    tokio::time::timeout(Duration::from_secs(20), async {
        while app.facts(id).await.status.as_str() != "Suspended" {
            app.clock.advance(SignedDuration::from_millis(10));
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the poller applied it");
    assert!(
        mediagenie::foundation::outbound::client()
            .unwrap()
            .get(format!("http://{address}/health/live"))
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server).await.expect("it stops").unwrap();
    app.settle().await;
}

#[tokio::test]
async fn a_second_app_on_the_same_folder_is_refused() {
    let app = TestApp::start().await;
    let error =
        App::build(app.host.app.settings.clone(), app.clock.clone(), Arc::new(SeededRandom::new(3))).await.unwrap_err();
    assert!(error.to_string().contains("another MediaGenie server"), "{error}");
    assert!(Host::new(app.host.app.clone()).is_ok());
}
