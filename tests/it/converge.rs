//! Signals may come in any order, late, doubled or not at all: the row ends as Microsoft has it.

use std::sync::Arc;

use mediagenie::fulfillment::model::facts::{Facts, Status};
use mediagenie::simulator::{Action, Person, PurchaseOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::browser::Browser;

/// One of the things that happen to a subscription that was bought with auto activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Subscribe,
    Landing,
    ChangePlan,
    Unsubscribe,
}

const SIGNALS: [Signal; 4] = [Signal::Subscribe, Signal::Landing, Signal::ChangePlan, Signal::Unsubscribe];

/// All orders of the four signals.
fn permutations() -> Vec<[Signal; 4]> {
    let mut all = Vec::new();
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| *c != a && *c != b) {
                let d = 6 - a - b - c;
                all.push([a, b, c, d].map(|index| SIGNALS[index]));
            }
        }
    }
    all
}

/// Lets everything happen at Microsoft, then lets the signals arrive in this order, some more than once. With `work`
/// the queue is worked on after each signal, else only at the end.
async fn run(order: &[Signal], repeats: &[usize], work: bool) -> (Uuid, Facts, TestApp) {
    let app = TestApp::start().await;
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    let purchase = app.purchase_by(&Person::contoso_buyer(), "starter", None, options);
    let id = purchase.subscription_id;
    let subscribe = app.simulator.pending_webhooks()[0].id;
    let change = app.simulator.act(id, Action::ChangePlan("team".into()));
    // Microsoft goes on without us after ten seconds, and then ends it: every signal is late.
    let change = change.unwrap_or_else(|error| panic!("{error}"));
    app.simulator.settle_operations();
    let unsubscribe = app.simulator.act(id, Action::Unsubscribe).unwrap();
    let browser = Browser::new(&app.address).of(&Person::contoso_buyer());
    for (signal, repeat) in order.iter().zip(repeats) {
        for _ in 0..*repeat {
            match signal {
                Signal::Subscribe => drop(app.simulator.deliver(subscribe).await),
                Signal::ChangePlan => drop(app.simulator.deliver(change).await),
                Signal::Unsubscribe => drop(app.simulator.deliver(unsubscribe).await),
                Signal::Landing => drop(browser.get(&purchase.landing_url).await),
            }
            if work {
                app.drain().await;
            }
        }
    }
    app.settle().await;
    let facts = app.facts(id).await;
    (id, facts, app)
}

#[tokio::test]
async fn all_orders_of_subscribe_landing_change_and_unsubscribe_end_in_one_state() {
    let (_, reference, _app) = run(&SIGNALS, &[1, 1, 1, 1], true).await;
    assert_eq!(reference.status, Status::Unsubscribed);
    for order in permutations() {
        for work in [true, false] {
            let (id, facts, app) = run(&order, &[1, 1, 1, 1], work).await;
            assert_eq!(strip(&facts), strip(&reference), "{order:?}, worked on in between: {work}");
            assert!(app.detail(id).await.operations.iter().all(|operation| operation.settled.is_some()), "{order:?}");
        }
    }
}

/// Facts without what is made anew for each purchase.
fn strip(facts: &Facts) -> Facts {
    Facts { name: String::new(), ..facts.clone() }
}

#[test]
fn random_orders_with_repetitions_and_losses_end_in_the_same_state() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_, reference, _app) = runtime.block_on(run(&SIGNALS, &[1, 1, 1, 1], true));
    let reference = Arc::new(strip(&reference));
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    // A signal may be missing (0) but for the one that tells us of the subscription at all.
    let strategy = (Just(SIGNALS.to_vec()).prop_shuffle(), proptest::collection::vec(0usize..4, 4), any::<bool>());
    runner
        .run(&strategy, |(order, mut repeats, work)| {
            if repeats.iter().all(|repeat| *repeat == 0) {
                repeats[0] = 1;
            }
            let (_, facts, _app) = runtime.block_on(run(&order, &repeats, work));
            prop_assert_eq!(strip(&facts), (*reference).clone(), "{:?} {:?}", order, repeats);
            Ok(())
        })
        .unwrap();
}

/// What may happen at Microsoft's side, in any order that its rules allow.
#[derive(Debug, Clone)]
enum Step {
    Act(Action),
    Deliver,
    DeliverNewestFirst,
    Lose,
    Work,
    Wait(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop_oneof![
            Just(Action::ChangePlan("starter".into())), Just(Action::ChangePlan("team".into())), (1u32..50).prop_map(Action::ChangeQuantity),
            Just(Action::Suspend), Just(Action::Reinstate), Just(Action::Renew), Just(Action::Unknown("Transfer".into())),
        ].prop_map(Step::Act),
        1 => Just(Step::Act(Action::Unsubscribe)),
        4 => Just(Step::Deliver),
        1 => Just(Step::DeliverNewestFirst),
        1 => Just(Step::Lose),
        3 => Just(Step::Work),
        2 => (1i64..20).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..25)
}

#[test]
fn random_lives_with_losses_and_restarts_end_as_microsoft_has_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let mut app = TestApp::start().await;
                let (id, _) = app.buy("team", Some(5)).await;
                for step in &steps {
                    match step {
                        // What Microsoft's own rules forbid does not happen.
                        Step::Act(action) => drop(app.simulator.act(id, action.clone())),
                        Step::Deliver => {
                            if let Some(webhook) = app.simulator.pending_webhooks().first() {
                                app.simulator.deliver(webhook.id).await;
                            }
                        }
                        Step::DeliverNewestFirst => {
                            if let Some(webhook) = app.simulator.pending_webhooks().last() {
                                app.simulator.deliver(webhook.id).await;
                            }
                        }
                        Step::Lose => {
                            if let Some(webhook) = app.simulator.pending_webhooks().first() {
                                app.simulator.drop_webhook(webhook.id);
                            }
                        }
                        Step::Work => drop(app.drain().await),
                        Step::Wait(seconds) => app.clock.advance(jiff::SignedDuration::from_secs(*seconds)),
                        Step::Restart => app = app.restart().await,
                    }
                }
                app.simulator.settle_operations();
                app.settle().await;
                // The hourly comparison finds what was lost.
                app.run_timer("ReconcileSubscriptions").await;
                app.settle().await;
                let ours = app.facts(id).await;
                let theirs = app.simulator.subscription(id).unwrap();
                assert_eq!(
                    ours.status.as_str(),
                    theirs["saasSubscriptionStatus"].as_str().unwrap().trim(),
                    "{steps:?}"
                );
                assert_eq!(ours.plan_id, theirs["planId"].as_str().unwrap(), "{steps:?}");
                if ours.status != Status::Unsubscribed {
                    assert_eq!(ours.quantity, theirs["quantity"].as_u64(), "{steps:?}");
                }
                let detail = app.detail(id).await;
                assert!(
                    detail.operations.iter().all(|operation| operation.settled.is_some()),
                    "{steps:?}: {:?}",
                    detail.operations
                );
            });
            Ok(())
        })
        .unwrap();
}
