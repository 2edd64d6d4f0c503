//! Bodies of chats and responses that a customer has asked to be kept, for finding out what went wrong. Off unless the
//! customer switches it on for a key and for a time; what was kept is removed a week later, or when the customer says so.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `AiCaptures` | subscription `:` request | `it` | what was asked and answered |
//! | `AiCapturesOf` | subscription | newest first, request | which there are |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::meter::Call;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::store::{self, RowRange, StoreError, Table, Write, expiry, newest_first};

const CAPTURES: Table = Table("AiCaptures");
const OF: Table = Table("AiCapturesOf");
/// So long a capture is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Characters of a request or an answer; the rest is cut off.
const LONGEST: usize = 100_000;
/// Captures in a list.
pub const MOST: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    pub request_id: String,
    pub at: Timestamp,
    pub ends: Timestamp,
    pub key: String,
    pub model: String,
    pub request: String,
    pub answer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub request_id: String,
    pub at: Timestamp,
    pub ends: Timestamp,
    pub key: String,
    pub model: String,
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// A request as it is kept: the data of images is of no use to a reader.
pub fn readable(body: &Value) -> String {
    fn shorten(value: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with("data:") => format!("data: {} characters", text.len()).into(),
            Value::Array(items) => items.iter().map(shorten).collect(),
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shorten(value))).collect(),
            other => other.clone(),
        }
    }
    cut(&shorten(body).to_string())
}

fn partition(subscription: SubscriptionId, request: &str) -> String {
    format!("{subscription}:{request}")
}

/// Keeps a call, if its key says so. A failure is logged and no more: the customer has the answer.
pub async fn keep(app: &App, call: &Call, answer: &str) {
    let Some(request) = &call.captured else { return };
    let ends = call.began + KEPT;
    let capture = Capture {
        request_id: call.request.clone(),
        at: call.began,
        ends,
        key: call.key.clone(),
        model: call.model.clone(),
        request: request.clone(),
        answer: cut(answer),
    };
    if let Err(error) = store_capture(app, call.subscription, capture).await {
        tracing::warn!(request = %call.request, %error, "a call that was to be kept was not");
    }
}

async fn store_capture(app: &App, subscription: SubscriptionId, capture: Capture) -> Result<(), StoreError> {
    let Capture { request_id, at, ends, key, model, .. } = &capture;
    let entry = Entry { request_id: request_id.clone(), at: *at, ends: *ends, key: key.clone(), model: model.clone() };
    let row = format!("{}-{request_id}", newest_first(*at));
    // The body first: a line of the list without it would lead nowhere.
    let partition = partition(subscription, request_id);
    expiry::insert(&*app.rows, CAPTURES, &partition, store::encode(&capture)?, *ends).await?;
    app.rows.write(OF, &subscription.to_string(), vec![Write::upsert(row, &entry)?]).await.map(drop)
}

/// What was kept and is not over, newest first.
pub async fn list(app: &App, subscription: SubscriptionId) -> Result<Vec<Entry>, StoreError> {
    let (now, partition) = (app.clock.now(), subscription.to_string());
    let page = app.rows.query(OF, &partition, &RowRange::all(), MOST).await?;
    let mut entries = Vec::new();
    for row in page.rows {
        let entry: Entry = store::decode(&row)?;
        if entry.ends > now {
            entries.push(entry);
        } else {
            app.rows.write(OF, &partition, vec![Write::Delete { key: row.key, etag: None }]).await?;
        }
    }
    Ok(entries)
}

pub async fn read(app: &App, subscription: SubscriptionId, request: &str) -> Result<Option<Capture>, StoreError> {
    let found = store::load::<Capture>(&*app.rows, CAPTURES, &partition(subscription, request), expiry::KEY).await;
    match found {
        // Whatever stands in an address.
        Err(StoreError::InvalidKey(_)) => Ok(None),
        other => Ok(other?.map(|(capture, _)| capture).filter(|capture| capture.ends > app.clock.now())),
    }
}

/// Removes everything that was kept of a subscription.
pub async fn clear(app: &App, subscription: SubscriptionId) -> Result<usize, StoreError> {
    let of = subscription.to_string();
    let rows = store::scan(&*app.rows, OF, &of, RowRange::all()).await?;
    let count = rows.len();
    for row in rows {
        let entry: Entry = store::decode(&row)?;
        let body = partition(subscription, &entry.request_id);
        app.rows.write(CAPTURES, &body, vec![Write::Delete { key: expiry::KEY.into(), etag: None }]).await?;
        app.rows.write(OF, &of, vec![Write::Delete { key: row.key, etag: None }]).await?;
    }
    Ok(count)
}
