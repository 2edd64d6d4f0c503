//! Files that are worked on and may be larger than memory should be: copied from an address, lent to a service by a link,
//! read as they are needed.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::SignedDuration;

use super::{CONTAINER, PIECE, begin, blob, pieces, read, unavailable};
use crate::ai::whole::{self, Pieces, Sound, Stored};
use crate::app::App;
use crate::blobs::Access;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::file::File;
use crate::media::repo;

/// Files up to here are held whole while they are worked on.
const HELD: u64 = 4 * 1024 * 1024;
/// A copy of what was at a customer's address is needed for so long at most.
const COPY: SignedDuration = SignedDuration::from_hours(26);

/// A copy of what is at an address that a customer names, for a day: it is too large to be held in memory.
pub async fn fetch(
    app: &App,
    subscription: SubscriptionId,
    id: FileId,
    address: &str,
    largest: u64,
) -> Result<File, Problem> {
    let mut pieces = whole::open(app, address, largest).await?;
    let mut writing = begin(app, subscription, id).await?;
    while let Some(piece) = pieces.next().await {
        writing.write(piece?).await?;
    }
    let name = address.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    writing.finish(app, subscription, name, "media_input", app.clock.now() + COPY).await
}

/// An address by which a service reads a file without a key of ours: the storage's own, else one of ours.
pub async fn link(
    app: &App,
    subscription: SubscriptionId,
    file: &File,
    lifetime: SignedDuration,
) -> Result<String, Problem> {
    let (now, name) = (app.clock.now(), blob(subscription, &file.id));
    let until = (now + lifetime).min(file.expires);
    if let Some(link) = app.blobs.link(CONTAINER, &name, Access::Read, now, until).await.map_err(unavailable)? {
        return Ok(link);
    }
    let token = app.random.token();
    repo::save_link(app, &token, &repo::Link { subscription, file: file.id.clone(), until }).await?;
    Ok(app.settings.absolute(&format!("/media/links/{token}")))
}

/// What an address of ours leads to, while it is valid.
pub async fn linked(app: &App, token: &str) -> Result<(SubscriptionId, File), Problem> {
    let link = repo::link(app, token).await?.filter(|link| link.until > app.clock.now());
    let Some(link) = link else { return Err(Problem::not_found()) };
    let file = repo::file(app, link.subscription, &link.file).await?.ok_or_else(Problem::not_found)?;
    Ok((link.subscription, file))
}

/// A file of a customer that is read as it is needed.
#[derive(Debug)]
struct Kept {
    app: Arc<App>,
    subscription: SubscriptionId,
    file: File,
    runtime: tokio::runtime::Handle,
}

impl Stored for Kept {
    fn length(&self) -> u64 {
        self.file.bytes
    }

    fn read_at(&self, at: u64) -> std::io::Result<Bytes> {
        let piece = read(&self.app, self.subscription, &self.file, at..self.file.bytes.min(at + PIECE));
        self.runtime.block_on(piece).map_err(|problem| std::io::Error::other(problem.to_string()))
    }

    fn pieces(&self) -> Pieces {
        pieces(Arc::clone(&self.app), self.subscription, self.file.clone(), 0..self.file.bytes)
    }
}

/// The sound of a file: here where it is small, else as it is needed.
pub async fn sound(app: &Arc<App>, subscription: SubscriptionId, file: &File) -> Result<Sound, Problem> {
    if file.bytes <= HELD {
        return Ok(Sound::Whole(read(app, subscription, file, 0..file.bytes).await?));
    }
    let (app, file, runtime) = (Arc::clone(app), file.clone(), tokio::runtime::Handle::current());
    Ok(Sound::Stored(Arc::new(Kept { app, subscription, file, runtime })))
}
