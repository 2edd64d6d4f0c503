//! One difference between two sides, with exactly one class, what explains it, and a name that stays while it does.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::foundation::hex::hex;
use crate::metering::model::event::LossReason;
use crate::metering::model::hour::Hour;

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Reported in time, and posted by Microsoft under another day or month.
    Late,
    /// Refused by Microsoft, when it was sent, in its processing, or at the payout.
    Rejected,
    /// Counted more than once.
    Duplicate,
    Currency,
    /// Too young to be everywhere.
    NotYetPosted,
    /// One side has nothing of it; `absent` says which.
    Missing,
    Quantity,
    Price,
    Plan,
    Status,
    Term,
}

impl Class {
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::Duplicate,
        Self::Quantity,
        Self::Price,
        Self::Currency,
        Self::Rejected,
        Self::Late,
        Self::NotYetPosted,
        Self::Plan,
        Self::Status,
        Self::Term,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
            Self::Currency => "currency",
            Self::NotYetPosted => "not_yet_posted",
            Self::Missing => "missing",
            Self::Quantity => "quantity",
            Self::Price => "price",
            Self::Plan => "plan",
            Self::Status => "status",
            Self::Term => "term",
        }
    }
}

/// Which two sides differ; the first of them is "ours", the second one "theirs".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// Our ledger, and what `GET usageEvents` lists.
    LedgerBooked,
    /// What is booked, and ISVUsage.
    BookedUsage,
    /// ISVUsage and ISVRevenue.
    UsageRevenue,
    /// Our subscriptions and ISVOrder.
    SubscriptionsOrders,
}

impl Between {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LedgerBooked => "ledger_booked",
            Self::BookedUsage => "booked_usage",
            Self::UsageRevenue => "usage_revenue",
            Self::SubscriptionsOrders => "subscriptions_orders",
        }
    }
}

/// A side that has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Ledger,
    Booked,
    Usage,
    Revenue,
    Subscriptions,
    Orders,
}

impl Place {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Booked => "booked",
            Self::Usage => "usage",
            Self::Revenue => "revenue",
            Self::Subscriptions => "subscriptions",
            Self::Orders => "orders",
        }
    }
}

/// What explains a difference, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Waiting,
    Held,
    DeadLetter,
    LostExpired,
    LostSuspended,
    LostRejected,
    LostWrittenOff,
    LostNoFreeHour,
    GivenUpButBooked,
    Unanswered,
    NotReadBack,
    OtherDay,
    OtherMonth,
    RejectedInProcessing,
    ProcessedOther,
    NotProcessed,
    WithinLatency,
    CountedTwice,
    HourTwice,
    Unknown,
    OtherPrice,
    OtherCharge,
    OtherCurrency,
    OtherAmount,
    PayoutRejected,
    OtherPlan,
    OtherSeats,
    OtherStatus,
    OtherTerm,
}

impl Why {
    pub fn of_loss(reason: LossReason) -> Self {
        match reason {
            LossReason::Expired => Self::LostExpired,
            LossReason::Suspended => Self::LostSuspended,
            LossReason::Rejected => Self::LostRejected,
            LossReason::WrittenOff => Self::LostWrittenOff,
            LossReason::NoFreeHour => Self::LostNoFreeHour,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::DeadLetter => "dead_letter",
            Self::LostExpired => "lost_expired",
            Self::LostSuspended => "lost_suspended",
            Self::LostRejected => "lost_rejected",
            Self::LostWrittenOff => "lost_written_off",
            Self::LostNoFreeHour => "lost_no_free_hour",
            Self::GivenUpButBooked => "given_up_but_booked",
            Self::Unanswered => "unanswered",
            Self::NotReadBack => "not_read_back",
            Self::OtherDay => "other_day",
            Self::OtherMonth => "other_month",
            Self::RejectedInProcessing => "rejected_in_processing",
            Self::ProcessedOther => "processed_other",
            Self::NotProcessed => "not_processed",
            Self::WithinLatency => "within_latency",
            Self::CountedTwice => "counted_twice",
            Self::HourTwice => "hour_twice",
            Self::Unknown => "unknown",
            Self::OtherPrice => "other_price",
            Self::OtherCharge => "other_charge",
            Self::OtherCurrency => "other_currency",
            Self::OtherAmount => "other_amount",
            Self::PayoutRejected => "payout_rejected",
            Self::OtherPlan => "other_plan",
            Self::OtherSeats => "other_seats",
            Self::OtherStatus => "other_status",
            Self::OtherTerm => "other_term",
        }
    }
}

/// An hour's part in a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourLine {
    pub hour: Hour,
    pub quantity: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The same for the same thing in every run.
    pub id: String,
    pub class: Class,
    pub between: Between,
    pub why: Why,
    /// Of what is missing: where.
    pub absent: Option<Place>,
    pub resource: String,
    pub plan: String,
    /// Empty where a whole subscription is compared.
    pub dimension: String,
    /// None: the whole month.
    pub day: Option<Date>,
    /// The day or month under which it stands as well, of what is late.
    pub other_day: Option<Date>,
    /// Our hours of that day.
    pub hours: Vec<HourLine>,
    /// What each side says: a quantity, an amount, a price, or a word.
    pub ours: String,
    pub theirs: String,
    /// What it is worth: positive where Microsoft has less than we hold.
    pub amount: Decimal,
    pub currency: String,
}

impl Difference {
    /// Gives it its name; the last thing that is done to it.
    #[must_use]
    pub fn named(mut self) -> Self {
        let Self { class, between, why, absent, resource, plan, dimension, day, .. } = &self;
        let place = absent.map_or("", Place::as_str);
        let day = day.map(|day| day.to_string()).unwrap_or_default();
        let (class, between, why) = (class.as_str(), between.as_str(), why.as_str());
        let text = [class, between, why, place, resource, plan, dimension, &day].join("\u{1f}");
        self.id = digest(&text);
        self
    }

    /// Changes when what the sides say changes: a mark holds only for what somebody has seen.
    pub fn state(&self) -> String {
        let other = self.other_day.map(|day| day.to_string()).unwrap_or_default();
        let amount = self.amount.normalize().to_string();
        digest(
            &[&self.id, &self.ours, &self.theirs, &amount, &self.currency, &other].map(String::as_str).join("\u{1f}"),
        )
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..10])
}

/// Somebody has said what a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The state that the difference had.
    pub of: String,
    pub note: String,
    /// A member of staff: object id and name.
    pub by: String,
    pub name: String,
    pub at: Timestamp,
}

impl Mark {
    pub fn holds(&self, difference: &Difference) -> bool {
        self.of == difference.state()
    }
}
