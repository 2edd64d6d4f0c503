//! Log output: people's form on a terminal, one JSON object a line elsewhere. It goes to standard output, because the
//! Functions host records every line of standard error as an error (functions-host contract, section 2).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Console form on a terminal, JSON elsewhere.
    Auto,
    Json,
    Console,
}

/// Starts logging for the whole process. A second call changes nothing, so tests may call it freely.
pub fn start(level: &str, format: LogFormat) {
    let filter =
        EnvFilter::try_new(format!("{level},hyper=warn,reqwest=warn,rustls=warn,azure_core=warn,azure_storage=warn"))
            .unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match format {
        LogFormat::Auto => !std::io::stdout().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Console => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stdout);
    // An error here means that a subscriber is already in place.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
}
