//! Reads an earlier package again, line by line, as it was written.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zip::ZipArchive;

use super::package::CONTAINER;
use crate::analytics::model::close::{File, Journal, Line};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::blobs::Blobs;

/// Bytes that are read of the blob at once.
const PIECE: u64 = 256 * 1024;
/// Parts on their way to whoever reads.
const WAITING: usize = 1;

/// Lines that are compared together, with what they have in common.
pub(super) type Part = (String, Vec<Line>);

/// The lines of one file of a package. Cells stand where this version's columns are; a column that the package does not have
/// yet is empty.
pub(super) struct Earlier {
    parts: mpsc::Receiver<io::Result<Part>>,
}

impl Earlier {
    pub(super) fn open(app: &App, blob: &str, bytes: u64, file: File) -> Self {
        let (sender, parts) = mpsc::channel(WAITING);
        let blob = Seeking::new(Arc::clone(&app.blobs), blob.to_owned(), bytes);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send(blob, file, &sender) {
                // Whoever reads has gone when this can not be told.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { parts }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Part>, AnalyticsError> {
        let broken = |error| AnalyticsError::Worker(format!("an earlier package can not be read: {error}"));
        self.parts.recv().await.transpose().map_err(broken)
    }
}

/// What an earlier package came to.
pub(super) async fn journal(app: &App, blob: &str, bytes: u64) -> Result<Journal, AnalyticsError> {
    let mut journal = Journal::default();
    let mut lines = Earlier::open(app, blob, bytes, File::Journal);
    while let Some((_, lines)) = lines.next().await? {
        lines.iter().for_each(|line| journal.read(line));
    }
    Ok(journal)
}

fn send(blob: Seeking, file: File, to: &mpsc::Sender<io::Result<Part>>) -> io::Result<()> {
    let mut archive = ZipArchive::new(blob)?;
    let mut csv = csv::Reader::from_reader(archive.by_name(file.name())?);
    let there: HashMap<String, usize> =
        csv.headers()?.iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
    let columns = file.columns();
    let places: Vec<Option<usize>> = columns.iter().map(|column| there.get(column.name).copied()).collect();
    let common = file.ordered_by().and_then(|name| file.place(name));
    let (mut of, mut lines) = (String::new(), Vec::new());
    for record in csv.records() {
        let record = record?;
        let cell = |place: &Option<usize>| place.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
        let line: Line = places.iter().map(cell).collect();
        let next = common.and_then(|at| line.get(at)).cloned().unwrap_or_default();
        if next != of && !lines.is_empty() && to.blocking_send(Ok((of, std::mem::take(&mut lines)))).is_err() {
            return Ok(());
        }
        of = next;
        lines.push(line);
    }
    if !lines.is_empty() {
        let _ = to.blocking_send(Ok((of, lines)));
    }
    Ok(())
}

/// A blob for readers that jump, on a thread that may wait.
struct Seeking {
    blobs: Arc<dyn Blobs>,
    runtime: Handle,
    name: String,
    bytes: u64,
    at: u64,
    held: Bytes,
    held_at: u64,
}

impl Seeking {
    fn new(blobs: Arc<dyn Blobs>, name: String, bytes: u64) -> Self {
        Self { blobs, runtime: Handle::current(), name, bytes, at: 0, held: Bytes::new(), held_at: 0 }
    }
}

impl Read for Seeking {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.bytes {
            return Ok(0);
        }
        let inside = self.held_at <= self.at && self.at < self.held_at + self.held.len() as u64;
        if !inside {
            let range = self.at..(self.at + PIECE).min(self.bytes);
            let got = self.runtime.block_on(self.blobs.get(CONTAINER, &self.name, range)).map_err(io::Error::other)?;
            let got = got.filter(|piece| !piece.is_empty());
            self.held = got.ok_or_else(|| io::Error::other("the package is not where it was"))?;
            self.held_at = self.at;
        }
        let from = usize::try_from(self.at - self.held_at).map_err(io::Error::other)?;
        let count = to.len().min(self.held.len() - from);
        to[..count].copy_from_slice(&self.held[from..from + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Seeking {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("before the beginning"))?;
        Ok(self.at)
    }
}
