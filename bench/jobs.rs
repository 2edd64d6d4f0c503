//! Media jobs: how many are worked off in a second beside a bare queue, how a job of ten thousand items grows, and the
//! memory of a gigabyte that is uploaded and transcribed. The services answer at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use mediagenie::foundation::clock::SystemClock;
use mediagenie::queue::{EmbeddedQueues, Queues as _};
use mediagenie::simulator::{Action, Simulator};
use mediagenie::store::Database;
use serde_json::{Value, json};
use tempfile::TempDir;
use warp::Filter as _;

use super::ai::{PLENTY, made_keys};
use super::{Process, ROUNDS, free_port, median, product, settings, until_live, usage};

/// One-item jobs of a round.
const JOBS: usize = 3_000;
const CONNECTIONS: usize = 32;
/// Messages on their way at the same time in the bare loop, as many as the poller of `serve` works on.
const PARALLEL: usize = 16;
const GIGABYTE: usize = 1 << 30;
const PIECE: usize = 1 << 20;

/// An image service that looks at nothing.
async fn eyes() -> u16 {
    let answer = json!({ "modelVersion": "bench", "metadata": { "width": 64, "height": 64 },
        "tagsResult": { "values": [{ "name": "bench", "confidence": 0.5 }] } });
    let route = warp::post().and(warp::body::bytes()).map(move |_: Bytes| warp::reply::json(&answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(warp::serve(route).incoming(listener).run());
    port
}

struct Field {
    http: reqwest::Client,
    address: String,
    key: String,
    process: Process,
    _simulator: Simulator,
    _folder: TempDir,
}

impl Field {
    async fn start() -> Self {
        let port = free_port();
        let simulator = usage::simulator(port).await;
        let subscription = usage::buy(&simulator);
        let folder = tempfile::tempdir().unwrap();
        let mut environment: HashMap<String, String> = settings(&simulator, port, folder.path());
        let file = folder.path().join("deployments.json");
        let mut deployments = simulator.ai_config().deployments();
        deployments["limits"]["default"] =
            json!({ "requests_per_minute": PLENTY, "tokens_per_minute": PLENTY, "parallel": PLENTY });
        for entry in deployments["deployments"].as_array_mut().unwrap() {
            if entry["model"] == "vision" {
                entry["endpoint"] = format!("http://127.0.0.1:{}", eyes().await).into();
            }
        }
        std::fs::write(&file, deployments.to_string()).unwrap();
        let ai = simulator.ai_config();
        environment.extend(
            [
                ("AI_DEPLOYMENTS_FILE", file.to_string_lossy().into_owned()),
                ("AZURE_OPENAI_KEY", ai.api_key),
                ("AZURE_SPEECH_KEY", ai.speech_key),
                ("AZURE_VISION_KEY", ai.vision_key),
                ("MEDIA_FILE_MIB", "2048".to_owned()),
                ("LOG_LEVEL", "warn".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let key = made_keys(&environment, &[subscription]).await.remove(0);
        let process = product(&environment);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        until_live(&http, port, Instant::now()).await;
        simulator.act(subscription, Action::Renew).unwrap();
        let address = format!("http://127.0.0.1:{port}/v1");
        Self { http, address, key, process, _simulator: simulator, _folder: folder }
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}/{path}", self.address)).bearer_auth(&self.key);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn upload(&self, part: reqwest::multipart::Part) -> String {
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self.http.post(format!("{}/files", self.address)).bearer_auth(&self.key).multipart(form);
        let file: Value = request.send().await.unwrap().json().await.unwrap();
        file["id"].as_str().unwrap_or_else(|| panic!("{file}")).to_owned()
    }

    async fn submit(&self, body: &Value) -> String {
        let request = self.http.post(format!("{}/media/jobs", self.address)).bearer_auth(&self.key).json(body);
        let job: Value = request.send().await.unwrap().json().await.unwrap();
        job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
    }

    /// The job, when it is over; and how long each question for it took, in milliseconds.
    async fn over(&self, job: &str) -> (Value, Vec<f64>) {
        let mut times = Vec::new();
        loop {
            let asked = Instant::now();
            let seen = self.get(&format!("media/jobs/{job}")).await;
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
            if !matches!(seen["status"].as_str(), Some("queued" | "running")) {
                assert_eq!(seen["status"], "succeeded", "{seen}");
                return (seen, times);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The highest memory so far, in MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

fn image() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let red = image::RgbImage::from_pixel(64, 64, image::Rgb([200, 10, 10]));
    red.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn images(file: &str, count: usize) -> Value {
    let items = vec![json!({ "file_id": file }); count];
    json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": items } })
}

/// Messages that are sent, received and deleted in a second, and nothing else.
async fn bare() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let queues = Arc::new(EmbeddedQueues::open(database, Arc::new(SystemClock)).await.unwrap());
    let (left, started) = (Arc::new(AtomicUsize::new(JOBS * 4)), Instant::now());
    let workers: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let (queues, left) = (Arc::clone(&queues), Arc::clone(&left));
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let text = r#"{"subscription":"00000000-0000-0000-0000-000000000000","job":"job_00000000000000000000000000000000"}"#;
                    queues.send("bare", text, Duration::ZERO).await.unwrap();
                    for message in queues.receive("bare", 1, Duration::from_secs(30)).await.unwrap() {
                        queues.delete("bare", &message).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (JOBS * 4) as f64 / started.elapsed().as_secs_f64()
}

/// One-item jobs in a second: from the first that is submitted to the last that is over.
async fn small(field: &Arc<Field>, file: &str) -> f64 {
    let (started, body) = (Instant::now(), Arc::new(images(file, 1)));
    let jobs: Vec<String> = stream::iter(0..JOBS)
        .map(|_| {
            let (field, body) = (Arc::clone(field), Arc::clone(&body));
            async move { field.submit(&body).await }
        })
        .buffer_unordered(CONNECTIONS)
        .collect()
        .await;
    for job in &jobs {
        field.over(job).await;
    }
    JOBS as f64 / started.elapsed().as_secs_f64()
}

pub async fn measure() {
    let field = Arc::new(Field::start().await);
    let file = field.upload(reqwest::multipart::Part::bytes(image()).file_name("a.png")).await;
    let (mut floors, mut rates) = (Vec::new(), Vec::new());
    small(&field, &file).await;
    for _ in 0..ROUNDS {
        floors.push(bare().await);
        rates.push(small(&field, &file).await);
    }
    let (floor, rate) = (median(floors.into_iter()), median(rates.into_iter()));
    println!(
        "\n| one-item jobs, submitted by {CONNECTIONS} connections | bare queue | jobs | ratio |\n|---|---|---|---|"
    );
    println!("| send, work, done | {floor:.0}/s | {rate:.0}/s | {:.2} |", rate / floor);
    println!("\n| items of one job | seconds | items/s | progress, p50 | p99 |\n|---|---|---|---|---|");
    for count in [100, 1_000, 10_000] {
        let (body, started) = (images(&file, count), Instant::now());
        let job = field.submit(&body).await;
        let (_, mut times) = field.over(&job).await;
        let seconds = started.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
        println!("| {count} | {seconds:.1} | {:.0} | {:.1} ms | {:.1} ms |", count as f64 / seconds, at(0.5), at(0.99));
    }
    println!("\nmemory at its highest: {:.0} MiB", field.peak());
    drop(field);
    gigabyte().await;
}

/// A recording of nearly ten hours: its head, and silence.
pub async fn gigabyte() {
    let field = Field::start().await;
    let before = field.peak();
    let mut head = b"RIFF\xff\xff\xff\x3fWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    head.extend_from_slice(&16_000_u32.to_le_bytes());
    head.extend_from_slice(&32_000_u32.to_le_bytes());
    head.extend_from_slice(b"\x02\0\x10\0data");
    head.extend_from_slice(&u32::try_from(GIGABYTE - 44).unwrap().to_le_bytes());
    let silence = Bytes::from(vec![0; PIECE]);
    let rest = (GIGABYTE - head.len()) / PIECE;
    let pieces = stream::iter(std::iter::once(Bytes::from(head)).chain(std::iter::repeat_n(silence, rest)));
    let body = reqwest::Body::wrap_stream(pieces.map(Ok::<_, std::io::Error>));
    let started = Instant::now();
    let file = field.upload(reqwest::multipart::Part::stream(body).file_name("day.wav")).await;
    let (uploaded, loaded) = (started.elapsed().as_secs_f64(), field.peak());
    let job = json!({ "kind": "transcription", "model": "transcribe", "options": { "response_format": "text" }, "input": { "items": [{ "file_id": file }] } });
    let started = Instant::now();
    let job = field.submit(&job).await;
    field.over(&job).await;
    println!("\n| a gigabyte of audio | seconds | memory at its highest |\n|---|---|---|");
    println!("| before it | | {before:.0} MiB |\n| uploaded | {uploaded:.1} | {loaded:.0} MiB |");
    println!(
        "| transcribed, by a simulated service that takes 5 s | {:.1} | {:.0} MiB |",
        started.elapsed().as_secs_f64(),
        field.peak()
    );
}
