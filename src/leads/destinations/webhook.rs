//! A call to an address of the publisher's own, signed by the Standard Webhooks scheme as callbacks are. The message's id
//! is made of the lead's id and revision, so that a receiver knows a repeat.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value, json};

use super::answer::{Caller, MOST_READ, PATIENCE, later};
use super::configured::Tools;
use super::entry::Entry;
use super::mapping::Mapping;
use super::{DeliveryError, Destination, Receipt};
use crate::callbacks::sign;
use crate::foundation::outbound::{FetchError, Fetcher, base_address};
use crate::foundation::secret::Secret;
use crate::leads::model::lead::Lead;

const SYSTEM: &str = "The webhook";
const DEFAULT: &[(&str, &str)] = &[
    ("id", "{id}"),
    ("first_name", "{first_name}"),
    ("last_name", "{last_name}"),
    ("email", "{email}"),
    ("phone", "{phone}"),
    ("country", "{country}"),
    ("company", "{company}"),
    ("title", "{title}"),
    ("offer", "{offer}"),
    ("offer_title", "{offer_title}"),
    ("source", "{source}"),
    ("action", "{action}"),
    ("description", "{description}"),
    ("first", "{first}"),
    ("last", "{last}"),
    ("arrivals", "{arrivals}"),
    ("do_not_contact", "{do_not_contact}"),
];
const REMEDY: &str = "the receiver refuses us; check that it knows the key";

#[derive(Debug)]
pub(super) struct Webhook {
    url: String,
    key: Secret,
    fetcher: Arc<Fetcher>,
    caller: Caller,
    mapping: Mapping,
}

impl Webhook {
    pub(super) fn read(entry: &mut Entry<'_>, tools: &Tools) -> Self {
        let url = entry.text("url", "an address such as https://host/path");
        if !url.is_empty() {
            if let Err(error) = base_address(&url) {
                entry.wrong("url", error);
            } else if let Err(error) = tools.fetcher.check(&url) {
                entry.wrong(
                    "url",
                    format_args!("{error} A host of your own network must stand in FETCH_PRIVATE_HOSTS."),
                );
            }
        }
        let key = entry.key();
        let bytes = key.expose().strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        if !key.expose().is_empty() && !bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len())) {
            entry.wrong("key", "is no secret of Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes");
        }
        let (fetcher, caller) = (Arc::clone(&tools.fetcher), tools.caller(SYSTEM));
        Self { url, key, fetcher, caller, mapping: entry.mapping(DEFAULT) }
    }

    fn headers(&self, id: &str, body: &str) -> Option<HeaderMap> {
        let seconds = self.caller.clock.now().as_second();
        let signature = sign([&self.key].into_iter(), id, seconds, body);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(id).ok()?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
        headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).ok()?);
        Some(headers)
    }
}

#[async_trait]
impl Destination for Webhook {
    async fn deliver(&self, lead: &Lead, _before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        let filled = self.mapping.filled(lead).into_iter();
        let mut data: Map<String, Value> = filled.map(|(name, value)| (name.to_owned(), value)).collect();
        // By these a receiver tells a repeat, an older state and a try from a new lead, whatever the mapping says.
        data.insert("id".to_owned(), lead.id.as_str().into());
        data.insert("revision".to_owned(), lead.revision.into());
        data.insert("test".to_owned(), lead.test.into());
        let body = json!({ "type": "lead", "timestamp": lead.last, "data": data }).to_string();
        let id = format!("{}_{}", lead.id, lead.revision);
        let Some(headers) = self.headers(&id, &body) else {
            return Err(DeliveryError::Refused { said: "the webhook's headers can not be made".to_owned() });
        };
        match self.fetcher.post(&self.url, headers, Bytes::from(body), PATIENCE, MOST_READ).await {
            Ok(posted) if posted.status.is_success() => Ok(Receipt::default()),
            Ok(posted) => Err(self.caller.verdict(&self.caller.posted(posted), None, &[], REMEDY)),
            Err(FetchError::Failed(word)) => Err(later(format!("{SYSTEM} could not be reached: {word}"))),
            Err(error) => Err(DeliveryError::Refused { said: format!("{SYSTEM}: {error}") }),
        }
    }
}
