//! Files whose bytes do not pass through us at first: where they are to be put, and what really came. Whoever has the link
//! may write as long as it is valid, so a file is a copy of what was there at one moment.

use jiff::Timestamp;

use super::limits::{check_type, empty, largest, too_large};
use super::{PIECE, UPLOADS, begin, blob, unavailable};
use crate::ai::whole::FileLimits;
use crate::app::App;
use crate::blobs::Access;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::file::{DirectUpload, File};

/// Where the customer may put the bytes of a file to be; None where the storage takes none but ours.
pub async fn upload_link(
    app: &App,
    subscription: SubscriptionId,
    id: &FileId,
    until: Timestamp,
) -> Result<Option<String>, Problem> {
    let (now, name) = (app.clock.now(), blob(subscription, id));
    app.blobs.link(UPLOADS, &name, Access::Create, now, until).await.map_err(unavailable)
}

/// Makes a file of what came; None while nothing has.
pub async fn adopt(
    app: &App,
    subscription: SubscriptionId,
    upload: &DirectUpload,
    plan: &FileLimits,
) -> Result<Option<File>, Problem> {
    let (name, largest) = (blob(subscription, &upload.id), largest(app, plan));
    let Some(info) = app.blobs.info(UPLOADS, &name).await.map_err(unavailable)? else { return Ok(None) };
    if info.length == 0 {
        return Err(empty());
    }
    let mut writing = begin(app, subscription, upload.id.clone()).await?;
    loop {
        let range = writing.length..writing.length + PIECE;
        let piece = app.blobs.get(UPLOADS, &name, range).await.map_err(unavailable)?.unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        writing.write(piece).await?;
        if writing.length > largest {
            return Err(too_large(largest));
        }
        check_type(plan, writing.content_type(&upload.name))?;
    }
    let file = writing.finish(app, subscription, &upload.name, &upload.purpose, upload.expires).await?;
    // What is left over ends by itself.
    if let Err(error) = app.blobs.delete(UPLOADS, &name).await {
        tracing::info!(file = %file.id, %error, "an upload was not removed after it became a file");
    }
    Ok(Some(file))
}
