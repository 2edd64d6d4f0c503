//! A blob as something that a reader of files can read, on a thread that may wait.

use std::io::{Error, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use tokio::runtime::Handle;

use super::CONTAINER;
use crate::analytics::model::execution::Raw;
use crate::blobs::{BlobError, Blobs};

const AT_ONCE: u64 = 1024 * 1024;

struct BlobFile {
    blobs: Arc<dyn Blobs>,
    runtime: Handle,
    name: String,
    at: u64,
    length: u64,
    held: Bytes,
}

impl Read for BlobFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.held.is_empty() && self.at < self.length {
            let range = self.at..self.length.min(self.at + AT_ONCE);
            let read = self.runtime.block_on(self.blobs.get(CONTAINER, &self.name, range));
            let piece = read.map_err(told)?.filter(|piece| !piece.is_empty());
            self.held = piece.ok_or_else(|| Error::other("the blob is gone or has become shorter"))?;
            self.at += self.held.len() as u64;
        }
        let length = self.held.len().min(buffer.len());
        self.held.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// With its causes: readers of files pass on one sentence only.
fn told(error: BlobError) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Error::other(text)
}

/// Opens a raw file. To be read on a thread that may wait, such as [`tokio::task::spawn_blocking`] gives.
pub fn open(blobs: Arc<dyn Blobs>, runtime: Handle, raw: &Raw) -> Box<dyn Read + Send> {
    let file = BlobFile { blobs, runtime, name: raw.name.clone(), at: 0, length: raw.length, held: Bytes::new() };
    if raw.gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }
}
