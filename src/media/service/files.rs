//! Files: uploaded piece by piece, kept until their end.

pub mod direct;
pub mod limits;
mod posted;
pub mod recordings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use jiff::Timestamp;

use crate::ai::whole::{self, Pieces};
use crate::app::App;
use crate::blobs::{BlobError, BlobWriter};
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Incoming, Request, framed};
use crate::identity::uploads::{small, unreadable};
use crate::media::model::file::{File, clean_name, content_type};
use crate::media::repo::{self, Ended};

use limits::{LONGEST, check_type, empty, largest, lifetime, too_large};

pub use posted::{list, receive};

const CONTAINER: &str = "media-files";
/// What customers put into the storage themselves; a file is a copy that no link leads to.
const UPLOADS: &str = "media-uploads";
/// First bytes, by which the type is known.
const HEAD: usize = 512;
/// Bytes of a file in memory, where it is read piece by piece.
const PIECE: u64 = 1024 * 1024;
/// What is a little too large is read on and thrown away: most clients look for our answer only after they have sent
/// everything.
const READ_ON: u64 = 64 * 1024 * 1024;
/// The purpose of results.
const RESULT: &str = "media_output";

fn blob(subscription: SubscriptionId, id: &FileId) -> String {
    format!("{subscription}/{id}")
}

fn unavailable(error: BlobError) -> Problem {
    Problem::unavailable("storage_unavailable", "Our file storage does not answer at the moment.").caused_by(error)
}

/// A file on its way into storage.
pub struct Writing {
    writer: Box<dyn BlobWriter>,
    id: FileId,
    head: Vec<u8>,
    length: u64,
}

/// A file of an id. One that is made again, after a crash, takes its own place.
pub async fn begin(app: &App, subscription: SubscriptionId, id: FileId) -> Result<Writing, Problem> {
    let name = blob(subscription, &id);
    let writer = app.blobs.create(CONTAINER, &name, "application/octet-stream").await.map_err(unavailable)?;
    Ok(Writing { writer, id, head: Vec::new(), length: 0 })
}

impl Writing {
    pub async fn write(&mut self, piece: Bytes) -> Result<(), Problem> {
        self.length += piece.len() as u64;
        let missing = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(missing)]);
        self.writer.write(piece).await.map_err(unavailable)
    }

    /// What it seems to be, by its beginning.
    fn content_type(&self, name: &str) -> &'static str {
        content_type(&self.head, name)
    }

    /// A result of ours as a file of the customer.
    pub async fn keep(self, app: &App, subscription: SubscriptionId, name: &str) -> Result<File, Problem> {
        self.finish(app, subscription, name, RESULT, app.clock.now() + LONGEST).await
    }

    /// Makes it a file of the subscription.
    async fn finish(
        self,
        app: &App,
        subscription: SubscriptionId,
        name: &str,
        purpose: &str,
        expires: Timestamp,
    ) -> Result<File, Problem> {
        let name = clean_name(name);
        let file = File {
            content_type: content_type(&self.head, &name).to_owned(),
            name,
            id: self.id,
            purpose: purpose.to_owned(),
            bytes: self.length,
            created: app.clock.now(),
            expires,
        };
        // Its end first: should this die before the row is there, the bytes are removed all the same.
        repo::list_end(app, subscription, &Ended::File(file.id.clone()), file.expires).await?;
        self.writer.finish().await.map_err(unavailable)?;
        repo::save_file(app, subscription, &file).await?;
        Ok(file)
    }
}

/// `POST /v1/files`: a form with `file`, `purpose` and perhaps `expires_after[seconds]`, never held in memory.
pub async fn upload(
    app: &Arc<App>,
    subscription: SubscriptionId,
    request: &Request,
    body: Incoming,
) -> Result<File, Problem> {
    let boundary = multer::parse_boundary(request.header(header::CONTENT_TYPE).unwrap_or_default())
        .map_err(|_| Problem::bad_request("invalid_form", "The body must be multipart/form-data, with a file."))?;
    let limits = whole::file_limits(app, subscription).await?;
    let largest = largest(app, &limits);
    // What says itself that it is too large need not be sent.
    let declared = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > largest.saturating_add(READ_ON)) {
        return Err(too_large(largest).field("file"));
    }
    let inside = Arc::new(AtomicBool::new(false));
    let mut parts = multer::Multipart::new(framed(body, Arc::clone(&inside)), boundary);
    let (mut written, mut purpose, mut seconds) = (None, String::new(), None);
    while let Some(mut part) = parts.next_field().await.map_err(unreadable)? {
        match part.name().unwrap_or_default() {
            "file" if written.is_none() => {
                let name = part.file_name().unwrap_or_default().to_owned();
                let id = FileId::new(app.clock.now(), &*app.random);
                let mut writing = begin(app, subscription, id).await?;
                inside.store(true, Ordering::Relaxed);
                while let Some(piece) = part.chunk().await.map_err(unreadable)? {
                    writing.write(piece).await?;
                    if writing.length > largest {
                        return Err(too_large(largest).field("file"));
                    }
                    if writing.head.len() == HEAD {
                        check_type(&limits, writing.content_type(&name))?;
                    }
                }
                inside.store(false, Ordering::Relaxed);
                check_type(&limits, writing.content_type(&name))?;
                written = Some((writing, name));
            }
            "purpose" => purpose = small(&mut part).await?,
            "expires_after[seconds]" => seconds = Some(small(&mut part).await?),
            _ => {}
        }
    }
    let Some((writing, name)) = written else {
        return Err(Problem::bad_request("missing_field", "`file` is missing.").field("file"));
    };
    if writing.length == 0 {
        return Err(empty());
    }
    let lifetime = lifetime(seconds.as_deref())?;
    let purpose = if purpose.is_empty() { "user_data" } else { &purpose };
    writing.finish(app, subscription, &name, purpose, app.clock.now() + lifetime).await
}

/// A small result of ours as a file of the customer.
pub async fn keep(
    app: &App,
    subscription: SubscriptionId,
    id: FileId,
    name: &str,
    bytes: Bytes,
) -> Result<File, Problem> {
    let mut writing = begin(app, subscription, id).await?;
    writing.write(bytes).await?;
    writing.keep(app, subscription, name).await
}

/// The file of an id, if the subscription has it.
pub async fn find(app: &App, subscription: SubscriptionId, id: &str) -> Result<File, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "file_not_found", "There is no such file.").field("file_id");
    let id: FileId = id.parse().map_err(|_| unknown())?;
    repo::file(app, subscription, &id).await?.ok_or_else(unknown)
}

/// Bytes of a file, from a place on; fewer than asked for at its end.
pub async fn read(
    app: &App,
    subscription: SubscriptionId,
    file: &File,
    range: std::ops::Range<u64>,
) -> Result<Bytes, Problem> {
    let bytes = app.blobs.get(CONTAINER, &blob(subscription, &file.id), range).await.map_err(unavailable)?;
    bytes.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "file_not_found", "The file was deleted meanwhile."))
}

/// The row goes first: what nobody finds any more may be left over, and not the other way round.
pub async fn delete(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<(), Problem> {
    repo::forget_file(app, subscription, id).await?;
    app.blobs.delete(CONTAINER, &blob(subscription, id)).await.map_err(unavailable)
}

/// Removes what nobody finds any more, also of an upload that never became a file.
async fn remove(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<(), Problem> {
    delete(app, subscription, id).await?;
    app.blobs.delete(UPLOADS, &blob(subscription, id)).await.map_err(unavailable)
}

/// Removes files and jobs whose end has come.
pub async fn expire(app: &App) -> Result<usize, Problem> {
    let mut walk = repo::ENDS.walk(&*app.rows, app.clock.now()).await?;
    let mut removed = 0;
    while let Some(lines) = walk.hour().await? {
        for line in lines {
            let Some((subscription, what)) = repo::ended(&line) else { continue };
            match end(app, subscription, &what).await {
                Ok(gone) => removed += usize::from(gone),
                Err(problem) => {
                    // One holds up no other; its line stays, for somebody to look at.
                    tracing::error!(?what, %subscription, %problem, "what is over could not be removed");
                    continue;
                }
            }
            walk.done(line).await?;
        }
    }
    Ok(removed)
}

/// The line stands under the hour after the end, so it is over now; unless it was written again since.
async fn end(app: &App, subscription: SubscriptionId, what: &Ended) -> Result<bool, Problem> {
    match what {
        Ended::Job(id) => super::jobs::expire(app, subscription, id).await,
        Ended::File(id) if repo::file(app, subscription, id).await?.is_some() => Ok(false),
        Ended::File(id) => remove(app, subscription, id).await.map(|()| true),
    }
}

/// A file's bytes as a stream of pieces, so that nobody holds a gigabyte.
pub fn pieces(app: Arc<App>, subscription: SubscriptionId, file: File, range: std::ops::Range<u64>) -> Pieces {
    let pieces = futures_util::stream::unfold((app, range.start), move |(app, at)| {
        let (file, end) = (file.clone(), range.end);
        async move {
            if at >= end {
                return None;
            }
            let piece = read(&app, subscription, &file, at..end.min(at + PIECE)).await;
            match piece {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => {
                    let next = at + piece.len() as u64;
                    Some((Ok(piece), (app, next)))
                }
                Err(problem) => Some((Err(std::io::Error::other(problem.to_string())), (app, end))),
            }
        }
    });
    // Bodies of answers are shared between threads; this one is made on one of them and read through a channel.
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    Box::pin(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)))
}
