//! Writes a package: a ZIP that comes out of the same lines always with the same bytes, piece by piece into a blob.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::analytics::model::close::{File, Line};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::blobs::{BlobError, BlobWriter, Blobs};
use crate::foundation::hex::hex;

pub(super) const CONTAINER: &str = "closes";
/// Bytes that are gathered before they go to the blob, and that are read of one at once.
const PIECE: usize = 1024 * 1024;
const LEVEL: i64 = 6;

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
    /// Without the line of names; none of a text.
    pub lines: u64,
}

/// What was written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub sha256: String,
    pub bytes: u64,
    pub files: Vec<Entry>,
}

/// What the ZIP's writer has made and the blob has not got yet.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<Vec<u8>>>);

impl Made {
    fn take(&self, least: usize) -> Option<Vec<u8>> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (made.len() >= least.max(1)).then(|| std::mem::take(&mut *made))
    }
}

impl Write for Made {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Package {
    blob: Box<dyn BlobWriter>,
    zip: ZipWriter<StreamWriter<Made>>,
    made: Made,
    whole: Sha256,
    bytes: u64,
    files: Vec<Entry>,
    hash: Sha256,
}

fn broken(error: impl std::fmt::Display) -> AnalyticsError {
    AnalyticsError::Worker(format!("the package can not be written: {error}"))
}

/// Lines as CSV.
pub(super) fn csv_bytes(lines: &[Line]) -> Result<Vec<u8>, AnalyticsError> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for line in lines {
        csv.write_record(line).map_err(broken)?;
    }
    csv.into_inner().map_err(broken)
}

impl Package {
    pub(super) async fn create(app: &App, name: &str) -> Result<Self, AnalyticsError> {
        let made = Made::default();
        Ok(Self {
            blob: app.blobs.create(CONTAINER, name, "application/zip").await?,
            zip: ZipWriter::new_stream(made.clone()),
            made,
            whole: Sha256::new(),
            bytes: 0,
            files: Vec::new(),
            hash: Sha256::new(),
        })
    }

    /// Begins a file of texts.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), AnalyticsError> {
        // No time, no place, no person: only the lines decide about the bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(true);
        self.zip.start_file(name, options).map_err(broken)?;
        self.hash = Sha256::new();
        self.files.push(Entry { name: name.to_owned(), sha256: String::new(), bytes: 0, lines: 0 });
        Ok(())
    }

    /// Begins a file of lines.
    pub(super) async fn begin_lines(&mut self, file: File) -> Result<(), AnalyticsError> {
        self.begin(file.name())?;
        let names: Line = file.columns().iter().map(|column| column.name.to_owned()).collect();
        self.write(&csv_bytes(&[names])?).await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), AnalyticsError> {
        // In parts, so that what is made meanwhile stays small.
        for part in bytes.chunks(PIECE) {
            self.hash.update(part);
            self.zip.write_all(part).map_err(broken)?;
            self.pass_on(PIECE).await?;
        }
        if let Some(file) = self.files.last_mut() {
            file.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    pub(super) async fn write_lines(&mut self, lines: &[Line]) -> Result<(), AnalyticsError> {
        if let Some(file) = self.files.last_mut() {
            file.lines += lines.len() as u64;
        }
        self.write(&csv_bytes(lines)?).await
    }

    /// Lines that were written as they stood.
    pub(super) fn count(&mut self, lines: u64) {
        if let Some(file) = self.files.last_mut() {
            file.lines += lines;
        }
    }

    /// Ends the file that was begun.
    pub(super) fn end(&mut self) {
        let hash = std::mem::take(&mut self.hash);
        if let Some(file) = self.files.last_mut() {
            file.sha256 = hex(&hash.finalize());
        }
    }

    async fn pass_on(&mut self, least: usize) -> Result<(), AnalyticsError> {
        if let Some(piece) = self.made.take(least) {
            self.whole.update(&piece);
            self.bytes += piece.len() as u64;
            self.blob.write(Bytes::from(piece)).await?;
        }
        Ok(())
    }

    /// Adds the sums of all files and makes the blob durable.
    pub(super) async fn finish(mut self) -> Result<Written, AnalyticsError> {
        let sums: String = self.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
        self.begin("SHA256SUMS")?;
        self.write(sums.as_bytes()).await?;
        self.end();
        self.pass_on(1).await?;
        let Self { mut blob, zip, made, mut whole, mut bytes, files, .. } = self;
        zip.finish().map_err(broken)?;
        if let Some(rest) = made.take(1) {
            whole.update(&rest);
            bytes += rest.len() as u64;
            blob.write(Bytes::from(rest)).await?;
        }
        blob.finish().await?;
        Ok(Written { sha256: hex(&whole.finalize()), bytes, files })
    }
}

/// A blob's bytes from its beginning, read as they are asked for.
pub(super) fn contents(
    blobs: Arc<dyn Blobs>,
    name: String,
    bytes: u64,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + Sync {
    // Bodies of answers are shared between threads; this one is made on one of them and read through a channel.
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut at = 0;
        while at < bytes {
            let piece = match blobs.get(CONTAINER, &name, at..at + PIECE as u64).await {
                Ok(piece) => piece.filter(|piece| !piece.is_empty()).ok_or(BlobError::Precondition),
                Err(error) => Err(error),
            };
            at = piece.as_ref().map_or(bytes, |piece| at + piece.len() as u64);
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context))
}
