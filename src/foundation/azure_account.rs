//! The storage account as the three Azure backends share it: endpoints, credentials, and one pooled transport with
//! time-outs and retries. Only `store/azure.rs`, `queue/azure.rs`, `blobs/azure.rs` and `leads/client.rs` (Microsoft's table
//! of leads) use it, so the client library can be exchanged in these five files.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::auth::{AccessToken, TokenCredential};
use azure_core::headers::RETRY_AFTER;
use azure_core::{ClientOptions, HttpClient, RetryOptions, StatusCode, TransportOptions};
use azure_storage::prelude::StorageCredentials;
use azure_storage::{CloudLocation, ConnectionString, EMULATOR_ACCOUNT, EMULATOR_ACCOUNT_KEY};

use super::managed_identity::ManagedIdentity;
use super::settings::{Cloud, StorageAccount};

/// Time for one request to the storage service; its own time-out for table operations is 30 s at most.
const PER_REQUEST: Duration = Duration::from_secs(15);
/// Further tries of a request that met a passing trouble, the first pause, and the longest `Retry-After` obeyed.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("not a connection string with an account and a key or signature")]
    ConnectionString(#[source] azure_core::Error),
    #[error("the storage connection string names no account")]
    NoAccount,
}

#[derive(Debug, Clone)]
pub struct AzureAccount {
    account: String,
    tables: String,
    queues: String,
    blobs: String,
    credentials: StorageCredentials,
    has_key: bool,
    options: ClientOptions,
}

impl AzureAccount {
    /// `identity` gives tokens where the account is named without a key.
    pub fn new(
        account: &StorageAccount,
        cloud: Cloud,
        http: reqwest::Client,
        identity: Arc<ManagedIdentity>,
    ) -> Result<Self, AccountError> {
        let transport: Arc<dyn HttpClient> = Arc::new(Transport { http });
        let options = ClientOptions::default().retry(RetryOptions::none()).transport(TransportOptions::new(transport));
        let suffix = cloud.storage_suffix();
        match account {
            StorageAccount::ManagedIdentity { account, .. } => {
                let credentials = StorageCredentials::token_credential(Arc::new(IdentityCredential(identity)));
                Ok(Self { has_key: false, ..Self::at(account, "https", suffix, credentials, options) })
            }
            StorageAccount::ConnectionString(text) => Self::from_connection_string(text.expose(), suffix, options),
        }
    }

    fn from_connection_string(text: &str, suffix: &str, options: ClientOptions) -> Result<Self, AccountError> {
        let parsed = ConnectionString::new(text).map_err(AccountError::ConnectionString)?;
        if parsed.use_development_storage == Some(true) {
            let credentials = StorageCredentials::access_key(EMULATOR_ACCOUNT, EMULATOR_ACCOUNT_KEY);
            let at = |port| format!("http://127.0.0.1:{port}/{EMULATOR_ACCOUNT}");
            return Ok(Self {
                account: EMULATOR_ACCOUNT.into(),
                blobs: at(10000),
                queues: at(10001),
                tables: at(10002),
                credentials,
                has_key: true,
                options,
            });
        }
        let credentials = parsed.storage_credentials().map_err(AccountError::ConnectionString)?;
        let account = parsed.account_name.ok_or(AccountError::NoAccount)?;
        let protocol = parsed.default_endpoints_protocol.as_ref().map_or("https".to_owned(), ToString::to_string);
        let mut this = Self::at(account, &protocol, parsed.endpoint_suffix.unwrap_or(suffix), credentials, options);
        for (field, given) in [
            (&mut this.tables, parsed.table_endpoint),
            (&mut this.queues, parsed.queue_endpoint),
            (&mut this.blobs, parsed.blob_endpoint),
        ] {
            if let Some(endpoint) = given {
                endpoint.trim_end_matches('/').clone_into(field);
            }
        }
        Ok(this)
    }

    fn at(
        account: &str,
        protocol: &str,
        suffix: &str,
        credentials: StorageCredentials,
        options: ClientOptions,
    ) -> Self {
        let host = |service: &str| format!("{protocol}://{account}.{service}.{suffix}");
        Self {
            account: account.to_owned(),
            tables: host("table"),
            queues: host("queue"),
            blobs: host("blob"),
            credentials,
            has_key: true,
            options,
        }
    }

    fn location(&self, uri: &str) -> CloudLocation {
        CloudLocation::Custom { account: self.account.clone(), uri: uri.to_owned() }
    }

    pub fn tables(&self) -> CloudLocation {
        self.location(&self.tables)
    }

    pub fn queues(&self) -> CloudLocation {
        self.location(&self.queues)
    }

    pub fn blobs(&self) -> CloudLocation {
        self.location(&self.blobs)
    }

    pub fn credentials(&self) -> StorageCredentials {
        self.credentials.clone()
    }

    /// Whether the account's own key is known here; else a token of the machine's identity stands for it.
    pub fn has_key(&self) -> bool {
        self.has_key
    }

    pub fn options(&self) -> ClientOptions {
        self.options.clone()
    }
}

/// The pooled client with our retries: refused connections, time-outs, 429 and 5xx, obeying `Retry-After`. A write
/// may thus happen twice; the row store tells its own success from a stranger's by a mark in the row.
#[derive(Debug)]
struct Transport {
    http: reqwest::Client,
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &azure_core::Request) -> azure_core::Result<azure_core::Response> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            let result = self.once(request).await;
            let wait = match &result {
                Ok(response) if is_passing(response.status()) => {
                    let asked = response.headers().get_optional_str(&RETRY_AFTER).and_then(|text| text.parse().ok());
                    asked.map_or(pause, Duration::from_secs)
                }
                Ok(_) => return result,
                Err(_) => pause,
            };
            if wait > LONGEST_PAUSE {
                return result;
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        self.once(request).await
    }
}

impl Transport {
    async fn once(&self, request: &azure_core::Request) -> azure_core::Result<azure_core::Response> {
        let call = self.http.execute_request(request);
        tokio::time::timeout(PER_REQUEST, call).await.unwrap_or_else(|_| {
            Err(azure_core::Error::message(
                azure_core::error::ErrorKind::Io,
                format!("no answer from storage within {} s", PER_REQUEST.as_secs()),
            ))
        })
    }
}

/// Whether trying again can help.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::RequestTimeout
            | StatusCode::TooManyRequests
            | StatusCode::InternalServerError
            | StatusCode::BadGateway
            | StatusCode::ServiceUnavailable
            | StatusCode::GatewayTimeout
    )
}

/// The HTTP status of a failed call and Azure's word for it, if an answer came at all.
pub fn failure(error: &azure_core::Error) -> Option<(u16, &str)> {
    let http = error.as_http_error()?;
    Some((http.status().into(), http.error_code().unwrap_or_default()))
}

#[derive(Debug)]
struct IdentityCredential(Arc<ManagedIdentity>);

#[async_trait]
impl TokenCredential for IdentityCredential {
    async fn get_token(&self, _scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let token = self
            .0
            .token("https://storage.azure.com/")
            .await
            .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::Credential, error))?;
        let expires = azure_core::date::parse_rfc3339(&token.expires.to_string())?;
        Ok(AccessToken::new(token.secret.expose().to_owned(), expires))
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        Ok(())
    }
}
