//! The shapes in which handlers meet HTTP: a [`Request`] whose body is already read within its limit, and a
//! [`Response`]. Nothing here knows a route, a session or a page.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::ids::RequestId;
use super::problem::Problem;

/// One HTTP request at our edge.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: RequestId,
    pub method: Method,
    /// The path as it came, without the query.
    pub path: String,
    /// The query as it came, not decoded, without the question mark.
    pub raw_query: String,
    pub headers: HeaderMap,
    /// The values of `{name}` in the route, percent-decoded.
    pub params: HashMap<String, String>,
    pub body: Bytes,
}

pub type Response = http::Response<Body>;

/// A request's body on its way in, for what is too large to be held in memory. The problem names what is wrong with it.
pub type Incoming = Pin<Box<dyn Stream<Item = Result<Bytes, Problem>> + Send>>;

/// Between the fields of a form there are heads of a few hundred bytes.
const MOST_BETWEEN: usize = 1024 * 1024;

/// Ends a form where too much comes that belongs to no file: readers of forms keep all of it until they find a boundary.
/// `inside` tells that a file is read.
pub fn framed(body: Incoming, inside: Arc<AtomicBool>) -> Incoming {
    let mut between = 0;
    let mut counted = body.map(move |piece| {
        let piece = piece?;
        between = if inside.load(Ordering::Relaxed) { 0 } else { between + piece.len() };
        if between > MOST_BETWEEN {
            return Err(Problem::bad_request("invalid_form", "The form has too much beside its files."));
        }
        Ok(piece)
    });
    // Readers of forms take in whatever is there before they look at it: they are given one piece at a time, so that
    // what a fast sender has sent of a file already is neither held in memory nor taken for what lies between.
    let mut given = false;
    Box::pin(stream::poll_fn(move |context| {
        if std::mem::take(&mut given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = counted.poll_next_unpin(context);
        given = piece.is_ready();
        piece
    }))
}

/// What is sent back: bytes that are there, or that come as they are made.
pub enum Body {
    Whole(Bytes),
    /// An error breaks the connection, so that nobody takes the part for the whole.
    Stream(Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send + Sync>>),
}

impl Body {
    /// The length, where it is known.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Stream(_) => None,
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length()).finish()
    }
}

impl Request {
    /// A header's value, if it is there once and readable.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The first value of a query field, decoded as a form (a plus sign is a blank).
    pub fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.raw_query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The first value of a query field, percent-decoded exactly once; a plus sign stays a plus sign. For opaque
    /// values such as the purchase token (marketplace contract 1.1).
    pub fn query_verbatim(&self, name: &str) -> Option<String> {
        self.raw_query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
    }

    /// What stands behind `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(http::header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request("invalid_json", format!("The body is not JSON: {error}.")))
    }

    /// Whether the caller is a browser that wants a page rather than a program that wants JSON.
    pub fn wants_page(&self) -> bool {
        self.header(http::header::ACCEPT).is_some_and(|accept| accept.contains("text/html"))
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| cookie::Cookie::split_parse(text.to_owned()))
            .filter_map(Result::ok)
            .find(|cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned())
    }
}

/// The fields of a posted form. Only the CSRF check makes one for a signed-in handler.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// A field with surrounding blanks removed; empty when it was not sent, the last one when it was sent repeatedly.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().rev().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// Every value of a field that may be sent repeatedly, such as a group of boxes that are ticked.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }
}

/// Small pieces leave at once. Otherwise the kernel holds the second one back until the first is acknowledged, which
/// costs a stream some forty milliseconds. Connections inherit it from their listener when they are made; where that
/// does not work, streams are slower and still right.
#[cfg(unix)]
pub fn send_at_once(listener: &tokio::net::TcpListener) {
    use std::os::fd::AsFd as _;
    if let Ok(twin) = listener.as_fd().try_clone_to_owned() {
        let set = std::net::TcpStream::from(twin).set_nodelay(true);
        tracing::trace!(?set, "asked the listener for no delay");
    }
}

#[cfg(not(unix))]
pub fn send_at_once(_: &tokio::net::TcpListener) {}

pub fn html(body: String) -> Response {
    respond(StatusCode::OK, "text/html; charset=utf-8", body)
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => respond(status, "application/json", body),
        // Our own types serialise; a map with keys that are not strings would be the only way here.
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// An answer with no body. Webhook callers and browsers after a redirect need none.
pub fn empty(status: StatusCode) -> Response {
    respond(status, "text/plain; charset=utf-8", Bytes::new())
}

/// "See other": the browser fetches `location` with GET. `location` is one of our own paths or an address of ours.
pub fn redirect(location: &str) -> Response {
    let mut response = empty(StatusCode::SEE_OTHER);
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

pub fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Body::Whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds a header whose value we made ourselves; a value that can not be a header is left out.
#[must_use]
pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
    response
}

/// Marks an answer that no cache may keep: it is about one person or one moment.
#[must_use]
pub fn uncached(response: Response) -> Response {
    with_header(response, CACHE_CONTROL, "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::rng::SeededRandom;

    fn request(raw_query: &str) -> Request {
        Request {
            id: RequestId::new(jiff::Timestamp::UNIX_EPOCH, &SeededRandom::new(1)),
            method: Method::GET,
            path: "/".into(),
            raw_query: raw_query.into(),
            headers: HeaderMap::new(),
            params: HashMap::new(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn an_opaque_value_keeps_its_plus_signs_and_is_decoded_once() {
        assert_eq!(request("token=a%2Bb+c%252F").query_verbatim("token").as_deref(), Some("a+b+c%2F"));
        assert_eq!(request("x=1").query_verbatim("token"), None);
    }

    #[tokio::test]
    async fn what_was_sent_of_a_file_already_is_not_taken_for_what_lies_between() {
        let mut body = b"--x\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n".to_vec();
        body.resize(4 * MOST_BETWEEN, b'y');
        body.extend_from_slice(b"\r\n--x--\r\n");
        let pieces: Vec<_> = body.chunks(64 * 1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let inside = Arc::new(AtomicBool::new(false));
        let mut parts = multer::Multipart::new(framed(Box::pin(stream::iter(pieces)), Arc::clone(&inside)), "x");
        let mut field = parts.next_field().await.unwrap().unwrap();
        inside.store(true, Ordering::Relaxed);
        let mut read = 0;
        while let Some(piece) = field.chunk().await.unwrap() {
            read += piece.len();
        }
        assert!(read > 3 * MOST_BETWEEN);
    }

    #[test]
    fn form_fields_are_trimmed_and_missing_ones_are_empty() {
        let form = Form::parse(b"plan=+gold+&n=1&n=2");
        assert_eq!((form.get("plan"), form.get("other"), form.get("n")), ("gold", "", "2"));
        assert_eq!(form.all("n").collect::<Vec<_>>(), ["1", "2"]);
    }
}
