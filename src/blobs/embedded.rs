//! Blobs as files beside the embedded database. A file is complete and on disk before the database names it, so a
//! blob is switched in one commit; files that no row names are leftovers of a crash and are removed at start.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Access, BlobError, BlobInfo, BlobWriter, Blobs, Condition, check_name};
use crate::foundation::rng::Random;
use crate::store::{Database, StoreError};

#[derive(Debug)]
pub struct EmbeddedBlobs {
    database: Database,
    random: Arc<dyn Random>,
    folder: PathBuf,
}

impl EmbeddedBlobs {
    /// Makes the folder and removes files that no row names.
    pub async fn open(database: Database, random: Arc<dyn Random>) -> Result<Self, BlobError> {
        let folder = database.folder().join("blobs");
        std::fs::create_dir_all(&folder).map_err(io_error)?;
        let named: std::collections::HashSet<String> = database
            .read(|connection| connection.prepare("SELECT file FROM blobs")?.query_map([], |row| row.get(0))?.collect())
            .await?;
        for entry in std::fs::read_dir(&folder).map_err(io_error)?.flatten() {
            if !named.contains(entry.file_name().to_string_lossy().as_ref()) {
                std::fs::remove_file(entry.path()).map_err(io_error)?;
            }
        }
        Ok(Self { database, random, folder })
    }

    /// Reads beside the server that owns the folder.
    pub fn beside(database: Database, random: Arc<dyn Random>) -> Self {
        let folder = database.folder().join("blobs");
        Self { database, random, folder }
    }

    async fn find(&self, container: &str, name: &str) -> Result<Option<(BlobInfo, String)>, BlobError> {
        check_name(container, name)?;
        let (container, name) = (container.to_owned(), name.to_owned());
        Ok(self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT name, length, content_type, etag, file FROM blobs WHERE container = ?1 AND name = ?2",
                    )?
                    .query_row(params![container, name], |row| Ok((info(row)?, row.get(4)?)))
                    .optional()
            })
            .await?)
    }
}

impl From<StoreError> for BlobError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable { message: error.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<rusqlite::Error> for BlobError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

fn io_error(error: std::io::Error) -> BlobError {
    BlobError::Unavailable { message: error.to_string(), source: Some(Box::new(error)) }
}

fn info(row: &rusqlite::Row<'_>) -> rusqlite::Result<BlobInfo> {
    Ok(BlobInfo {
        name: row.get(0)?,
        length: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        content_type: row.get(2)?,
        etag: row.get::<_, i64>(3)?.to_string(),
    })
}

/// File work off the async threads.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result.map_err(io_error),
        Err(error) => Err(BlobError::Unavailable { message: error.to_string(), source: None }),
    }
}

/// Names the new file in the row, if the condition holds, and gives the file that was named before.
fn switch(
    connection: &Connection,
    container: &str,
    blob: &BlobInfo,
    file: &str,
    condition: &Condition,
) -> Result<Option<String>, BlobError> {
    let old: Option<(i64, String)> = connection
        .prepare_cached("SELECT etag, file FROM blobs WHERE container = ?1 AND name = ?2")?
        .query_row(params![container, blob.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => old.is_none(),
        Condition::Match(etag) => old.as_ref().is_some_and(|(found, _)| found.to_string() == *etag),
    };
    if !holds {
        return Err(BlobError::Precondition);
    }
    connection.prepare_cached("INSERT OR REPLACE INTO blobs VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        container,
        blob.name,
        blob.etag.parse::<i64>().unwrap_or(0),
        blob.length as i64,
        blob.content_type,
        file
    ])?;
    Ok(old.map(|(_, file)| file))
}

/// Pieces are gathered to this much before they are written.
const GATHERED: usize = 1024 * 1024;

struct Writer {
    database: Database,
    container: String,
    blob: BlobInfo,
    file: String,
    /// Taken when the file belongs to a row.
    path: Option<PathBuf>,
    out: Option<File>,
    pieces: BytesMut,
}

impl Writer {
    async fn flush(&mut self, sync: bool) -> Result<(), BlobError> {
        let Some(mut out) = self.out.take() else {
            return Err(io_error(std::io::Error::other("an earlier write failed")));
        };
        let pieces = self.pieces.split().freeze();
        let out = blocking(move || {
            out.write_all(&pieces)?;
            if sync {
                out.sync_all()?;
            }
            Ok(out)
        });
        self.out = Some(out.await?);
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.blob.length += piece.len() as u64;
        self.pieces.extend_from_slice(&piece);
        if self.pieces.len() >= GATHERED { self.flush(false).await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobInfo, BlobError> {
        self.flush(true).await?;
        let (container, blob, file) = (self.container.clone(), self.blob.clone(), self.file.clone());
        let named = blob.clone();
        let old = self
            .database
            .write(move |connection| switch(connection, &container, &named, &file, &Condition::Always))
            .await?;
        let path = self.path.take();
        if let Some(old) = old.and_then(|old| Some(path?.with_file_name(old))) {
            // What can not be removed now is removed at the next start.
            let _ = blocking(move || std::fs::remove_file(old)).await;
        }
        Ok(blob)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // A leftover is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[async_trait]
impl Blobs for EmbeddedBlobs {
    async fn put(
        &self,
        container: &str,
        name: &str,
        content_type: &str,
        data: Bytes,
        condition: Condition,
    ) -> Result<String, BlobError> {
        check_name(container, name)?;
        let file = self.random.token();
        let path = self.folder.join(&file);
        let blob = BlobInfo {
            name: name.into(),
            length: data.len() as u64,
            content_type: content_type.into(),
            etag: self.database.next_etag().to_string(),
        };
        let written = path.clone();
        blocking(move || {
            let mut out = File::create(&written)?;
            out.write_all(&data)?;
            out.sync_all()
        })
        .await?;
        let (container, etag) = (container.to_owned(), blob.etag.clone());
        let switched =
            self.database.write(move |connection| switch(connection, &container, &blob, &file, &condition)).await;
        let leftover = match &switched {
            Ok(old) => old.as_ref().map(|old| self.folder.join(old)),
            Err(_) => Some(path),
        };
        if let Some(leftover) = leftover {
            // What can not be removed now is removed at the next start.
            let _ = blocking(move || std::fs::remove_file(leftover)).await;
        }
        switched.map(|_| etag)
    }

    async fn create(&self, container: &str, name: &str, content_type: &str) -> Result<Box<dyn BlobWriter>, BlobError> {
        check_name(container, name)?;
        let file = self.random.token();
        let path = self.folder.join(&file);
        let created = path.clone();
        let out = blocking(move || File::create(created)).await?;
        let blob = BlobInfo {
            name: name.into(),
            length: 0,
            content_type: content_type.into(),
            etag: self.database.next_etag().to_string(),
        };
        let (database, container) = (self.database.clone(), container.to_owned());
        Ok(Box::new(Writer {
            database,
            container,
            blob,
            file,
            path: Some(path),
            out: Some(out),
            pieces: BytesMut::new(),
        }))
    }

    async fn info(&self, container: &str, name: &str) -> Result<Option<BlobInfo>, BlobError> {
        Ok(self.find(container, name).await?.map(|(info, _)| info))
    }

    async fn get(&self, container: &str, name: &str, range: Range<u64>) -> Result<Option<Bytes>, BlobError> {
        let Some((info, file)) = self.find(container, name).await? else { return Ok(None) };
        let (start, end) = (range.start.min(info.length), range.end.min(info.length));
        let path = self.folder.join(file);
        // Made here and not on the thread that reads: that one may rest for a while with what was freed of it elsewhere,
        // and a gigabyte in pieces would leave its traces on all of them.
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        let bytes = blocking(move || {
            let mut input = File::open(path)?;
            input.seek(SeekFrom::Start(start))?;
            input.read_exact(&mut bytes)?;
            Ok(bytes)
        })
        .await?;
        Ok(Some(bytes.into()))
    }

    async fn delete(&self, container: &str, name: &str) -> Result<(), BlobError> {
        let Some((_, file)) = self.find(container, name).await? else { return Ok(()) };
        let (container, name, named) = (container.to_owned(), name.to_owned(), file.clone());
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached("DELETE FROM blobs WHERE container = ?1 AND name = ?2 AND file = ?3")?
                    .execute(params![container, name, named])
                    .map(drop)
                    .map_err(BlobError::from)
            })
            .await?;
        let path = self.folder.join(file);
        let _ = blocking(move || std::fs::remove_file(path)).await;
        Ok(())
    }

    async fn link(
        &self,
        container: &str,
        name: &str,
        _access: Access,
        _from: Timestamp,
        _until: Timestamp,
    ) -> Result<Option<String>, BlobError> {
        check_name(container, name).map(|()| None)
    }

    async fn list(&self, container: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        let (container, prefix, after) = (container.to_owned(), prefix.to_owned(), after.to_owned());
        Ok(self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT name, length, content_type, etag FROM blobs
                         WHERE container = ?1 AND name >= ?2 AND name < ?2 || '~' AND name > ?3 ORDER BY name LIMIT ?4",
                    )?
                    .query_map(params![container, prefix, after, limit as i64], info)?
                    .collect()
            })
            .await?)
    }
}
