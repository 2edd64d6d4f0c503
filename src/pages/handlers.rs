//! Assets, and the choice of language.

use std::sync::Arc;

use http::HeaderValue;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use jiff::SignedDuration;
use rust_embed::RustEmbed;

use super::Language;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, respond, uncached, with_header};
use crate::identity::local_path;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

pub const LANGUAGE_COOKIE: &str = "mediagenie-language";
const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);

/// `/assets/app.css?v=<hash>`: the address changes with the content, so it may be kept for ever.
pub fn asset_path(name: &str) -> String {
    let hash = Assets::get(name)
        .map(|file| file.metadata.sha256_hash()[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    format!("/assets/{name}?v={}", hash.unwrap_or_default())
}

/// `GET /assets/{*name}`.
pub async fn asset(_app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = request.param("name");
    let file = Assets::get(name).ok_or_else(Problem::not_found)?;
    let content_type = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let mut response = respond(http::StatusCode::OK, content_type, file.data.into_owned());
    let kept = if request.raw_query.starts_with("v=") { "public, max-age=31536000, immutable" } else { "no-cache" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    Ok(response)
}

/// `POST /language`: remembers the choice in a cookie and goes back. Changes nothing of value, so it needs no session.
pub async fn choose_language(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let form = Form::parse(&request.body);
    let language = Language::parse(form.get("language"));
    let cookie = cookie::Cookie::build((LANGUAGE_COOKIE, language.tag()))
        .path("/")
        .secure(app.settings.is_https())
        .same_site(cookie::SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(YEAR.as_secs()))
        .build()
        .to_string();
    let back = if form.get("return").is_empty() { "/".to_owned() } else { local_path(form.get("return")) };
    Ok(uncached(with_header(redirect(&back), SET_COOKIE, &cookie)))
}
