//! Metered usage as the marketplace keeps it: the book, and the rules by which an event enters it (marketplace
//! contract, sections 5.3 and 5.4). How events arrive and what is answered is in `metering.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Simulator;
use super::catalogue;
use super::managed_apps::ManagedApp;
use super::millionths;
use super::model::{Status, Subscription};
use super::state::Turn;

/// How far back an event may lie.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// How long the simulated reconciliation takes.
const RECONCILED_AFTER: SignedDuration = SignedDuration::from_hours(1);
const HOUR: i64 = 3_600;

/// `reconStatus` of booked usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ReconStatus {
    Submitted,
    Accepted,
    Rejected,
    Mismatch,
}

impl ReconStatus {
    pub fn name(self) -> &'static str {
        match self {
            ReconStatus::Submitted => "Submitted",
            ReconStatus::Accepted => "Accepted",
            ReconStatus::Rejected => "Rejected",
            ReconStatus::Mismatch => "Mismatch",
        }
    }
}

/// Usage that was accepted. At most one per resource, dimension and hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookedUsage {
    /// The subscription's id, the managed app's `resourceUsageId`, or the address of a managed app that was only
    /// registered; lower case.
    pub resource: String,
    /// The managed app's address, where the event named the app by it; lower case.
    pub resource_uri: Option<String>,
    pub dimension: String,
    /// Start of the clock hour, UTC.
    pub hour: Timestamp,
    /// The `effectiveStartTime` that was sent.
    pub effective_start: Timestamp,
    pub plan: String,
    /// In millionths.
    pub quantity: i128,
    pub usage_event_id: Uuid,
    /// Business time.
    pub booked_at: Timestamp,
    /// Instead of what time makes of it; for tests.
    pub recon_override: Option<ReconStatus>,
    /// In millionths, instead of what follows from the status; for tests.
    pub processed_override: Option<i128>,
}

impl BookedUsage {
    /// Submitted for an hour, then accepted.
    pub fn recon_status(&self, now: Timestamp) -> ReconStatus {
        let reconciled = now.duration_since(self.booked_at) >= RECONCILED_AFTER;
        self.recon_override.unwrap_or(if reconciled { ReconStatus::Accepted } else { ReconStatus::Submitted })
    }

    /// What the marketplace bills, in millionths.
    pub fn processed(&self, now: Timestamp) -> i128 {
        self.processed_override.unwrap_or_else(|| match self.recon_status(now) {
            ReconStatus::Submitted | ReconStatus::Rejected => 0,
            ReconStatus::Accepted => self.quantity,
            ReconStatus::Mismatch => half(self.quantity),
        })
    }
}

/// Another quantity that is still one.
fn half(quantity: i128) -> i128 {
    (quantity / 2).max(1)
}

fn hour_of(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(HOUR)).unwrap_or(at)
}

/// A date or a moment as callers write one; without a zone it is UTC.
pub fn moment(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| Some(text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

type Slot = (String, String, Timestamp);

fn slot(usage: &BookedUsage) -> Slot {
    (usage.resource.clone(), usage.dimension.clone(), usage.hour)
}

/// All booked usage in order of booking, and where each slot's is.
#[derive(Default)]
pub struct UsageBook {
    entries: Vec<BookedUsage>,
    slots: HashMap<Slot, usize>,
}

impl UsageBook {
    pub fn entries(&self) -> &[BookedUsage] {
        &self.entries
    }

    fn find(&self, slot: &Slot) -> Option<&BookedUsage> {
        self.entries.get(*self.slots.get(slot)?)
    }

    fn push(&mut self, usage: BookedUsage) {
        self.slots.entry(slot(&usage)).or_insert(self.entries.len());
        self.entries.push(usage);
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Vec<BookedUsage>)) {
        let mut entries = std::mem::take(self).entries;
        edit(&mut entries);
        entries.into_iter().for_each(|usage| self.push(usage));
    }
}

/// One usage event whose shape is right.
struct Event {
    resource: String,
    by_uri: bool,
    /// What `resource` was before the managed app was found by its address.
    resource_uri: Option<String>,
    /// Nothing for a number that is no quantity of whole millionths.
    quantity: Option<i128>,
    dimension: String,
    effective_start: Timestamp,
    plan: String,
}

impl Event {
    /// The error is the field that is wrong.
    fn read(item: &Value) -> Result<Self, &'static str> {
        let given = |name: &'static str| item.get(name).filter(|value| !value.is_null());
        let text =
            |name: &'static str| given(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).ok_or(name);
        let (resource, by_uri) = match (given("resourceId"), given("resourceUri")) {
            (Some(_), Some(_)) => return Err("resourceUri"),
            (None, Some(_)) => (text("resourceUri")?.to_lowercase(), true),
            _ => {
                let id = text("resourceId")?;
                (Uuid::parse_str(id).map_or_else(|_| id.to_lowercase(), |id| id.to_string()), false)
            }
        };
        let Some(Value::Number(quantity)) = given("quantity") else { return Err("quantity") };
        Ok(Self {
            resource,
            by_uri,
            resource_uri: None,
            quantity: millionths::read(quantity),
            dimension: text("dimension")?.to_owned(),
            effective_start: moment(text("effectiveStartTime")?).ok_or("effectiveStartTime")?,
            plan: text("planId")?.to_owned(),
        })
    }
}

/// What became of an event.
pub enum Verdict {
    Accepted(Box<BookedUsage>),
    /// The slot holds this already.
    Duplicate(Box<BookedUsage>),
    /// The item's status, and the field it is about.
    Refused(Cow<'static, str>, &'static str),
}

/// The field that a status is about.
fn target(status: &str) -> &'static str {
    match status {
        "Expired" => "effectiveStartTime",
        "InvalidDimension" => "dimension",
        "InvalidQuantity" => "quantity",
        "ResourceNotFound" | "ResourceNotActive" | "ResourceNotAuthorized" => "resourceId",
        _ => "usageEventRequest",
    }
}

fn refused(status: impl Into<Cow<'static, str>>) -> Verdict {
    let status = status.into();
    let target = target(&status);
    Verdict::Refused(status, target)
}

impl Subscription {
    /// Only while it is subscribed, except for what happened before the end.
    fn takes_usage(&self, from: Timestamp) -> bool {
        match self.status {
            Status::Subscribed => true,
            // One that never started has no usage to tell of.
            Status::Unsubscribed => self.anchor.is_some() && self.ended_at.is_some_and(|end| from < end),
            Status::PendingFulfillmentStart | Status::Suspended => false,
        }
    }
}

impl Turn<'_> {
    /// Judges one event and books it if it is good.
    pub fn take_usage(&mut self, item: &Value, in_batch: bool) -> Verdict {
        let mut event = match Event::read(item) {
            Ok(event) => event,
            Err(field) => return Verdict::Refused("BadArgument".into(), field),
        };
        self.name_by_id(&mut event);
        if in_batch && self.faults.take(|switches| &mut switches.metering_item_error_next) {
            return refused("Error");
        }
        let switches = self.faults.get();
        if switches.metering_unauthorized_resources {
            return refused("ResourceNotAuthorized");
        }
        if let Some(status) = switches.metering_status_override {
            return self.overridden(&event, status);
        }
        match self.judge(&event) {
            Ok(quantity) => {
                let other = self.faults.take(|switches| &mut switches.metering_accept_other_quantity_next);
                let usage = self.usage(&event, if other { half(quantity) } else { quantity });
                self.state.usage.push(usage.clone());
                Verdict::Accepted(Box::new(usage))
            }
            Err(verdict) => verdict,
        }
    }

    /// The rules, in Microsoft's worst order for the caller: what has expired is not even compared with what was
    /// booked. Answers the quantity to book.
    fn judge(&mut self, event: &Event) -> Result<i128, Verdict> {
        let Some(active) = self.takes_usage(event) else { return Err(refused("ResourceNotFound")) };
        let Some(quantity) = event.quantity.filter(|quantity| *quantity > 0) else {
            return Err(refused("InvalidQuantity"));
        };
        let age = self.now.duration_since(event.effective_start);
        if age.is_negative() || age > WINDOW {
            return Err(refused("Expired"));
        }
        if !self.sells(event) {
            return Err(refused("InvalidDimension"));
        }
        if let Some(booked) = self.booked(event) {
            return Err(Verdict::Duplicate(Box::new(booked)));
        }
        if active { Ok(quantity) } else { Err(refused("ResourceNotActive")) }
    }

    /// A managed app's id and its address are one resource with one slot per hour and dimension. The address is the
    /// newest app's of that name.
    fn name_by_id(&mut self, event: &mut Event) {
        self.settle_apps();
        let app = self.state.managed.current(&event.resource).filter(|_| event.by_uri);
        if let Some(id) = app.and_then(|app| app.resource_usage_id) {
            event.by_uri = false;
            event.resource_uri = Some(std::mem::replace(&mut event.resource, id.to_string()));
        }
    }

    fn managed_app(&self, event: &Event) -> Option<&ManagedApp> {
        self.state.managed.by_usage_id(Uuid::parse_str(&event.resource).ok()?)
    }

    /// Whether the event's resource takes usage; nothing for a resource that nobody knows. A managed app is not known
    /// before it is provisioned and after it is deleted.
    fn takes_usage(&mut self, event: &Event) -> Option<bool> {
        if let Some(app) = self.managed_app(event) {
            return app.takes_usage(event.effective_start).then_some(true);
        }
        if event.by_uri {
            return self.state.managed_apps.contains_key(&event.resource).then_some(true);
        }
        let id = Uuid::parse_str(&event.resource).ok()?;
        self.settle(id);
        Some(self.state.subscriptions.get(&id)?.takes_usage(event.effective_start))
    }

    /// The plan is the event's, because after a change the old plan's usage still arrives. A managed app has one plan
    /// for its life. Plans that are not in the catalogue have every dimension.
    fn sells(&self, event: &Event) -> bool {
        if self.managed_app(event).is_some_and(|app| app.plan != event.plan) {
            return false;
        }
        if event.by_uri && self.state.managed_apps.get(&event.resource) != Some(&event.plan) {
            return false;
        }
        catalogue::plan(&event.plan)
            .is_none_or(|plan| plan.dimensions.iter().any(|dimension| dimension.id == event.dimension))
    }

    fn booked(&self, event: &Event) -> Option<BookedUsage> {
        let slot = (event.resource.clone(), event.dimension.clone(), hour_of(event.effective_start));
        self.state.usage.find(&slot).cloned()
    }

    fn usage(&self, event: &Event, quantity: i128) -> BookedUsage {
        BookedUsage {
            resource: event.resource.clone(),
            resource_uri: event.resource_uri.clone(),
            dimension: event.dimension.clone(),
            hour: hour_of(event.effective_start),
            effective_start: event.effective_start,
            plan: event.plan.clone(),
            quantity,
            usage_event_id: self.id(),
            booked_at: self.now,
            recon_override: None,
            processed_override: None,
        }
    }

    /// A status that was asked for. Nothing is booked, not even when it says so.
    fn overridden(&self, event: &Event, status: String) -> Verdict {
        match status.as_str() {
            "Accepted" => Verdict::Accepted(Box::new(self.usage(event, event.quantity.unwrap_or_default()))),
            "Duplicate" => {
                self.booked(event).map_or_else(|| refused(status), |booked| Verdict::Duplicate(Box::new(booked)))
            }
            _ => refused(status),
        }
    }
}

impl Simulator {
    /// Usage may be sent for a managed app's address and this plan, without any app that was deployed.
    pub fn register_managed_app(&self, resource_uri: &str, plan: &str) {
        self.turn(|turn| turn.state.managed_apps.insert(resource_uri.to_lowercase(), plan.to_owned()));
    }

    /// All booked usage, in order of booking.
    pub fn usage_book(&self) -> Vec<BookedUsage> {
        self.turn(|turn| turn.state.usage.entries().to_vec())
    }

    /// For tests that plant differences between the marketplace's book and the product's.
    pub fn edit_usage_book(&self, edit: impl FnOnce(&mut Vec<BookedUsage>)) {
        self.turn(|turn| turn.state.usage.edit(edit));
    }
}
