//! Files as a customer's browser brings them and lists them.

use std::sync::Arc;

use http::StatusCode;
use jiff::SignedDuration;

use super::limits::{LONGEST, check_type, largest};
use super::{HEAD, begin};
use crate::ai::whole::{self, FileLimits};
use crate::app::App;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::identity::Upload;
use crate::identity::uploads::{small, unreadable};
use crate::media::model::file::{File, content_type};
use crate::media::repo;

const DAY: i64 = 24;

/// The newest files of a subscription, behind `after`; `true`: there may be more.
pub async fn list(
    app: &App,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<File>, bool), Problem> {
    Ok(repo::files(app, subscription, after, limit).await?)
}

/// Stores the `files` of a form, each for the `days` that stand before them. What was stored before something went wrong
/// is told with it, because it stays.
pub async fn receive(
    app: &Arc<App>,
    subscription: SubscriptionId,
    upload: &mut Upload,
) -> (Vec<File>, Result<(), Problem>) {
    let mut stored = Vec::new();
    let done = each(app, subscription, upload, &mut stored).await;
    (stored, done)
}

async fn each(
    app: &Arc<App>,
    subscription: SubscriptionId,
    upload: &mut Upload,
    stored: &mut Vec<File>,
) -> Result<(), Problem> {
    let limits = whole::file_limits(app, subscription).await?;
    let mut lifetime = LONGEST;
    while let Some(mut part) = upload.next().await? {
        match part.name().unwrap_or_default() {
            "days" => lifetime = days(&small(&mut part).await?)?,
            // A browser sends one without a name where none was chosen.
            "files" if part.file_name().is_some_and(|name| !name.is_empty()) => {
                stored.push(one(app, subscription, part, lifetime, &limits).await?);
            }
            _ => {}
        }
    }
    if stored.is_empty() {
        return Err(Problem::bad_request("no_file", "No file was chosen.").field("files").remedy("Choose a file."));
    }
    Ok(())
}

fn days(text: &str) -> Result<SignedDuration, Problem> {
    let wanted = text.parse().ok().filter(|days| (1..=LONGEST.as_hours() / DAY).contains(days));
    wanted.map(|days| SignedDuration::from_hours(days * DAY)).ok_or_else(|| {
        Problem::bad_request("invalid_value", "A file is kept for 1 to 30 days.").field("days").remedy("Choose a time.")
    })
}

async fn one(
    app: &Arc<App>,
    subscription: SubscriptionId,
    mut part: multer::Field<'static>,
    lifetime: SignedDuration,
    limits: &FileLimits,
) -> Result<File, Problem> {
    let (name, largest) = (part.file_name().unwrap_or_default().to_owned(), largest(app, limits));
    let mut writing = begin(app, subscription, FileId::new(app.clock.now(), &*app.random)).await?;
    let allowed = |head: &[u8]| check_type(limits, content_type(head, &name)).map_err(|problem| problem.field("files"));
    while let Some(piece) = part.chunk().await.map_err(unreadable)? {
        writing.write(piece).await?;
        if writing.head.len() == HEAD {
            allowed(&writing.head)?;
        }
        if writing.length > largest {
            let title = format!("The file {name} is larger than {} MiB.", largest / 1024 / 1024);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", title)
                .field("files")
                .remedy("Choose a smaller file, or cut it into parts."));
        }
    }
    if writing.length == 0 {
        let title = format!("The file {name} is empty.");
        return Err(Problem::bad_request("empty_file", title).field("files").remedy("Choose another file."));
    }
    allowed(&writing.head)?;
    writing.finish(app, subscription, &name, "user_data", app.clock.now() + lifetime).await
}
