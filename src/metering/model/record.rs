//! Usage records: what a producer says was used. Immutable; a correction is a record of its own with a negative
//! quantity that names what it corrects.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::catalogue::{Catalogue, Meter};
use super::cycle::Period;
use super::hour::{Hour, WINDOW};
use super::ledger::Tally;
use super::quantity::Quantity;
use super::resource::Resource;
use super::terms::Terms;
use crate::foundation::hex::hex;
use crate::foundation::ids::SubscriptionId;

/// Clocks may differ by this much; a record from further in the future is refused.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// A late record is counted in its own hour if that is open, but never in one whose deadline is too near.
const LATEST_HOUR: i64 = 20;
const LONGEST_ID: usize = 128;
const LONGEST_NOTE: usize = 500;

/// Why a record is not recorded. `code` is for programs, `field` names what to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub code: &'static str,
    pub field: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: &'static str, field: &'static str, message: impl Into<String>) -> Self {
        Self { code, field, message: message.into() }
    }
}

/// A record as it comes in by REST, one JSON object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming<'a> {
    id: Option<String>,
    subscription: Option<String>,
    resource_id: Option<String>,
    resource_uri: Option<String>,
    dimension: Option<String>,
    meter: Option<String>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    occurred_at: Option<String>,
    corrects: Option<String>,
    note: Option<String>,
}

/// A record whose form is right. Whether its resource and dimension exist is seen when it is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// The producer's own id, unique within the resource: what makes a repeat harmless.
    pub id: String,
    pub resource: Resource,
    pub what: What,
    pub quantity: Quantity,
    /// None: when it is recorded.
    pub occurred: Option<Timestamp>,
    /// The id of the record that this one corrects.
    pub corrects: Option<String>,
    pub note: String,
}

/// What a quantity is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Dimension(String),
    /// A meter of ours, which the catalogue maps to dimensions.
    Meter(String),
}

impl What {
    pub fn counter(&self) -> String {
        match self {
            Self::Dimension(id) => format!("dimension:{id}"),
            Self::Meter(name) => format!("meter:{name}"),
        }
    }
}

/// The fields of a record as texts, however they came; empty means absent.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub id: String,
    pub subscription: String,
    pub resource_id: String,
    pub resource_uri: String,
    pub dimension: String,
    pub meter: String,
    pub quantity: String,
    pub occurred_at: String,
    pub corrects: String,
    pub note: String,
}

impl UsageRecord {
    /// Reads one JSON object.
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        let incoming: Incoming<'_> = serde_json::from_str(text)
            .map_err(|error| Refusal::new("unreadable", "record", format!("The record can not be read: {error}.")))?;
        let quantity = match incoming.quantity {
            Some(raw) if raw.get().starts_with('"') => serde_json::from_str::<String>(raw.get()).unwrap_or_default(),
            Some(raw) => raw.get().to_owned(),
            None => String::new(),
        };
        Self::from_fields(&Fields {
            id: incoming.id.unwrap_or_default(),
            subscription: incoming.subscription.unwrap_or_default(),
            resource_id: incoming.resource_id.unwrap_or_default(),
            resource_uri: incoming.resource_uri.unwrap_or_default(),
            dimension: incoming.dimension.unwrap_or_default(),
            meter: incoming.meter.unwrap_or_default(),
            quantity,
            occurred_at: incoming.occurred_at.unwrap_or_default(),
            corrects: incoming.corrects.unwrap_or_default(),
            note: incoming.note.unwrap_or_default(),
        })
    }

    pub fn from_fields(fields: &Fields) -> Result<Self, Refusal> {
        let id = record_id(&fields.id, "id")?;
        let resource = resource(fields)?;
        let what = match (fields.dimension.trim(), fields.meter.trim()) {
            ("", "") => return Err(Refusal::new("missing", "dimension", "Name a dimension or a meter.")),
            (dimension, "") => What::Dimension(dimension.to_owned()),
            ("", meter) => What::Meter(meter.to_owned()),
            _ => return Err(Refusal::new("ambiguous", "dimension", "Name a dimension or a meter, not both.")),
        };
        if fields.quantity.trim().is_empty() {
            return Err(Refusal::new("missing", "quantity", "The quantity is missing."));
        }
        let quantity: Quantity = fields.quantity.parse().map_err(|error| {
            let shown: String = fields.quantity.chars().take(40).collect();
            Refusal::new("invalid_quantity", "quantity", format!("The quantity `{shown}` {error}."))
        })?;
        let corrects = match fields.corrects.trim() {
            "" => None,
            text => Some(record_id(text, "corrects")?),
        };
        if quantity.is_zero() {
            return Err(Refusal::new(
                "invalid_quantity",
                "quantity",
                "The quantity is zero; nothing used needs no record.",
            ));
        }
        if !quantity.is_positive() && corrects.is_none() {
            let message = "A negative quantity corrects another record; name that one in `corrects`.";
            return Err(Refusal::new("invalid_quantity", "quantity", message));
        }
        let occurred = match fields.occurred_at.trim() {
            "" => None,
            text => Some(text.parse::<Timestamp>().map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                let message = format!("`{shown}` is not a time such as 2026-03-02T09:30:00Z; a zone is needed.");
                Refusal::new("invalid_time", "occurred_at", message)
            })?),
        };
        if fields.note.chars().count() > LONGEST_NOTE {
            return Err(Refusal::new(
                "too_long",
                "note",
                format!("The note is longer than {LONGEST_NOTE} characters."),
            ));
        }
        Ok(Self { id, resource, what, quantity, occurred, corrects, note: fields.note.trim().to_owned() })
    }

    /// What a repeat must have in common.
    pub fn digest(&self) -> String {
        let occurred = self.occurred.map(|at| at.to_string()).unwrap_or_default();
        let corrects = self.corrects.as_deref().unwrap_or_default();
        let text = format!("{}|{}|{occurred}|{corrects}", self.what.counter(), self.quantity);
        hex(&Sha256::digest(text.as_bytes())[..12])
    }
}

/// The key under which a record's id is kept: ids may have any characters, keys may not.
pub fn id_key(id: &str) -> String {
    // Ids of our own begin with their time: as they are, they land beside each other in the store instead of anywhere.
    let ours = id.starts_with("req_") && id.len() <= 64;
    if ours && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b':')) {
        return format!("id:{id}");
    }
    format!("id:{}", hex(&Sha256::digest(id.as_bytes())[..16]))
}

fn record_id(text: &str, field: &'static str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        let message = "The record needs an id of yours, the same one when it is sent again.";
        return Err(Refusal::new("missing", field, message));
    }
    if text.chars().count() > LONGEST_ID || text.chars().any(char::is_control) {
        let message = format!("An id has at most {LONGEST_ID} characters and no control characters.");
        return Err(Refusal::new("invalid_id", field, message));
    }
    Ok(text.to_owned())
}

fn resource(fields: &Fields) -> Result<Resource, Refusal> {
    match (fields.subscription.trim(), fields.resource_id.trim(), fields.resource_uri.trim()) {
        ("", "", "") => Err(Refusal::new(
            "missing",
            "subscription",
            "Name a subscription, or a managed application by resource_id or resource_uri.",
        )),
        (id, "", "") => id
            .parse::<SubscriptionId>()
            .map(Resource::Subscription)
            .map_err(|_| Refusal::new("invalid_subscription", "subscription", "The subscription is not a GUID.")),
        ("", id, "") => uuid::Uuid::try_parse(id)
            .map(Resource::UsageId)
            .map_err(|_| Refusal::new("invalid_resource", "resource_id", "The resource_id is not a GUID.")),
        ("", "", uri) => Resource::uri(uri)
            .map_err(|error| Refusal::new("invalid_resource", "resource_uri", format!("The resource_uri {error}."))),
        _ => Err(Refusal::new("ambiguous", "subscription", "Name one of subscription, resource_id and resource_uri.")),
    }
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub id: String,
    /// `dimension:<id>` or `meter:<name>`.
    pub counter: String,
    pub quantity: Quantity,
    pub occurred: Timestamp,
    /// The hour in which it counts.
    pub hour: Hour,
    /// The start of the period in which it counts.
    pub period: Timestamp,
    pub plan: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Where a record counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub occurred: Timestamp,
    pub hour: Hour,
    pub period: Period,
    pub segment: usize,
    pub plan: String,
    pub meter: Meter,
}

/// Finds the hour, period, plan and meter of a record, or why it can not be recorded.
pub fn place(
    record: &UsageRecord,
    terms: &Terms,
    tally: &Tally,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<Place, Refusal> {
    let occurred = record.occurred.unwrap_or(now);
    if occurred > now + SKEW {
        let message = format!("{occurred} is in the future; it is {now} here.");
        return Err(Refusal::new("in_future", "occurred_at", message));
    }
    let occurred = occurred.min(now);
    if now.duration_since(occurred) > WINDOW {
        let message = format!("{occurred} is more than 24 hours ago; Microsoft takes nothing older.");
        return Err(Refusal::new("too_old", "occurred_at", message));
    }
    if terms.inactive {
        let message = "The subscription is not active yet; usage counts from its activation.";
        return Err(Refusal::new("not_active", "subscription", message));
    }
    if let Some(ended) = terms.ended.filter(|ended| occurred >= *ended) {
        let message = format!("The subscription ended at {ended}; only usage from before that can be recorded.");
        return Err(Refusal::new("ended", "subscription", message));
    }
    let segment = terms.segment_at(occurred);
    let plan = terms.segments.get(segment).map(|segment| segment.plan.clone()).unwrap_or_default();
    let meter = match &record.what {
        What::Dimension(id) => terms.direct(&plan, id),
        What::Meter(name) => terms.metered(catalogue, &plan, name),
    };
    let meter = meter.map_err(|error| {
        let field = if matches!(record.what, What::Meter(_)) { "meter" } else { "dimension" };
        Refusal::new("unknown_dimension", field, format!("{error}."))
    })?;
    let Some(period) = terms.period_at(occurred) else {
        return Err(Refusal::new("not_active", "subscription", "The subscription has no billing period yet."));
    };
    let hour = Hour::of(occurred).max(tally.open_from).max(Hour(Hour::of(now).0 - LATEST_HOUR));
    Ok(Place { occurred, hour, period, segment, plan, meter })
}
