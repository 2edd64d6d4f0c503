//! Media jobs under killed processes, on two instances, and behind the Functions host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::outbound::patient_client;
use mediagenie::foundation::rng::{Random as _, SeededRandom, SystemRandom};
use mediagenie::queue::Queues as _;
use mediagenie::store::{AzureRows, RowStore as _, Table, Write};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::ai_faults::{bought, hosted, key, recorded};
use crate::ai_media::png;
use crate::parity::{account, azure_settings, queues};
use crate::support::ai::Program;
use crate::support::app::{ai_settings, embedded_settings, simulator};
use crate::support::azurite::{Azurite, free_port};
use crate::support::process::Process;

/// Kills in CI; `MEDIA_KILLS=200` for the full measure.
fn kills(usual: usize) -> usize {
    std::env::var("MEDIA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn program(address: &str, secret: String) -> Program {
    let prefix = secret[4..16].to_owned();
    Program { http: patient_client().unwrap(), address: address.to_owned(), key: secret, prefix }
}

/// Sends until it is answered; the process may be gone meanwhile.
async fn insist(request: impl Fn() -> reqwest::RequestBuilder) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "nobody answers");
        if let Ok(answer) = request().send().await
            && answer.status().is_success()
            && let Ok(body) = answer.json().await
        {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn upload(program: &Program) -> String {
    let send = || {
        let part = reqwest::multipart::Part::bytes(png(60, 60)).file_name("a.png");
        let form = reqwest::multipart::Form::new().part("file", part);
        program.http.post(format!("{}/v1/files", program.address)).bearer_auth(&program.key).multipart(form)
    };
    insist(send).await["id"].as_str().unwrap().to_owned()
}

/// Submits job `number`: images, or every third time a text.
async fn submit(program: &Program, file: &str, number: usize) -> String {
    let body = if number % 3 == 2 {
        json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "text": "Ten letters" } })
    } else {
        json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); 5] } })
    };
    let send = || {
        let request = program.http.post(format!("{}/v1/media/jobs", program.address)).bearer_auth(&program.key);
        request.header("idempotency-key", format!("job {number}")).json(&body)
    };
    insist(send).await["id"].as_str().unwrap().to_owned()
}

/// Waits until all jobs are over; each must have succeeded.
async fn all_over(program: &Program, jobs: &BTreeSet<String>, patience: Duration) {
    let deadline = Instant::now() + patience;
    for job in jobs {
        loop {
            let address = format!("{}/v1/media/jobs/{job}", program.address);
            let seen = insist(|| program.http.get(&address).bearer_auth(&program.key)).await;
            match seen["status"].as_str().unwrap() {
                "queued" | "running" => {
                    assert!(Instant::now() < deadline, "it does not end: {seen}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                "succeeded" => break,
                _ => panic!("{seen}"),
            }
        }
    }
}

/// Exactly what the jobs delivered is recorded.
async fn sums_are_right(program: &Program, id: Uuid, jobs: &BTreeSet<String>) {
    let ledger = recorded(&program.address, id).await;
    let of = |part: &str| ledger.iter().filter(|(name, _)| name.ends_with(part)).map(|(_, amount)| amount).sum::<u64>();
    let spoken = (0..jobs.len()).filter(|number| number % 3 == 2).count() as u64;
    let images = jobs.len() as u64 - spoken;
    assert_eq!((of(":transactions"), of(":characters")), (images * 5, spoken * 11));
    let named = |record: &str| jobs.iter().any(|job| record.starts_with(job.as_str()));
    assert!(ledger.keys().all(|record| named(record)), "nothing else is recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_ends_every_job_and_bills_each_item_once() {
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 51).await;
    let (folder, port) = (TempDir::new().unwrap(), free_port());
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = embedded_settings(&simulator, &address, &folder);
    settings.extend(ai_settings(&simulator, &folder));
    let mut process = Process::serve(&settings, port);
    let (id, browser) = bought(&simulator, &address).await;
    let program = Arc::new(program(&address, key(&browser, id).await.0));
    let file = upload(&program).await;
    let random = SeededRandom::new(5);
    let (rounds, mut jobs) = (kills(25), BTreeSet::new());
    for round in 0..rounds {
        let load: Vec<_> = (0..8)
            .map(|index| {
                let (program, file) = (Arc::clone(&program), file.clone());
                tokio::spawn(async move { submit(&program, &file, round * 8 + index).await })
            })
            .collect();
        let mut bytes = [0; 2];
        random.fill(&mut bytes);
        tokio::time::sleep(Duration::from_micros(2_000 + 4 * u64::from(u16::from_le_bytes(bytes)))).await;
        process.kill();
        process = Process::serve(&settings, port);
        for submitted in load {
            jobs.insert(submitted.await.unwrap());
        }
    }
    assert_eq!(jobs.len(), rounds * 8, "a repeated request is the same job");
    // A message that dies five times lets its job wait.
    all_over(&program, &jobs, Duration::from_secs(120 + 5 * rounds as u64)).await;
    sums_are_right(&program, id, &jobs).await;
    eprintln!("{rounds} kills, {} jobs, {} calls upstream", jobs.len(), simulator.ai_calls().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_on_azure_storage_of_which_one_dies_again_and_again_end_every_job() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 52).await;
    let (folder, ports) = (TempDir::new().unwrap(), [free_port(), free_port()]);
    let addresses = ports.map(|port| format!("http://127.0.0.1:{port}"));
    simulator.set_product_url(&addresses[0]);
    let settings: Vec<_> = addresses
        .iter()
        .map(|address| {
            let mut settings = azure_settings(&simulator, address, &azurite);
            settings.extend(ai_settings(&simulator, &folder));
            settings.insert("LOG_LEVEL".into(), "error".into());
            settings
        })
        .collect();
    let _first = Process::serve(&settings[0], ports[0]);
    let mut second = Process::serve(&settings[1], ports[1]);
    let (id, browser) = bought(&simulator, &addresses[0]).await;
    let program = program(&addresses[0], key(&browser, id).await.0);
    let file = upload(&program).await;
    let (rounds, mut jobs) = (kills(4), BTreeSet::new());
    // Slow enough that something is under way at each kill.
    simulator.faults().ai_delay(Duration::from_millis(150));
    for round in 0..rounds {
        for index in 0..6 {
            jobs.insert(submit(&program, &file, round * 6 + index).await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.kill();
        second = Process::serve(&settings[1], ports[1]);
    }
    // A turn ends a minute and a half after its holder, its message comes again before that.
    all_over(&program, &jobs, Duration::from_secs(300)).await;
    sums_are_right(&program, id, &jobs).await;
    eprintln!("{rounds} kills, {} jobs, {} calls upstream", jobs.len(), simulator.ai_calls().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_host_drives_jobs_on_azure_storage_and_their_poison_ends_them() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 53).await;
    let folder = TempDir::new().unwrap();
    let host = hosted(&simulator, &folder, &azurite).await;
    let (id, browser) = bought(&simulator, &host.address).await;
    let program = program(&host.address, key(&browser, id).await.0);
    let file = upload(&program).await;
    let jobs: BTreeSet<String> = futures_util::future::join_all((0..6).map(|number| submit(&program, &file, number)))
        .await
        .into_iter()
        .collect();
    all_over(&program, &jobs, Duration::from_secs(60)).await;
    sums_are_right(&program, id, &jobs).await;
    // A job that can not be worked on: its item is unreadable. What it holds is written before its message comes.
    let rows = AzureRows::new(&account(&azurite), Arc::new(SystemRandom));
    simulator.faults().ai_delay(Duration::from_millis(400));
    let sick = submit(&program, &file, 9).await;
    let broken = Write::Upsert { key: "000003".into(), body: "{}".into() };
    rows.write(Table("MediaItems"), &sick, vec![broken]).await.unwrap();
    let queue = queues(&azurite);
    let seen = async || {
        let address = format!("{}/v1/media/jobs/{sick}", program.address);
        insist(|| program.http.get(&address).bearer_auth(&program.key)).await
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let message = json!({ "subscription": id, "job": sick }).to_string();
    while seen().await["status"] != "failed" {
        // The host moves the message after five tries; the job is set back and waits, which nobody has time for here.
        queue.send("media-jobs", &message, Duration::ZERO).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(Instant::now() < deadline, "{}", seen().await);
    }
    assert_eq!(seen().await["error"]["code"], "given_up");
    assert_eq!(host.offences(), Vec::<String>::new());
}
