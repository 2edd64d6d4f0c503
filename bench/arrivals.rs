//! What Microsoft tells: notifications of managed applications and leads, beside raw durable inserts; and a burst of leads
//! while the system of sales answers 429.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mediagenie::app::App;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::rng::SystemRandom;
use mediagenie::foundation::settings::Settings;
use mediagenie::leads;
use mediagenie::store::{Database, EmbeddedRows, RowStore, Table, Write};
use serde_json::{Value, json};

use super::usage::{KEY, simulator};
use super::{CONNECTIONS, ROUND, ROUNDS, free_port, median, product, settings, until_live};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// An address takes 1,200 leads a second, so that one offer can not drown the others.
const OFFERS: usize = 20;
const APPLICATIONS: u64 = 2_000;
const BURST: u64 = 10_000;

/// Makes an address for each of the offers and prints it.
pub async fn make_addresses() {
    let settings = Settings::from_environment().unwrap();
    let app = App::build(settings, Arc::new(SystemClock), Arc::new(SystemRandom)).await.unwrap();
    for offer in 0..OFFERS {
        let made = leads::create_address(&app, &format!("offer{offer}"), "Bench").await.unwrap();
        println!("{}", leads::url(&app, &made.keys[0].key));
    }
}

fn addresses(environment: &HashMap<String, String>) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("lead-addresses").env_clear().envs(environment).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

struct Measured {
    per_second: f64,
    p99: f64,
    failed: u64,
}

/// Closed loop of [`CONNECTIONS`] for a round; `work` answers whether it went well.
async fn load<F>(counter: &Arc<AtomicU64>, work: impl Fn(u64) -> F + Send + Sync + 'static) -> Measured
where
    F: Future<Output = bool> + Send + 'static,
{
    let (work, started, until) = (Arc::new(work), Instant::now(), Instant::now() + ROUND);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (work, counter) = (Arc::clone(&work), Arc::clone(counter));
            tokio::spawn(async move {
                let (mut times, mut failed) = (Vec::new(), 0);
                while Instant::now() < until {
                    let began = Instant::now();
                    failed += u64::from(!work(counter.fetch_add(1, Ordering::Relaxed)).await);
                    times.push(began.elapsed().as_secs_f64() * 1000.0);
                }
                (times, failed)
            })
        })
        .collect();
    let (mut times, mut failed) = (Vec::new(), 0);
    for worker in workers {
        let (some, bad) = worker.await.unwrap();
        times.extend(some);
        failed += bad;
    }
    times.sort_by(f64::total_cmp);
    let p99 = times[((times.len() as f64 * 0.99) as usize).min(times.len() - 1)];
    Measured { per_second: times.len() as f64 / started.elapsed().as_secs_f64(), p99, failed }
}

fn notification(number: u64) -> String {
    let name = format!("app-{}", number % APPLICATIONS);
    let at = jiff::Timestamp::from_millisecond(1_790_000_000_000 + i64::try_from(number).unwrap()).unwrap();
    json!({
        "eventType": "PATCH", "provisioningState": "Succeeded", "eventTime": at,
        "applicationId": format!("/subscriptions/37f9dea2-4345-438f-b0bd-03d40d28c7e0/resourceGroups/rg/providers/Microsoft.Solutions/applications/{name}"),
        "billingDetails": { "resourceUsageId": uuid::Uuid::from_u128(u128::from(number % APPLICATIONS) + 1) },
        "plan": { "publisher": "p", "product": "offer", "name": "metered", "version": "1.0.0" },
    })
    .to_string()
}

fn lead(number: u64) -> String {
    json!({
        "UserDetails": { "FirstName": "Some", "LastName": format!("One {number}"), "Email": format!("someone{number}@contoso{number}.com"),
            "Phone": "16175555555", "Country": "USA", "Company": "Contoso", "Title": "Esquire" },
        "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": "Test Microsoft", "Description": " ",
    })
    .to_string()
}

/// What one kind of arrival reaches beside raw inserts, on a server of its own: what came is worked on in the background,
/// and the work on one kind must not be measured with the other.
async fn pair(name: &str, lead_addresses: bool) -> String {
    let port = free_port();
    let simulator = simulator(port).await;
    let data = tempfile::tempdir().unwrap();
    let mut environment = settings(&simulator, port, data.path());
    environment.insert("MANAGED_APP_SECRETS".into(), SECRET.into());
    environment.insert("MANAGED_APPS_WITHOUT_ACCESS".into(), "*".into());
    let notifications = format!("http://127.0.0.1:{port}/marketplace/managed-app/resource?sig={SECRET}");
    let all = Arc::new(if lead_addresses { addresses(&environment) } else { vec![notifications] });
    let raw = tempfile::tempdir().unwrap();
    let rows = Arc::new(EmbeddedRows::new(Database::open(raw.path()).unwrap()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let _server = product(&environment);
    until_live(&http, port, Instant::now()).await;
    let counter = Arc::new(AtomicU64::new(0));
    let (mut floors, mut reached) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let store = Arc::clone(&rows);
        let insert = move |number: u64| {
            let rows = Arc::clone(&store);
            async move {
                let write = Write::Insert { key: format!("{number:016}"), body: lead(number) };
                rows.write(Table("Raw"), &(number % 16).to_string(), vec![write]).await.is_ok()
            }
        };
        floors.push(load(&counter, insert).await);
        let (http, all) = (http.clone(), Arc::clone(&all));
        let send = move |number: u64| {
            let url = all[usize::try_from(number).unwrap() % all.len()].clone();
            let body = if lead_addresses { lead(number) } else { notification(number) };
            let request = http.post(url).header("content-type", "application/json").body(body);
            async move { request.send().await.is_ok_and(|answer| answer.status() == 200) }
        };
        reached.push(load(&counter, send).await);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let of = |all: &[Measured], what: fn(&Measured) -> f64| median(all.iter().map(what));
    let (floor, rate) = (of(&floors, |one| one.per_second), of(&reached, |one| one.per_second));
    let failed: u64 = reached.iter().map(|one| one.failed).sum();
    format!(
        "| {name} | {floor:.0}/s | {rate:.0}/s | {:.2} ms | {:.2} | {failed} |",
        of(&reached, |one| one.p99),
        rate / floor
    )
}

pub async fn measure() {
    let (notifications, leads) = (pair("notifications", false).await, pair("leads", true).await);
    println!(
        "\n| taken, c={CONNECTIONS} | raw durable inserts | reached | p99 | ratio | failed |\n|---|---|---|---|---|---|"
    );
    println!("{notifications}\n{leads}");
    burst(&reqwest::Client::builder().no_proxy().build().unwrap()).await;
}

/// Ten thousand leads as fast as one offer's address takes them, while every system of sales answers 429.
async fn burst(http: &reqwest::Client) {
    let port = free_port();
    let simulator = simulator(port).await;
    simulator.faults().crm_fail_next(u32::MAX, 429, None, Some("30"));
    let data = tempfile::tempdir().unwrap();
    let mut environment = settings(&simulator, port, data.path());
    let crm = simulator.crm_config();
    let file = data.path().join("destinations.json");
    std::fs::write(&file, crm.demo().to_string()).unwrap();
    environment.insert("LEAD_DESTINATIONS_FILE".into(), file.to_string_lossy().into_owned());
    environment.insert("LEAD_KEYS".into(), crm.keys());
    let address = addresses(&environment).remove(0);
    let _server = product(&environment);
    until_live(http, port, Instant::now()).await;
    let (counter, turned_away) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (http, address) = (http.clone(), address.clone());
            let (counter, turned_away) = (Arc::clone(&counter), Arc::clone(&turned_away));
            tokio::spawn(async move {
                loop {
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    if number >= BURST {
                        return;
                    }
                    loop {
                        let sent = http.post(&address).body(lead(number)).send().await.unwrap();
                        match sent.status().as_u16() {
                            200 => break,
                            429 => {
                                turned_away.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(Duration::from_millis(100)).await;
                            }
                            other => panic!("a lead was answered {other}"),
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let taken = started.elapsed().as_secs_f64();
    let mut seen = 0;
    while seen < BURST && started.elapsed() < Duration::from_secs(300) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seen = listed(http, port).await;
    }
    println!(
        "\n{BURST} leads while the CRM answers 429: taken in {taken:.1} s ({} told to come again), all {seen} in the list after {:.0} s",
        turned_away.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
}

/// Leads that are worked on.
async fn listed(http: &reqwest::Client, port: u16) -> u64 {
    let (mut count, mut page) = (0, String::new());
    loop {
        let url = format!("http://127.0.0.1:{port}/api/leads?page={page}");
        let answer: Value = http.get(url).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
        count += answer["leads"].as_array().unwrap().len() as u64;
        match answer["next"].as_str() {
            Some(next) => page = next.replace('/', "%2F"),
            None => return count,
        }
    }
}
