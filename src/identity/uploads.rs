//! Files in a form of ours, read as they come. The form's first field is its `csrf` token, and nothing behind it is looked
//! at before the token is proven: so a handler that takes an [`Upload`] can not be made to store a stranger's bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::CONTENT_TYPE;

use super::access::from_our_page;
use super::sessions::Session;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Incoming, Request, framed};

/// What is refused is still read up to here, because browsers look for the answer only after they have sent everything.
const MOST_DISCARDED: usize = 32 * 1024 * 1024;
/// Bytes of a field that is no file.
const LONGEST_FIELD: usize = 200;

/// The rest of a form whose token is proven.
pub struct Upload {
    parts: multer::Multipart<'static>,
    /// A file is read.
    inside: Arc<AtomicBool>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

impl Upload {
    /// The next field, which must be let go before the one behind it is asked for.
    pub async fn next(&mut self) -> Result<Option<multer::Field<'static>>, Problem> {
        self.inside.store(false, Ordering::Relaxed);
        let field = self.parts.next_field().await.map_err(unreadable)?;
        self.inside.store(field.as_ref().is_some_and(|field| field.file_name().is_some()), Ordering::Relaxed);
        Ok(field)
    }

    /// Reads what is left, up to a point, and keeps nothing of it.
    pub async fn discard(&mut self) {
        let mut read = 0;
        while let Ok(Some(mut field)) = self.next().await {
            while let Ok(Some(piece)) = field.chunk().await {
                read += piece.len();
                if read > MOST_DISCARDED {
                    return;
                }
            }
        }
    }
}

/// A form that can not be read, or what our own reading of the body found wrong.
pub fn unreadable(error: multer::Error) -> Problem {
    let wrong = |text: String| Problem::bad_request("invalid_form", format!("The form can not be read: {text}."));
    match error {
        multer::Error::StreamReadFailed(error) => match error.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(error) => wrong(error.to_string()),
        },
        error => wrong(error.to_string()),
    }
}

/// The text of a small field; what is too long is cut.
pub async fn small(field: &mut multer::Field<'_>) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(unreadable)? {
        text.extend_from_slice(&piece[..piece.len().min(LONGEST_FIELD - text.len())]);
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Reads as far as the token, and proves it.
pub async fn upload(app: &App, request: &Request, session: &Session, body: Incoming) -> Result<Upload, Problem> {
    // Without a form there is no token either.
    let boundary = multer::parse_boundary(request.header(CONTENT_TYPE).unwrap_or_default())
        .or_else(|_| from_our_page(app, request, "", session).map(|()| String::new()))?;
    let inside = Arc::new(AtomicBool::new(false));
    let parts = multer::Multipart::new(framed(body, Arc::clone(&inside)), boundary);
    let mut upload = Upload { parts, inside };
    let token = match upload.next().await {
        Ok(Some(mut field)) if field.name() == Some("csrf") => small(&mut field).await.unwrap_or_default(),
        _ => String::new(),
    };
    if let Err(problem) = from_our_page(app, request, &token, session) {
        upload.discard().await;
        return Err(problem);
    }
    Ok(upload)
}
