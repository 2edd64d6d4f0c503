//! The edge: one warp filter that turns whatever comes into a [`Request`], and one way back: limits, routing, security
//! headers, CORS, the problem's form, and one log line for each request.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, Stream, StreamExt, pin_mut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use warp::{Filter, Reply as _};

use super::bindings::Route;
use super::{Host, custom_handler, dispatch};
use crate::foundation::ids::RequestId;
use crate::foundation::problem::Problem;
use crate::foundation::settings::Settings;
use crate::foundation::web::{Body, Incoming, Request, Response, empty, redirect, respond, uncached};
use crate::functions::Handler;
use crate::identity;
use crate::pages;

/// The largest body: webhooks and forms are a few kilobytes.
const LARGEST_BODY: usize = 1024 * 1024;
/// The same for notifications, which may carry the errors of a whole deployment.
const LARGEST_NOTIFICATION: usize = 4 * LARGEST_BODY;
/// The same for the publisher's own systems, which upload files.
const LARGEST_UPLOAD: usize = 16 * LARGEST_BODY;
/// The same for audio and images: OpenAI takes files of 25 MiB, and a form has more than its file.
const LARGEST_MEDIA: usize = 27 * LARGEST_BODY;
/// The same for a lead, which is kept as it came.
const LARGEST_LEAD: usize = 256 * 1024;
const LARGEST_DISCARDED: usize = 32 * LARGEST_BODY;
/// Time for the body to arrive, and for an HTTP function to answer; queue and timer functions have the host's own limit.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Time for a large file to arrive; a pause of [`BODY_WITHIN`] ends it sooner.
const UPLOAD_WITHIN: Duration = Duration::from_secs(3600);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The same where a model thinks first; as long as OpenAI's SDKs wait.
const MODEL_ANSWERS_WITHIN: Duration = Duration::from_secs(600);
/// Addresses whose callers expect errors in OpenAI's shape.
const OPENAI: &str = "/v1/";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whose requests come here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Clients, directly or through a proxy.
    Public,
    /// The Functions host on loopback: clients' requests as they are, and envelopes for queue and timer functions.
    FunctionsHost,
}

/// The filter for warp. Everything is answered by it; nothing is ever rejected.
pub fn filter(
    host: Host,
    door: Door,
) -> impl Filter<Extract = (warp::reply::Response,), Error = Infallible> + Clone + Send + Sync {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::any()
        .map(move || host.clone())
        .and(warp::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |host: Host, method: Method, path: warp::path::FullPath, query: String, headers: HeaderMap, body| async move {
            sent(answer(&host, door, method, path.as_str().to_owned(), query, headers, body).await)
        })
        .recover(|_| async { Ok::<_, Infallible>(sent(empty(StatusCode::BAD_REQUEST))) })
        .unify()
}

/// A response in warp's own type.
fn sent(response: Response) -> warp::reply::Response {
    let (parts, body) = response.into_parts();
    let mut reply = match body {
        Body::Whole(bytes) => http::Response::new(bytes).into_response(),
        Body::Stream(stream) => warp::reply::stream(stream).into_response(),
    };
    *reply.status_mut() = parts.status;
    *reply.headers_mut() = parts.headers;
    reply
}

/// Serves one request, from bytes to bytes.
pub async fn answer<B, E>(
    host: &Host,
    door: Door,
    method: Method,
    path: String,
    raw_query: String,
    headers: HeaderMap,
    body: impl Stream<Item = Result<B, E>> + Send + 'static,
) -> Response
where
    B: Buf + 'static,
    E: std::fmt::Display + 'static,
{
    let (started, _arrival) = (Instant::now(), host.arrival());
    let id = RequestId::new(host.app.clock.now(), &*host.app.random);
    let request = Request {
        id: id.clone(),
        method: method.clone(),
        path: plain(path),
        raw_query,
        headers,
        params: Default::default(),
        body: Bytes::new(),
    };
    let invocation = request.header("x-azure-functions-invocationid").unwrap_or_default().to_owned();
    let trace = request.header("traceparent").and_then(|text| text.split('-').nth(1)).unwrap_or_default().to_owned();
    let (name, origin) = (std::sync::Mutex::new(""), request.header(header::ORIGIN).map(str::to_owned));
    let shown = request.clone();
    let work = handle(host, door, request, body, &name);
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let result = match outcome {
        Ok(result) => result,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Problem::internal(format!("a handler panicked: {}", text.unwrap_or_default())))
        }
    };
    let mut causes = String::new();
    let mut response = result.unwrap_or_else(|problem| {
        causes = format!("{} {}", problem.code, problem.causes());
        if problem.status.is_server_error() {
            tracing::error!(request = %id, code = problem.code, title = problem.title, causes = problem.causes(), "problem");
        }
        present(host, &shown, problem)
    });
    finish(host, &id, origin.as_deref(), &mut response);
    if method == Method::HEAD {
        *response.body_mut() = Body::Whole(Bytes::new());
    }
    let function = name.lock().map(|name| name.to_owned()).unwrap_or_default();
    tracing::info!(
        request = %id, %method, path = logged(&shown.path), function, status = response.status().as_u16(),
        duration_ms = started.elapsed().as_secs_f64() * 1000.0, bytes = response.body().length(), problem = causes.trim(), invocation, trace, "request"
    );
    response
}

/// The end of some addresses is a secret itself.
fn logged(path: &str) -> &str {
    const SECRET: [&str; 2] = ["/media/links/", "/marketplace/leads/"];
    // In any letter case, as routes are.
    let begins = |known: &&&str| path.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known));
    SECRET.iter().find(begins).copied().unwrap_or(path)
}

/// SDKs add their path to whatever base address somebody typed, so slashes may be doubled in it.
fn plain(path: String) -> String {
    if path.contains("//") {
        let plain = format!("/{}", path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
        if plain.starts_with(OPENAI) {
            return plain;
        }
    }
    path
}

async fn handle<'a, B, E>(
    host: &'a Host,
    door: Door,
    mut request: Request,
    body: impl Stream<Item = Result<B, E>> + Send + 'static,
    name: &std::sync::Mutex<&'a str>,
) -> Result<Response, Problem>
where
    B: Buf + 'static,
    E: std::fmt::Display + 'static,
{
    let note = |function: &'a str| {
        if let Ok(mut name) = name.lock() {
            *name = function;
        }
    };
    if door == Door::FunctionsHost
        && request.method == Method::POST
        && let Some(function) = request
            .path
            .strip_prefix('/')
            .and_then(|name| host.functions.by_name(name))
            .filter(|function| !function.is_http())
    {
        note(&function.name);
        request.body = read(body, LARGEST_BODY).await?;
        return Ok(custom_handler::invoke(host, function, &request.body).await);
    }
    if request.method == Method::OPTIONS {
        return Ok(preflight(host, &request));
    }
    let (function, params) = match host.functions.route(&request.method, &request.path) {
        Route::Function(function, params) => (function, params),
        Route::WrongMethod(methods) => {
            let allowed: Vec<_> = methods.iter().map(Method::as_str).collect();
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("This address answers to {} only.", allowed.join(", ")),
            ));
        }
        Route::Nothing => return Err(Problem::not_found()),
    };
    note(&function.name);
    request.params = params;
    let (limit, within) = match function.handler {
        Handler::Key(_) | Handler::CustomerCall(_) => (LARGEST_MEDIA, MODEL_ANSWERS_WITHIN),
        Handler::Publisher(_) => (LARGEST_UPLOAD, ANSWER_WITHIN),
        Handler::ManagedApp(_) => (LARGEST_NOTIFICATION, ANSWER_WITHIN),
        Handler::Lead(_) => (LARGEST_LEAD, ANSWER_WITHIN),
        _ => (LARGEST_BODY, ANSWER_WITHIN),
    };
    // Who they are is asked before anything is read, and once: nobody without a key fills our memory.
    let key = match function.handler {
        Handler::Key(_) | Handler::KeyUpload(_) => match dispatch::api_key(host, &request).await {
            Ok(key) => Some(key),
            Err(problem) => {
                // Read, and not kept: most clients look for our answer only after they have sent everything.
                let _ = read(body, 0).await;
                return Err(problem);
            }
        },
        _ => None,
    };
    if let (Handler::KeyUpload(handler), Some(key)) = (function.handler, &key) {
        let work = handler(host.app.clone(), request, key.clone(), incoming(body));
        return tokio::time::timeout(UPLOAD_WITHIN, work).await.map_err(slow_upload)?;
    }
    if let Handler::CustomerUpload(handler) = function.handler {
        let customer = match identity::customer(&host.app, &request).await {
            Ok(customer) => customer,
            Err(problem) => {
                let _ = read(body, 0).await;
                return Err(problem);
            }
        };
        let work = async {
            let upload = identity::upload(&host.app, &request, &customer.session, incoming(body)).await?;
            handler(host.app.clone(), request, customer, upload).await
        };
        return tokio::time::timeout(UPLOAD_WITHIN, work).await.map_err(slow_upload)?;
    }
    request.body = read(body, limit).await?;
    let paid = matches!(function.handler, Handler::Key(_) | Handler::CustomerCall(_));
    let slow = |_| {
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", "The answer took too long.")
            .remedy("Try again in a moment.");
        // The model goes on with it, and another try would be paid for as well.
        if paid { problem.final_answer() } else { problem }
    };
    tokio::time::timeout(within, dispatch::http(host, function, request, key)).await.map_err(slow)?
}

fn slow_upload(_: tokio::time::error::Elapsed) -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_slow", "The upload took too long.")
}

/// A body piece by piece; a pause in it ends it.
fn incoming<B, E>(body: impl Stream<Item = Result<B, E>> + Send + 'static) -> Incoming
where
    B: Buf + 'static,
    E: std::fmt::Display + 'static,
{
    let body: std::pin::Pin<Box<dyn Stream<Item = Result<B, E>> + Send>> = Box::pin(body);
    Box::pin(futures_util::stream::unfold(Some(body), |body| async {
        let mut body = body?;
        // Whoever reads forms takes what is there until nothing is; a fast sender would fill the memory that way.
        tokio::task::yield_now().await;
        let cut = |text: String| Problem::bad_request("body_cut", format!("The body did not arrive whole: {text}."));
        match tokio::time::timeout(BODY_WITHIN, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(mut piece))) => Some((Ok(piece.copy_to_bytes(piece.remaining())), Some(body))),
            Ok(Some(Err(error))) => Some((Err(cut(error.to_string())), None)),
            Err(_) => Some((Err(cut(format!("nothing came for {} s", BODY_WITHIN.as_secs()))), None)),
        }
    }))
}

/// Reads a body within its limits; a declared length is not trusted, and none is needed. What is too large is still
/// read to its end, up to a point, because most clients look for our answer only after they have sent everything.
async fn read<B: Buf, E: std::fmt::Display>(
    body: impl Stream<Item = Result<B, E>>,
    limit: usize,
) -> Result<Bytes, Problem> {
    let collect = async {
        pin_mut!(body);
        let (mut bytes, mut total) = (BytesMut::new(), 0);
        while let Some(part) = body.next().await {
            let mut part = part.map_err(|error| {
                Problem::bad_request("body_cut", format!("The body did not arrive whole: {error}."))
            })?;
            total += part.remaining();
            if total > LARGEST_DISCARDED {
                break;
            }
            while part.has_remaining() {
                let chunk = part.chunk();
                if total <= limit {
                    bytes.extend_from_slice(chunk);
                }
                let length = chunk.len();
                part.advance(length);
            }
        }
        if total > limit {
            let title = format!("The body is larger than {} KiB; send it in parts.", limit / 1024);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", title));
        }
        Ok(bytes.freeze())
    };
    let slow = |_| {
        let title = format!("The body did not arrive within {} s.", BODY_WITHIN.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_slow", title)
    };
    tokio::time::timeout(BODY_WITHIN, collect).await.map_err(slow)?
}

/// A problem in the form that the caller can use.
fn present(host: &Host, request: &Request, problem: Problem) -> Response {
    let mut response = if request.path.starts_with(OPENAI) {
        respond(problem.status, "application/json", openai_error(&problem).to_string())
    } else if request.wants_page() {
        match &problem.location {
            Some(location) => redirect(location),
            None => pages::problem_page(&host.app, request, &problem),
        }
    } else {
        let document = json!({
            "type": "about:blank", "status": problem.status.as_u16(), "code": problem.code, "title": problem.title,
            "detail": problem.remedy, "field": problem.field, "request_id": request.id,
        });
        respond(problem.status, "application/problem+json", document.to_string())
    };
    let headers = response.headers_mut();
    if let Some(wait) = problem.retry_after {
        // A wait of half a second is no wait of none.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
        if request.path.starts_with(OPENAI) {
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
        }
    }
    if !problem.retryable {
        headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    uncached(response)
}

/// The form that OpenAI's SDKs read (AI services contract 6.3).
fn openai_error(problem: &Problem) -> serde_json::Value {
    let kind = match problem.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 if problem.code == "insufficient_quota" => "insufficient_quota",
        429 => "rate_limit_error",
        500..=599 => "server_error",
        _ => "invalid_request_error",
    };
    let remedy = problem.remedy.as_deref().map(|remedy| format!(" {remedy}")).unwrap_or_default();
    json!({ "error": { "message": format!("{}{remedy}", problem.title), "type": kind, "param": problem.field, "code": problem.code } })
}

/// The headers that every answer carries, whoever asks for what.
pub fn security_headers(settings: &Settings) -> Vec<(HeaderName, HeaderValue)> {
    let authority =
        url::Url::parse(&settings.entra_authority).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    // A form whose session has ended is led to Microsoft's sign-in, so that must be allowed as a form's goal.
    // The playground shows and plays files that never leave the browser (`blob:`).
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
         connect-src 'self'; form-action 'self' {authority}; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut headers = vec![
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers then hide the origin of our own forms, too.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    if settings.is_https() {
        headers.push((header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    }
    headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?))).collect()
}

/// Adds the headers that every answer carries, the request's id, and leave for a listed origin.
fn finish(host: &Host, id: &RequestId, origin: Option<&str>, response: &mut Response) {
    let headers = response.headers_mut();
    headers.extend(host.security_headers.iter().cloned());
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(origin) = origin.filter(|origin| host.app.settings.cors_origins.iter().any(|allowed| allowed == origin))
        && let Ok(value) = HeaderValue::from_str(origin)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// The answer to a browser that asks whether a page of another origin may call us. No cookies are allowed that way.
fn preflight(host: &Host, request: &Request) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let allowed = request
        .header(header::ORIGIN)
        .is_some_and(|origin| host.app.settings.cors_origins.iter().any(|known| known == origin));
    if allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "authorization, api-key, content-type, idempotency-key, x-stainless-arch, x-stainless-lang, x-stainless-os, \
                 x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, \
                 x-stainless-timeout",
            ),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_a_secret_does_not_reach_the_log() {
        for path in ["/marketplace/leads/abc", "/Marketplace/LEADS/abc/", "/media/links/abc"] {
            assert!(!logged(path).contains("abc"), "{path}");
        }
        assert_eq!(logged("/marketplace/webhook"), "/marketplace/webhook");
        assert_eq!(logged("/王"), "/王");
    }
}
