//! `cargo bench`: start, memory, package size, and the webhook beside a bare handler. Everything is measured in one run,
//! pairs in turn, on loopback. The last lines are a Markdown table for the docs.
//!
//! `cargo bench -- webhook`, `cargo bench -- usage`, `cargo bench -- arrivals`, `cargo bench -- jobs` and `cargo bench -- ai` measure one part only (`gigabyte` the last part of jobs); `ai 1` makes the AI API's
//! rounds one second long. `cargo bench -- ai-soak` is ten minutes of load on the AI API, and in no other run.
//!
//! `cargo bench -- bare PORT JWKS_URL KID` is the bare handler itself: warp, and nothing but the check of the same token.
//! `cargo bench -- close RECORDS SUBSCRIPTIONS` is the process that closes an hour; it finds its settings in the
//! environment. `cargo bench -- lead-addresses` makes addresses for leads, `cargo bench -- ai-bare PORT UPSTREAM_PORT` is the bare proxy, `cargo bench -- ai-keys SUBSCRIPTION...`
//! the process that makes keys.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measuring tool"
)]

mod ai;
mod arrivals;
mod jobs;
mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mediagenie::simulator::{Person, PurchaseOptions, Simulator};
use serde_json::{Value, json};
use uuid::Uuid;
use warp::Filter as _;

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
const SUBSCRIPTIONS: usize = 200;
/// Of the AI API, where seven subjects are measured at three loads.
const AI_ROUND: Duration = Duration::from_secs(4);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if !matches!(
        arguments.first().map(String::as_str),
        Some("ai-bare" | "ai-keys" | "bare" | "close" | "lead-addresses")
    ) {
        ai::with_open_files();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare", port, jwks, kid] => runtime.block_on(bare(port.parse().unwrap(), jwks, kid)),
        ["close", records, subscriptions] => {
            runtime.block_on(usage::close(records.parse().unwrap(), subscriptions.parse().unwrap()))
        }
        ["ai-bare", port, upstream] => runtime.block_on(ai::be_bare(port.parse().unwrap(), upstream.parse().unwrap())),
        ["ai-keys", subscriptions @ ..] => runtime.block_on(ai::make_keys(subscriptions)),
        ["ai"] => runtime.block_on(ai::measure(AI_ROUND)),
        ["ai", seconds] => runtime.block_on(ai::measure(Duration::from_secs_f64(seconds.parse().unwrap()))),
        ["ai-soak"] => runtime.block_on(ai::soak()),
        ["arrivals"] => runtime.block_on(arrivals::measure()),
        ["lead-addresses"] => runtime.block_on(arrivals::make_addresses()),
        ["jobs"] => runtime.block_on(jobs::measure()),
        ["gigabyte"] => runtime.block_on(jobs::gigabyte()),
        ["usage"] => runtime.block_on(usage::measure()),
        ["webhook"] => runtime.block_on(measure()),
        _ => runtime.block_on(async {
            measure().await;
            usage::measure().await;
            arrivals::measure().await;
            jobs::measure().await;
            ai::measure(AI_ROUND).await;
        }),
    }
}

/// The floor: the same server library, the same signature check, no state, no routing, no log.
async fn bare(port: u16, jwks: &str, kid: &str) {
    let set: jsonwebtoken::jwk::JwkSet = reqwest::get(jwks).await.unwrap().json().await.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(set.find(kid).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_aud = false;
    let state = Arc::new((key, validation));
    let route = warp::post().and(warp::header::<String>("authorization")).and(warp::body::bytes()).map(
        move |token: String, _body: bytes::Bytes| {
            let token = token.trim_start_matches("Bearer ");
            let fine = jsonwebtoken::decode::<Value>(token, &state.0, &state.1).is_ok();
            warp::reply::with_status(
                "{}",
                if fine { warp::http::StatusCode::OK } else { warp::http::StatusCode::UNAUTHORIZED },
            )
        },
    );
    warp::serve(route).run(([127, 0, 0, 1], port)).await;
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn product(settings: &HashMap<String, String>) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_mediagenie"))
        .arg("serve")
        .env_clear()
        .envs(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn();
    Process(child.unwrap())
}

fn settings(simulator: &Simulator, port: u16, folder: &Path) -> HashMap<String, String> {
    let config = simulator.config();
    [
        ("LISTEN_ADDRESS", format!("127.0.0.1:{port}")),
        ("PUBLIC_BASE_URL", format!("http://127.0.0.1:{port}")),
        ("DATA_DIR", folder.to_string_lossy().into_owned()),
        ("ENTRA_AUTHORITY", config.entra_authority),
        ("MARKETPLACE_TENANT_ID", config.tenant_id),
        ("MARKETPLACE_CLIENT_ID", config.client_id),
        ("MARKETPLACE_CLIENT_SECRET", config.client_secret),
        ("MARKETPLACE_API_URL", config.api_url),
        ("SIGN_IN_CLIENT_ID", config.sign_in_client_id),
        ("SIGN_IN_CLIENT_SECRET", config.sign_in_client_secret),
        ("LOG_FORMAT", "json".to_owned()),
        ("PUBLISHER_API_KEYS", format!("bench={}", usage::KEY)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Milliseconds until the first 200 on `/health/live`.
async fn until_live(http: &reqwest::Client, port: u16, started: Instant) -> f64 {
    while http.get(format!("http://127.0.0.1:{port}/health/live")).send().await.is_err() {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    started.elapsed().as_secs_f64() * 1000.0
}

/// Resident memory of a process in MiB.
fn memory(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

struct Result_ {
    per_second: f64,
    p50: f64,
    p99: f64,
    failed: u64,
}

/// Closed loop: each connection sends its next request when the last one was answered.
async fn load(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    subscriptions: &Arc<Vec<Uuid>>,
    counter: &Arc<AtomicU64>,
) -> Result_ {
    let until = Instant::now() + ROUND;
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (http, url, token, subscriptions, counter) = (http.clone(), url.to_owned(), format!("Bearer {token}"), Arc::clone(subscriptions), Arc::clone(counter));
            tokio::spawn(async move {
                let (mut times, mut failed) = (Vec::new(), 0);
                while Instant::now() < until {
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    let subscription = subscriptions[usize::try_from(number).unwrap() % subscriptions.len()];
                    let body = json!({"id": Uuid::from_u128(u128::from(number) + 1), "activityId": Uuid::nil(), "subscriptionId": subscription, "publisherId": "p",
                        "offerId": "mediagenie", "planId": "starter", "quantity": null, "timeStamp": "2026-01-01T00:00:00.0000000Z", "action": "Renew", "status": "Succeeded"});
                    let started = Instant::now();
                    let answer = http.post(&url).header("authorization", &token).header("content-type", "application/json").body(body.to_string()).send().await;
                    match answer {
                        Ok(answer) if answer.status() == 200 => drop(answer.bytes().await),
                        _ => failed += 1,
                    }
                    times.push(started.elapsed().as_secs_f64() * 1000.0);
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
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    Result_ { per_second: times.len() as f64 / ROUND.as_secs_f64(), p50: at(0.5), p99: at(0.99), failed }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure() {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let port = free_port();
    let simulator = usage::simulator(port).await;

    // Start and memory: ten starts on an empty folder.
    let mut starts = Vec::new();
    let mut idle = Vec::new();
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let process = product(&settings(&simulator, port, folder.path()));
        starts.push(until_live(&http, port, started).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        idle.push(memory(&process));
    }

    // The package, zipped as it is deployed.
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("app");
    assert!(
        Command::new(env!("CARGO_BIN_EXE_mediagenie"))
            .arg("package")
            .arg(&package)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let zip = folder.path().join("app.zip");
    let zipped = Command::new("zip")
        .current_dir(&package)
        .args(["-q", "-9", "-X", "-r"])
        .arg(&zip)
        .arg(".")
        .status()
        .is_ok_and(|status| status.success());
    let size = if zipped { Some(std::fs::metadata(&zip).unwrap().len() as f64 / 1e6) } else { None };

    // The webhook against the bare handler, in turn.
    let subscriptions: Vec<Uuid> = (0..SUBSCRIPTIONS)
        .map(|_| {
            let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
            simulator.purchase("mediagenie", "starter", None, &Person::contoso_buyer(), None, options).subscription_id
        })
        .collect();
    let (subscriptions, counter) = (Arc::new(subscriptions), Arc::new(AtomicU64::new(0)));
    let data = tempfile::tempdir().unwrap();
    let process = product(&settings(&simulator, port, data.path()));
    until_live(&http, port, Instant::now()).await;
    let bare_port = free_port();
    let config = simulator.config();
    let jwks = format!("{}/{}/discovery/v2.0/keys", config.entra_authority, config.tenant_id);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["bare", &bare_port.to_string(), &jwks, &simulator.key_id()])
        .spawn()
        .unwrap();
    let _bare = Process(child);
    while std::net::TcpStream::connect(("127.0.0.1", bare_port)).is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let token = simulator.webhook_token();
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    let mut settled_after = Vec::new();
    for _ in 0..ROUNDS {
        floor.push(load(&http, &format!("http://127.0.0.1:{bare_port}/"), &token, &subscriptions, &counter).await);
        ours.push(
            load(&http, &format!("http://127.0.0.1:{port}/marketplace/webhook"), &token, &subscriptions, &counter)
                .await,
        );
        // Each webhook also leads to a look at Microsoft's side; how long that lags behind is part of the truth.
        let started = Instant::now();
        loop {
            let ready: Value =
                http.get(format!("http://127.0.0.1:{port}/health/ready")).send().await.unwrap().json().await.unwrap();
            if ready["checks"]["queue"]["detail"]["waiting"] == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        settled_after.push(started.elapsed().as_secs_f64());
    }
    let busy = memory(&process);
    let rate = |results: &[Result_]| median(results.iter().map(|result| result.per_second));
    let p = |results: &[Result_], pick: fn(&Result_) -> f64| median(results.iter().map(pick));
    let failed: u64 = ours.iter().chain(&floor).map(|result| result.failed).sum();
    println!("\n| what | measured |\n|---|---|");
    println!(
        "| start to first 200 on `/health/live`, embedded store, median of 10 | {:.1} ms |",
        median(starts.into_iter())
    );
    println!("| idle memory, median of 10 | {:.1} MiB |", median(idle.into_iter()));
    println!("| packaged zip | {} |", size.map_or("zip is not installed".to_owned(), |size| format!("{size:.1} MB")));
    println!(
        "| bare warp handler, same token, c={CONNECTIONS} | {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms |",
        rate(&floor),
        p(&floor, |r| r.p50),
        p(&floor, |r| r.p99)
    );
    println!(
        "| webhook (`Renew`, new operation each), embedded store, c={CONNECTIONS} | {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms |",
        rate(&ours),
        p(&ours, |r| r.p50),
        p(&ours, |r| r.p99)
    );
    println!("| ratio | {:.2} |", rate(&ours) / rate(&floor));
    println!(
        "| background work done after the last webhook of a {} s round | {:.1} s |",
        ROUND.as_secs(),
        median(settled_after.into_iter())
    );
    println!("| memory after the load | {busy:.1} MiB |");
    println!("| requests that failed | {failed} |");
}
