//! The files of a subscription: list, upload, download, delete.

use std::sync::Arc;

use serde_json::{Value, json};

use super::subscriptions::own;
use super::view::subscription_view;
use crate::ai::whole;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::{Customer, Upload};
use crate::media::content::{self, Shown, is_harmless};
use crate::media::files;
use crate::media::model::file::File;
use crate::pages::page;

const PAGE: usize = 50;
/// For how long an uploaded file may be kept, in days; the longest is usual.
const DAYS: [u32; 4] = [30, 7, 3, 1];

pub(super) fn address(row: &Subscription) -> String {
    format!("/portal/subscriptions/{}/files", row.id)
}

/// `GET /portal/subscriptions/{id}/files?after=`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    show(&app, &request, &customer, &row, None).await
}

/// The list; with `refused`, what is wrong with an upload, and how many files of it were stored before.
async fn show(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    refused: Option<(&Problem, usize)>,
) -> Result<Response, Problem> {
    let after = request.query("after").filter(|after| !after.is_empty() && refused.is_none());
    let (found, more) = files::list(app, row.id, after.as_deref(), PAGE).await?;
    let largest = files::limits::largest(app, &whole::file_limits(app, row.id).await.unwrap_or_default());
    let content = json!({
        "s": subscription_view(row, &[]), "address": address(row), "days": DAYS,
        "files": found.iter().map(view).collect::<Vec<_>>(),
        "next": found.last().filter(|_| more).map(|file| &file.id),
        "first": after.is_none(),
        "largest": largest, "largest_mib": largest / 1024 / 1024,
        "uploaded": request.query("uploaded").and_then(|count| count.parse::<u32>().ok()),
        "removed": request.query("removed").is_some(),
        "error": refused.map(|(problem, stored)| json!({
            "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field, "stored": stored,
        })),
    });
    page(app, request, Some(&customer.session), "portal_files.html", content)
}

/// A file for a template.
pub(super) fn view(file: &File) -> Value {
    json!({
        "id": file.id, "name": file.name, "type": file.content_type.split(';').next(), "size": size(file.bytes),
        "purpose": file.purpose, "created": file.created, "expires": file.expires,
        "opens": is_harmless(&file.content_type),
        "plays": file.content_type.starts_with("audio/"),
        "image": file.content_type.starts_with("image/") && is_harmless(&file.content_type),
    })
}

/// `1.5 MiB`; bytes are told as they are.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `POST /portal/subscriptions/{id}/files`: a form with `csrf`, `days` and `files`, in this order.
pub async fn upload(
    app: Arc<App>,
    request: Request,
    customer: Customer,
    mut upload: Upload,
) -> Result<Response, Problem> {
    let row = match own(&app, &request, &customer).await {
        Ok(row) => row,
        Err(problem) => {
            upload.discard().await;
            return Err(problem);
        }
    };
    let (stored, done) = if row.facts.status == Status::Subscribed {
        files::receive(&app, row.id, &mut upload).await
    } else {
        (Vec::new(), Err(inactive()))
    };
    let Err(problem) = done else {
        return Ok(uncached(redirect(&format!("{}?uploaded={}", address(&row), stored.len()))));
    };
    upload.discard().await;
    if problem.status.is_server_error() || !request.wants_page() {
        return Err(problem);
    }
    let mut response = show(&app, &request, &customer, &row, Some((&problem, stored.len()))).await?;
    *response.status_mut() = problem.status;
    Ok(response)
}

/// Nothing new begins for a subscription that nobody pays for.
pub(super) fn inactive() -> Problem {
    Problem::conflict("not_allowed_now", "The subscription is not active.")
        .remedy("The page of the subscription says what can be done.")
}

/// `GET /portal/subscriptions/{id}/files/{file}/content`: whole, or one range.
pub async fn content(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let file = files::find(&app, row.id, request.param("file")).await?;
    content::answer(app, &request, row.id, file, Shown::Harmless).map(uncached)
}

/// `POST /portal/subscriptions/{id}/files/{file}/delete`.
pub async fn remove(app: Arc<App>, request: Request, customer: Customer, _form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let file = files::find(&app, row.id, request.param("file")).await?;
    files::delete(&app, row.id, &file.id).await?;
    Ok(uncached(redirect(&format!("{}?removed", address(&row)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (25 * 1024 * 1024, "25.0 MiB"),
            (u64::from(u32::MAX), "3.9 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
