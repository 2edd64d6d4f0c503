//! Files whose bytes do not pass through us: where they are to be put, and what really came.

use jiff::{SignedDuration, Timestamp};

use super::limits::check_type;
use super::{CONTAINER, HEAD, blob, delete, read, unavailable};
use crate::ai::whole::FileLimits;
use crate::app::App;
use crate::blobs::Access;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::file::{DirectUpload, File, content_type};
use crate::media::repo;

/// It may be written for so long after it became a file.
pub const OPEN: SignedDuration = SignedDuration::from_hours(2);

/// Where the customer may put the bytes of a file to be; None where the storage takes none but ours.
pub async fn upload_link(
    app: &App,
    subscription: SubscriptionId,
    id: &FileId,
    until: Timestamp,
) -> Result<Option<String>, Problem> {
    let (now, name) = (app.clock.now(), blob(subscription, id));
    app.blobs.link(CONTAINER, &name, Access::Create, now, until).await.map_err(unavailable)
}

/// How many bytes the storage has of a file.
pub async fn stored(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<Option<u64>, Problem> {
    let info = app.blobs.info(CONTAINER, &blob(subscription, id)).await.map_err(unavailable)?;
    Ok(info.map(|info| info.length))
}

/// What was put into the storage becomes a file.
pub async fn adopt(
    app: &App,
    subscription: SubscriptionId,
    upload: &DirectUpload,
    bytes: u64,
    limits: &FileLimits,
) -> Result<File, Problem> {
    let DirectUpload { id, name, purpose, expires, .. } = upload.clone();
    let mut file =
        File { id, name, purpose, bytes, content_type: String::new(), created: app.clock.now(), expires, direct: true };
    let head = read(app, subscription, &file, 0..HEAD as u64).await?;
    content_type(&head, &file.name).clone_into(&mut file.content_type);
    if let Err(problem) = check_type(limits, &file.content_type) {
        delete(app, subscription, &file.id).await?;
        return Err(problem);
    }
    repo::list_end(app, subscription, &file.id, file.expires).await?;
    repo::save_file(app, subscription, &file).await?;
    Ok(file)
}

/// A file that somebody else may still write, with the length that it really has.
pub async fn checked(app: &App, subscription: SubscriptionId, mut file: File) -> Result<File, Problem> {
    let bytes = stored(app, subscription, &file.id).await?.unwrap_or(0);
    if bytes != file.bytes {
        tracing::warn!(file = %file.id, %subscription, bytes, "a direct upload was written again after it was a file");
        file.bytes = bytes;
        repo::save_file(app, subscription, &file).await?;
    }
    Ok(file)
}
