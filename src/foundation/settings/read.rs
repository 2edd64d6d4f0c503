//! From names and texts to [`Settings`], collecting every mistake on the way.

use std::net::SocketAddr;
use std::str::FromStr;

use lettre::message::Mailbox;

use super::{
    AiKeys, Analytics, Cloud, IdentityEndpoint, LeadTable, Mail, ManagedApps, Marketplace, SettingError, SettingErrors,
    Settings, SignIn, Storage, StorageAccount, table,
};
use crate::foundation::outbound::base_address;
use crate::foundation::secret::Secret;
use crate::foundation::smtp::{Security, Smtp};
use crate::foundation::telemetry::LogFormat;

/// A key that is guessed must not be worth the time.
const SHORTEST_KEY: usize = 32;

struct Reader<'a> {
    look_up: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<SettingError>,
}

impl Reader<'_> {
    /// The text that holds: what is set, else the default of the table. Blank counts as not set.
    fn text(&self, name: &'static str) -> String {
        let default = table::all().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        (self.look_up)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())
    }

    fn wrong(&mut self, name: &'static str, message: impl Into<String>) {
        self.errors.push(SettingError { name, message: message.into() });
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str, expected: &str) -> Option<T> {
        let text = self.text(name);
        if text.is_empty() {
            self.wrong(name, format!("is not set; expected {expected}"));
            return None;
        }
        let value = text.parse().ok();
        if value.is_none() {
            self.wrong(name, format!("`{text}` is not {expected}"));
        }
        value
    }

    fn required(&mut self, name: &'static str, expected: &str) -> String {
        let text = self.text(name);
        if text.is_empty() {
            self.wrong(name, format!("is not set; expected {expected}"));
        }
        text
    }

    fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name);
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.wrong(name, format!("`{text}` is not one of {}", words.join(", ")));
        }
        found
    }

    fn address(&mut self, name: &'static str, text: String) -> String {
        match base_address(&text) {
            Ok(address) => address,
            Err(error) => {
                self.wrong(name, format!("`{text}` {error}"));
                text
            }
        }
    }

    fn list<T: FromStr>(&mut self, name: &'static str, expected: &str) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.parse() {
                Ok(value) => values.push(value),
                Err(_) => self.wrong(name, format!("`{item}` is not {expected}")),
            }
        }
        values
    }

    /// `name=key, name=key`. The message never repeats a key.
    fn named_keys(&mut self, setting: &'static str, shortest: usize) -> Vec<(String, Secret)> {
        let mut keys: Vec<(String, Secret)> = Vec::new();
        for item in self.text(setting).split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, key) = item.split_once('=').unwrap_or(("", item));
            let (name, key) = (name.trim(), key.trim());
            let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if !plain || keys.iter().any(|(known, _)| known == name) {
                self.wrong(setting, "each key needs a name of its own before it, letters and digits: `billing=<key>`");
            } else if key.len() < shortest {
                self.wrong(
                    setting,
                    format!(
                        "the key `{name}` is shorter than {shortest} characters; make one with `openssl rand -hex 32`"
                    ),
                );
            } else {
                keys.push((name.to_owned(), Secret::new(key)));
            }
        }
        keys
    }

    fn jwt_secret(&mut self) -> Option<Secret> {
        let secret = Some(self.text("JWT_SECRET")).filter(|secret| !secret.is_empty())?;
        if secret.len() < SHORTEST_KEY {
            self.wrong(
                "JWT_SECRET",
                format!("it is shorter than {SHORTEST_KEY} characters; make one with `openssl rand -hex 32`"),
            );
        }
        Some(Secret::new(secret))
    }

    fn managed_apps(&mut self, cloud: Cloud) -> ManagedApps {
        const NAME: &str = "MANAGED_APP_SECRETS";
        let text = self.text(NAME);
        let secrets: Vec<&str> = text.split(',').map(str::trim).filter(|secret| !secret.is_empty()).collect();
        if secrets.len() > 2 {
            self.wrong(NAME, "has more than two secrets; keep the new one and the one that it replaces");
        }
        if secrets.iter().any(|secret| secret.len() < SHORTEST_KEY) {
            self.wrong(
                NAME,
                format!("one is shorter than {SHORTEST_KEY} characters; make one with `openssl rand -hex 32`"),
            );
        }
        let address = Some(self.text("ARM_URL")).filter(|text| !text.is_empty());
        ManagedApps {
            secrets: secrets.into_iter().map(Secret::new).collect(),
            without_access: self.list("MANAGED_APPS_WITHOUT_ACCESS", "the id of a plan"),
            arm_url: self.address("ARM_URL", address.unwrap_or_else(|| cloud.arm_url().to_owned())),
        }
    }

    fn analytics(&mut self) -> Analytics {
        let url = self.text("ANALYTICS_API_URL");
        Analytics {
            datasets: self.list("ANALYTICS_DATASETS", "the name of a dataset"),
            api_url: self.address("ANALYTICS_API_URL", url),
            resource: self.text("ANALYTICS_RESOURCE"),
        }
    }

    fn mail(&mut self) -> Option<Mail> {
        let (server, from, password) = (self.text("MAIL_SMTP"), self.text("MAIL_FROM"), self.text("MAIL_PASSWORD"));
        if server.is_empty() {
            return None;
        }
        let parsed = url::Url::parse(&server).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps"));
        let Some((url, host)) = parsed.and_then(|url| url.host_str().map(str::to_owned).map(|host| (url, host))) else {
            // It is not repeated: somebody may have written the password into it.
            self.wrong("MAIL_SMTP", "is not an address such as smtp://user@mail.example.com:587");
            return None;
        };
        if url.password().is_some() {
            self.wrong("MAIL_SMTP", "has a password in it; set MAIL_PASSWORD instead");
        }
        let from: Option<Mailbox> = from
            .parse()
            .map_err(|_| self.wrong("MAIL_FROM", "is no mail address such as Analytics <analytics@example.com>"))
            .ok();
        let security = match url.scheme() {
            "smtps" => Security::Tls,
            _ if matches!(host.as_str(), "localhost" | "127.0.0.1") => Security::None,
            _ => Security::StartTls,
        };
        let user = percent_encoding::percent_decode_str(url.username()).decode_utf8_lossy().into_owned();
        if user.is_empty() != password.is_empty() {
            self.wrong("MAIL_PASSWORD", "the user in MAIL_SMTP and the password belong together");
        }
        let from = from?;
        let smtp = Smtp {
            host,
            port: url.port().unwrap_or(security.usual_port()),
            security,
            login: (!user.is_empty()).then(|| (user, Secret::new(password))),
            domain: from.email.domain().to_owned(),
            password_in: "MAIL_PASSWORD",
        };
        Some(Mail { smtp, from })
    }

    fn lead_table(&mut self) -> Option<LeadTable> {
        let (connection, name) = (self.text("LEAD_TABLE_CONNECTION"), self.text("LEAD_TABLE_NAME"));
        let plain = name.len() >= 3 && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
            self.wrong("LEAD_TABLE_NAME", format!("`{name}` is not a table's name: 3 to 63 letters and digits"));
        }
        (!connection.is_empty()).then(|| LeadTable { connection: Secret::new(connection), name })
    }

    fn storage(&mut self) -> Storage {
        let azure = self.choice("STORAGE", &[("embedded", false), ("azure", true)]).unwrap_or(false);
        if !azure {
            return Storage::Embedded { folder: self.text("DATA_DIR").into() };
        }
        let connection = self.text("AzureWebJobsStorage");
        let account = self.text("AzureWebJobsStorage__accountName");
        let account = match (connection.is_empty(), account.is_empty()) {
            (false, _) => StorageAccount::ConnectionString(Secret::new(connection)),
            (true, false) => StorageAccount::ManagedIdentity {
                account,
                client_id: Some(self.text("AzureWebJobsStorage__clientId")).filter(|id| !id.is_empty()),
            },
            (true, true) => {
                self.wrong("AzureWebJobsStorage", "STORAGE=azure needs this connection string, or AzureWebJobsStorage__accountName for a managed identity");
                StorageAccount::ConnectionString(Secret::default())
            }
        };
        Storage::Azure { account }
    }

    fn marketplace(&mut self, cloud: Cloud) -> Option<(Marketplace, SignIn)> {
        let on = self.choice("MARKETPLACE_MODE", &[("true", true), ("false", false)]).unwrap_or(false);
        if !on {
            return None;
        }
        if cloud == Cloud::China {
            self.wrong(
                "MARKETPLACE_MODE",
                "the SaaS marketplace does not exist in AZURE_CLOUD=China; set it to `false`",
            );
        }
        const GUID: &str = "a GUID such as 37f9dea2-4345-438f-b0bd-03d40d28c7e0";
        let tenant_id = self.parsed("MARKETPLACE_TENANT_ID", GUID);
        let client_id = self.parsed::<uuid::Uuid>("MARKETPLACE_CLIENT_ID", GUID);
        let client_secret = Secret::new(self.required("MARKETPLACE_CLIENT_SECRET", "the app's client secret"));
        let url = self.text("MARKETPLACE_API_URL");
        let api_url = self.address("MARKETPLACE_API_URL", url);
        let callers: Vec<uuid::Uuid> = self.list("MARKETPLACE_CALLER_IDS", GUID);
        let sign_in_id = self.parsed::<uuid::Uuid>("SIGN_IN_CLIENT_ID", GUID);
        let sign_in_secret = Secret::new(self.required("SIGN_IN_CLIENT_SECRET", "the sign-in app's client secret"));
        let staff = self.list("STAFF_OBJECT_IDS", GUID);
        let marketplace = Marketplace {
            tenant_id: tenant_id?,
            client_id: client_id?.to_string(),
            client_secret,
            api_url,
            caller_ids: callers.iter().map(ToString::to_string).collect(),
        };
        Some((marketplace, SignIn { client_id: sign_in_id?.to_string(), client_secret: sign_in_secret, staff }))
    }
}

impl Settings {
    /// Reads the process's environment.
    pub fn from_environment() -> Result<Self, SettingErrors> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads from any source of names and texts; all mistakes are reported together.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingErrors> {
        let mut reader = Reader { look_up, errors: Vec::new() };
        let cloud = reader
            .choice("AZURE_CLOUD", &[("Global", Cloud::Global), ("China", Cloud::China)])
            .unwrap_or(Cloud::Global);
        let listen: Option<SocketAddr> = reader.parsed("LISTEN_ADDRESS", "an address and port such as 127.0.0.1:8080");
        let simulator: Option<SocketAddr> =
            reader.parsed("SIMULATOR_ADDRESS", "an address and port such as 127.0.0.1:8090");
        let public = reader.text("PUBLIC_BASE_URL");
        let public_base_url = reader.address("PUBLIC_BASE_URL", public);
        let mut authority = reader.text("ENTRA_AUTHORITY");
        if authority.is_empty() {
            cloud.entra_authority().clone_into(&mut authority);
        }
        let entra_authority = reader.address("ENTRA_AUTHORITY", authority);
        let log_level = reader
            .choice(
                "LOG_LEVEL",
                &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")],
            )
            .unwrap_or("info");
        let log_format = reader
            .choice(
                "LOG_FORMAT",
                &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("console", LogFormat::Console)],
            )
            .unwrap_or(LogFormat::Auto);
        let storage = reader.storage();
        let people = reader.marketplace(cloud);
        let managed_apps = reader.managed_apps(cloud);
        let analytics = reader.analytics();
        let mail = reader.mail();
        let lead_table = reader.lead_table();
        let lead_retention_days: Option<u32> = reader.parsed("LEAD_RETENTION_DAYS", "a number of days");
        let origins = reader.text("CORS_ALLOWED_ORIGINS");
        let cors_origins = origins
            .split(',')
            .map(str::trim)
            .filter(|o| !o.is_empty())
            .map(|o| reader.address("CORS_ALLOWED_ORIGINS", o.to_owned()))
            .collect();
        let publisher_api_keys = reader.named_keys("PUBLISHER_API_KEYS", SHORTEST_KEY);
        let catalogue_file = reader.text("CATALOGUE_FILE");
        let ai_deployments_file = reader.text("AI_DEPLOYMENTS_FILE");
        let ai_keys = AiKeys {
            openai: Secret::new(reader.text("AZURE_OPENAI_KEY")),
            speech: Secret::new(reader.text("AZURE_SPEECH_KEY")),
            vision: Secret::new(reader.text("AZURE_VISION_KEY")),
            named: reader.named_keys("AI_KEYS", 1),
        };
        let lead_destinations_file = reader.text("LEAD_DESTINATIONS_FILE");
        let lead_keys = reader.named_keys("LEAD_KEYS", 1);
        let jwt_secret = reader.jwt_secret();
        let fetch_private_hosts = reader.list("FETCH_PRIVATE_HOSTS", "a host");
        let media_file_mib: Option<u64> = reader.parsed("MEDIA_FILE_MIB", "a number of MiB");
        let port = reader.text("FUNCTIONS_CUSTOMHANDLER_PORT");
        let functions_port =
            if port.is_empty() { None } else { reader.parsed("FUNCTIONS_CUSTOMHANDLER_PORT", "a port number") };
        let identity_endpoint = IdentityEndpoint {
            url: Some(reader.text("IDENTITY_ENDPOINT")).filter(|url| !url.is_empty()),
            header: Secret::new(reader.text("IDENTITY_HEADER")),
        };
        let identity_client_id = Some(reader.text("AZURE_CLIENT_ID")).filter(|id| !id.is_empty());
        let publisher_name = reader.text("PUBLISHER_NAME");
        let support_email = reader.text("SUPPORT_EMAIL");
        let (Some(listen), Some(simulator), true) = (listen, simulator, reader.errors.is_empty()) else {
            return Err(SettingErrors(reader.errors));
        };
        let (marketplace, sign_in) = people.unzip();
        Ok(Self {
            cloud,
            listen,
            simulator,
            public_base_url,
            cors_origins,
            log_level: log_level.to_owned(),
            log_format,
            storage,
            marketplace,
            sign_in,
            managed_apps,
            analytics,
            mail,
            lead_retention_days: lead_retention_days.unwrap_or_default(),
            lead_table,
            entra_authority,
            publisher_name,
            support_email,
            publisher_api_keys,
            catalogue_file,
            ai_deployments_file,
            ai_keys,
            lead_destinations_file,
            lead_keys,
            jwt_secret,
            fetch_private_hosts,
            media_file_limit: media_file_mib.unwrap_or(1) * 1024 * 1024,
            functions_port,
            identity_endpoint,
            identity_client_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingErrors> {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::read(&|name| map.get(name).cloned())
    }

    const GOOD: [(&str, &str); 5] = [
        ("MARKETPLACE_TENANT_ID", "11111111-1111-1111-1111-111111111111"),
        ("MARKETPLACE_CLIENT_ID", "22222222-2222-2222-2222-222222222222"),
        ("MARKETPLACE_CLIENT_SECRET", "s3cret"),
        ("SIGN_IN_CLIENT_ID", "33333333-3333-3333-3333-333333333333"),
        ("SIGN_IN_CLIENT_SECRET", "s3cret"),
    ];

    #[test]
    fn defaults_hold_and_secrets_do_not_show() {
        let settings = read(&GOOD).unwrap();
        assert_eq!(settings.entra_authority, "https://login.microsoftonline.com");
        assert_eq!(settings.marketplace.as_ref().unwrap().caller_ids, ["20e940b3-4c77-4b0b-9a53-9e16a1b010a7"]);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn every_wrong_setting_is_reported_at_once() {
        let errors = read(&[
            ("AZURE_CLOUD", "Mars"),
            ("LISTEN_ADDRESS", "here"),
            ("SIMULATOR_ADDRESS", "there"),
            ("PUBLIC_BASE_URL", "http://example.com"),
            ("CORS_ALLOWED_ORIGINS", "https://ok.example,nonsense"),
            ("LOG_LEVEL", "loud"),
            ("LOG_FORMAT", "xml"),
            ("STORAGE", "azure"),
            ("MARKETPLACE_MODE", "true"),
            ("MARKETPLACE_TENANT_ID", "x"),
            ("MARKETPLACE_API_URL", "http://api.example.com"),
            ("MARKETPLACE_CALLER_IDS", "me"),
            ("ENTRA_AUTHORITY", "http://login.example.com"),
            ("STAFF_OBJECT_IDS", "admin"),
            ("FUNCTIONS_CUSTOMHANDLER_PORT", "99999"),
        ])
        .unwrap_err();
        let mut names: Vec<_> = errors.0.iter().map(|e| e.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "AZURE_CLOUD",
                "AzureWebJobsStorage",
                "CORS_ALLOWED_ORIGINS",
                "ENTRA_AUTHORITY",
                "FUNCTIONS_CUSTOMHANDLER_PORT",
                "LISTEN_ADDRESS",
                "LOG_FORMAT",
                "LOG_LEVEL",
                "MARKETPLACE_API_URL",
                "MARKETPLACE_CALLER_IDS",
                "MARKETPLACE_CLIENT_ID",
                "MARKETPLACE_CLIENT_SECRET",
                "MARKETPLACE_TENANT_ID",
                "PUBLIC_BASE_URL",
                "SIGN_IN_CLIENT_ID",
                "SIGN_IN_CLIENT_SECRET",
                "SIMULATOR_ADDRESS",
                "STAFF_OBJECT_IDS",
            ]
        );
    }

    #[test]
    fn china_has_no_saas_marketplace() {
        let mut pairs = GOOD.to_vec();
        pairs.push(("AZURE_CLOUD", "China"));
        assert!(read(&pairs).unwrap_err().to_string().contains("does not exist"));
        let settings = read(&[("AZURE_CLOUD", "China"), ("MARKETPLACE_MODE", "false")]).unwrap();
        assert_eq!(settings.entra_authority, "https://login.partner.microsoftonline.cn");
    }
}
