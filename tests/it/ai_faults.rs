//! The AI API under killed processes, on several instances, and behind the Functions host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::outbound::patient_client;
use mediagenie::foundation::rng::{Random as _, SeededRandom};
use mediagenie::simulator::{Person, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::parity::{azure_settings, queues};
use crate::support::app::{ai_settings, embedded_settings, simulator};
use crate::support::azurite::{Azurite, free_port};
use crate::support::browser::{Browser, Page};
use crate::support::fake_host::FakeHost;
use crate::support::process::{Process, executable};

/// A subscription bought and activated through the pages.
pub async fn bought(simulator: &Simulator, address: &str) -> (Uuid, Browser) {
    let buyer = Person::contoso_buyer();
    let purchase = simulator.purchase("mediagenie", "metered", None, &buyer, None, Default::default());
    let browser = Browser::new(address).of(&buyer);
    let landing = browser.get(&purchase.landing_url).await;
    assert_eq!(browser.submit(&landing, "/marketplace/landing", &[]).await.status, 200);
    let deadline = Instant::now() + Duration::from_secs(60);
    let portal = format!("/portal/subscriptions/{}", purchase.subscription_id);
    while !browser.get(&portal).await.says("Active") {
        simulator.deliver_all().await;
        assert!(Instant::now() < deadline, "it does not become active");
    }
    (purchase.subscription_id, browser)
}

pub async fn key(browser: &Browser, id: Uuid) -> (String, Page) {
    let address = format!("/portal/subscriptions/{id}/keys");
    let page = browser.get(&address).await;
    let made = browser.submit(&page, &address, &[("name", "program"), ("expires", "90")]).await;
    let secret = made.body.split("mgk-").skip(1).find_map(|rest| {
        let rest: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        (rest.len() > 20).then(|| format!("mgk-{rest}"))
    });
    (secret.unwrap(), made)
}

/// The ledger as staff download it: the quantity of each record, which is there once.
pub async fn recorded(address: &str, id: Uuid) -> BTreeMap<String, u64> {
    let staff = Browser::new(address).of(&Person::staff_admin());
    let csv = staff.get(&format!("/publisher/usage/resources/{id}/records.csv")).await.body;
    let mut rows = csv::Reader::from_reader(csv.trim_start_matches('\u{feff}').as_bytes());
    let headers = rows.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (of_id, of_quantity) = (column("id"), column("quantity"));
    let mut found = BTreeMap::new();
    for row in rows.records() {
        let row = row.unwrap();
        let twice = found.insert(row[of_id].to_owned(), row[of_quantity].parse().unwrap());
        assert!(twice.is_none(), "{} is recorded twice", &row[of_id]);
    }
    found
}

/// The product packaged, under the Functions host, on Azure Storage, with the simulated AI services.
pub async fn hosted(simulator: &Simulator, folder: &TempDir, azurite: &Azurite) -> FakeHost {
    let package = folder.path().join("app");
    let packaged = std::process::Command::new(executable()).arg("package").arg(&package).output().unwrap();
    assert!(packaged.status.success());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    simulator.set_product_url(&address);
    let mut settings = azure_settings(simulator, &address, azurite);
    settings.extend(ai_settings(simulator, folder));
    FakeHost::start(&package, settings, queues(azurite), listener).await
}

/// Request id and tokens of each answer that arrived whole.
type Answers = Arc<Mutex<BTreeMap<String, u64>>>;

/// Calls, whole and streamed in turn, until the process is gone.
async fn chatter(address: String, key: String, answers: Answers) {
    let http = patient_client().unwrap();
    for number in 0.. {
        let streamed = number % 2 == 1;
        let body = json!({ "model": "chat", "stream": streamed, "stream_options": if streamed { json!({ "include_usage": true }) } else { Value::Null },
            "messages": [{ "role": "user", "content": "Say something of a few words, please" }] });
        let sent = http.post(format!("{address}/v1/chat/completions")).bearer_auth(&key).json(&body).send().await;
        let Ok(answer) = sent else { return };
        if answer.status() != 200 {
            continue;
        }
        let request = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let Ok(text) = answer.text().await else { return };
        let usage = if streamed {
            if !text.ends_with("data: [DONE]\n\n") {
                continue;
            }
            let chunks = text
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .filter_map(|data| serde_json::from_str::<Value>(data).ok());
            chunks.filter_map(|chunk| chunk["usage"]["total_tokens"].as_u64()).next_back()
        } else {
            serde_json::from_str::<Value>(&text).ok().and_then(|answer| answer["usage"]["total_tokens"].as_u64())
        };
        answers.lock().unwrap().insert(request, usage.unwrap());
    }
}

/// Kills in CI; `AI_KILLS=1000` for the full measure.
fn kills() -> usize {
    std::env::var("AI_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_at_most_the_calls_under_way_and_records_nothing_twice() {
    const CALLERS: usize = 4;
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 41).await;
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = embedded_settings(&simulator, &address, &folder);
    settings.extend(ai_settings(&simulator, &folder));
    let mut process = Process::serve(&settings, port);
    let (id, browser) = bought(&simulator, &address).await;
    let (key, _) = key(&browser, id).await;
    let answers = Answers::default();
    let random = SeededRandom::new(4);
    let rounds = kills();
    for _ in 0..rounds {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(chatter(address.clone(), key.clone(), Arc::clone(&answers)))).collect();
        let mut byte = [0; 2];
        random.fill(&mut byte);
        tokio::time::sleep(Duration::from_micros(2_000 + u64::from(u16::from_le_bytes(byte)))).await;
        process.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        process = Process::serve(&settings, port);
    }
    let mut ledger: BTreeMap<String, u64> = BTreeMap::new();
    for (record, quantity) in recorded(&address, id).await {
        let (request, _) = record.rsplit_once(':').unwrap();
        *ledger.entry(request.to_owned()).or_default() += quantity;
    }
    let answers = answers.lock().unwrap().clone();
    for (request, tokens) in &answers {
        assert_eq!(ledger.get(request), Some(tokens), "{request} was answered whole");
    }
    let finished: Vec<u64> = simulator
        .ai_calls()
        .iter()
        .filter(|call| call.finished)
        .map(|call| call.prompt_tokens + call.completion_tokens)
        .collect();
    let (recorded, done) = (ledger.values().sum::<u64>(), finished.iter().sum::<u64>());
    eprintln!(
        "{rounds} kills: {} calls finished upstream, {} recorded, {} answered whole; {done} and {recorded} tokens",
        finished.len(),
        ledger.len(),
        answers.len()
    );
    // On a busy machine few answers come between two kills; without any, nothing would be proven.
    assert!(answers.len() >= rounds / 10, "{} answers", answers.len());
    assert!(recorded <= done);
    assert!(finished.len() - ledger.len() <= rounds * CALLERS, "only calls under way at a kill may be missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_on_one_instance_is_refused_by_another_within_five_seconds() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 42).await;
    let folder = TempDir::new().unwrap();
    let ports = [free_port(), free_port()];
    let addresses = ports.map(|port| format!("http://127.0.0.1:{port}"));
    simulator.set_product_url(&addresses[0]);
    let instances: Vec<Process> = (0..2)
        .map(|index| {
            let mut settings = azure_settings(&simulator, &addresses[index], &azurite);
            settings.extend(ai_settings(&simulator, &folder));
            settings.insert("LOG_LEVEL".into(), "error".into());
            Process::serve(&settings, ports[index])
        })
        .collect();
    let (id, browser) = bought(&simulator, &addresses[0]).await;
    let (secret, page) = key(&browser, id).await;
    let http = patient_client().unwrap();
    let other = async || {
        let body = json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hi" }] });
        let sent = http.post(format!("{}/v1/chat/completions", addresses[1])).bearer_auth(&secret).json(&body);
        sent.send().await.unwrap().status().as_u16()
    };
    assert_eq!(other().await, 200);
    let prefix = &secret[4..16];
    let revoke = format!("/portal/subscriptions/{id}/keys/{prefix}/revoke");
    assert_eq!(browser.submit(&page, &revoke, &[("confirm", "yes")]).await.status, 200);
    let revoked = Instant::now();
    while other().await != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(5), "it is still let in");
    }
    eprintln!("refused by the other instance after {} ms", revoked.elapsed().as_millis());
    drop(instances);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_the_packaged_handler_arrives_event_by_event() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 43).await;
    let folder = TempDir::new().unwrap();
    let host = hosted(&simulator, &folder, &azurite).await;
    let (id, browser) = bought(&simulator, &host.address).await;
    let (secret, _) = key(&browser, id).await;
    let chunk_delay = Duration::from_millis(80);
    simulator.faults().ai_chunk_delay(chunk_delay);
    let body = json!({ "model": "chat", "stream": true, "messages": [{ "role": "user", "content": "One word after the other, please" }] });
    let sent = patient_client()
        .unwrap()
        .post(format!("{}/v1/chat/completions", host.address))
        .bearer_auth(&secret)
        .json(&body);
    let mut stream = sent.send().await.unwrap().bytes_stream();
    let (mut arrivals, mut text) = (Vec::new(), String::new());
    while let Some(piece) = stream.next().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        arrivals.push(Instant::now());
    }
    let events = text.matches("data: ").count();
    assert!(text.ends_with("data: [DONE]\n\n") && events > 5, "{text}");
    // Had anybody on the way waited for the rest, the pieces would have come in a heap.
    let apart = arrivals.windows(2).filter(|pair| pair[1] - pair[0] > chunk_delay / 4).count();
    assert!(apart + 3 >= events - 2, "{apart} of {events} came apart");
    assert_eq!(host.offences(), Vec::<String>::new());
}
