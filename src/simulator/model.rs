//! Subscriptions and operations as the simulated Microsoft keeps them, and how they look on the wire
//! (marketplace contract, sections 1.9, 2 and 3.2). No clock, no I/O.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue;
use super::people::{PUBLISHER_ID, Person};

/// After the webhook was answered 200, a plan or quantity change waits this long for a word and is then accepted.
pub const DECISION_WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// How long a purchase may wait for activation, and a suspended subscription for its payment.
pub const GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// `saasSubscriptionStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    PendingFulfillmentStart,
    Subscribed,
    Suspended,
    Unsubscribed,
}

/// The `status` of an operation. The API also knows `NotStarted` and `Conflict`; nothing here ends in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OperationStatus {
    InProgress,
    Succeeded,
    Failed,
}

/// Who asked for an operation: `operationRequestSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    Azure,
    Partner,
}

/// Something that happens to a subscription on Microsoft's side. `Unknown` carries an action name the product has
/// never heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    ChangePlan(String),
    ChangeQuantity(u32),
    Suspend,
    Reinstate,
    Renew,
    Unsubscribe,
    Subscribe,
    Unknown(String),
}

impl Action {
    /// The name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Action::ChangePlan(_) => "ChangePlan",
            Action::ChangeQuantity(_) => "ChangeQuantity",
            Action::Suspend => "Suspend",
            Action::Reinstate => "Reinstate",
            Action::Renew => "Renew",
            Action::Unsubscribe => "Unsubscribe",
            Action::Subscribe => "Subscribe",
            Action::Unknown(name) => name,
        }
    }

    /// Plan and quantity changes can be refused by the publisher; nothing else can.
    pub fn is_change(&self) -> bool {
        matches!(self, Action::ChangePlan(_) | Action::ChangeQuantity(_))
    }
}

/// One operation on a subscription. `plan_id` and `quantity` are the values asked for.
#[derive(Debug, Clone)]
pub struct Operation {
    pub id: Uuid,
    pub activity_id: Uuid,
    pub action: Action,
    pub plan_id: String,
    pub quantity: Option<u32>,
    pub status: OperationStatus,
    pub source: Source,
    /// Business time.
    pub created: Timestamp,
    /// Business time at which silence counts as consent; none until the webhook was answered 2xx.
    pub decide_at: Option<Timestamp>,
    pub error: String,
    /// How often Get Operation has asked for it.
    pub seen: u32,
}

impl Operation {
    pub fn is_open(&self) -> bool {
        self.status == OperationStatus::InProgress
    }
}

/// What a subscription began with.
#[derive(Debug, Clone)]
pub struct Bought {
    pub plan: String,
    pub quantity: Option<u32>,
    pub trial: bool,
}

/// One subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub id: Uuid,
    pub name: String,
    pub offer_id: String,
    pub plan_id: String,
    pub quantity: Option<u32>,
    pub bought: Bought,
    pub status: Status,
    pub purchaser: Person,
    pub beneficiary: Person,
    pub csp: bool,
    pub private_offer: Option<Uuid>,
    pub term_unit: String,
    /// First day of the first term; terms are counted from here, so that the 31st stays the 31st.
    pub anchor: Option<Date>,
    /// How many renewals there have been.
    pub renewals: u32,
    pub auto_renew: bool,
    pub free_trial: bool,
    pub created: Timestamp,
    /// When activation takes effect, while it is on its way.
    pub activates_at: Option<Timestamp>,
    /// The activation that is on its way will fail.
    pub activation_fails: bool,
    pub suspended_at: Option<Timestamp>,
    /// When it was cancelled or given up.
    pub ended_at: Option<Timestamp>,
    pub operations: Vec<Operation>,
}

impl Subscription {
    /// First day of the `n`-th term.
    fn term_start(&self, n: u32) -> Option<Date> {
        let months = i64::from(catalogue::months_of(&self.term_unit)) * i64::from(n);
        self.anchor?.checked_add(Span::new().try_months(months).ok()?).ok()
    }

    /// The moment at which the current term is over, midnight UTC after its last valid day.
    pub fn renews_at(&self) -> Option<Timestamp> {
        let next = self.term_start(self.renewals + 1)?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// The operation that locks the subscription, if there is one.
    pub fn open_operation(&self) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.is_open())
    }

    pub fn operation(&self, id: Uuid) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    pub fn operation_mut(&mut self, id: Uuid) -> Option<&mut Operation> {
        self.operations.iter_mut().find(|operation| operation.id == id)
    }

    /// What the beneficiary may do from the publisher's side.
    pub fn allowed(&self) -> &'static [&'static str] {
        if self.csp { &["Read"] } else { &["Delete", "Update", "Read"] }
    }

    /// The subscription object as every call and webhook shows it.
    pub fn view(&self) -> Value {
        let mut term = json!({ "termUnit": self.term_unit, "chargeDuration": null });
        if let (Some(start), Some(next)) = (self.term_start(self.renewals), self.term_start(self.renewals + 1)) {
            term["startDate"] = format!("{start}T00:00:00Z").into();
            term["endDate"] = format!("{}T00:00:00Z", next.yesterday().unwrap_or(next)).into();
        }
        let mut view = json!({
            "id": self.id, "name": self.name, "publisherId": PUBLISHER_ID, "offerId": self.offer_id,
            "planId": self.plan_id, "saasSubscriptionStatus": self.status,
            "beneficiary": person(&self.beneficiary), "purchaser": person(&self.purchaser),
            "term": term, "autoRenew": self.auto_renew, "isFreeTrial": self.free_trial, "isTest": false,
            "allowedCustomerOperations": self.allowed(), "sandboxType": "None", "sessionMode": "None",
            "created": seven_digits(self.created), "lastModified": "0001-01-01T00:00:00",
        });
        // Observed: the property is missing on flat plans and disappears when the subscription ends.
        if let Some(quantity) = self.quantity.filter(|_| self.status != Status::Unsubscribed) {
            view["quantity"] = quantity.into();
        }
        view
    }

    /// An operation as Get Operation shows it.
    pub fn operation_view(&self, operation: &Operation) -> Value {
        let mut view = self.operation_facts(operation);
        let code = if operation.error.is_empty() { "" } else { "BadRequest" };
        view["errorStatusCode"] = code.into();
        view["errorMessage"] = operation.error.as_str().into();
        view
    }

    /// The body of the webhook for an operation, with the subscription as it is now. `Subscribe` arrives in the
    /// minimal form that was observed.
    pub fn webhook_body(&self, operation: &Operation) -> Value {
        if operation.action == Action::Subscribe {
            return json!({
                "id": operation.id, "activityId": operation.activity_id, "operationRequestSource": operation.source,
                "subscriptionId": self.id, "timeStamp": seven_digits(operation.created), "action": "Subscribe",
            });
        }
        let mut body = self.operation_facts(operation);
        body["operationRequestSource"] = json!(operation.source);
        body["subscription"] = self.view();
        body["purchaseToken"] = Value::Null;
        body
    }

    fn operation_facts(&self, operation: &Operation) -> Value {
        let mut facts = json!({
            "id": operation.id, "activityId": operation.activity_id, "subscriptionId": self.id,
            "offerId": self.offer_id, "publisherId": PUBLISHER_ID, "planId": operation.plan_id,
            "action": operation.action.name(), "timeStamp": seven_digits(operation.created),
            "status": operation.status,
        });
        if let Some(quantity) = operation.quantity {
            facts["quantity"] = quantity.into();
        }
        facts
    }
}

/// Microsoft's timestamps carry seven fractional digits.
pub fn seven_digits(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

fn person(person: &Person) -> Value {
    // Observed: the puid may be null; it is for personal accounts here.
    let puid = (!person.is_personal()).then(|| format!("10032{:011}", person.object_id.as_u128() % 100_000_000_000));
    json!({ "emailId": person.email, "objectId": person.object_id, "tenantId": person.tenant_id, "puid": puid })
}
