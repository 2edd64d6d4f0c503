//! What a person decides about a file that is not believed, and the file itself.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{AnalyticsError, file, ingest};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::execution::{Execution, Raw, State};
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::web::Body;

const PIECE: usize = 256 * 1024;

pub async fn find(app: &App, dataset: &Dataset, id: &str) -> Result<Option<Execution>, AnalyticsError> {
    let all = repo::executions(app, dataset.name).await?;
    Ok(all.into_iter().map(|(execution, _)| execution).find(|execution| execution.id == id))
}

/// Lets a file pass that was held; `false`: it is not held (any more). The message is sent first: one too many finds nothing
/// to do.
pub async fn release(app: &App, dataset: &'static Dataset, id: &str, by: &str) -> Result<bool, AnalyticsError> {
    let all = repo::executions(app, dataset.name).await?;
    let held = |execution: &Execution| execution.id == id && matches!(execution.state, State::Held { .. });
    let Some((mut execution, etag)) = all.into_iter().find(|(execution, _)| held(execution)) else { return Ok(false) };
    execution.state = State::Fetched;
    execution.released_by = Some(by.to_owned());
    repo::save_execution(app, &execution, etag).await?;
    // Should this fail, the next round of the timer finds the execution open.
    ingest::request(app, dataset.name).await?;
    Ok(true)
}

/// The file as Microsoft wrote it, unpacked.
pub fn raw(app: &App, raw: &Raw) -> Body {
    let (sender, mut receiver) = mpsc::channel::<std::io::Result<Bytes>>(4);
    let (blobs, runtime, raw) = (Arc::clone(&app.blobs), Handle::current(), raw.clone());
    tokio::task::spawn_blocking(move || {
        let mut file = file::open(blobs, runtime, &raw);
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).map(|read| {
                piece.truncate(read);
                Bytes::from(piece)
            });
            let ended = !matches!(&read, Ok(piece) if !piece.is_empty());
            // An error breaks the connection, so that nobody takes the part for the whole.
            let empty = matches!(&read, Ok(piece) if piece.is_empty());
            if !empty && sender.blocking_send(read).is_err() || ended {
                return;
            }
        }
    });
    Body::Stream(Box::pin(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))))
}
