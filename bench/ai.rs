//! The AI API beside the way without it, a bare reverse proxy and other gateways: chats in closed and open loops, streams
//! piece by piece, memory of open streams, and at the end the ledger against the service's own book.

mod load;
mod streams;
mod subjects;
mod upstream;

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use load::{Measured, Subject, closed, open};
use streams::{Memory, Pieces};
use subjects::Ours;
use upstream::Upstream;

pub use subjects::{PLENTY, be_bare, made_keys, make_keys};

use super::{ROUNDS, median};

const CALLERS: [usize; 3] = [1, 16, 64];
/// Streams open at the same time, for the time of their pieces and for the memory.
const STREAMS: u32 = 200;
const MANY_STREAMS: u32 = 2_000;
/// Subscriptions of the second MediaGenie: many customers instead of a single one.
const SUBSCRIPTIONS: usize = 16;
const ONE: &str = "MediaGenie";
const SEVERAL: &str = "MediaGenie, 16 subscriptions";
const SOAK: Duration = Duration::from_secs(600);
/// Open files that 2,000 streams need, at both of their ends, with room.
const FILES: u64 = 16_384;

/// Starts this program again with room for many connections, where it has too little.
pub fn with_open_files() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).and_then(|number| number.parse::<u64>().ok());
    if soft.is_none_or(|soft| soft >= FILES) || std::env::var_os("BENCH_FILES").is_some() {
        return;
    }
    let error = Command::new("sh")
        .args(["-c", &format!("ulimit -n {FILES} || ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env("BENCH_FILES", "raised")
        .exec();
    panic!("not started again: {error}");
}

struct Field {
    upstream: Upstream,
    http: reqwest::Client,
    subjects: Vec<Arc<Subject>>,
    ours: Vec<(Ours, &'static str)>,
    _folder: tempfile::TempDir,
}

async fn field(peers: bool) -> Field {
    let upstream = Upstream::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut ours = vec![(subjects::ours(&http, &upstream, ONE, "one", 1).await, "one")];
    let mut subjects = vec![Arc::new(subjects::direct(&upstream)), Arc::new(subjects::bare(&upstream).await)];
    if peers {
        ours.push((subjects::ours(&http, &upstream, SEVERAL, "several", SUBSCRIPTIONS).await, "several"));
    }
    subjects.extend(ours.iter().map(|(ours, _)| Arc::clone(&ours.subject)));
    if peers {
        subjects.extend(subjects::peers(&upstream, folder.path()).await.into_iter().map(Arc::new));
    }
    Field { upstream, http, subjects, ours, _folder: folder }
}

/// The median of each figure; failures add up.
fn medians(rounds: &[Measured]) -> Measured {
    let of = |pick: fn(&Measured) -> f64| median(rounds.iter().map(pick));
    Measured {
        per_second: of(|round| round.per_second),
        p50: of(|round| round.p50),
        p99: of(|round| round.p99),
        failed: rounds.iter().map(|round| round.failed).sum(),
        cpu: rounds[0].cpu.map(|_| median(rounds.iter().filter_map(|round| round.cpu))),
    }
}

fn memory_of(subject: &Subject) -> String {
    subject.memory().map_or_else(|| "-".to_owned(), |memory| format!("{memory:.0} MiB"))
}

/// Prints a table of chats; the first two subjects are the way without a gateway and the bare proxy.
fn print_chats(title: &str, subjects: &[Arc<Subject>], results: &[Measured]) {
    println!(
        "\n| {title} | requests/s | of direct | of the bare proxy | p50 ms | p99 ms | added p50 | added p99 | CPU µs per chat | memory | failed |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let (direct, bare) = (results[0], results[1]);
    for (subject, result) in subjects.iter().zip(results) {
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:+.2} | {:+.2} | {} | {} | {} |",
            subject.name,
            result.per_second,
            result.per_second / direct.per_second,
            result.per_second / bare.per_second,
            result.p50,
            result.p99,
            result.p50 - direct.p50,
            result.p99 - direct.p99,
            result.cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}")),
            memory_of(subject),
            result.failed
        );
    }
}

pub async fn measure(round: Duration) {
    let field = field(true).await;
    let mut at_sixteen: HashMap<&str, f64> = HashMap::new();
    for callers in CALLERS {
        let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); field.subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, rounds) in field.subjects.iter().zip(&mut rounds) {
                rounds.push(closed(subject, callers, round).await);
            }
        }
        let results: Vec<Measured> = rounds.iter().map(|rounds| medians(rounds)).collect();
        print_chats(&format!("chats of 1 kB, closed loop, c={callers}"), &field.subjects, &results);
        if callers == 16 {
            at_sixteen = field
                .subjects
                .iter()
                .map(|subject| subject.name)
                .zip(results.iter().map(|result| result.per_second))
                .collect();
        }
    }

    let fast: Vec<Arc<Subject>> = field.subjects.iter().filter(|subject| subject.fast).cloned().collect();
    let weakest = fast.iter().filter_map(|subject| at_sixteen.get(subject.name)).copied().fold(f64::INFINITY, f64::min);
    let rate = (weakest / 2.0 / 100.0).floor().max(1.0) * 100.0;
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); fast.len()];
    for _ in 0..ROUNDS {
        for (subject, rounds) in fast.iter().zip(&mut rounds) {
            rounds.push(open(subject, rate, round).await);
        }
    }
    let results: Vec<Measured> = rounds.iter().map(|rounds| medians(rounds)).collect();
    print_chats(&format!("chats of 1 kB, open loop, {rate:.0}/s"), &fast, &results);

    streams(&fast, round).await;
    memory(&fast).await;
    settle(&field).await;
}

async fn streams(subjects: &[Arc<Subject>], round: Duration) {
    let count = u64::try_from(round.as_millis() / 50).unwrap().max(10);
    let mut rounds: Vec<Vec<Pieces>> = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            rounds.push(streams::pieces(subject, STREAMS, count).await);
        }
    }
    println!(
        "\n| {STREAMS} streams, a piece every 50 ms in each | pieces | p50 ms | p99 ms | added p50 | added p99 | failed |\n|---|---|---|---|---|---|---|"
    );
    let mut direct = None;
    for (subject, rounds) in subjects.iter().zip(&rounds) {
        let p50 = median(rounds.iter().map(|round| round.p50));
        let p99 = median(rounds.iter().map(|round| round.p99));
        let (direct50, direct99) = *direct.get_or_insert((p50, p99));
        println!(
            "| {} | {} | {p50:.3} | {p99:.3} | {:+.3} | {:+.3} | {} |",
            subject.name,
            rounds.iter().map(|round| round.count).sum::<usize>(),
            p50 - direct50,
            p99 - direct99,
            rounds.iter().map(|round| round.failed).sum::<u64>()
        );
    }
}

async fn memory(subjects: &[Arc<Subject>]) {
    println!(
        "\n| memory, a piece every second in each stream | before | streams open | with them | after | failed |\n|---|---|---|---|---|---|"
    );
    for subject in subjects.iter().filter(|subject| subject.process.is_some() && subject.name != SEVERAL) {
        let Memory { before, open, after, streams, failed } = streams::memory(subject, MANY_STREAMS).await;
        println!("| {} | {before:.1} MiB | {streams} | {open:.1} MiB | {after:.1} MiB | {failed} |", subject.name);
    }
}

/// The run is worth nothing if a call was not billed, or billed twice.
async fn settle(field: &Field) {
    println!();
    let mut fine = true;
    for (ours, book) in &field.ours {
        fine &= ours.agrees(&field.http, &field.upstream, book).await;
    }
    if !fine {
        println!("the ledger does not have what the service counted");
        std::process::exit(1);
    }
}

/// Ten minutes of chats and streams at a modest pace, and what they do to the memory.
pub async fn soak() {
    const EVERY: Duration = Duration::from_secs(5);
    let field = field(false).await;
    let ours = &field.ours[0].0.subject;
    let until = Instant::now() + SOAK;
    let failed: Arc<AtomicU64> = Arc::default();
    let streams: Vec<_> = (0..100)
        .map(|caller| {
            let (subject, failed) = (Arc::clone(ours), Arc::clone(&failed));
            tokio::spawn(async move {
                while Instant::now() < until {
                    let done = streams::one(&subject, caller, 60, Duration::from_millis(50), &AtomicU64::new(0)).await;
                    failed.fetch_add(u64::from(done.is_none()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let chats = {
        let subject = Arc::clone(ours);
        tokio::spawn(async move { open(&subject, 300.0, SOAK).await })
    };
    let (started, mut samples) = (Instant::now(), Vec::new());
    while started.elapsed() < SOAK {
        tokio::time::sleep(EVERY).await;
        samples.push((started.elapsed().as_secs_f64() / 60.0, ours.memory().unwrap()));
    }
    for stream in streams {
        stream.await.unwrap();
    }
    let chats = chats.await.unwrap();
    // The first fifth fills caches.
    let late = &samples[samples.len() / 5..];
    println!("\n| minute | memory |\n|---|---|");
    for (minute, memory) in samples.iter().step_by(12) {
        println!("| {minute:.0} | {memory:.1} MiB |");
    }
    let (lowest, highest) =
        late.iter().fold((f64::MAX, 0.0_f64), |(low, high), (_, memory)| (low.min(*memory), high.max(*memory)));
    println!(
        "\n300 chats/s beside 100 streams: chats p50 {:.2} ms, p99 {:.2} ms, {} failed; streams failed: {}",
        chats.p50,
        chats.p99,
        chats.failed,
        failed.load(Ordering::Relaxed)
    );
    println!("memory after the first fifth: {lowest:.1} to {highest:.1} MiB, slope {:+.3} MiB per minute", slope(late));
    settle(&field).await;
}

/// Least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    above / below
}
