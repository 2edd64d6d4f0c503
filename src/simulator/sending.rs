//! One POST from the simulated Microsoft to an address of the publisher's, and what came of it: for notifications and
//! leads. Webhooks, which carry a token, have their own in `webhooks`.

use std::time::Instant;

use http::header::CONTENT_TYPE;
use url::Url;

use super::Simulator;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Nothing when there was no answer; then `error` says why.
    pub status: Option<u16>,
    pub body: String,
    pub error: Option<String>,
    pub latency_ms: u64,
}

pub async fn post(simulator: &Simulator, url: &str, body: String) -> Answer {
    let sent = Instant::now();
    let kind = "application/json; charset=utf-8";
    let answer = simulator.http().post(url).header(CONTENT_TYPE, kind).body(body).send().await;
    let (status, body, error) = match answer {
        Ok(answer) => (Some(answer.status().as_u16()), answer.text().await.unwrap_or_default(), None),
        Err(error) if error.is_timeout() => (None, String::new(), Some("no answer in time".to_owned())),
        Err(error) => (None, String::new(), Some(error.without_url().to_string())),
    };
    Answer { status, body, error, latency_ms: u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

/// Forms and the control API take addresses of the product and of this machine only: the simulator must not become
/// anybody's way to send requests elsewhere.
pub fn near(simulator: &Simulator, address: &str) -> Result<(), String> {
    let near = Url::parse(address.trim()).is_ok_and(|url| {
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let product = Url::parse(&simulator.product_url()).is_ok_and(|product| product.origin() == url.origin());
        matches!(url.scheme(), "http" | "https") && (loopback || product)
    });
    near.then_some(()).ok_or_else(|| "The address has to be one of the product or of this machine.".to_owned())
}
