//! A report's file that somebody has, such as one downloaded from Partner Center before this product was there. It goes the way
//! of every other file; only its execution is ours.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{AnalyticsError, CONTAINER, ingest};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::execution::{Covers, Execution, Raw, State};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::hex::hex;

/// Where a file comes from that no report of ours made.
pub const REPORT: &str = "import";

/// Takes a file in; what became of it. The same file with the same time is the same execution. `generated`: when Microsoft made
/// it; days that are held from later files stay as they are.
pub async fn import(
    app: &Arc<App>,
    dataset: &'static Dataset,
    generated: Timestamp,
    tsv: bool,
    pieces: impl Stream<Item = std::io::Result<Bytes>>,
) -> Result<Execution, AnalyticsError> {
    let name = format!("raw/{}/import/{}", dataset.name, app.random.token());
    let mut writer = app.blobs.create(CONTAINER, &name, "text/csv").await?;
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| AnalyticsError::Asked {
            field: "file",
            reason: format!("The file could not be read: {error}"),
        })?;
        hash.update(&piece);
        length += piece.len() as u64;
        writer.write(piece).await?;
    }
    writer.finish().await?;
    let sha256 = hex(&hash.finalize());
    let mut execution =
        Execution::found(dataset.name, &format!("{REPORT}-{}", &sha256[..16]), REPORT, generated, app.clock.now());
    execution.covers = Covers::ItsDates;
    execution.tsv = tsv;
    execution.state = State::Fetched;
    execution.raw = Some(Raw { name: name.clone(), length, gzip: false, sha256 });
    if !repo::found(app, &execution).await? {
        app.blobs.delete(CONTAINER, &name).await?;
    }
    ingest::ingest(app, dataset).await?;
    let now = repo::execution(app, &execution).await?;
    Ok(now.map_or(execution, |(execution, _)| execution))
}
