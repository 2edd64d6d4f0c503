//! Fetching what somebody else names. Their address must not become a way into our own network: names are resolved
//! here, private addresses are taken out, and the connection goes to what was checked; each redirect is checked again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

const MOST_REDIRECTS: usize = 3;
const WHOLE: Duration = Duration::from_secs(30);

/// Fetches public addresses only.
#[derive(Debug)]
pub struct Fetcher {
    http: reqwest::Client,
    allowed: Arc<Allowed>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("The address can not be read; it must be https://host/path.")]
    Unreadable,
    #[error("Only https addresses are fetched.")]
    Scheme,
    #[error("The address must not carry a user name or password.")]
    Credentials,
    #[error("The address, or one that it leads to, is not on the public internet.")]
    Private,
    #[error("The address could not be fetched: {0}.")]
    Failed(String),
    #[error("The address answered {0}.")]
    Status(http::StatusCode),
    #[error("What is at the address is larger than {} MiB.", .0 / 1024 / 1024)]
    TooLarge(u64),
}

/// Hosts, as `host` or `host:port`, that may be private and spoken to without TLS.
#[derive(Debug, Default)]
struct Allowed(Vec<String>);

impl Allowed {
    fn has(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let full = url.port_or_known_default().map(|port| format!("{host}:{port}"));
        self.0.iter().any(|known| known == host || Some(known) == full.as_ref())
    }

    fn resolves(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.split(':').next() == Some(name))
    }

    fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Credentials);
        }
        if self.has(url) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(FetchError::Scheme);
        }
        match url.host() {
            // Numbers are not resolved, so they are checked here; names when they are resolved.
            Some(Host::Ipv4(address)) if is_public(IpAddr::V4(address)) => Ok(()),
            Some(Host::Ipv6(address)) if is_public(IpAddr::V6(address)) => Ok(()),
            // The resolver knows no ports: of a listed host, only what is listed may be asked.
            Some(Host::Domain(name)) if self.resolves(name) => Err(FetchError::Private),
            Some(Host::Domain(_)) => Ok(()),
            Some(_) => Err(FetchError::Private),
            None => Err(FetchError::Unreadable),
        }
    }
}

/// The mark of a name that has no public address, found again among the causes of an error.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

struct Resolver(Arc<Allowed>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.resolves(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| allowed || is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl Fetcher {
    /// `allowed`: hosts, as `host` or `host:port`, that may be private and spoken to without TLS.
    pub fn new(allowed: Vec<String>) -> Result<Self, reqwest::Error> {
        let allowed = Arc::new(Allowed(allowed));
        let check = Arc::clone(&allowed);
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_REDIRECTS {
                return attempt.error("too many redirects");
            }
            match check.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(_) => attempt.error(NotPublic),
            }
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirects)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&allowed))))
            .connect_timeout(Duration::from_secs(5))
            // A pooled connection would be to an address of before.
            .pool_max_idle_per_host(0)
            .referer(false)
            .user_agent(concat!("MediaGenie/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, allowed })
    }

    /// Reads an address that may be asked for, as far as that can be seen without resolving its name.
    pub fn check(&self, address: &str) -> Result<Url, FetchError> {
        let url = Url::parse(address).map_err(|_| FetchError::Unreadable)?;
        self.allowed.check(&url)?;
        Ok(url)
    }

    /// What is at an address, up to a size.
    pub async fn fetch(&self, address: &str, largest: usize) -> Result<Bytes, FetchError> {
        let mut pieces = self.open(address, largest as u64, WHOLE).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes.into())
    }

    /// The same piece by piece, for what is too large to be held; within `time`, from the first word to the last.
    pub async fn open(
        &self,
        address: &str,
        largest: u64,
        time: Duration,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError> {
        let url = self.check(address)?;
        let response = self.http.get(url).timeout(time).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        if response.content_length().is_some_and(|length| length > largest) {
            return Err(FetchError::TooLarge(largest));
        }
        let mut length = 0;
        let pieces = response.bytes_stream().map(move |piece| {
            let piece = piece.map_err(failed)?;
            length += piece.len() as u64;
            if length > largest { Err(FetchError::TooLarge(largest)) } else { Ok(piece) }
        });
        Ok(pieces.boxed())
    }
}

fn failed(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if this.is::<NotPublic>() {
            return FetchError::Private;
        }
        cause = this.source();
    }
    let word = if error.is_timeout() {
        "it took too long"
    } else if error.is_connect() {
        "there is no connection"
    } else if error.is_redirect() {
        "it redirects too often"
    } else {
        "the transfer broke off"
    };
    FetchError::Failed(word.to_owned())
}

/// Whether an address is one of the public internet: not of this machine, this network, a cloud's own services, or any
/// range set aside (IANA's special-purpose registries).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        // Azure's own platform address, reachable from every virtual machine.
        || address == Ipv4Addr::new(168, 63, 129, 16);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // NAT64 and 6to4 carry an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "168.63.129.16",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
            "fec0::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "20.50.2.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn an_exception_with_a_port_is_for_that_port_only() {
        let allowed = Allowed(vec!["store.internal:8443".to_owned(), "files.internal".to_owned()]);
        let check = |address: &str| allowed.check(&Url::parse(address).unwrap()).is_ok();
        assert!(check("https://store.internal:8443/x") && check("http://files.internal:9/x"));
        assert!(!check("https://store.internal/x") && !check("https://store.internal:22/x"));
        assert!(check("https://example.com/x") && !check("http://example.com/x"));
    }

    #[tokio::test]
    async fn addresses_into_our_own_network_are_not_fetched() {
        let fetcher = Fetcher::new(Vec::new()).unwrap();
        for (address, said) in [
            ("nonsense", "can not be read"),
            ("http://example.com/x", "Only https"),
            ("file:///etc/passwd", "Only https"),
            ("https://user:secret@example.com/", "user name"),
            ("https://127.0.0.1/", "public internet"),
            ("https://2130706433/", "public internet"),
            ("https://0x7f.1/", "public internet"),
            ("https://[::1]/", "public internet"),
            ("https://[::ffff:169.254.169.254]/latest", "public internet"),
            ("https://localhost/", "public internet"),
        ] {
            let error = fetcher.fetch(address, 10).await.unwrap_err().to_string();
            assert!(error.contains(said), "{address}: {error}");
        }
    }
}
