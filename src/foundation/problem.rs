//! What goes wrong, as an answer.
//!
//! Verbs and seams have error enums of their own; at the door of a capability they become a [`Problem`], and only the
//! edge turns a `Problem` into bytes: problem+json (RFC 9457) for programs, a page for people. The edge also logs it,
//! once, with the request id that the answer shows. Use the constructor whose *reader* fits:
//!
//! - [`Problem::bad_request`]: the caller can mend it; name the field and the remedy.
//! - [`Problem::not_found`]: also for what belongs to somebody else, so that ids can not be probed.
//! - [`Problem::conflict`]: the caller saw an older state; reload and decide again.
//! - [`Problem::unavailable`]: our trouble or Microsoft's, and it passes; trying again helps.
//! - [`Problem::internal`]: a bug or a broken promise; only we can mend it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// The end of a request that did not do what was asked.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// A stable word for programs, e.g. `invalid_quantity`. Also the key of the page's text in the catalogue.
    pub code: &'static str,
    /// One sentence for a person.
    pub title: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The field of the input that is wrong.
    pub field: Option<&'static str>,
    pub retry_after: Option<Duration>,
    /// Whether the same request may succeed later. OpenAI's SDKs try again by status alone unless told not to.
    pub retryable: bool,
    /// Where a person without a session is sent (303) instead of being shown this problem.
    pub location: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: title.into(),
            remedy: None,
            field: None,
            retry_after: None,
            retryable: true,
            location: None,
            source: None,
        }
    }

    pub fn bad_request(code: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, title)
    }

    pub fn unauthorized(code: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, title)
    }

    pub fn forbidden(code: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, title)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address that you may see.")
    }

    pub fn conflict(code: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, title)
    }

    pub fn unavailable(code: &'static str, title: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title);
        problem.retry_after = Some(Duration::from_secs(10));
        problem
    }

    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side.")
            .caused_by(source)
    }

    /// The same problem under another status, where the caller reads a status in a way of its own.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Trying again would cost as much again, or never help.
    #[must_use]
    pub fn final_answer(mut self) -> Self {
        self.retryable = false;
        self
    }

    #[must_use]
    pub fn redirect(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The causes below this problem, outermost first, for the log line: `a: b: c`.
    pub fn causes(&self) -> String {
        let mut text = String::new();
        let mut next: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.title)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// The failure of background work says itself whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A passing trouble: the message comes again, at last to the poison queue.
    #[error("will be tried again: {0}")]
    Retry(#[source] Box<dyn Error + Send + Sync>),
    /// It will never work: recorded, and the message is done with.
    #[error("given up: {0}")]
    Fail(#[source] Box<dyn Error + Send + Sync>),
}

impl JobError {
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    pub fn fail(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fail(error.into())
    }
}
