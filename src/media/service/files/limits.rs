//! What files may be: their size, their types, how long they are kept.

use http::StatusCode;
use jiff::SignedDuration;

use crate::ai::whole::FileLimits;
use crate::app::App;
use crate::foundation::problem::Problem;

/// Unless the upload says otherwise, between an hour and this.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The largest file that a subscription may have, in bytes.
pub fn largest(app: &App, limits: &FileLimits) -> u64 {
    let most = app.settings.media_file_limit;
    limits.mib.map_or(most, |mib| most.min(mib.saturating_mul(1024 * 1024)))
}

pub fn too_large(largest: u64) -> Problem {
    let title = format!("The file is larger than {} MiB.", largest / 1024 / 1024);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", title)
}

pub fn empty() -> Problem {
    Problem::bad_request("empty_file", "The file is empty.").field("file")
}

pub fn check_type(limits: &FileLimits, content_type: &str) -> Result<(), Problem> {
    if limits.allows(content_type) {
        return Ok(());
    }
    let title = format!("Files of the type {content_type} are not part of this plan.");
    let remedy = format!("It takes {}.", limits.types.join(", "));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "file_type_not_allowed", title).remedy(remedy).field("file"))
}

/// How long a file is kept: so many seconds, or as long as files are.
pub fn lifetime(seconds: Option<&str>) -> Result<SignedDuration, Problem> {
    let Some(text) = seconds else { return Ok(LONGEST) };
    let seconds = text.trim().parse().ok().filter(|seconds| (3600..=LONGEST.as_secs()).contains(seconds));
    seconds.map(SignedDuration::from_secs).ok_or_else(|| {
        let title = "A file is kept from 3,600 to 2,592,000 seconds.";
        Problem::bad_request("invalid_value", title).field("expires_after")
    })
}
