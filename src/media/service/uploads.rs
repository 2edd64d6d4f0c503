//! Direct uploads: the bytes go from the customer to the storage without passing through us, by a link that ends soon
//! (AI services contract 5.5). What came is looked at before it is a file: nobody's word on its size or type is taken.

use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::files::{direct, limits};
use crate::ai::whole;
use crate::app::App;
use crate::foundation::ids::{FileId, SubscriptionId};
use crate::foundation::problem::Problem;
use crate::media::model::file::{DirectUpload, File, clean_name};
use crate::media::repo;

/// How long a link is valid.
const LINK: SignedDuration = SignedDuration::from_mins(60);

/// `POST /v1/media/uploads`: where to put the bytes.
pub async fn create(app: &App, subscription: SubscriptionId, body: &Value) -> Result<Value, Problem> {
    let plan = whole::file_limits(app, subscription).await?;
    let largest = limits::largest(app, &plan);
    let name = body["filename"]
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Problem::bad_request("missing_field", "`filename` is missing.").field("filename"))?;
    if body["bytes"].as_u64().is_some_and(|bytes| bytes > largest) {
        return Err(limits::too_large(largest).field("bytes"));
    }
    let lifetime =
        limits::lifetime(body["expires_after"]["seconds"].as_i64().map(|seconds| seconds.to_string()).as_deref())?;
    let (now, id) = (app.clock.now(), FileId::new(app.clock.now(), &*app.random));
    let until = now + LINK;
    let Some(url) = direct::upload_link(app, subscription, &id, until).await? else {
        let title = "The storage of this installation takes no direct uploads.";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "direct_upload_unavailable", title)
            .remedy("Use POST /v1/files.")
            .final_answer());
    };
    let purpose = body["purpose"].as_str().unwrap_or("user_data").chars().take(64).collect();
    let upload = DirectUpload { id: id.clone(), name: clean_name(name), purpose, until, expires: now + lifetime };
    repo::save_upload(app, subscription, &upload).await?;
    Ok(json!({
        "id": id, "object": "media.upload", "method": "PUT", "url": url, "headers": { "x-ms-blob-type": "BlockBlob" },
        "expires_at": until.as_second(), "max_bytes": largest,
    }))
}

/// `POST /v1/media/uploads/{file}/complete`: what came becomes a file. Again, it is the same one.
pub async fn complete(app: &App, subscription: SubscriptionId, id: &str) -> Result<File, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "upload_not_found", "There is no such upload.");
    let id: FileId = id.parse().map_err(|_| unknown())?;
    if let Some(file) = repo::file(app, subscription, &id).await? {
        return Ok(file);
    }
    let upload = repo::upload(app, subscription, &id).await?.ok_or_else(unknown)?;
    let plan = whole::file_limits(app, subscription).await?;
    let Some(file) = direct::adopt(app, subscription, &upload, &plan).await? else {
        return Err(Problem::conflict("upload_missing", "Nothing has been uploaded to the address yet.").final_answer());
    };
    repo::forget_upload(app, subscription, &id).await?;
    Ok(file)
}
