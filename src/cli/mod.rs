//! Arguments and exit codes: 0 done, 1 failed, 2 wrong settings or arguments.

mod analytics;
mod demo;
mod doctor;
mod usage;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::App;
use crate::foundation::clock::SystemClock;
use crate::foundation::rng::SystemRandom;
use crate::foundation::settings::{Settings, Storage, table};
use crate::foundation::telemetry;
use crate::host::{Host, custom_handler, package, serve};

/// Azure Marketplace backend and paid AI API in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "mediagenie",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Settings are environment variables; `mediagenie settings` lists them."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole product with a simulated Microsoft beside it; needs no settings and no cloud.
    Demo,
    /// Serve on LISTEN_ADDRESS, with queue poller and scheduler: for containers and laptops.
    Serve,
    /// Serve the Azure Functions host as its custom handler; the host sets the port.
    Functions,
    /// Write the folder that is deployed to Azure Functions.
    Package {
        /// Where to write it; new, empty, or an earlier package.
        folder: PathBuf,
    },
    /// Check the settings and everything they point to, and say what to do about what is wrong.
    Doctor,
    /// Export what was used and billed.
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// Ask Microsoft's datasets, and copy the lake.
    #[command(subcommand)]
    Analytics(analytics::AnalyticsCommand),
    /// List every setting with its meaning and default.
    Settings {
        /// Write docs/SETTINGS.md instead.
        #[arg(long, conflicts_with = "sample")]
        markdown: bool,
        /// Write local.settings.sample.json instead.
        #[arg(long)]
        sample: bool,
    },
}

/// What went wrong, as an exit code; the message has been shown.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Failed,
    Misused,
}

/// Reads the arguments and does what they say.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit(Err(fail(&error))),
    };
    exit(runtime.block_on(perform(arguments.command)))
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed) => ExitCode::from(1),
        Err(Failure::Misused) => ExitCode::from(2),
    }
}

/// Shows an error with its causes.
#[expect(clippy::print_stderr, reason = "the command line speaks on standard error")]
fn fail(error: &dyn std::error::Error) -> Failure {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    Failure::Failed
}

#[expect(clippy::print_stdout, reason = "what was asked for goes to standard output")]
fn say(text: &str) {
    println!("{text}");
}

async fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo => demo::run().await,
        Command::Serve => serve_until_signal(settings()?).await,
        Command::Functions => functions(settings()?).await,
        Command::Package { folder } => {
            let count = package::write(&folder).map_err(|error| fail(&error))?;
            say(&format!(
                "wrote {count} functions to {}\ndeploy: func azure functionapp publish <app> --custom   (in that folder)",
                folder.display()
            ));
            Ok(())
        }
        Command::Doctor => doctor::run().await,
        Command::Usage(command) => usage::run(command).await,
        Command::Analytics(command) => analytics::run(command).await,
        Command::Settings { markdown, sample } => {
            let text = if sample {
                table::local_settings_sample()
            } else if markdown {
                table::markdown()
            } else {
                list()
            };
            say(text.trim_end());
            Ok(())
        }
    }
}

/// The settings for people: name, default, meaning.
fn list() -> String {
    let mut text = String::new();
    for group in table::TABLE {
        text.push_str(&format!("\n{}\n", group.title));
        for setting in group.settings {
            let default = if setting.secret {
                "(secret)".to_owned()
            } else if setting.default.is_empty() {
                "–".to_owned()
            } else {
                setting.default.to_owned()
            };
            text.push_str(&format!("  {:<38} {default}\n      {}\n", setting.name, setting.doc));
        }
    }
    text
}

fn settings() -> Result<Settings, Failure> {
    Settings::from_environment().map_err(|errors| {
        fail(&errors);
        Failure::Misused
    })
}

/// The app and its functions on the machine's clock and randomness.
async fn host(settings: Settings) -> Result<Host, Failure> {
    let app =
        App::build(settings, Arc::new(SystemClock), Arc::new(SystemRandom)).await.map_err(|error| fail(&error))?;
    Host::new(app).map_err(|error| fail(&error))
}

async fn serve_until_signal(settings: Settings) -> Result<(), Failure> {
    telemetry::start(&settings.log_level, settings.log_format);
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        fail(&std::io::Error::new(
            error.kind(),
            format!("LISTEN_ADDRESS {} can not be listened on: {error}", settings.listen),
        ))
    })?;
    let public = settings.public_base_url.clone();
    let host = host(settings).await?;
    tracing::info!(address = %listener.local_addr().map(|address| address.to_string()).unwrap_or_default(), public, "serving");
    let app = std::sync::Arc::clone(&host.app);
    serve::run(host, listener, stopping()).await;
    crate::ai::books::write(&app).await;
    tracing::info!("stopped");
    Ok(())
}

async fn functions(settings: Settings) -> Result<(), Failure> {
    telemetry::start(&settings.log_level, settings.log_format);
    let Some(port) = settings.functions_port else {
        fail(&std::io::Error::other(
            "FUNCTIONS_CUSTOMHANDLER_PORT is not set; `mediagenie functions` is started by the Functions host (`func start`). To serve without it: `mediagenie serve`",
        ));
        return Err(Failure::Misused);
    };
    if matches!(settings.storage, Storage::Embedded { .. }) {
        fail(&std::io::Error::other(
            "STORAGE: under the Functions host state must be in Azure Storage, where the host reads the queues and every \
             instance finds it; set STORAGE=azure",
        ));
        return Err(Failure::Misused);
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| fail(&error))?;
    let host = host(settings).await?;
    tracing::info!(port, "serving the Functions host");
    let app = std::sync::Arc::clone(&host.app);
    custom_handler::run(host, listener, until(stopping())).await;
    crate::ai::books::write(&app).await;
    Ok(())
}

/// Becomes true with SIGTERM or Ctrl-C.
fn stopping() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        tracing::info!("asked to stop; finishing what was begun");
        // Nobody waits any more when the server has ended by itself.
        let _ = sender.send(true);
    });
    receiver
}

async fn until(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

#[cfg(unix)]
fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    async {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
