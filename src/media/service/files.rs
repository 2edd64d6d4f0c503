//! Files: uploaded piece by piece, kept until their end.

mod posted;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::blobs::{BlobError, BlobWriter};
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Incoming, Request};
use crate::media::model::file::{File, clean_name, content_type};
use crate::media::repo;

pub use posted::{list, receive};

const CONTAINER: &str = "media-files";
/// Unless the upload says otherwise, between an hour and this.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How far back the first run of the timer looks.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(48);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// First bytes, by which the type is known.
const HEAD: usize = 512;

fn blob(subscription: SubscriptionId, id: &FileId) -> String {
    format!("{subscription}/{id}")
}

fn unavailable(error: BlobError) -> Problem {
    Problem::unavailable("storage_unavailable", "Our file storage does not answer at the moment.").caused_by(error)
}

/// A file on its way into storage.
struct Writing {
    writer: Box<dyn BlobWriter>,
    id: FileId,
    head: Vec<u8>,
    length: u64,
}

async fn begin(app: &App, subscription: SubscriptionId) -> Result<Writing, Problem> {
    let id = FileId::new(app.clock.now(), &*app.random);
    let name = blob(subscription, &id);
    let writer = app.blobs.create(CONTAINER, &name, "application/octet-stream").await.map_err(unavailable)?;
    Ok(Writing { writer, id, head: Vec::new(), length: 0 })
}

impl Writing {
    async fn write(&mut self, piece: Bytes) -> Result<(), Problem> {
        self.length += piece.len() as u64;
        let missing = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(missing)]);
        self.writer.write(piece).await.map_err(unavailable)
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
    let wrong = |text: String| Problem::bad_request("invalid_form", text);
    let boundary = multer::parse_boundary(request.header(header::CONTENT_TYPE).unwrap_or_default())
        .map_err(|_| wrong("The body must be multipart/form-data, with a file.".to_owned()))?;
    let largest = app.settings.media_file_limit;
    let mut parts = multer::Multipart::new(body, boundary);
    let unread = |error: multer::Error| match error {
        // What our own reading of the body found wrong.
        multer::Error::StreamReadFailed(error) => match error.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(error) => wrong(format!("The form can not be read: {error}.")),
        },
        error => wrong(format!("The form can not be read: {error}.")),
    };
    let (mut written, mut purpose, mut seconds) = (None, String::new(), None);
    while let Some(mut part) = parts.next_field().await.map_err(unread)? {
        match part.name().unwrap_or_default() {
            "file" if written.is_none() => {
                let name = part.file_name().unwrap_or_default().to_owned();
                let mut writing = begin(app, subscription).await?;
                while let Some(piece) = part.chunk().await.map_err(unread)? {
                    writing.write(piece).await?;
                    if writing.length > largest {
                        let title = format!("The file is larger than {} MiB.", largest / 1024 / 1024);
                        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", title).field("file"));
                    }
                }
                written = Some((writing, name));
            }
            "purpose" => purpose = small(&mut part).await.map_err(unread)?,
            "expires_after[seconds]" => seconds = Some(small(&mut part).await.map_err(unread)?),
            _ => {}
        }
    }
    let Some((writing, name)) = written else {
        return Err(Problem::bad_request("missing_field", "`file` is missing.").field("file"));
    };
    if writing.length == 0 {
        return Err(Problem::bad_request("empty_file", "The file is empty.").field("file"));
    }
    let lifetime = match seconds {
        None => LONGEST,
        Some(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|seconds| (3600..=LONGEST.as_secs()).contains(seconds))
            .map(SignedDuration::from_secs)
            .ok_or_else(|| {
                Problem::bad_request("invalid_value", "A file is kept from 3,600 to 2,592,000 seconds.")
                    .field("expires_after")
            })?,
    };
    let purpose = if purpose.is_empty() { "user_data" } else { &purpose };
    writing.finish(app, subscription, &name, purpose, app.clock.now() + lifetime).await
}

/// A field of a few characters.
async fn small(part: &mut multer::Field<'_>) -> Result<String, multer::Error> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await? {
        text.extend_from_slice(&piece[..piece.len().min(200_usize.saturating_sub(text.len()))]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A result of ours as a file of the customer.
pub async fn keep(app: &App, subscription: SubscriptionId, name: &str, pieces: Vec<Bytes>) -> Result<File, Problem> {
    let mut writing = begin(app, subscription).await?;
    for piece in pieces {
        writing.write(piece).await?;
    }
    writing.finish(app, subscription, name, "media_output", app.clock.now() + LONGEST).await
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

/// Removes files whose end has come. Goes on where the last run stopped, so a downtime leaves nothing behind.
pub async fn expire(app: &App) -> Result<usize, Problem> {
    let now = app.clock.now();
    let (mut at, mut removed) = (repo::ends_looked_at(app).await?.unwrap_or(now - FIRST_LOOK), 0);
    loop {
        for (subscription, id, line) in repo::ended(app, at).await? {
            // The line stands under the hour after the end, so it is over now.
            delete(app, subscription, &id).await?;
            repo::end_done(app, at, line).await?;
            removed += 1;
        }
        // The current hour is looked at again: lines may still be added to it.
        if at + HOUR > now {
            return Ok(removed);
        }
        at += HOUR;
        repo::look_at_ends(app, at).await?;
    }
}

/// A file's bytes as a stream of pieces, so that nobody holds a gigabyte.
pub fn stream(
    app: Arc<App>,
    subscription: SubscriptionId,
    file: File,
    range: std::ops::Range<u64>,
) -> crate::foundation::web::Body {
    const PIECE: u64 = 1024 * 1024;
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
    crate::foundation::web::Body::Stream(Box::pin(futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context)
    })))
}
