//! Recording usage beside raw inserts into the same kind of store, and closing hours of growing size.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use jiff::SignedDuration;
use mediagenie::app::App;
use mediagenie::foundation::clock::{Clock, SystemClock, VirtualClock};
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::foundation::rng::SystemRandom;
use mediagenie::foundation::settings::Settings;
use mediagenie::metering::model::record::UsageRecord;
use mediagenie::metering::{self, Outcome};
use mediagenie::simulator::{Action, Delivery, Person, PurchaseOptions, Simulator, SimulatorOptions};
use mediagenie::store::{Database, EmbeddedRows, RowStore, Table, Write};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{ROUND, ROUNDS, free_port, median, product, settings, until_live};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
const CONNECTIONS: u64 = 64;
const BATCH: u64 = 100;
const SUBSCRIPTIONS: usize = 200;

pub async fn simulator(port: u16) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = Simulator::new(SimulatorOptions {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        base_url: format!("http://{}", listener.local_addr().unwrap()),
        product_url: format!("http://127.0.0.1:{port}"),
        delivery: Delivery::Manual,
    });
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    simulator
}

pub fn buy(simulator: &Simulator) -> Uuid {
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    simulator.purchase("mediagenie", "metered", None, &Person::contoso_buyer(), None, options).subscription_id
}

/// Closed loop of [`CONNECTIONS`] for a round: units per second, where each call of `work` does `units`.
async fn load<F>(units: u64, work: impl Fn(u64) -> F + Send + Sync + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let (work, counter, until) = (Arc::new(work), Arc::new(AtomicU64::new(0)), Instant::now() + ROUND);
    let started = Instant::now();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (work, counter) = (Arc::clone(&work), Arc::clone(&counter));
            tokio::spawn(async move {
                while Instant::now() < until {
                    work(counter.fetch_add(1, Ordering::Relaxed)).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (counter.load(Ordering::Relaxed) * units) as f64 / started.elapsed().as_secs_f64()
}

pub async fn measure() {
    let port = free_port();
    let simulator = simulator(port).await;
    let ids: Arc<Vec<Uuid>> = Arc::new((0..SUBSCRIPTIONS).map(|_| buy(&simulator)).collect());
    let data = tempfile::tempdir().unwrap();
    let process = product(&settings(&simulator, port, data.path()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until_live(&http, port, Instant::now()).await;
    for id in ids.iter() {
        simulator.act(*id, Action::Renew).unwrap();
    }
    simulator.deliver_all().await;
    let url = format!("http://127.0.0.1:{port}/api/usage");
    // The client shares the machine with the server, so it writes and looks for plain text.
    let post = move |body: String| {
        let request = http.post(&url).bearer_auth(KEY).body(body);
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    let record = |name: &str, id: Uuid| {
        format!(r#"{{"id":"{name}","subscription":"{id}","dimension":"speech_minutes","quantity":"0.25"}}"#)
    };
    for id in ids.iter() {
        while post(record("first", *id)).await.contains("refused") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let raw = tempfile::tempdir().unwrap();
    let rows = Arc::new(EmbeddedRows::new(Database::open(raw.path()).unwrap()));
    let mut results: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        // The floor: rows of the size of a record, as many in a transaction, in as many partitions, with keys as random
        // as the ids of records are.
        let insert = |units: u64| {
            let rows = Arc::clone(&rows);
            move |number: u64| {
                let rows = Arc::clone(&rows);
                async move {
                    let body = json!({ "id": number, "subscription": Uuid::nil(), "dimension": "speech_minutes", "quantity": "0.25" }).to_string();
                    let writes = (0..units).map(|index| Write::Insert {
                        key: format!("{}-{round}-{units}", scattered(number * units + index)),
                        body: body.clone(),
                    });
                    rows.write(Table("Raw"), &(number % SUBSCRIPTIONS as u64).to_string(), writes.collect())
                        .await
                        .unwrap();
                }
            }
        };
        results[0].push(load(BATCH, insert(BATCH)).await);
        let (sender, owned) = (post.clone(), Arc::clone(&ids));
        let batches = move |number: u64| {
            let (sender, id) = (sender.clone(), owned[number as usize % owned.len()]);
            async move {
                let list: Vec<String> =
                    (0..BATCH).map(|index| record(&format!("b{round}-{number}-{index}"), id)).collect();
                let answer = sender(format!("[{}]", list.join(","))).await;
                assert!(answer.contains(&format!(r#""recorded":{BATCH},"#)), "{answer}");
            }
        };
        results[1].push(load(BATCH, batches).await);
        results[2].push(load(1, insert(1)).await);
        let (sender, owned) = (post.clone(), Arc::clone(&ids));
        let singles = move |number: u64| {
            let (sender, id) = (sender.clone(), owned[number as usize % owned.len()]);
            async move {
                let answer = sender(record(&format!("s{round}-{number}"), id)).await;
                assert!(answer.contains(r#""status":"recorded""#), "{answer}");
            }
        };
        results[3].push(load(1, singles).await);
    }
    let [raw_batch, batch, raw_single, single] = results.map(|rates| median(rates.into_iter()));
    println!(
        "\n| recording, c={CONNECTIONS}, {SUBSCRIPTIONS} subscriptions | raw inserts | records | ratio |\n|---|---|---|---|"
    );
    println!("| in batches of {BATCH} | {raw_batch:.0}/s | {batch:.0}/s | {:.2} |", batch / raw_batch);
    println!("| one by one | {raw_single:.0}/s | {single:.0}/s | {:.2} |", single / raw_single);
    println!("\nmemory of the server after it: {:.0} MiB", super::memory(&process));
    drop(process);
    println!("\n| closing an hour | seconds | events sent | memory at its highest |\n|---|---|---|---|");
    for (records, subscriptions) in [(10_000_usize, 100_usize), (100_000, 1_000), (1_000_000, 10_000)] {
        close_in_a_process(records, subscriptions).await;
    }
}

/// Starts `close` with a simulator of its own, which stays in this process so that its memory is not counted.
async fn close_in_a_process(records: usize, subscriptions: usize) {
    let port = free_port();
    let simulator = simulator(port).await;
    for _ in 0..subscriptions {
        buy(&simulator);
    }
    let data = tempfile::tempdir().unwrap();
    let environment: HashMap<String, String> = settings(&simulator, port, data.path());
    let (records, subscriptions) = (records.to_string(), subscriptions.to_string());
    let program = std::env::current_exe().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args(["close", &records, &subscriptions])
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap()
    });
    print!("{}", String::from_utf8(output.await.unwrap().stdout).unwrap());
    assert!(simulator.usage_book().iter().all(|entry| entry.quantity == 25_000_000));
}

fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Fills an hour, lets the clock pass its end, and measures the round that closes, sends and settles it.
pub async fn close(records: usize, subscriptions: usize) {
    let settings = Settings::from_environment().unwrap();
    let clock = Arc::new(VirtualClock::at(SystemClock.now()));
    let app = App::build(settings, clock.clone(), Arc::new(SystemRandom)).await.unwrap();
    let reconciled = mediagenie::fulfillment::reconcile(&app).await.unwrap();
    assert_eq!(reconciled.listed, subscriptions);
    let ids = all(&app).await;
    let each = records / subscriptions;
    let filling = Instant::now();
    stream::iter(ids)
        .for_each_concurrent(16, |id| {
            let app = Arc::clone(&app);
            async move {
                let list = (0..each).map(|number| {
                    // Beyond what is included, so that every subscription has something to send: the rest is 25 units.
                    let quantity = if number == 0 { "1000.25" } else { "0.25" };
                    let text = json!({ "id": number.to_string(), "subscription": id, "dimension": "speech_minutes", "quantity": quantity }).to_string();
                    UsageRecord::from_json(&text).unwrap()
                });
                let results = metering::record(&app, "bench", list.collect()).await;
                assert!(results.iter().all(|result| matches!(result, Ok(Outcome::Recorded(_)))));
            }
        })
        .await;
    eprintln!(
        "{records} records of {subscriptions} subscriptions recorded in {:.1} s",
        filling.elapsed().as_secs_f64()
    );
    clock.advance(SignedDuration::from_mins(66));
    let _ = std::fs::write(Path::new("/proc/self/clear_refs"), "5");
    let started = Instant::now();
    let round = metering::run(&app).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(round.sent, subscriptions);
    let again = metering::run(&app).await.unwrap();
    assert_eq!((again.sent, again.failed), (0, 0), "nothing is left");
    println!(
        "| {records} records of {subscriptions} subscriptions | {seconds:.1} | {} | {:.0} MiB |",
        round.sent,
        status("VmHWM")
    );
}

async fn all(app: &App) -> Vec<SubscriptionId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = mediagenie::fulfillment::list(app, &Default::default(), after, 500).await.unwrap();
        ids.extend(page.rows.iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

/// A number without order.
fn scattered(number: u64) -> String {
    format!(
        "{:016x}",
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    )
}
