//! `mediagenie analytics`: how fresh the datasets are, rows of exact dates, the lake, and files that somebody has. All but
//! `import` read only, also beside a running server.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use jiff::civil::Date;

use super::{Failure, fail, say, settings};
use crate::analytics::model::datasets::{DATASETS, Dataset};
use crate::analytics::model::execution::State;
use crate::analytics::{self, Answer, Ask, Chosen, Format, QuestionError};
use crate::app::App;
use crate::foundation::clock::SystemClock;
use crate::foundation::rng::SystemRandom;
use crate::foundation::web::Body;

#[derive(Debug, Subcommand)]
pub enum AnalyticsCommand {
    /// How fresh each dataset is, and what does not go as it should.
    Status,
    /// Write rows of exact dates (UTC, both days included).
    Rows {
        /// Such as ISVUsage or usage.
        #[arg(value_parser = dataset)]
        dataset: &'static Dataset,
        #[arg(long)]
        from: Date,
        #[arg(long)]
        to: Date,
        /// Columns, separated by commas; all without.
        #[arg(long, value_delimiter = ',')]
        columns: Vec<String>,
        #[arg(long, value_enum, default_value_t = Shape::Csv)]
        format: Shape,
        /// Where to write it; standard output without.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Answer a question in Microsoft's query language from what is held, as CSV (docs/ANALYTICS-QUERIES.md).
    Query {
        /// Such as "SELECT PlanId, MeteredUsage FROM ISVUsage TIMESPAN LAST_MONTH".
        query: String,
        /// These dates instead of the span that it names.
        #[arg(long, requires = "to")]
        from: Option<Date>,
        #[arg(long, requires = "from")]
        to: Option<Date>,
        /// Show the first rows as Microsoft answers them itself.
        #[arg(long, conflicts_with_all = ["from", "to"])]
        at_microsoft: bool,
    },
    /// Take in a report's file that you have, such as one downloaded from Partner Center. No server may own the embedded store.
    Import {
        #[arg(value_parser = dataset)]
        dataset: &'static Dataset,
        file: PathBuf,
        /// When Microsoft made it, such as 2026-03-01T08:00:00Z; days that are held from later files stay as they are.
        #[arg(long)]
        generated: Timestamp,
    },
    /// Copy the lake (Parquet by dataset and month) into a new folder that DuckDB and others read.
    Lake { folder: PathBuf },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shape {
    Csv,
    Ndjson,
}

fn dataset(text: &str) -> Result<&'static Dataset, String> {
    Dataset::find(text).ok_or_else(|| {
        let names: Vec<_> = DATASETS.iter().map(|dataset| dataset.name).collect();
        format!("the datasets are {}", names.join(", "))
    })
}

pub async fn run(command: AnalyticsCommand) -> Result<(), Failure> {
    let settings = settings()?;
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let app = match command {
        AnalyticsCommand::Import { .. } => App::build(settings, clock, random).await,
        _ => App::build_beside(settings, clock, random).await,
    }
    .map_err(|error| fail(&error))?;
    match command {
        AnalyticsCommand::Status => status(&app).await,
        AnalyticsCommand::Rows { dataset, from, to, columns, format, out } => {
            let ask = Ask { dataset, from, to, columns, undated: false };
            let format = match format {
                Shape::Csv => Format::Csv { for_people: false },
                Shape::Ndjson => Format::JsonLines,
            };
            rows(&app, &ask, format, out).await
        }
        AnalyticsCommand::Query { query, at_microsoft: true, .. } => {
            for row in analytics::sample(&app, &query).await.map_err(|error| wrong(&error))? {
                say(&serde_json::Value::Object(row).to_string());
            }
            Ok(())
        }
        AnalyticsCommand::Query { query, from, to, .. } => {
            let answered = analytics::ask(&app, &query, from.zip(to)).await.map_err(|error| wrong(&error))?;
            let mut writer = csv::Writer::from_writer(std::io::stdout());
            let all = std::iter::once(&answered.table.columns).chain(&answered.table.rows);
            for row in all {
                writer.write_record(row).map_err(|error| fail(&error))?;
            }
            writer.flush().map_err(|error| fail(&error))
        }
        AnalyticsCommand::Import { dataset, file, generated } => import(&app, dataset, &file, generated).await,
        AnalyticsCommand::Lake { folder } => {
            // Months that are gone by now would stay in it.
            if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
                fail(&std::io::Error::other(format!("{} is not empty; name a new folder", folder.display())));
                return Err(Failure::Misused);
            }
            let count = lake(&app, &folder).await?;
            say(&format!("{count} files in {}", folder.display()));
            Ok(())
        }
    }
}

/// Everything that is wrong with a question, each under its word.
fn wrong(error: &QuestionError) -> Failure {
    let QuestionError::Wrong(all) = error else { return fail(error) };
    for wrong in all {
        let remedy = wrong.remedy.as_deref().unwrap_or_default();
        fail(&std::io::Error::other(format!("{}\n{}\n{remedy}", wrong.message, wrong.shown)));
    }
    Failure::Misused
}

async fn status(app: &Arc<App>) -> Result<(), Failure> {
    for status in analytics::statuses(app).await.map_err(|error| fail(&error))? {
        let dates = status.dates.map_or_else(|| "nothing yet".to_owned(), |(first, last)| format!("{first} to {last}"));
        let pulled = if status.pulled { "" } else { "  (not pulled)" };
        let as_of = status.as_of.map_or_else(|| "-".to_owned(), |as_of| as_of.to_string());
        say(&format!("{:24} {:>10} rows  {dates}  as of {as_of}{pulled}", status.dataset, status.rows));
        let trouble = status.schedule.and_then(|schedule| schedule.trouble);
        if let Some(trouble) = trouble {
            say(&format!("{:24} since {}: {}", "", trouble.since, trouble.said));
        }
    }
    Ok(())
}

async fn rows(app: &Arc<App>, ask: &Ask, format: Format, out: Option<PathBuf>) -> Result<(), Failure> {
    let answer = Answer::open(app, ask).await.map_err(|error| fail(&error))?;
    let mut target: Box<dyn std::io::Write + Send> = match &out {
        Some(path) => Box::new(File::create(path).map_err(|error| fail(&error))?),
        None => Box::new(std::io::stdout()),
    };
    let chosen = Chosen::all(answer.columns().len());
    if let Body::Stream(mut pieces) = analytics::stream(answer, format, chosen) {
        while let Some(piece) = pieces.next().await {
            let written = piece.and_then(|piece| target.write_all(&piece));
            written.map_err(|error| fail(&error))?;
        }
    }
    target.flush().map_err(|error| fail(&error))
}

async fn import(
    app: &Arc<App>,
    dataset: &'static Dataset,
    path: &PathBuf,
    generated: Timestamp,
) -> Result<(), Failure> {
    let mut file = File::open(path).map_err(|error| fail(&error))?;
    let pieces = futures_util::stream::iter(std::iter::from_fn(move || {
        let mut piece = Vec::new();
        match std::io::Read::by_ref(&mut file).take(1024 * 1024).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(error)),
        }
    }));
    if generated > app.clock.now() + jiff::SignedDuration::from_hours(1) {
        fail(&std::io::Error::other("--generated lies in the future; no later file could replace these days"));
        return Err(Failure::Misused);
    }
    let tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let execution = analytics::import(app, dataset, generated, tsv, pieces).await.map_err(|error| fail(&error))?;
    for oddity in &execution.oddities {
        say(oddity);
    }
    match execution.state {
        State::Done => {
            let dates = execution.dates.map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
            let (new, changed) = (execution.days_new, execution.days_changed);
            say(&format!("{} rows{dates}: {new} days are new, {changed} have changed", execution.rows));
            Ok(())
        }
        State::Held { why } | State::Failed { why } => Err(fail(&std::io::Error::other(why))),
        State::Found | State::Fetched | State::Switched => {
            Err(fail(&std::io::Error::other("another program is taking files in; look at `analytics status`")))
        }
    }
}

async fn lake(app: &Arc<App>, folder: &std::path::Path) -> Result<usize, Failure> {
    let copied = analytics::copy_lake(app, |name, at, piece| {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::options().create(true).write(true).truncate(at == 0).open(&path)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(piece)
    });
    copied.await.map_err(|error| fail(&error))
}
