//! What Microsoft says about a subscription (marketplace contract 1.9), after lenient reading.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::foundation::erasure::is_pseudonym;
use crate::foundation::ids::{ObjectId, TenantId};

/// `saasSubscriptionStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    NotStarted,
    PendingFulfillmentStart,
    Subscribed,
    Suspended,
    Unsubscribed,
    /// A word that the contract does not know; treated as "not usable".
    Unknown,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::NotStarted,
        Self::PendingFulfillmentStart,
        Self::Subscribed,
        Self::Suspended,
        Self::Unsubscribed,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::PendingFulfillmentStart => "PendingFulfillmentStart",
            Self::Subscribed => "Subscribed",
            Self::Suspended => "Suspended",
            Self::Unsubscribed => "Unsubscribed",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads Microsoft's word; documented samples carry blanks around it.
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text.trim())).unwrap_or(Self::Unknown)
    }

    /// Waiting for an activation.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::NotStarted | Self::PendingFulfillmentStart)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The purchaser or the beneficiary. The e-mail may be empty; nothing may be keyed on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub tenant_id: Option<TenantId>,
    pub object_id: Option<ObjectId>,
    pub email: String,
}

/// The term being billed. Dates mean something only while Subscribed or Suspended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub start: Option<Timestamp>,
    /// Last valid day; the renewal is the day after.
    pub end: Option<Timestamp>,
    /// An ISO duration: `P1M`, `P1Y`, ...
    pub unit: String,
}

/// Everything that Microsoft says about a subscription and that we keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub name: String,
    pub offer_id: String,
    pub plan_id: String,
    /// Seats; only on plans priced by seat.
    pub quantity: Option<u64>,
    pub status: Status,
    pub beneficiary: Party,
    pub purchaser: Party,
    pub term: Term,
    pub auto_renew: bool,
    pub is_free_trial: bool,
    pub is_test: bool,
    /// Whether the beneficiary may change plan or seats; never for purchases through a reseller.
    pub may_update: bool,
    pub may_delete: bool,
    pub created: Option<Timestamp>,
}

impl Facts {
    /// The offer without the suffix that purchases from the preview carry.
    pub fn offer(&self) -> &str {
        self.offer_id.strip_suffix("-preview").unwrap_or(&self.offer_id)
    }

    /// Who was taken out of what is known stays out of it, though Microsoft still knows them.
    pub fn keep_erased(&mut self, known: &Self) {
        let parties = [(&mut self.purchaser, &known.purchaser), (&mut self.beneficiary, &known.beneficiary)];
        for (told, erased) in parties.into_iter().filter(|(_, known)| is_pseudonym(&known.email)) {
            told.clone_from(erased);
            // Customers like to name a subscription after themselves.
            self.name.clone_from(&known.name);
        }
    }

    /// Whether a person of this tenant (and, for personal accounts, this very person) bought or uses it.
    pub fn belongs_to(&self, tenant: TenantId, object: ObjectId) -> bool {
        [&self.beneficiary, &self.purchaser].into_iter().any(|party| {
            party.tenant_id == Some(tenant)
                && (tenant != TenantId::PERSONAL_ACCOUNTS || party.object_id == Some(object))
        })
    }
}

/// A plan that the customer may choose (marketplace contract 1.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: String,
    pub name: String,
    pub description: String,
    pub per_seat: bool,
    pub min_quantity: Option<u64>,
    pub max_quantity: Option<u64>,
    pub has_free_trial: bool,
    pub is_private: bool,
    pub prices: Vec<Price>,
    pub dimensions: Vec<Dimension>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub currency: String,
    /// Decimal text, as Microsoft wrote it.
    pub amount: String,
    pub term_unit: String,
    /// Units included per term, by dimension.
    pub included: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    pub id: String,
    pub name: String,
    pub unit: String,
    pub currency: String,
    /// Decimal text, as Microsoft wrote it.
    pub price_per_unit: String,
}
