//! The edge: one warp filter that takes any request, a table of routes, and the answers' common clothes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
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
use warp::Filter as _;

use super::Simulator;
use super::{control, entra, fulfillment, metering, pages};

/// Nothing that is sent to Microsoft is larger.
const LARGEST_BODY: usize = 1 << 20;

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

/// An answer.
pub type Reply = Response<Bytes>;

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

pub fn with_header(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
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
        .chain(pages::ROUTES.iter().map(|path| (*path, Room::Pages)))
        .chain([("/simulator/{verb}", Room::Control)]);
    for (path, room) in all {
        router.insert(path, room).expect("the routes of the simulator do not overlap");
    }
    router
});

async fn answer(simulator: Simulator, mut request: Request) -> Reply {
    let found = ROUTES.at(&request.path).map(|found| {
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (*found.value, params)
    });
    let Ok((room, params)) = found else {
        return json_reply(404, &json!({ "message": "The simulated Microsoft has nothing at this address." }));
    };
    request.params = params;
    let reply = match room {
        Room::Entra(door) => entra::answer(&simulator, door, &request),
        Room::Api(door) => fulfillment::answer(&simulator, door, &request).await,
        Room::Metering(door) => metering::answer(&simulator, door, &request).await,
        Room::Control => control::answer(&simulator, &request).await,
        Room::Pages => pages::answer(&simulator, &request).await,
    };
    guard(&simulator, reply)
}

/// No scripts anywhere. Forms may lead to the product, because a redirect counts as the form's target.
fn guard(simulator: &Simulator, reply: Reply) -> Reply {
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

async fn read_body<B: Buf>(stream: impl Stream<Item = Result<B, warp::Error>>) -> Option<Bytes> {
    let mut body = BytesMut::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.ok()?;
        if body.len() + chunk.remaining() > LARGEST_BODY {
            return None;
        }
        body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Some(body.freeze())
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
                let reply = match read_body(body).await {
                    Some(body) => {
                        let request = Request {
                            method,
                            path: path.as_str().to_owned(),
                            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
                            headers,
                            body,
                            params: HashMap::new(),
                        };
                        answer(simulator, request).await
                    }
                    None => json_reply(413, &json!({ "message": "The body is too large or was cut." })),
                };
                let reply = with_header(reply, HeaderName::from_static("x-simulated"), "true");
                Ok::<_, Infallible>(reply.map(Vec::from))
            }
        })
        .map(|reply: Result<Response<Vec<u8>>, Infallible>| reply.unwrap_or_else(|never| match never {}));
    warp::serve(edge).incoming(listener).graceful(shutdown).run().await;
}
