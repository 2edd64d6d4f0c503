//! A stand-in for the Azure Functions host, as far as a custom handler can tell (functions-host contract 1-5): it
//! starts the handler of a package folder with the host's variables, probes `/` until anything answers, proxies HTTP
//! with a replaced `Host`, hands queue messages over in chunked envelopes with doubled quotes and numbers as texts,
//! counts dequeues, fills the poison queue, and ends the handler with SIGKILL. What would hang or fail at the real host
//! is a failure here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use mediagenie::queue::Queues;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter as _;

use super::azurite::free_port;

/// One `httpTrigger` of the package.
struct Route {
    segments: Vec<String>,
    methods: Vec<String>,
}

struct Inner {
    folder: PathBuf,
    settings: HashMap<String, String>,
    port: u16,
    handler: Mutex<Option<Child>>,
    http: reqwest::Client,
    routes: Vec<Route>,
    /// Function name, binding name, queue.
    queues: Vec<(String, String, String)>,
    max_dequeue_count: u32,
    messages: Arc<dyn Queues>,
    /// What the real host would have punished.
    offences: Mutex<Vec<String>>,
}

pub struct FakeHost {
    inner: Arc<Inner>,
    pub address: String,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl FakeHost {
    /// Starts the host on the package in `folder`, listening on `listener`; `settings` are the app settings.
    pub async fn start(
        folder: &Path,
        settings: HashMap<String, String>,
        messages: Arc<dyn Queues>,
        listener: TcpListener,
    ) -> Self {
        let host: Value = serde_json::from_slice(&std::fs::read(folder.join("host.json")).unwrap()).unwrap();
        assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true);
        let (mut routes, mut queues) = (Vec::new(), Vec::new());
        let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("function.json").exists())
            .collect();
        names.sort();
        for path in names {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let function: Value = serde_json::from_slice(&std::fs::read(path.join("function.json")).unwrap()).unwrap();
            let trigger = &function["bindings"][0];
            match trigger["type"].as_str().unwrap() {
                "httpTrigger" => routes.push(Route {
                    segments: trigger["route"]
                        .as_str()
                        .unwrap()
                        .trim_matches('/')
                        .split('/')
                        .map(str::to_ascii_lowercase)
                        .collect(),
                    methods: trigger["methods"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|method| method.as_str().unwrap().to_ascii_uppercase())
                        .collect(),
                }),
                "queueTrigger" => queues.push((
                    name,
                    trigger["name"].as_str().unwrap().into(),
                    trigger["queueName"].as_str().unwrap().into(),
                )),
                _ => {}
            }
        }
        let inner = Arc::new(Inner {
            folder: folder.to_owned(),
            settings,
            port: free_port(),
            handler: Mutex::default(),
            http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap(),
            routes,
            queues,
            max_dequeue_count: u32::try_from(host["extensions"]["queues"]["maxDequeueCount"].as_u64().unwrap())
                .unwrap(),
            messages,
            offences: Mutex::default(),
        });
        let description = host["customHandler"]["description"].clone();
        inner.start_handler(&description).await;
        let address = format!("http://{}", listener.local_addr().unwrap());
        let front = front_door(Arc::clone(&inner), address.clone());
        let tasks = vec![
            tokio::spawn(warp::serve(front).incoming(listener).run()),
            tokio::spawn(queue_listeners(Arc::clone(&inner))),
        ];
        Self { inner, address, tasks }
    }

    /// SIGKILL, as at a scale-in or a time-out, and a new process at once.
    pub async fn restart_handler(&self) {
        let host: Value = serde_json::from_slice(&std::fs::read(self.inner.folder.join("host.json")).unwrap()).unwrap();
        self.inner.kill();
        self.inner.start_handler(&host["customHandler"]["description"]).await;
    }

    /// Sets off a timer function.
    pub async fn tick(&self, name: &str) {
        let envelope = json!({
            "Data": {"timer": {"Schedule": {"AdjustForDST": true}, "ScheduleStatus": null, "IsPastDue": false}},
            "Metadata": {"sys": {"MethodName": name, "UtcNow": "2026-01-02T03:04:05.1234567Z", "RandGuid": uuid::Uuid::nil()}}
        });
        assert!(self.inner.invoke(name, &envelope).await, "{name} failed");
    }

    pub fn offences(&self) -> Vec<String> {
        self.inner.offences.lock().unwrap().clone()
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.kill();
    }
}

impl Inner {
    fn kill(&self) {
        if let Some(mut child) = self.handler.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn start_handler(&self, description: &Value) {
        let executable = self.folder.join(description["defaultExecutablePath"].as_str().unwrap());
        let child = Command::new(executable)
            .args(description["arguments"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()))
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.settings)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", self.port.to_string())
            .env("FUNCTIONS_HTTPWORKER_PORT", self.port.to_string())
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", uuid::Uuid::nil().to_string())
            .env("FUNCTIONS_APP_ROOT_PATH", &self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        *self.handler.lock().unwrap() = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        // Any complete answer will do, also 404; only a refused connection means "not yet".
        while self.http.get(format!("http://127.0.0.1:{}/", self.port)).send().await.is_err() {
            assert!(Instant::now() < deadline, "the handler did not answer within initializationTimeout");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Whether some function takes this request. A wrong method is 404 at the real host, too.
    fn knows(&self, method: &str, path: &str) -> bool {
        let wanted: Vec<String> = path.trim_matches('/').split('/').map(str::to_ascii_lowercase).collect();
        self.routes.iter().any(|route| {
            route.methods.iter().any(|known| known == method)
                && route.segments.len() == wanted.len()
                && route
                    .segments
                    .iter()
                    .zip(&wanted)
                    .all(|(pattern, part)| pattern.starts_with('{') && !part.is_empty() || pattern == part)
        })
    }

    /// Sends an envelope, chunked and without a length, and judges the answer as the host does.
    async fn invoke(&self, name: &str, envelope: &Value) -> bool {
        let text = envelope.to_string();
        let pieces: Vec<Result<Bytes, std::io::Error>> =
            text.as_bytes().chunks(37).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let request = self
            .http
            .post(format!("http://127.0.0.1:{}/{name}", self.port))
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Azure-Functions-Host/4.1041.200.0")
            .header("x-azure-functions-hostversion", "4.1041.200.0")
            .header("x-azure-functions-invocationid", uuid::Uuid::nil().to_string())
            .body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)));
        // The handler may be killed in the middle; that is a failed invocation.
        let Ok(answer) = request.send().await else { return false };
        let (status, kind) = (
            answer.status(),
            answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default(),
        );
        let Ok(body) = answer.text().await else { return false };
        if !status.is_success() {
            return false;
        }
        let offence = if !kind.starts_with("application/json") {
            Some(format!("{name}: content type {kind}"))
        } else if !serde_json::from_str::<Value>(&body).is_ok_and(|value| value.is_object()) {
            Some(format!("{name}: the answer {body:?} would hang the invocation until its time-out"))
        } else {
            None
        };
        let clean = offence.is_none();
        self.offences.lock().unwrap().extend(offence);
        clean
    }
}

/// Proxied HTTP: what is no function's route never reaches the handler.
fn front_door(
    inner: Arc<Inner>,
    address: String,
) -> impl warp::Filter<Extract = (warp::reply::Response,), Error = std::convert::Infallible> + Clone {
    use warp::Reply as _;
    let empty = |status: u16| http::Response::builder().status(status).body(Bytes::new()).unwrap().into_response();
    let query = warp::query::raw().map(Some).or(warp::any().map(|| None)).unify();
    warp::any()
        .and(warp::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method: http::Method,
                  path: warp::path::FullPath,
                  query: Option<String>,
                  headers: http::HeaderMap,
                  body| {
                let (inner, address) = (Arc::clone(&inner), address.clone());
                async move {
                    if !inner.knows(method.as_str(), path.as_str()) {
                        return empty(404);
                    }
                    let url = format!(
                        "http://127.0.0.1:{}{}{}",
                        inner.port,
                        path.as_str(),
                        query.map(|query| format!("?{query}")).unwrap_or_default()
                    );
                    let mut request = inner.http.request(method, url);
                    for (name, value) in &headers {
                        if !["host", "connection", "keep-alive", "te", "upgrade", "transfer-encoding"]
                            .contains(&name.as_str())
                        {
                            request = request.header(name, value);
                        }
                    }
                    request = request
                        .header("x-forwarded-for", "127.0.0.1")
                        .header("x-forwarded-host", address.trim_start_matches("http://"))
                        .header("x-forwarded-proto", "http")
                        .header("x-azure-functions-hostversion", "4.1041.200.0")
                        .header("x-azure-functions-invocationid", uuid::Uuid::nil().to_string());
                    let body = futures_util::TryStreamExt::map_ok(Box::pin(body), |mut part| {
                        let length = bytes::Buf::remaining(&part);
                        bytes::Buf::copy_to_bytes(&mut part, length)
                    });
                    let body: Vec<Bytes> =
                        body.map_err(|error: warp::Error| error.to_string()).try_collect().await.unwrap_or_default();
                    match request.body(body.concat()).send().await {
                        Ok(answer) => {
                            let (status, headers) = (answer.status(), answer.headers().clone());
                            // Passed on as it comes.
                            let mut response = warp::reply::stream(answer.bytes_stream()).into_response();
                            *response.status_mut() = status;
                            response.headers_mut().clear();
                            for (name, value) in &headers {
                                if !["connection", "transfer-encoding", "keep-alive"].contains(&name.as_str()) {
                                    response.headers_mut().append(name, value.clone());
                                }
                            }
                            response
                        }
                        // A failed proxying before the first byte is an empty 500.
                        Err(_) => empty(500),
                    }
                }
            },
        )
        .recover(move |_| async move { Ok::<_, std::convert::Infallible>(empty(400)) })
        .unify()
}

/// Queue triggers: text doubled, numbers as texts, deleted on success, poison after the last try.
async fn queue_listeners(inner: Arc<Inner>) {
    loop {
        for (name, binding, queue) in &inner.queues {
            let Ok(received) = inner.messages.receive(queue, 16, Duration::from_secs(600)).await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            for message in received {
                let envelope = json!({
                    "Data": {binding: serde_json::to_string(&message.text).unwrap()},
                    "Metadata": {
                        "DequeueCount": message.dequeue_count.to_string(), "Id": format!("\"{}\"", message.id), "PopReceipt": format!("\"{}\"", message.receipt),
                        "InsertionTime": "2026-01-02T10:00:00+00:00", "sys": {"MethodName": name, "RandGuid": uuid::Uuid::nil()}
                    }
                });
                let outcome = if inner.invoke(name, &envelope).await {
                    inner.messages.delete(queue, &message).await
                } else if message.dequeue_count >= inner.max_dequeue_count {
                    let _ = inner.messages.send(&format!("{queue}-poison"), &message.text, Duration::ZERO).await;
                    inner.messages.delete(queue, &message).await
                } else {
                    inner.messages.renew(queue, &message, Duration::from_secs(1)).await.map(drop)
                };
                // A message that could not be put away comes back by itself.
                drop(outcome);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
