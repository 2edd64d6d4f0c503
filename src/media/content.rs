//! The bytes of a file as an answer: whole or one range of it, for programs and for pages.

use std::ops::Range;
use std::sync::Arc;

use http::{StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::model::file::File;
use super::service::files;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Request, Response, respond, with_header};

/// What a browser does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It is saved, whatever it says that it is.
    Saved,
    /// It is shown or played where that can do no harm.
    Harmless,
}

/// Types that a browser only decodes and never runs; SVG and HTML are not among them.
pub fn is_harmless(content_type: &str) -> bool {
    content_type.starts_with("audio/")
        || matches!(content_type, "video/mp4" | "image/png" | "image/jpeg" | "image/gif" | "image/webp")
}

/// One range of a file (RFC 9110, 14.1.2); None: the whole. Several ranges at once are answered with the whole.
fn range(request: &Request, length: u64) -> Result<Option<Range<u64>>, Problem> {
    let Some(text) = request.header(header::RANGE).and_then(|text| text.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    if text.contains(',') {
        return Ok(None);
    }
    let Some((from, to)) = text.split_once('-') else { return Ok(None) };
    let range = match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(length),
        (Ok(from), Err(_)) if to.trim().is_empty() => from..length,
        (Err(_), Ok(last)) if from.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return Ok(None),
    };
    if range.start >= length {
        let title = format!("The file has {length} bytes.");
        return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", title));
    }
    Ok(Some(range))
}

/// `Content-Disposition` (RFC 6266); a name with other letters than ASCII's is told in both ways.
fn disposition(name: &str, shown: Shown, content_type: &str) -> String {
    let how = if shown == Shown::Harmless && is_harmless(content_type) { "inline" } else { "attachment" };
    let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    if plain == name {
        return format!("{how}; filename=\"{plain}\"");
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// The answer to a request for a file's bytes.
pub fn answer(
    app: Arc<App>,
    request: &Request,
    subscription: SubscriptionId,
    file: File,
    shown: Shown,
) -> Result<Response, Problem> {
    let range = range(request, file.bytes)?;
    let mut response = respond(StatusCode::OK, "application/octet-stream", Vec::new());
    if let Some(range) = &range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let place = format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes);
        response = with_header(response, header::CONTENT_RANGE, &place);
    }
    let range = range.unwrap_or(0..file.bytes);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response = with_header(response, header::CONTENT_TYPE, &file.content_type);
    response = with_header(response, header::ACCEPT_RANGES, "bytes");
    response = with_header(response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    response = with_header(response, header::CONTENT_DISPOSITION, &disposition(&file.name, shown, &file.content_type));
    *response.body_mut() = Body::Stream(files::pieces(app, subscription, file, range));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_do_no_harm_is_shown_within_a_page() {
        for (content_type, how) in [
            ("audio/wav", "inline"),
            ("image/png", "inline"),
            ("video/mp4", "inline"),
            ("image/svg+xml", "attachment"),
            ("text/html", "attachment"),
            ("text/plain; charset=utf-8", "attachment"),
            ("image/tiff", "attachment"),
            ("application/octet-stream", "attachment"),
        ] {
            assert!(disposition("a", Shown::Harmless, content_type).starts_with(how), "{content_type}");
            assert!(disposition("a", Shown::Saved, content_type).starts_with("attachment"), "{content_type}");
        }
        let told = disposition("会议 1.wav", Shown::Saved, "audio/wav");
        assert_eq!(told, "attachment; filename=\"__ 1.wav\"; filename*=UTF-8''%E4%BC%9A%E8%AE%AE%201%2Ewav");
    }
}
