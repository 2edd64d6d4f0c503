//! What is measured: the way without a gateway, a proxy that only hands on bytes, MediaGenie, and the peers that
//! `bench/peers.sh` has installed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mediagenie::app::App;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::foundation::rng::SystemRandom;
use mediagenie::foundation::settings::Settings;
use mediagenie::identity::{KeyTerms, Limits, api_keys};
use mediagenie::simulator::Simulator;
use serde_json::{Value, json};
use uuid::Uuid;

use super::load::Subject;
use super::upstream::Upstream;
use crate::{Process, free_port, product, settings, until_live, usage};

const PEER_KEY: &str = "sk-bench-0123456789abcdef";
/// So many that no limit holds anything back, but every one is counted.
pub const PLENTY: u32 = 1_000_000_000;

fn headers(port: u16, key: &str, more: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value(&format!("127.0.0.1:{port}")));
    headers.insert(CONTENT_TYPE, value("application/json"));
    headers.insert(AUTHORIZATION, value(&format!("Bearer {key}")));
    for (name, text) in more {
        headers.insert(HeaderName::from_static(name), value(text));
    }
    headers
}

fn subject(name: &'static str, port: u16, path: &str, headers: Vec<HeaderMap>, process: Option<Process>) -> Subject {
    Subject { name, port, path: path.to_owned(), headers, process, fast: true, answered: 0.into() }
}

pub fn direct(upstream: &Upstream) -> Subject {
    let headers = headers(upstream.port, PEER_KEY, &[]);
    subject("direct", upstream.port, "/direct/v1/chat/completions", vec![headers], None)
}

/// Waits until somebody listens; `false` when the process ended instead.
async fn until_listening(process: &mut Process, port: u16, longest: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < longest {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if !matches!(process.0.try_wait(), Ok(None)) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

pub async fn bare(upstream: &Upstream) -> Subject {
    let port = free_port();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["ai-bare", &port.to_string(), &upstream.port.to_string()])
        .spawn()
        .unwrap();
    let mut process = Process(child);
    assert!(until_listening(&mut process, port, Duration::from_secs(10)).await, "the bare proxy does not start");
    let headers = headers(port, PEER_KEY, &[]);
    subject("bare proxy", port, "/bare/v1/chat/completions", vec![headers], Some(process))
}

/// The bare proxy itself: hyper on both sides, pooled connections, nothing read of what goes through.
pub async fn be_bare(port: u16, upstream: u16) {
    let client: Client<HttpConnector, Incoming> = {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client::builder(TokioExecutor::new()).build(connector)
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let client = client.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let client = client.clone();
            async move {
                let path = request.uri().path();
                *request.uri_mut() = Uri::try_from(format!("http://127.0.0.1:{upstream}{path}")).unwrap();
                request.headers_mut().remove(HOST);
                Ok::<_, std::convert::Infallible>(match client.request(request).await {
                    Ok(answer) => answer.map(BodyExt::boxed),
                    Err(_) => {
                        let body = Full::default().map_err(|error| match error {}).boxed();
                        Response::builder().status(502).body(body).unwrap()
                    }
                })
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// MediaGenie with paying subscriptions; each has a key of its own, with limits.
pub struct Ours {
    pub subject: Arc<Subject>,
    subscriptions: Vec<Uuid>,
    _simulator: Simulator,
    _folder: tempfile::TempDir,
}

pub async fn ours(http: &reqwest::Client, upstream: &Upstream, name: &'static str, book: &str, count: usize) -> Ours {
    let port = free_port();
    let simulator = usage::simulator(port).await;
    let subscriptions: Vec<Uuid> = (0..count).map(|_| usage::buy(&simulator)).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut environment = settings(&simulator, port, folder.path());
    let file = folder.path().join("deployments.json");
    let limits = json!({ "requests_per_minute": PLENTY, "tokens_per_minute": PLENTY, "parallel": PLENTY });
    let deployments = json!({
        "deployments": [{ "model": "bench", "kind": "chat", "endpoint": format!("http://127.0.0.1:{}/{book}/v1", upstream.port),
            "deployment": "bench", "meters": { "input": "chat_tokens", "output": "chat_tokens" } }],
        "limits": { "default": limits },
    });
    std::fs::write(&file, deployments.to_string()).unwrap();
    environment.insert("AI_DEPLOYMENTS_FILE".to_owned(), file.to_string_lossy().into_owned());
    environment.insert("AZURE_OPENAI_KEY".to_owned(), "none".to_owned());
    let keys = made_keys(&environment, &subscriptions).await;
    let process = product(&environment);
    until_live(http, port, Instant::now()).await;
    let headers = keys.iter().map(|key| headers(port, key, &[])).collect();
    let subject = Arc::new(subject(name, port, "/v1/chat/completions", headers, Some(process)));
    Ours { subject, subscriptions, _simulator: simulator, _folder: folder }
}

/// Makes keys in a process of its own, before the server takes the store.
pub async fn made_keys(environment: &HashMap<String, String>, subscriptions: &[Uuid]) -> Vec<String> {
    let (environment, program) = (environment.clone(), std::env::current_exe().unwrap());
    let wanted: Vec<String> = subscriptions.iter().map(Uuid::to_string).collect();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(program);
        command.arg("ai-keys").args(wanted).env_clear().envs(environment).stderr(Stdio::inherit());
        command.output().unwrap()
    });
    let output = output.await.unwrap();
    let keys: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(keys.len(), subscriptions.len(), "keys were not made");
    keys
}

/// Takes in all subscriptions and prints a key for each that is named.
pub async fn make_keys(subscriptions: &[&str]) {
    let settings = Settings::from_environment().unwrap();
    let app = App::build(settings, Arc::new(SystemClock), Arc::new(SystemRandom)).await.unwrap();
    mediagenie::fulfillment::reconcile(&app).await.unwrap();
    let limits = Limits { requests_per_minute: Some(PLENTY), tokens_per_minute: Some(PLENTY), parallel: Some(PLENTY) };
    for subscription in subscriptions {
        let terms = KeyTerms { limits: limits.clone(), ..KeyTerms::default() };
        let id = SubscriptionId(subscription.parse().unwrap());
        let (secret, _) = api_keys::create(&app, id, "bench", "bench", terms).await.unwrap().unwrap();
        println!("{}", secret.expose());
    }
}

impl Ours {
    /// Tokens in the ledger of all subscriptions.
    async fn recorded(&self, http: &reqwest::Client) -> u64 {
        let mut sum = 0.0;
        for subscription in &self.subscriptions {
            let url = format!("http://127.0.0.1:{}/api/usage/resources/{subscription}", self.subject.port);
            let answer = http.get(url).bearer_auth(usage::KEY).send().await.unwrap();
            if answer.status() == 404 {
                continue;
            }
            let answer: Value = answer.json().await.unwrap();
            let periods = answer["usage"]["periods"].as_array().into_iter().flatten();
            for dimension in periods.flat_map(|period| period["dimensions"].as_array().into_iter().flatten()) {
                if dimension["dimension"] == "chat_1k_tokens" {
                    let recorded = &dimension["balance"]["recorded"];
                    let text = recorded.as_str().map_or_else(|| recorded.to_string(), str::to_owned);
                    sum += text.parse::<f64>().unwrap() * 1000.0;
                }
            }
        }
        sum.round() as u64
    }

    /// Whether the ledger has what the service counted, to the token. Prints both.
    pub async fn agrees(&self, http: &reqwest::Client, upstream: &Upstream, book: &str) -> bool {
        let mut recorded = 0;
        for _ in 0..100 {
            recorded = self.recorded(http).await;
            if recorded == upstream.sum(book).tokens {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let sum = upstream.sum(book);
        println!(
            "{}: the service counted {} tokens in {} calls, the ledger has {recorded}, callers got {} answers",
            self.subject.name,
            sum.tokens,
            sum.calls,
            self.subject.answered.load(std::sync::atomic::Ordering::Relaxed)
        );
        recorded == sum.tokens
    }
}

/// A gateway of somebody else's, if it is installed and starts.
struct Peer {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    port: u16,
    more: Vec<(&'static str, String)>,
    fast: bool,
}

pub async fn peers(upstream: &Upstream, folder: &Path) -> Vec<Subject> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/peers");
    let address = |book: &str| format!("http://127.0.0.1:{}/{book}/v1", upstream.port);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let mut found = Vec::new();

    let port = free_port();
    let limit = json!({ "requests_per_second": 1_000_000, "burst_size": 1_000_000 });
    let targets = json!({
        "auth": { "global_keys": [], "key_definitions": { "bench": { "key": PEER_KEY, "rate_limit": limit } } },
        "http_pool": { "max_idle_per_host": 2000, "idle_timeout_secs": 90 },
        "targets": { "bench": { "url": format!("{}/", address("onwards")), "onwards_key": "none", "keys": [PEER_KEY] } },
    });
    let file = write("onwards.json", targets.to_string());
    let arguments = ["-p", &port.to_string(), "--metrics-port", &free_port().to_string(), "-f", &file];
    found.push(Peer {
        name: "onwards",
        program: installed.join("onwards/bin/onwards"),
        arguments: arguments.map(str::to_owned).into(),
        environment: vec![("RUST_LOG", "warn")],
        port,
        more: Vec::new(),
        fast: true,
    });

    let port = free_port();
    let config = format!(
        "listen = \"127.0.0.1:{port}\"\n\n[providers.bench]\nkind = \"openai\"\napi_key = \"none\"\nbase_url = \"{}\"\nmodels = [\"bench\"]\n\n\
         [[keys]]\nname = \"bench\"\nkey = \"{PEER_KEY}\"\nmodels = [\"*\"]\n",
        address("crabllm")
    );
    let file = write("crabllm.toml", config);
    found.push(Peer {
        name: "crabllm",
        program: installed.join("crabllm/bin/crabllm"),
        arguments: ["serve", "--config", &file].map(str::to_owned).into(),
        environment: vec![("RUST_LOG", "warn")],
        port,
        more: Vec::new(),
        fast: true,
    });

    let port = free_port();
    let start = installed.join("portkey/node_modules/@portkey-ai/gateway/build/start-server.js");
    found.push(Peer {
        name: "Portkey",
        program: if start.exists() { "node".into() } else { start.clone() },
        arguments: vec![start.to_string_lossy().into_owned(), format!("--port={port}"), "--headless".to_owned()],
        environment: vec![("NODE_ENV", "production")],
        port,
        more: vec![("x-portkey-provider", "openai".to_owned()), ("x-portkey-custom-host", address("portkey"))],
        fast: false,
    });

    let port = free_port();
    let config = format!(
        "model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench\n      api_base: {}\n      api_key: none\n\
         general_settings:\n  master_key: {PEER_KEY}\nlitellm_settings:\n  telemetry: false\n",
        address("litellm")
    );
    let file = write("litellm.yaml", config);
    let listening = port.to_string();
    found.push(Peer {
        name: "LiteLLM",
        program: installed.join("litellm/bin/litellm"),
        arguments: ["--config", &file, "--host", "127.0.0.1", "--port", &listening, "--num_workers", "1"]
            .map(str::to_owned)
            .into(),
        environment: vec![("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("LITELLM_LOG", "ERROR")],
        port,
        more: Vec::new(),
        fast: false,
    });

    let mut subjects = Vec::new();
    for peer in found {
        subjects.extend(started(peer, folder).await);
    }
    subjects
}

async fn started(peer: Peer, folder: &Path) -> Option<Subject> {
    if peer.program.is_absolute() && !peer.program.exists() {
        println!("{} is not installed (bench/peers.sh); it is not measured", peer.name);
        return None;
    }
    let log = std::fs::File::create(folder.join(format!("{}.log", peer.name))).unwrap();
    let child = Command::new(&peer.program)
        .args(&peer.arguments)
        .envs(peer.environment)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    let mut process = Process(child.unwrap());
    let up = until_listening(&mut process, peer.port, Duration::from_secs(120)).await;
    let more: Vec<(&'static str, &str)> = peer.more.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let headers = headers(peer.port, PEER_KEY, &more);
    let subject = Subject {
        fast: peer.fast,
        ..subject(peer.name, peer.port, "/v1/chat/completions", vec![headers], Some(process))
    };
    // Listening is not answering yet.
    for _ in 0..if up { 100 } else { 0 } {
        if super::load::works(&subject).await {
            return Some(subject);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(folder.join(format!("{}.log", peer.name))).unwrap_or_default();
    let said: Vec<&str> = log.lines().rev().take(5).collect();
    println!("{} does not work here; it is not measured. It said: {said:?}", peer.name);
    None
}
