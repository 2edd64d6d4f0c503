//! The environment, read once and checked whole: either a [`Settings`] in which everything holds, or the list of all
//! that is wrong, each with the setting's name and the remedy.

mod read;
pub mod table;

use std::net::SocketAddr;
use std::path::PathBuf;

use lettre::message::Mailbox;

use super::ids::{ObjectId, TenantId};
use super::secret::Secret;
use super::smtp::Smtp;
use super::telemetry::LogFormat;

/// Which of Azure's clouds; decides endpoints and audiences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    Global,
    China,
}

impl Cloud {
    pub fn entra_authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    pub fn arm_url(self) -> &'static str {
        match self {
            Self::Global => "https://management.azure.com",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }

    /// The suffix of storage hosts: `<account>.table.<suffix>`.
    pub fn storage_suffix(self) -> &'static str {
        match self {
            Self::Global => "core.windows.net",
            Self::China => "core.chinacloudapi.cn",
        }
    }
}

/// Where rows, messages and blobs live.
#[derive(Debug, Clone)]
pub enum Storage {
    Embedded { folder: PathBuf },
    Azure { account: StorageAccount },
}

#[derive(Debug, Clone)]
pub enum StorageAccount {
    ConnectionString(Secret),
    ManagedIdentity { account: String, client_id: Option<String> },
}

/// The app that calls Microsoft and to which Microsoft's tokens are addressed.
#[derive(Debug, Clone)]
pub struct Marketplace {
    pub tenant_id: TenantId,
    pub client_id: String,
    pub client_secret: Secret,
    pub api_url: String,
    /// Lower case.
    pub caller_ids: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct SignIn {
    pub client_id: String,
    pub client_secret: Secret,
    pub staff: Vec<ObjectId>,
}

/// Notifications of managed applications, and how they are confirmed.
#[derive(Debug, Clone)]
pub struct ManagedApps {
    /// The newest first; empty: notifications are not taken.
    pub secrets: Vec<Secret>,
    /// Plans whose applications can not be read; `*`: all.
    pub without_access: Vec<String>,
    pub arm_url: String,
}

/// Microsoft's datasets, and where they are asked for.
#[derive(Debug, Clone)]
pub struct Analytics {
    /// As they were named; `all`: every one.
    pub datasets: Vec<String>,
    pub api_url: String,
    pub resource: String,
}

/// How and as whom mail is sent.
#[derive(Debug, Clone)]
pub struct Mail {
    pub smtp: Smtp,
    pub from: Mailbox,
}

/// The table that Microsoft writes leads into.
#[derive(Debug, Clone)]
pub struct LeadTable {
    pub connection: Secret,
    pub name: String,
}

/// Where a managed identity's tokens come from.
#[derive(Debug, Clone, Default)]
pub struct IdentityEndpoint {
    pub url: Option<String>,
    pub header: Secret,
}

/// Keys of AI services: one of each provider, and those that deployments name.
#[derive(Debug, Clone, Default)]
pub struct AiKeys {
    pub openai: Secret,
    pub speech: Secret,
    pub vision: Secret,
    pub named: Vec<(String, Secret)>,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub cloud: Cloud,
    pub listen: SocketAddr,
    pub simulator: SocketAddr,
    /// Without a trailing slash.
    pub public_base_url: String,
    pub cors_origins: Vec<String>,
    pub log_level: String,
    pub log_format: LogFormat,
    pub storage: Storage,
    /// None when `MARKETPLACE_MODE=false`.
    pub marketplace: Option<Marketplace>,
    pub sign_in: Option<SignIn>,
    pub managed_apps: ManagedApps,
    pub analytics: Analytics,
    /// None: no mail is sent.
    pub mail: Option<Mail>,
    /// 0: leads keep their people.
    pub lead_retention_days: u32,
    /// None: no table is read.
    pub lead_table: Option<LeadTable>,
    pub entra_authority: String,
    pub publisher_name: String,
    pub support_email: String,
    /// Name and key of each of the publisher's own systems.
    pub publisher_api_keys: Vec<(String, Secret)>,
    /// Empty: the built-in one.
    pub catalogue_file: String,
    /// Empty: the AI API has no models.
    pub ai_deployments_file: String,
    pub ai_keys: AiKeys,
    /// Empty: leads are forwarded nowhere.
    pub lead_destinations_file: String,
    /// Keys of those destinations by name.
    pub lead_keys: Vec<(String, Secret)>,
    /// Signs customers' short-lived tokens; None: there are none.
    pub jwt_secret: Option<Secret>,
    /// Hosts, as `host` or `host:port`, that may be fetched although they are private.
    pub fetch_private_hosts: Vec<String>,
    /// Bytes of a customer's file.
    pub media_file_limit: u64,
    pub functions_port: Option<u16>,
    pub identity_endpoint: IdentityEndpoint,
    /// Of a user-assigned identity; None: the system-assigned one.
    pub identity_client_id: Option<String>,
}

impl Settings {
    /// Whether cookies can be `Secure`: everywhere but on plain-http loopback.
    pub fn is_https(&self) -> bool {
        self.public_base_url.starts_with("https://")
    }

    /// The public base address as browsers write it in `Origin`: without a path.
    pub fn origin(&self) -> String {
        url::Url::parse(&self.public_base_url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.public_base_url)
    }
}

/// One thing wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    pub name: &'static str,
    pub message: String,
}

/// All that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl std::fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} setting(s) are wrong:", self.0.len())?;
        for error in &self.0 {
            writeln!(f, "  {}: {}", error.name, error.message)?;
        }
        write!(f, "`mediagenie settings` lists every setting with its meaning and default.")
    }
}

impl std::error::Error for SettingErrors {}
