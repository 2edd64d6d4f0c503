//! The timeline of a subscription: what came, what was decided, by whom, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::Status;
use super::operation::{Action, Outcome};
use super::subscription::Wish;
use crate::foundation::ids::{ObjectId, OperationId, TenantId};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Actor {
    /// Microsoft's marketplace, by webhook or found by asking.
    Marketplace,
    Customer {
        tenant_id: TenantId,
        object_id: ObjectId,
        name: String,
    },
    Staff {
        object_id: ObjectId,
        name: String,
    },
    /// Ourselves: a timer or a queue message.
    System,
}

/// What made us look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Cause {
    Landing,
    Webhook {
        operation: OperationId,
    },
    Portal,
    Staff,
    /// The hourly comparison found it: a webhook was lost or late.
    Reconcile,
    Queue,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// First seen.
    Discovered {
        status: Status,
        plan: String,
    },
    StatusChanged {
        from: Status,
        to: Status,
    },
    PlanChanged {
        from: String,
        to: String,
    },
    QuantityChanged {
        from: Option<u64>,
        to: Option<u64>,
    },
    /// A new term began.
    Renewed {
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    },
    /// Another fact changed: its name, and both values as text.
    Edited {
        field: String,
        from: String,
        to: String,
    },
    ActivationRequested {
        plan: String,
    },
    ActivationAccepted,
    ActivationRefused {
        reason: String,
    },
    ChangeRequested {
        wish: Wish,
    },
    ChangeRefused {
        wish: Wish,
        reason: String,
    },
    /// Microsoft's last word on a change that was asked for here.
    ChangeEnded {
        wish: Wish,
        outcome: Outcome,
    },
    WebhookReceived {
        action: Action,
        operation: OperationId,
    },
    Decided {
        action: Action,
        operation: OperationId,
        accept: bool,
        reason: String,
    },
    Acknowledged {
        operation: OperationId,
        accept: bool,
    },
    Settled {
        action: Action,
        operation: OperationId,
        outcome: Outcome,
    },
    /// Microsoft said something that can not be, and it was not applied.
    Contradiction {
        detail: String,
    },
}

/// One entry. Its number is its place in the subscription's life, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub number: u64,
    pub at: Timestamp,
    pub actor: Actor,
    pub cause: Cause,
    #[serde(flatten)]
    pub kind: EventKind,
}
