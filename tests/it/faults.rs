//! Killed processes, stores that go away, disks that are full: nothing acknowledged is lost, nothing is applied twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mediagenie::app::App;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::foundation::rng::{Random as _, SeededRandom, SystemRandom};
use mediagenie::foundation::settings::Settings;
use mediagenie::simulator::{Action, DeliveryOutcome, Person, PurchaseOptions, Simulator};
use tempfile::TempDir;
use uuid::Uuid;

use crate::parity::azure_settings;
use crate::support::app::{embedded_settings, simulator};
use crate::support::azurite::{Azurite, free_port};
use crate::support::browser::Browser;
use crate::support::process::Process;

/// Until the staff's CSV holds the line that Microsoft's truth demands.
async fn until_in_step(staff: &Browser, simulator: &Simulator, id: Uuid, round: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        simulator.deliver_all().await;
        let truth = simulator.subscription(id).unwrap();
        let csv = staff.get(&format!("/publisher/subscriptions.csv?q={id}")).await.body;
        let wanted = format!(",{},", truth["saasSubscriptionStatus"].as_str().unwrap().trim());
        let plan = format!(",{},", truth["planId"].as_str().unwrap());
        let seats = truth["quantity"].as_u64().map(|seats| format!(",{seats},")).unwrap_or_default();
        if simulator.pending_webhooks().is_empty()
            && csv.contains(&wanted)
            && csv.contains(&plan)
            && csv.contains(&seats)
        {
            return;
        }
        assert!(Instant::now() < deadline, "round {round}: {csv} is not {wanted} {plan} {seats}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kill_9_at_any_point_of_fifty_lives_changes_no_end() {
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 21).await;
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let settings = embedded_settings(&simulator, &address, &folder);
    let mut process = Process::serve(&settings, port);
    let staff = Browser::new(&address).of(&Person::staff_admin());
    assert_eq!(staff.get("/publisher/subscriptions").await.status, 200);
    let random = SeededRandom::new(99);
    let any = move || {
        let mut byte = [0; 1];
        random.fill(&mut byte);
        u64::from(byte[0])
    };
    let mut lives = Vec::new();
    for round in 0..50 {
        let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
        let id =
            simulator.purchase("mediagenie", "team", Some(5), &Person::contoso_buyer(), None, options).subscription_id;
        for action in [
            Action::ChangeQuantity(7),
            Action::Suspend,
            Action::Reinstate,
            Action::ChangePlan("starter".into()),
            Action::Unsubscribe,
        ] {
            // What Microsoft's rules do not allow at this moment (an operation is still open) is left out of this life.
            if any() < 200 {
                let _ = simulator.act(id, action);
            }
            let pause = Duration::from_micros(any() * 150);
            let delivering = simulator.clone();
            let delivery = tokio::spawn(async move { delivering.deliver_all().await });
            if any() < 90 {
                tokio::time::sleep(pause).await;
                process.kill();
                process = Process::serve(&settings, port);
            }
            delivery.await.unwrap();
            simulator.settle_operations();
        }
        lives.push(id);
        until_in_step(&staff, &simulator, id, round).await;
    }
    // The whole store once more, read by a fresh process: equal to what an undisturbed run ends in, Microsoft's truth.
    process.kill();
    let _process = Process::serve(&settings, port);
    for (round, id) in lives.into_iter().enumerate() {
        until_in_step(&staff, &simulator, id, round).await;
    }
}

#[tokio::test]
async fn storage_that_goes_away_under_load_loses_no_acknowledged_webhook() {
    let Some(mut azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 22).await;
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = azure_settings(&simulator, &address, &azurite);
    settings.insert("LOG_LEVEL".into(), "error".into());
    let _process = Process::serve(&settings, port);
    let mut operations = Vec::new();
    for _ in 0..30 {
        let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
        let id =
            simulator.purchase("mediagenie", "starter", None, &Person::contoso_buyer(), None, options).subscription_id;
        operations.push((id, simulator.act(id, Action::Suspend).unwrap()));
    }
    let mut acknowledged = Vec::new();
    for (round, chunk) in operations.chunks(10).enumerate() {
        let deliveries =
            futures_util::future::join_all(chunk.iter().map(|(_, operation)| simulator.deliver(*operation)));
        if round == 1 {
            // In the middle of this round the storage is gone and comes back.
            let (outcomes, ()) = tokio::join!(deliveries, async {
                azurite.stop();
                tokio::time::sleep(Duration::from_millis(300)).await;
                azurite.resume();
            });
            acknowledged.extend(
                chunk
                    .iter()
                    .zip(outcomes)
                    .filter(|(_, outcome)| matches!(outcome, DeliveryOutcome::Delivered(_)))
                    .map(|(pair, _)| *pair),
            );
        } else {
            let outcomes = deliveries.await;
            assert!(outcomes.iter().all(|outcome| matches!(outcome, DeliveryOutcome::Delivered(_))), "{outcomes:?}");
            acknowledged.extend_from_slice(chunk);
        }
    }
    // A second process reads the store: every acknowledged webhook is there, applied, once.
    let settings = Settings::read(&|name| settings.get(name).cloned()).unwrap();
    let app = App::build(settings, Arc::new(SystemClock), Arc::new(SystemRandom)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    for (id, operation) in acknowledged {
        loop {
            let detail = mediagenie::fulfillment::detail(&app, SubscriptionId(id)).await;
            if let Ok(Some(detail)) = detail
                && detail.operations.iter().any(|known| known.id.0 == operation && known.settled.is_some())
                && detail.subscription.facts.status.as_str() == "Suspended"
            {
                let (events, _) = mediagenie::fulfillment::timeline(&app, SubscriptionId(id), None, 100).await.unwrap();
                let settled = events
                    .iter()
                    .map(|event| serde_json::to_value(event).unwrap())
                    .filter(|event| event["kind"] == "settled" && event["operation"] == operation.to_string())
                    .count();
                assert_eq!(settled, 1, "applied once");
                break;
            }
            assert!(Instant::now() < deadline, "the acknowledged operation {operation} was lost");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_answered_503_and_nothing_half_written_stays() {
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 23).await;
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = embedded_settings(&simulator, &address, &folder);
    settings.insert("LISTEN_ADDRESS".into(), format!("127.0.0.1:{port}"));
    settings.insert("PATH".into(), "/usr/bin:/bin".into());
    // Files of this process may not grow over 256 KiB: writing fails as on a full disk.
    let program = format!(
        "trap '' XFSZ; ulimit -f 256; exec {} serve 2>/dev/null",
        crate::support::process::executable().display()
    );
    let mut process = Process::start(std::path::Path::new("/bin/sh"), &["-c", &program], &settings, &address);
    let mut refused = 0;
    let mut accepted = Vec::new();
    for _ in 0..400 {
        let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
        let id =
            simulator.purchase("mediagenie", "starter", None, &Person::contoso_buyer(), None, options).subscription_id;
        let webhook = simulator.pending_webhooks().into_iter().find(|webhook| webhook.subscription == id).unwrap().id;
        match simulator.deliver(webhook).await {
            DeliveryOutcome::Delivered(_) => accepted.push(id),
            DeliveryOutcome::Pending(Some(503)) => refused += 1,
            other => panic!("{other:?}"),
        }
        if refused > 5 {
            break;
        }
    }
    assert!(refused > 5, "the disk never filled up; {} accepted", accepted.len());
    let live =
        mediagenie::foundation::outbound::client().unwrap().get(format!("{address}/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "the process lives");
    process.kill();
    // With room again, everything that was acknowledged is there.
    let process = Process::serve(&settings, port);
    let staff = Browser::new(&address).of(&Person::staff_admin());
    assert_eq!(staff.get("/publisher/subscriptions").await.status, 200);
    for (round, id) in accepted.into_iter().enumerate() {
        until_in_step(&staff, &simulator, id, round).await;
    }
    drop(process);
}
