//! The edge: one warp filter that takes any request, a table of routes, and the answers' common clothes. Most answers
//! are whole; the AI services also answer in streams.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use matchit::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use warp::{Filter as _, Reply as _};

use super::Simulator;
use super::managed_apps::{arm, identity};
use super::{ai, analytics, control, crm, entra, fulfillment, leads, managed_apps, metering, pages};

/// Nothing that is sent to Microsoft is larger.
const LARGEST_BODY: usize = 1 << 20;

/// Prompts carry pictures and sound.
const LARGEST_PROMPT: usize = 40 << 20;

/// A request, read to its end.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub params: HashMap<String, String>,
}

impl Request {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// A path parameter as an id.
    pub fn id(&self, name: &str) -> Option<Uuid> {
        Uuid::parse_str(self.param(name)).ok()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a form.
    pub fn form(&self) -> HashMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// An answer that is known to its end.
pub type Reply = Response<Bytes>;

/// What an answer carries.
pub enum Body {
    Whole(Bytes),
    /// Sent piece by piece. An error breaks the connection off; when the caller hangs up, the stream is dropped.
    Stream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>),
}

/// An answer of either kind.
pub type Answer = Response<Body>;

pub fn reply(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !kind.is_empty() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    reply
}

pub fn json_reply(status: u16, body: &Value) -> Reply {
    reply(status, "application/json; charset=utf-8", body.to_string())
}

pub fn empty(status: u16) -> Reply {
    reply(status, "", "")
}

pub fn html(status: u16, page: String) -> Reply {
    reply(status, "text/html; charset=utf-8", page)
}

/// See other.
pub fn redirect(to: &str) -> Reply {
    with_header(empty(303), LOCATION, to)
}

pub fn with_header<B>(mut reply: Response<B>, name: HeaderName, value: &str) -> Response<B> {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

/// Who serves a path; the method is looked at inside.
#[derive(Debug, Clone, Copy)]
enum Room {
    Entra(entra::Door),
    Api(fulfillment::Door),
    Metering(metering::Door),
    Ai(ai::Door),
    Identity,
    Arm,
    Analytics,
    Blob,
    Crm(crm::Door),
    Control,
    Pages,
}

static ROUTES: LazyLock<Router<Room>> = LazyLock::new(|| {
    let mut router = Router::new();
    let all = entra::ROUTES
        .iter()
        .map(|(path, door)| (*path, Room::Entra(*door)))
        .chain(fulfillment::ROUTES.iter().map(|(path, door)| (*path, Room::Api(*door))))
        .chain(metering::ROUTES.iter().map(|(path, door)| (*path, Room::Metering(*door))))
        .chain(ai::ROUTES.iter().map(|(path, door)| (*path, Room::Ai(*door))))
        .chain(crm::ROUTES.iter().map(|(path, door)| (*path, Room::Crm(*door))))
        .chain(pages::ROUTES.iter().map(|path| (*path, Room::Pages)))
        .chain(managed_apps::page::ROUTES.iter().chain(leads::page::ROUTES).map(|path| (*path, Room::Pages)))
        .chain(analytics::page::ROUTES.iter().map(|path| (*path, Room::Pages)))
        .chain([(analytics::API_ROUTE, Room::Analytics), (analytics::BLOB_ROUTE, Room::Blob)])
        .chain([(identity::ROUTE, Room::Identity), (arm::ROUTE, Room::Arm), ("/simulator/{verb}", Room::Control)]);
    for (path, room) in all {
        router.insert(path, room).expect("the routes of the simulator do not overlap");
    }
    router
});

async fn answer(simulator: Simulator, mut request: Request) -> Answer {
    let found = ROUTES.at(&request.path).map(|found| {
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (*found.value, params)
    });
    let Ok((room, params)) = found else {
        let nothing = json!({ "message": "The simulated Microsoft has nothing at this address." });
        return json_reply(404, &nothing).map(Body::Whole);
    };
    request.params = params;
    let reply = match room {
        Room::Entra(door) => entra::answer(&simulator, door, &request),
        Room::Api(door) => fulfillment::answer(&simulator, door, &request).await,
        Room::Metering(door) => metering::answer(&simulator, door, &request).await,
        Room::Ai(door) => return guard(&simulator, ai::answer(&simulator, door, &request).await),
        Room::Identity => identity::answer(&simulator, &request),
        Room::Arm => arm::answer(&simulator, &request).await,
        Room::Analytics => analytics::answer(&simulator, &request),
        Room::Blob => return analytics::answer_blob(&simulator, &request).await,
        Room::Crm(door) => return guard(&simulator, crm::answer(&simulator, door, &request)),
        Room::Control => control::answer(&simulator, &request).await,
        Room::Pages => pages::answer(&simulator, &request).await,
    };
    guard(&simulator, reply.map(Body::Whole))
}

/// No scripts anywhere. Forms may lead to the product, because a redirect counts as the form's target.
fn guard(simulator: &Simulator, reply: Answer) -> Answer {
    let page = reply.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !page {
        return reply;
    }
    let product = url::Url::parse(&simulator.product_url()).map(|url| url.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'self' {}",
        product.unwrap_or_default()
    );
    let reply = with_header(reply, CONTENT_SECURITY_POLICY, policy.trim_end());
    let reply = with_header(reply, X_CONTENT_TYPE_OPTIONS, "nosniff");
    with_header(reply, REFERRER_POLICY, "no-referrer")
}

async fn read_body<B: Buf>(stream: impl Stream<Item = Result<B, warp::Error>>, largest: usize) -> Option<Bytes> {
    let mut body = BytesMut::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.ok()?;
        if body.len() + chunk.remaining() > largest {
            return None;
        }
        body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Some(body.freeze())
}

/// The answer as warp sends it.
fn sent(answer: Answer) -> warp::reply::Response {
    let (head, body) = answer.into_parts();
    let mut sent = match body {
        Body::Whole(bytes) => warp::reply::Response::new(bytes.into()),
        Body::Stream(stream) => warp::reply::stream(stream).into_response(),
    };
    *sent.status_mut() = head.status;
    *sent.headers_mut() = head.headers;
    sent
}

/// Serves until `shutdown` ends.
pub async fn serve(simulator: Simulator, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
    let raw_query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let edge = warp::method()
        .and(warp::path::full())
        .and(raw_query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: warp::path::FullPath, query: String, headers, body| {
            let simulator = simulator.clone();
            async move {
                let path = path.as_str().to_owned();
                let largest = if ai::owns(&path) { LARGEST_PROMPT } else { LARGEST_BODY };
                let reply = match read_body(body, largest).await {
                    Some(body) => {
                        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                        let params = HashMap::new();
                        answer(simulator, Request { method, path, query, headers, body, params }).await
                    }
                    None => {
                        let refusal = json!({ "message": "The body is too large or was cut." });
                        json_reply(413, &refusal).map(Body::Whole)
                    }
                };
                sent(with_header(reply, HeaderName::from_static("x-simulated"), "true"))
            }
        });
    warp::serve(edge).incoming(listener).graceful(shutdown).run().await;
}
