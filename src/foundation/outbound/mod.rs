//! Outward HTTP: one pooled client for everybody, with time-outs, without redirects. Whoever retries says so in the
//! one policy table below.

mod fetch;

use std::time::Duration;

use backon::ExponentialBuilder;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use url::Url;

pub use fetch::{FetchError, Fetcher, Posted};

/// Longest wait for a connection, and for a whole exchange.
const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(20);
/// Longest wait for an AI service's answer to begin, and longest pause within it. Whoever relays a stream is less patient.
const SILENCE: Duration = Duration::from_secs(580);

/// The pooled client. Redirects are answers here, not instructions: no service we call needs them, and following one
/// would let a foreign answer choose our next address.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .pool_idle_timeout(Duration::from_secs(60))
        .user_agent(concat!("MediaGenie/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The client for AI services: an answer may take minutes, a stream longer; only silence ends it.
pub fn patient_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
        .user_agent(concat!("MediaGenie/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Who waits for the answer decides how long we try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A person, or a webhook with ten seconds: 2 more tries, 150 ms and 300 ms apart.
    Short,
    /// Nobody, because the work comes round again by itself within a minute: no more tries.
    Rounds,
    /// A queue message or a timer: 4 more tries up to 4 s apart; after that the message itself comes again.
    Long,
}

impl Patience {
    pub fn policy(self) -> ExponentialBuilder {
        let base = ExponentialBuilder::default().with_jitter();
        match self {
            Self::Rounds => base.with_max_times(0),
            Self::Short => base.with_min_delay(Duration::from_millis(150)).with_max_times(2),
            Self::Long => {
                base.with_min_delay(Duration::from_millis(300)).with_max_delay(Duration::from_secs(4)).with_max_times(4)
            }
        }
    }

    /// Time for one try. A person's page should rather say that Microsoft is away than wait for it.
    pub fn per_request(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(4),
            Self::Rounds | Self::Long => WHOLE,
        }
    }

    /// The longest `Retry-After` that is obeyed by waiting; a longer one ends the try.
    pub fn longest_wait(self) -> Duration {
        match self {
            Self::Rounds => Duration::ZERO,
            Self::Short => Duration::from_secs(2),
            Self::Long => Duration::from_secs(10),
        }
    }
}

/// Why an address may not be used for outward calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("is not an address such as https://host/path")]
    Unreadable,
    #[error("uses plain http, which is accepted for loopback addresses only; use https")]
    PlainHttp,
    #[error("must not carry a user name or password")]
    Credentials,
}

/// Reads a base address: https, or plain http on a loopback host. The trailing slash is removed.
pub fn base_address(text: &str) -> Result<String, AddressError> {
    let url = Url::parse(text.trim()).map_err(|_| AddressError::Unreadable)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    match url.scheme() {
        "https" if url.host().is_some() => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(AddressError::PlainHttp),
        _ => return Err(AddressError::Unreadable),
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `Retry-After` in seconds, as Microsoft's services send it. The date form is not used by them and is ignored.
pub fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `Retry-After`, in seconds or as a date, as anybody may send it.
pub fn retry_after_or_date(headers: &http::HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Duration::try_from(rfc2822::parse(text).ok()?.timestamp().duration_since(now)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;

    #[test]
    fn a_wait_is_read_in_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            ("Fri, 20 Nov 2026 10:02:00 GMT", Some(120)),
            ("Fri, 20 Nov 2026 09:00:00 GMT", None),
            ("soon", None),
        ] {
            let headers: HeaderMap = [(header::RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(retry_after_or_date(&headers, now).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        assert_eq!(base_address("http://127.0.0.1:8090/api/").as_deref(), Ok("http://127.0.0.1:8090/api"));
        assert_eq!(base_address("http://localhost:1").as_deref(), Ok("http://localhost:1"));
        assert_eq!(base_address("http://example.com"), Err(AddressError::PlainHttp));
        assert_eq!(base_address("http://127.0.0.1.example.com"), Err(AddressError::PlainHttp));
        assert_eq!(base_address("https://u:p@example.com"), Err(AddressError::Credentials));
        assert_eq!(base_address("ftp://x"), Err(AddressError::Unreadable));
        assert_eq!(base_address("nonsense"), Err(AddressError::Unreadable));
    }
}
