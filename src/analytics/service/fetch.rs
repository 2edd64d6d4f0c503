//! A report's file, from Microsoft's blob storage into ours. A transfer that breaks goes on where it was, as long as the file is
//! the same; a process that dies begins again. The blob is there when it is whole.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::header;
use sha2::{Digest as _, Sha256};

use super::{AnalyticsError, CONTAINER};
use crate::analytics::client::{AnalyticsClient, DownloadError};
use crate::analytics::model::execution::{Execution, Raw};
use crate::app::App;
use crate::blobs::BlobWriter;
use crate::foundation::hex::hex;
use crate::fulfillment::ApiError;

/// Tries without a byte of progress.
const TRIES: u32 = 5;
const SILENCE: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Debug)]
pub enum Fetched {
    Here(Raw),
    /// Microsoft does not have it any more, or its link is no link of theirs.
    Never(String),
    /// There is no link yet.
    NotYet,
}

struct Transfer {
    writer: Box<dyn BlobWriter>,
    hash: Sha256,
    length: u64,
    /// The file's ETag at Microsoft.
    version: Option<String>,
    gzip: bool,
}

async fn begin(app: &App, name: &str) -> Result<Transfer, AnalyticsError> {
    let writer = app.blobs.create(CONTAINER, name, "text/csv").await?;
    Ok(Transfer { writer, hash: Sha256::new(), length: 0, version: None, gzip: false })
}

pub async fn fetch(app: &App, client: &AnalyticsClient, execution: &Execution) -> Result<Fetched, AnalyticsError> {
    let link = || async { client.run(&execution.report, &execution.id).await };
    let Some(run) = link().await? else { return Ok(Fetched::Never("Microsoft no longer has this execution".into())) };
    let Some(mut address) = run.link else { return Ok(Fetched::NotYet) };
    let name = format!(
        "raw/{}/{}/{}.{}",
        execution.dataset,
        execution.generated.strftime("%Y-%m"),
        execution.version(),
        if execution.tsv { "tsv" } else { "csv" }
    );
    let mut transfer = begin(app, &name).await?;
    let (mut tries, mut renewed) = (0, false);
    loop {
        let before = transfer.length;
        match go_on(app, client, &address, &name, &mut transfer).await {
            Ok(()) => break,
            Err(Broken::Ours(error)) => return Err(error),
            Err(Broken::Theirs(DownloadError::ForeignHost(host))) => {
                return Ok(Fetched::Never(DownloadError::ForeignHost(host).to_string()));
            }
            // The link's time is over: there is another one for the asking.
            Err(Broken::Theirs(DownloadError::Refused(_))) if !renewed => {
                renewed = true;
                let Some(run) = link().await? else {
                    return Ok(Fetched::Never("Microsoft no longer has this execution".into()));
                };
                let Some(new) = run.link else { return Ok(Fetched::NotYet) };
                address = new;
            }
            Err(Broken::Theirs(error)) => {
                if matches!(error, DownloadError::Changed) {
                    transfer = begin(app, &name).await?;
                }
                tries = if transfer.length > before { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(ApiError::Unavailable(error.to_string()).into());
                }
                let asked = match error {
                    DownloadError::Unavailable { wait, .. } => wait,
                    _ => None,
                };
                let pause = asked.unwrap_or(Duration::from_millis(100 * 2_u64.pow(tries)));
                tokio::time::sleep(pause.min(LONGEST_WAIT)).await;
            }
        }
    }
    let (length, gzip, hash) = (transfer.length, transfer.gzip, transfer.hash);
    transfer.writer.finish().await?;
    Ok(Fetched::Here(Raw { name, length, gzip, sha256: hex(&hash.finalize()) }))
}

enum Broken {
    Ours(AnalyticsError),
    Theirs(DownloadError),
}

fn lost(said: String) -> Broken {
    Broken::Theirs(DownloadError::Unavailable { said, wait: None })
}

/// Reads on from where the transfer is, to the end.
async fn go_on(
    app: &App,
    client: &AnalyticsClient,
    address: &str,
    name: &str,
    transfer: &mut Transfer,
) -> Result<(), Broken> {
    let opened = client.open(address, transfer.length, transfer.version.as_deref()).await.map_err(Broken::Theirs)?;
    if opened.from_start && transfer.length > 0 {
        *transfer = begin(app, name).await.map_err(Broken::Ours)?;
    }
    let headers = opened.response.headers();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if transfer.length == 0 {
        transfer.version = text(header::ETAG).map(str::to_owned);
        transfer.gzip = text(header::CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
    }
    let expected = text(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let began = transfer.length;
    let mut body = opened.response.bytes_stream();
    loop {
        let next = tokio::time::timeout(SILENCE, body.next()).await;
        match next {
            Err(_) => return Err(lost("silence in the middle of the file".into())),
            Ok(Some(Err(error))) => return Err(lost(error.without_url().to_string())),
            Ok(Some(Ok(piece))) => {
                transfer.hash.update(&piece);
                transfer.length += piece.len() as u64;
                transfer.writer.write(piece).await.map_err(|error| Broken::Ours(error.into()))?;
            }
            Ok(None) if expected.is_some_and(|expected| transfer.length - began < expected) => {
                return Err(lost("the file ended early".into()));
            }
            Ok(None) => return Ok(()),
        }
    }
}
