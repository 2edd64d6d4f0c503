//! `mediagenie demo`: the product as under `serve`, on the embedded store, with the simulated Microsoft on a loopback
//! port of its own, reached over real HTTP through ordinary settings.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Failure, fail, host, say, stopping, until};
use crate::analytics::{self, model::datasets::DATASETS};
use crate::foundation::clock::{Clock as _, SystemClock};
use crate::foundation::rng::{Random as _, SystemRandom};
use crate::foundation::settings::Settings;
use crate::foundation::telemetry;
use crate::host::{Host, dispatch, serve};
use crate::metering::BUILT_IN_CATALOGUE;
use crate::simulator::{AiConfig, AnalyticsHistory, CrmConfig, Delivery, ProductConfig, Simulator, SimulatorOptions};

/// What is new at each start unless it is set.
struct Secrets {
    publisher_api_keys: String,
    jwt_secret: String,
    managed_apps: String,
}

/// Microsoft lists no plans of managed applications: the demo's have what the simulated marketplace sells as `metered`.
fn catalogue() -> String {
    let mut all: serde_json::Value = serde_json::from_str(BUILT_IN_CATALOGUE).unwrap_or_default();
    all["plans"]["metered"]["dimensions"]["speech_minutes"] =
        json!({ "name": "Speech", "unit": "minute", "price": "0.02", "included": { "P1M": "1000" } });
    all.to_string()
}

/// Names that the demo decides itself, whatever the environment says: it must never reach the real Microsoft.
fn decided(
    name: &str,
    listen: &str,
    simulated: &ProductConfig,
    simulated_ai: &AiConfig,
    simulated_crm: &CrmConfig,
    folder: &str,
    secrets: &Secrets,
) -> Option<String> {
    let text = match name {
        "AZURE_CLOUD" => "Global".to_owned(),
        "STORAGE" => "embedded".to_owned(),
        "DATA_DIR" => folder.to_owned(),
        "PUBLIC_BASE_URL" => format!("http://{listen}"),
        "MARKETPLACE_MODE" => "true".to_owned(),
        "ENTRA_AUTHORITY" => simulated.entra_authority.clone(),
        "MARKETPLACE_TENANT_ID" => simulated.tenant_id.clone(),
        "MARKETPLACE_CLIENT_ID" => simulated.client_id.clone(),
        "MARKETPLACE_CLIENT_SECRET" => simulated.client_secret.clone(),
        "MARKETPLACE_API_URL" => simulated.api_url.clone(),
        "MARKETPLACE_CALLER_IDS" => simulated.caller_id.clone(),
        "SIGN_IN_CLIENT_ID" => simulated.sign_in_client_id.clone(),
        "SIGN_IN_CLIENT_SECRET" => simulated.sign_in_client_secret.clone(),
        "STAFF_OBJECT_IDS" => simulated.staff_object_id.clone(),
        "PUBLISHER_API_KEYS" => secrets.publisher_api_keys.clone(),
        "AI_DEPLOYMENTS_FILE" => format!("{folder}/deployments.json"),
        "AZURE_OPENAI_KEY" => simulated_ai.api_key.clone(),
        "AZURE_SPEECH_KEY" => simulated_ai.speech_key.clone(),
        "AZURE_VISION_KEY" => simulated_ai.vision_key.clone(),
        "LEAD_DESTINATIONS_FILE" => format!("{folder}/destinations.json"),
        "LEAD_KEYS" => simulated_crm.keys(),
        "MANAGED_APP_SECRETS" => secrets.managed_apps.clone(),
        "MANAGED_APPS_WITHOUT_ACCESS" => String::new(),
        "CATALOGUE_FILE" if environment(name, "").is_empty() => format!("{folder}/catalogue.json"),
        "ARM_URL" => simulated.arm_url.clone(),
        "ANALYTICS_DATASETS" => environment(name, "all"),
        "ANALYTICS_API_URL" => simulated.analytics_url.clone(),
        "ANALYTICS_RESOURCE" => simulated.analytics_resource.clone(),
        "IDENTITY_ENDPOINT" => simulated.identity_endpoint.clone(),
        "IDENTITY_HEADER" => simulated.identity_header.clone(),
        "JWT_SECRET" => secrets.jwt_secret.clone(),
        _ => return std::env::var(name).ok(),
    };
    Some(text)
}

fn environment(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty()).unwrap_or_else(|| default.to_owned())
}

/// Two years of sales that end yesterday, and reports that take a moment.
fn prepare_analytics(simulator: &Simulator, now: Timestamp) {
    const MONTHS: u32 = 24;
    let today = now.to_zoned(TimeZone::UTC).date();
    let history = AnalyticsHistory {
        customers: 60,
        from_month: today.saturating_sub(i64::from(MONTHS).months()),
        months: MONTHS,
        ..AnalyticsHistory::default()
    };
    simulator.analytics().set_history(Some(history));
    simulator.analytics().set_duration(SignedDuration::from_secs(1));
}

/// The timer's first round comes with the hour; the demo's pages are to show something at once.
async fn pull_analytics(host: Host, simulator: Simulator) {
    let Some(pull) = host.functions.by_name("AnalyticsPull") else { return };
    // Whoever names datasets wants these and no others.
    if host.app.settings.analytics.datasets != ["all"] {
        return;
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Err(error) = dispatch::timer(&host, pull).await {
            tracing::warn!(?error, "the demo's first pull failed");
        }
    }
    // Microsoft runs five reports an hour at once. The others are taken in as files that somebody has downloaded.
    for dataset in DATASETS.iter().skip(5) {
        let (now, known) = (SystemClock.now(), dataset.columns.iter().filter(|column| !column.personal));
        let names: Vec<&str> = known.map(|column| column.name).collect();
        let mut file = csv::Writer::from_writer(Vec::new());
        let mut written = file.write_record(&names);
        for row in
            simulator.analytics_truth(dataset.name, jiff::civil::date(2000, 1, 1), now.to_zoned(TimeZone::UTC).date())
        {
            let cell = |name: &str| row.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_deref();
            written = written.and_then(|()| file.write_record(names.iter().map(|name| cell(name).unwrap_or_default())));
        }
        let Some(file) = written.ok().and_then(|()| file.into_inner().ok()) else { continue };
        let pieces = futures_util::stream::iter([Ok(file.into())]);
        if let Err(error) = analytics::import(&host.app, dataset, now, false, pieces).await {
            tracing::warn!(dataset = dataset.name, %error, "the demo's file could not be taken in");
        }
    }
}

pub async fn run() -> Result<(), Failure> {
    let listen = environment("LISTEN_ADDRESS", "127.0.0.1:8080");
    let simulator_address = environment("SIMULATOR_ADDRESS", "127.0.0.1:8090");
    let folder = format!("{}/demo", environment("DATA_DIR", "./data").trim_end_matches('/'));
    let simulator = Simulator::new(SimulatorOptions {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        base_url: format!("http://{simulator_address}"),
        product_url: format!("http://{listen}"),
        delivery: Delivery::Automatic,
    });
    prepare_analytics(&simulator, SystemClock.now());
    let (config, ai, crm) = (simulator.config(), simulator.ai_config(), simulator.crm_config());
    // A key of the publisher's own systems, new at each start unless one is set.
    let keys = environment("PUBLISHER_API_KEYS", &format!("demo={}", SystemRandom.token()));
    let key =
        keys.split(',').next().and_then(|first| first.split_once('=')).map_or("", |(_, key)| key.trim()).to_owned();
    let secrets = Secrets {
        publisher_api_keys: keys,
        jwt_secret: environment("JWT_SECRET", &SystemRandom.token()),
        managed_apps: SystemRandom.token(),
    };
    simulator
        .set_notification_address(&format!("http://{listen}/marketplace/managed-app?sig={}", secrets.managed_apps));
    let settings =
        Settings::read(&|name| decided(name, &listen, &config, &ai, &crm, &folder, &secrets)).map_err(|errors| {
            fail(&errors);
            Failure::Misused
        })?;
    if !settings.listen.ip().is_loopback() || !settings.simulator.ip().is_loopback() {
        fail(&std::io::Error::other(
            "the demo listens on loopback addresses only: its simulated sign-in lets anybody in",
        ));
        return Err(Failure::Misused);
    }
    telemetry::start(&settings.log_level, settings.log_format);
    let bind = async |address| {
        TcpListener::bind(address).await.map_err(|error| {
            fail(&std::io::Error::new(
                error.kind(),
                format!(
                    "{address} can not be listened on: {error}; choose others with LISTEN_ADDRESS and SIMULATOR_ADDRESS"
                ),
            ))
        })
    };
    let (product, simulated) = (bind(settings.listen).await?, bind(settings.simulator).await?);
    // The simulated Microsoft forgets everything at its end, so an earlier demo's rows would belong to nobody.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(format!("{folder}/deployments.json"), ai.deployments().to_string()))
        .and_then(|()| std::fs::write(format!("{folder}/catalogue.json"), catalogue()))
        .and_then(|()| std::fs::write(format!("{folder}/destinations.json"), crm.demo().to_string()))
        .map_err(|error| fail(&error))?;
    let host = host(settings).await?;
    let stopping = stopping();
    tokio::spawn(pull_analytics(host.clone(), simulator.clone()));
    let simulating = tokio::spawn(simulator.serve(simulated, until(stopping.clone())));
    say(&format!(
        "\nMediaGenie demo\n\n  1. Buy a subscription   http://{simulator_address}/   (simulated Microsoft: marketplace and sign-in)\n  \
         2. The product          http://{listen}/\n  3. The customer portal  http://{listen}/portal\n  \
         4. The staff portal     http://{listen}/publisher   (sign in as the publisher's administrator)\n\n  \
         Usage of a subscription of the plan Metered, which includes 1,000 minutes:\n  \
         curl http://{listen}/api/usage -H 'Authorization: Bearer {key}' \\\n    \
         -d '{{\"id\": \"first\", \"subscription\": \"<its id>\", \"dimension\": \"speech_minutes\", \"quantity\": 1020}}'\n\n\
         Leads go to a simulated Dynamics 365 and a simulated channel of Teams: http://{simulator_address}/simulator/crm\n\n\
         Everything about Microsoft here is simulated; nothing is billed. State is in {folder} and begins anew with each start. Ctrl-C ends it.\n"
    ));
    serve::run(host, product, stopping).await;
    let _ = simulating.await;
    Ok(())
}
