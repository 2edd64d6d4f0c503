//! `mediagenie doctor`: is everything that the settings point to there, and does it let us in.

use super::{Failure, host, say, settings};
use crate::health;

/// What to do about a failing check.
fn remedy(check: &str) -> &'static str {
    match check {
        "store" => {
            "Check STORAGE, DATA_DIR or AzureWebJobsStorage; with a managed identity, its roles Storage Table Data Contributor and Storage Blob Data Contributor."
        }
        "queue" => "Check AzureWebJobsStorage; with a managed identity, its role Storage Queue Data Contributor.",
        "sign_in_keys" => {
            "Check ENTRA_AUTHORITY and MARKETPLACE_TENANT_ID, and that this machine reaches Microsoft Entra."
        }
        "marketplace_token" => {
            "Check MARKETPLACE_TENANT_ID, MARKETPLACE_CLIENT_ID and MARKETPLACE_CLIENT_SECRET, and the secret's end date in Entra."
        }
        _ => {
            "Check that the application id in Partner Center's technical configuration is MARKETPLACE_CLIENT_ID, and MARKETPLACE_API_URL."
        }
    }
}

pub async fn run() -> Result<(), Failure> {
    let settings = settings()?;
    say("ok       settings");
    let loopback =
        url::Url::parse(&settings.public_base_url).is_ok_and(|url| crate::foundation::outbound::is_loopback(&url));
    if loopback {
        say("note     PUBLIC_BASE_URL is a loopback address: Microsoft can not reach it");
    }
    let host = host(settings).await?;
    let app = &host.app;
    let mut failed = false;
    let mut report = |name: &str, error: Option<String>, detail: String| {
        failed |= error.is_some();
        match error {
            None => say(&format!("ok       {name}{detail}")),
            Some(error) => say(&format!("FAILED   {name}: {error}\n         {}", remedy(name))),
        }
    };
    for check in health::checks(app).await {
        let detail = if check.detail.is_null() { String::new() } else { format!("  {}", check.detail) };
        report(check.name, check.error, detail);
    }
    if let Some(marketplace) = &app.marketplace {
        match marketplace.subscriptions().await {
            Ok((list, _)) => report("marketplace_api", None, format!("  {} subscription(s) listed", list.len())),
            Err(error) => report("marketplace_api", Some(error.to_string()), String::new()),
        }
    }
    say(&format!(
        "\nFor Partner Center, technical configuration:\n  Landing page URL        {0}/marketplace/landing\n  Connection webhook      {0}/marketplace/webhook",
        app.settings.public_base_url
    ));
    if let Some(marketplace) = &app.settings.marketplace {
        say(&format!(
            "  Entra tenant id         {}\n  Entra application id    {}",
            marketplace.tenant_id, marketplace.client_id
        ));
    }
    if failed { Err(Failure::Failed) } else { Ok(()) }
}
