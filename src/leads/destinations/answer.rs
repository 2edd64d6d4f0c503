//! One call to another system over HTTP, and what its answer means for a delivery. Nothing that came back is repeated but
//! the status, a machine's code and the names of fields that our own settings use: the rest may speak of the person.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::DeliveryError;
use super::mapping::Mapping;
use crate::foundation::clock::Clock;
use crate::foundation::outbound::{Posted, retry_after_or_date};

/// Longest time for one exchange.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read; what tells what went wrong stands at its beginning.
pub(super) const MOST_READ: usize = 64 * 1024;
/// The longest wait that somebody may ask of us.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What an answer is asked about.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Null when it is no JSON.
    pub(super) body: Value,
    at: Timestamp,
}

/// Whoever makes calls: the client and the clock by which waits are reckoned.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) http: reqwest::Client,
    pub(super) clock: Arc<dyn Clock>,
    /// The system's name in errors.
    pub(super) system: &'static str,
}

pub(super) fn later(said: String) -> DeliveryError {
    DeliveryError::Later { said, after: None }
}

impl Caller {
    /// The client follows no redirects.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, DeliveryError> {
        let failed = |error: reqwest::Error| {
            if error.is_builder() {
                let said = format!(
                    "no request to {} can be made; check the key for characters that do not print",
                    self.system
                );
                return DeliveryError::Refused { said };
            }
            let word = if error.is_timeout() {
                "it took too long"
            } else if error.is_connect() {
                "there is no connection"
            } else {
                "the transfer broke off"
            };
            later(format!("{} could not be reached: {word}", self.system))
        };
        let mut response = request.timeout(PATIENCE).send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() < MOST_READ => {
                    body.extend_from_slice(&chunk[..chunk.len().min(MOST_READ - body.len())]);
                }
                Ok(_) => break,
                // A success may not have been one to its end; of a refusal the status is enough.
                Err(error) if status.is_success() => return Err(failed(error)),
                Err(_) => break,
            }
        }
        Ok(self.answer(status, headers, &body))
    }

    pub(super) fn answer(&self, status: StatusCode, headers: HeaderMap, body: &[u8]) -> Answer {
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        Answer { status, headers, body, at: self.clock.now() }
    }

    pub(super) fn posted(&self, posted: Posted) -> Answer {
        self.answer(posted.status, posted.headers, &posted.beginning)
    }

    /// What an answer that is no success means. `code`: where the system has one; `remedy`: for refused credentials.
    pub(super) fn verdict(
        &self,
        answer: &Answer,
        code: Option<&str>,
        fields: &[String],
        remedy: &str,
    ) -> DeliveryError {
        let status = answer.status;
        let mut said = format!("{} answered {}", self.system, status.as_u16());
        if let Some(code) = code.filter(|code| is_code(code)) {
            said.push_str(&format!(" ({code})"));
        }
        if passes(status) {
            return DeliveryError::Later { said, after: self.wait(answer) };
        }
        let help = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => remedy.to_owned(),
            status if status.is_redirection() => {
                "redirects are not followed; give the address that it leads to".to_owned()
            }
            _ if !fields.is_empty() => format!("check the mapping of {}", fields.join(", ")),
            StatusCode::NOT_FOUND => "check the address and the names in the settings".to_owned(),
            _ => "check the mapping".to_owned(),
        };
        DeliveryError::Refused { said: format!("{said}; {help}") }
    }

    /// How long the system asked us to wait.
    pub(super) fn wait(&self, answer: &Answer) -> Option<Duration> {
        retry_after_or_date(&answer.headers, answer.at).map(|wait| wait.min(LONGEST_WAIT))
    }
}

/// Whether trying again helps although nobody mends anything. 423 and 477 are HubSpot's "locked" and "being moved".
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 423 | 425 | 429 | 477)
}

/// Whether it is a code and not prose, in which the person may be named.
pub(super) fn is_code(text: &str) -> bool {
    (1..=60).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

/// All texts of an answer; the names of its own members say nothing.
fn words(value: &Value, text: &mut String) {
    match value {
        Value::String(word) => {
            text.push_str(word);
            text.push('\n');
        }
        Value::Array(list) => list.iter().for_each(|value| words(value, text)),
        Value::Object(members) => members.values().for_each(|value| words(value, text)),
        _ => {}
    }
}

/// Which of our mapping's fields an answer speaks of.
pub(super) fn fields_named(answer: &Answer, mapping: &Mapping) -> Vec<String> {
    let mut text = String::new();
    words(&answer.body, &mut text);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |name: &str| {
        text.match_indices(name)
            .any(|(at, _)| !text[..at].ends_with(word) && !text[at + name.len()..].starts_with(word))
    };
    mapping.names().filter(|name| stands_alone(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::foundation::clock::VirtualClock;

    fn caller() -> Caller {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        Caller {
            http: crate::foundation::outbound::client().unwrap(),
            clock: Arc::new(VirtualClock::at(now)),
            system: "X",
        }
    }

    fn verdict(status: u16, wait: Option<&str>) -> DeliveryError {
        let mut headers = HeaderMap::new();
        if let Some(wait) = wait {
            headers.insert("retry-after", wait.parse().unwrap());
        }
        let caller = caller();
        let answer = caller.answer(StatusCode::from_u16(status).unwrap(), headers, b"ada@contoso.example");
        caller.verdict(&answer, Some("ada@contoso.example"), &[], "renew the key")
    }

    #[test]
    fn what_passes_is_tried_later_and_the_rest_is_mended_by_somebody() {
        for status in [408, 423, 429, 477, 500, 502, 503, 504] {
            assert!(matches!(verdict(status, None), DeliveryError::Later { after: None, .. }), "{status}");
        }
        for (wait, seconds) in [("7", 7), ("Fri, 20 Nov 2026 10:02:00 GMT", 120), ("99999999", 86_400)] {
            let wanted = Some(Duration::from_secs(seconds));
            assert!(
                matches!(verdict(429, Some(wait)), DeliveryError::Later { after, .. } if after == wanted),
                "{wait}"
            );
        }
        for (status, said) in
            [(400, "mapping"), (401, "renew the key"), (403, "renew the key"), (404, "address"), (302, "redirects")]
        {
            let DeliveryError::Refused { said: found } = verdict(status, None) else { panic!("{status}") };
            assert!(found.contains(said) && !found.contains("ada"), "{found}");
        }
    }

    #[test]
    fn only_fields_of_our_own_mapping_are_named() {
        let mapping = Mapping::read(
            &[("LastName", "{last_name}"), ("Name", "{company}"), ("message", "{action}")],
            &serde_json::Map::new(),
        )
        .unwrap();
        let body =
            json!([{"errorCode": "X", "message": "LastName: Lovelace is too long", "fields": ["LastName", "Secret"]}]);
        let answer = caller().answer(StatusCode::BAD_REQUEST, HeaderMap::new(), body.to_string().as_bytes());
        assert_eq!(fields_named(&answer, &mapping), ["LastName"]);
    }
}
