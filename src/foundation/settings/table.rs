//! Every setting there is: name, default, secrecy, purpose. `docs/SETTINGS.md`, `local.settings.sample.json` and
//! `mediagenie settings` are made from this table; a test compares.

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// What holds when it is not set; empty for "nothing".
    pub default: &'static str,
    pub secret: bool,
    pub doc: &'static str,
}

const fn setting(name: &'static str, default: &'static str, doc: &'static str) -> Setting {
    Setting { name, default, secret: false, doc }
}

const fn secret(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, default: "", secret: true, doc }
}

/// A group of settings under one heading.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub title: &'static str,
    pub settings: &'static [Setting],
}

pub const TABLE: &[Group] = &[
    Group {
        title: "Where it runs",
        settings: &[
            setting(
                "AZURE_CLOUD",
                "Global",
                "`Global` or `China`: picks every endpoint and audience. The SaaS marketplace does not exist in China.",
            ),
            setting(
                "LISTEN_ADDRESS",
                "127.0.0.1:8080",
                "Address and port of `serve` and `demo`. Under `functions` the host chooses the port.",
            ),
            setting(
                "SIMULATOR_ADDRESS",
                "127.0.0.1:8090",
                "Address and port of the simulated Microsoft that `demo` starts.",
            ),
            setting(
                "PUBLIC_BASE_URL",
                "http://127.0.0.1:8080",
                "How browsers and Microsoft reach the product, without a trailing slash. https, or http on loopback.",
            ),
            setting(
                "CORS_ALLOWED_ORIGINS",
                "",
                "Origins, separated by commas, whose pages may call the API from a browser. Empty: none.",
            ),
            setting("LOG_LEVEL", "info", "`error`, `warn`, `info`, `debug` or `trace`."),
            setting("LOG_FORMAT", "auto", "`json`, `console`, or `auto`: console on a terminal, JSON elsewhere."),
        ],
    },
    Group {
        title: "State",
        settings: &[
            setting(
                "STORAGE",
                "embedded",
                "`embedded`: files in DATA_DIR, one server at a time. `azure`: Table, Queue and Blob Storage.",
            ),
            setting("DATA_DIR", "./data", "Folder of the embedded store."),
            secret(
                "AzureWebJobsStorage",
                "Connection string of the storage account; the Functions host's own setting. `UseDevelopmentStorage=true` for Azurite.",
            ),
            setting(
                "AzureWebJobsStorage__accountName",
                "",
                "Instead of a connection string: the account's name, reached with a managed identity.",
            ),
            setting(
                "AzureWebJobsStorage__clientId",
                "",
                "Client id of the user-assigned managed identity; empty for the system-assigned one.",
            ),
        ],
    },
    Group {
        title: "Marketplace",
        settings: &[
            setting(
                "MARKETPLACE_MODE",
                "true",
                "`true`: sell SaaS subscriptions through the marketplace. `false`: all its addresses answer that it is switched off.",
            ),
            setting(
                "ENTRA_AUTHORITY",
                "",
                "Sign-in address of Microsoft Entra. Default by cloud: `https://login.microsoftonline.com` or `https://login.partner.microsoftonline.cn`.",
            ),
            setting(
                "MARKETPLACE_TENANT_ID",
                "",
                "Tenant of the app in the offer's technical configuration. Tokens of webhooks must come from it, and staff belong to it.",
            ),
            setting(
                "MARKETPLACE_CLIENT_ID",
                "",
                "Application id in the offer's technical configuration: calls Microsoft, and is the audience of webhook tokens.",
            ),
            secret("MARKETPLACE_CLIENT_SECRET", "Client secret of that application."),
            setting(
                "MARKETPLACE_API_URL",
                "https://marketplaceapi.microsoft.com/api",
                "Base address of the fulfillment API.",
            ),
            setting(
                "MARKETPLACE_CALLER_IDS",
                "20e940b3-4c77-4b0b-9a53-9e16a1b010a7",
                "Application ids, separated by commas, that may call the webhook. Default: Microsoft's marketplace service.",
            ),
        ],
    },
    Group {
        title: "Managed applications",
        settings: &[
            secret(
                "MANAGED_APP_SECRETS",
                "The `sig` of the notification address, at least 32 characters; two, separated by a comma, while it is rotated. Empty: notifications are not taken.",
            ),
            setting(
                "MANAGED_APPS_WITHOUT_ACCESS",
                "",
                "Plans, separated by commas, whose applications the publisher can not read in Azure (management access is switched off), or `*`: notifications are believed without asking.",
            ),
            setting(
                "ARM_URL",
                "",
                "Base address of Azure Resource Manager. Default by cloud: `https://management.azure.com` or `https://management.chinacloudapi.cn`.",
            ),
        ],
    },
    Group {
        title: "Analytics",
        settings: &[
            setting(
                "ANALYTICS_DATASETS",
                "",
                "Microsoft's datasets to pull, separated by commas, such as `ISVUsage, ISVRevenue`, or `all`; the marketplace app must be added in Partner Center with the role Manager (docs/ANALYTICS.md). Empty: none.",
            ),
            setting(
                "ANALYTICS_API_URL",
                "https://api.partnercenter.microsoft.com/insights/v1.1/cmp",
                "Base address of the programmatic analytics API.",
            ),
            setting(
                "ANALYTICS_RESOURCE",
                "https://api.partnercenter.microsoft.com",
                "What the token for it is asked for; Microsoft has changed it before.",
            ),
        ],
    },
    Group {
        title: "Mail",
        settings: &[
            setting(
                "MAIL_SMTP",
                "",
                "The server by which exports of analytics are mailed: `smtp://user@mail.example.com:587` (STARTTLS, never without), `smtps://user@mail.example.com` (TLS), or `smtp://localhost`. Empty: no mail is sent.",
            ),
            setting("MAIL_FROM", "", "Who sends them, such as `Analytics <analytics@example.com>`."),
            secret("MAIL_PASSWORD", "Password of the user in MAIL_SMTP."),
        ],
    },
    Group {
        title: "Metering",
        settings: &[
            secret(
                "PUBLISHER_API_KEYS",
                "Keys of the publisher's own systems for `/api`: `name=key`, separated by commas, each key at least 32 characters. Empty: `/api/usage` is closed.",
            ),
            setting(
                "CATALOGUE_FILE",
                "",
                "JSON file with meters, tiers, hold rules and plans that Microsoft does not list (docs/METERING.md). Empty: the built-in one.",
            ),
        ],
    },
    Group {
        title: "AI services",
        settings: &[
            setting(
                "AI_DEPLOYMENTS_FILE",
                "",
                "JSON file that names the deployments behind `/v1` (docs/AI.md). Empty: the AI API has no models.",
            ),
            secret("AZURE_OPENAI_KEY", "Key of the Azure OpenAI resource, or of the OpenAI-compatible service."),
            secret("AZURE_SPEECH_KEY", "Key of the Azure Speech resource."),
            secret("AZURE_VISION_KEY", "Key of the Azure AI Vision resource."),
            secret("AI_KEYS", "Further keys, for deployments that name one: `west=<key>, east=<key>`."),
            secret(
                "JWT_SECRET",
                "Signs the short-lived tokens that customers mint from their keys (`POST /v1/tokens`). Empty: there are none.",
            ),
            setting("MEDIA_FILE_MIB", "1024", "The largest file that customers may upload, in MiB."),
            setting(
                "FETCH_PRIVATE_HOSTS",
                "",
                "Hosts, as `host` or `host:port`, that image addresses and callback endpoints may name although they are private or without TLS. Everything else that customers name must be public and https.",
            ),
        ],
    },
    Group {
        title: "Leads",
        settings: &[
            setting(
                "LEAD_DESTINATIONS_FILE",
                "",
                "JSON file that names the systems to which leads are forwarded (docs/LEADS.md). Empty: to none.",
            ),
            secret(
                "LEAD_TABLE_CONNECTION",
                "Connection string of the storage account into whose table Microsoft writes leads (docs/LEADS.md). Empty: no table is read; leads come by HTTPS.",
            ),
            setting("LEAD_TABLE_NAME", "MarketplaceLeads", "Name of that table."),
            setting(
                "LEAD_RETENTION_DAYS",
                "730",
                "Days after its last arrival, after which a lead loses its person; what became of it stays. `0`: never.",
            ),
            secret(
                "LEAD_KEYS",
                "Keys of those systems, by the names that the file uses: `crm=<client secret>, mail=<password>`. A key has no comma.",
            ),
        ],
    },
    Group {
        title: "People",
        settings: &[
            setting(
                "SIGN_IN_CLIENT_ID",
                "",
                "Application id of the sign-in app: any tenant and personal accounts, redirect address `PUBLIC_BASE_URL/sign-in/callback`.",
            ),
            secret("SIGN_IN_CLIENT_SECRET", "Client secret of the sign-in app."),
            setting(
                "STAFF_OBJECT_IDS",
                "",
                "Object ids, separated by commas, of people in the publisher's tenant who are administrators from the start. Others get app roles in Entra.",
            ),
            setting("PUBLISHER_NAME", "MediaGenie", "The vendor's name on pages."),
            setting("SUPPORT_EMAIL", "", "Where pages send people who need help."),
        ],
    },
    Group {
        title: "Set by Azure",
        settings: &[
            setting(
                "FUNCTIONS_CUSTOMHANDLER_PORT",
                "",
                "The loopback port on which the Functions host expects `mediagenie functions`.",
            ),
            setting(
                "IDENTITY_ENDPOINT",
                "",
                "Where a managed identity's tokens come from on Functions and App Service; without it the virtual machine's address is asked.",
            ),
            setting(
                "AZURE_CLIENT_ID",
                "",
                "Client id of the user-assigned identity with which AI services are called. Empty: the system-assigned one.",
            ),
            secret("IDENTITY_HEADER", "Proves to that endpoint that we run on this host."),
        ],
    },
];

/// All settings of all groups.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    TABLE.iter().flat_map(|group| group.settings)
}

/// `docs/SETTINGS.md`, whole.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Settings\n\nMade from the table in `src/foundation/settings/table.rs` by `mediagenie settings --markdown`; do not edit.\n\
         Every setting is an environment variable (in Azure: an app setting). Everything wrong is reported at once, at start.\n",
    );
    for group in TABLE {
        text.push_str(&format!("\n## {}\n\n| setting | default | meaning |\n|---|---|---|\n", group.title));
        for setting in group.settings {
            let default = if setting.default.is_empty() { "–".to_owned() } else { format!("`{}`", setting.default) };
            let secret = if setting.secret { " **Secret.**" } else { "" };
            text.push_str(&format!("| `{}` | {default} | {}{secret} |\n", setting.name, setting.doc));
        }
    }
    text
}

/// `local.settings.sample.json`, whole: what `func start` reads on a developer's machine.
pub fn local_settings_sample() -> String {
    let mut values = serde_json::Map::new();
    values.insert("FUNCTIONS_WORKER_RUNTIME".into(), "custom".into());
    values.insert("AzureWebJobsStorage".into(), "UseDevelopmentStorage=true".into());
    values.insert("AzureWebJobsDisableHomepage".into(), "true".into());
    values.insert("STORAGE".into(), "azure".into());
    for setting in all().filter(|s| {
        !matches!(s.name, "AzureWebJobsStorage" | "STORAGE" | "LISTEN_ADDRESS" | "SIMULATOR_ADDRESS" | "DATA_DIR")
    }) {
        if TABLE.last().is_some_and(|set_by_azure| set_by_azure.settings.iter().any(|s| s.name == setting.name)) {
            continue;
        }
        let value = if setting.name == "PUBLIC_BASE_URL" { "http://localhost:7071" } else { setting.default };
        values.insert(setting.name.into(), value.into());
    }
    let document = serde_json::json!({ "IsEncrypted": false, "Values": values });
    format!("{document:#}\n")
}
