//! `mediagenie usage`: what was recorded and billed, as CSV for exact ranges. Reads only, also beside a running server.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;

use super::{Failure, fail, settings};
use crate::app::App;
use crate::foundation::clock::SystemClock;
use crate::foundation::rng::SystemRandom;
use crate::metering::{self, What};

#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// Write records or usage events of a range of time as CSV.
    Export {
        /// First instant: a day such as 2026-03-01 (its beginning in UTC) or a time such as 2026-03-01T08:00:00Z.
        #[arg(long, value_parser = instant)]
        from: Timestamp,
        /// End of the range, which is not in it.
        #[arg(long, value_parser = instant)]
        to: Timestamp,
        /// Records by the time of their acceptance, or usage events by their hour.
        #[arg(long, value_enum, default_value_t = What::Records)]
        what: What,
        /// Only this resource: a subscription's GUID, or the key of a managed application.
        #[arg(long)]
        resource: Option<String>,
        /// Where to write it; standard output without.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_| day()).map_err(|_: jiff::Error| "expected 2026-03-01 or 2026-03-01T08:00:00Z".to_owned())
}

pub async fn run(command: UsageCommand) -> Result<(), Failure> {
    let UsageCommand::Export { from, to, what, resource, out } = command;
    if from >= to {
        fail(&std::io::Error::other("--from must lie before --to"));
        return Err(Failure::Misused);
    }
    let app = App::build_beside(settings()?, Arc::new(SystemClock), Arc::new(SystemRandom))
        .await
        .map_err(|error| fail(&error))?;
    let resource = match resource {
        Some(text) => match metering::by_key(&app, &text.to_lowercase()).await.map_err(|error| fail(&error))? {
            Some(resource) => Some(resource),
            None => return Err(fail(&std::io::Error::other(format!("{text} was never metered")))),
        },
        None => None,
    };
    let target: Box<dyn Write + Send> = match &out {
        Some(path) => Box::new(std::fs::File::create(path).map_err(|error| fail(&error))?),
        None => Box::new(std::io::stdout()),
    };
    let lines = metering::export(&app, what, resource.as_ref(), from, to, BufWriter::new(target))
        .await
        .map_err(|error| fail(&error))?;
    tell(&format!("{lines} lines, from {from} to before {to}"));
    Ok(())
}

/// Beside the export itself, so that it can be piped on.
#[expect(clippy::print_stderr, reason = "the command line speaks on standard error")]
fn tell(text: &str) {
    eprintln!("{text}");
}
