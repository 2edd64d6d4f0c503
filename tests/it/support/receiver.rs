//! Somebody who is told by callback: keeps what came, and answers as the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use warp::Filter as _;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of its signatures was made with a secret, as receivers check it.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let text = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        mac.update(text.as_bytes());
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|given| given == wanted)
    }
}

type Answer = (u16, Vec<(&'static str, String)>, String);

#[derive(Clone, Default)]
pub struct Receiver {
    /// As `FETCH_PRIVATE_HOSTS` wants it.
    pub host: String,
    got: Arc<Mutex<Vec<Got>>>,
    next: Arc<Mutex<VecDeque<Answer>>>,
    usual: Arc<Mutex<Option<u16>>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { host: listener.local_addr().unwrap().to_string(), ..Self::default() };
        let this = receiver.clone();
        let routes = warp::path::full().and(warp::header::headers_cloned()).and(warp::body::bytes()).map(
            move |path: warp::path::FullPath, headers: HeaderMap, body: bytes::Bytes| {
                let body = String::from_utf8(body.to_vec()).unwrap();
                this.got.lock().unwrap().push(Got { path: path.as_str().to_owned(), headers, body });
                let usual = this.usual.lock().unwrap().unwrap_or(204);
                let (status, headers, text) =
                    this.next.lock().unwrap().pop_front().unwrap_or((usual, Vec::new(), "no".to_owned()));
                let mut answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                answer.body(text).unwrap()
            },
        );
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// What came since the last look.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    /// The next answer that nobody has had yet.
    pub fn answer(&self, status: u16, headers: &[(&'static str, &str)], text: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.next.lock().unwrap().push_back((status, headers, text.to_owned()));
    }

    /// Every other answer.
    pub fn always(&self, status: u16) {
        *self.usual.lock().unwrap() = Some(status);
    }
}
