//! What the datasets tell of: customers, what they bought, what happened to it, what it used. The marketplace's own books
//! and the synthetic history are both brought into this one form, and rows are made of nothing else.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::draw;

/// A company or person that buys.
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: Uuid,
    /// Stands behind the id: `CustomerId` is `<guid>_<date>`.
    pub since: Date,
    pub billing_account: Uuid,
    pub tenant: Uuid,
    pub company: String,
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub city: &'static str,
    pub country: &'static str,
    pub country_code: &'static str,
    pub culture: &'static str,
    pub currency: &'static str,
    /// `AzureLicenseType`.
    pub channel: &'static str,
    pub individual: bool,
    /// Microsoft shows asterisks instead of what names the customer.
    pub masked: bool,
}

/// Something that is metered.
#[derive(Debug, Clone)]
pub struct Meter {
    pub dimension: String,
    pub unit: String,
    /// In the customer's currency.
    pub price: Decimal,
    /// The plan's id and name under which it was used; None: those of the asset.
    pub plan: Option<(String, String)>,
}

/// A virtual machine's size.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub size: &'static str,
    pub cores: i64,
}

/// One line of orders.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: Timestamp,
    /// `Purchase`, also for a change of plan or seats, for which no word is documented; `Renewed`; `Canceled`.
    pub action: &'static str,
    pub plan: String,
    pub sku: String,
    pub seats: i64,
    pub changed: i64,
    /// In the customer's currency.
    pub billed: Decimal,
    /// Paid back, as revenue of this month.
    pub refund: Option<(Date, Decimal)>,
    pub trial: bool,
    pub term: (Date, Date),
}

/// Something that was bought.
#[derive(Debug, Clone)]
pub struct Asset {
    pub id: Uuid,
    pub customer: Arc<Customer>,
    pub offer_id: String,
    pub offer_name: String,
    /// In lower case, as the files have it: `saas`, `azure applications`, `vm core image`.
    pub offer_type: &'static str,
    pub plan: String,
    pub sku: String,
    /// Zeros for SaaS.
    pub azure_subscription: Uuid,
    pub private_offer: Option<Uuid>,
    /// `1 Month`, `1 Year`.
    pub term: &'static str,
    /// Null for what cannot be renewed.
    pub auto_renew: Option<bool>,
    pub trial_end: Option<Date>,
    /// By time.
    pub events: Vec<Event>,
    pub meters: Vec<Meter>,
    pub machine: Option<Machine>,
    /// The day of its first use or purchase.
    pub first_day: Date,
    /// When it was cancelled.
    pub ended: Option<Timestamp>,
    /// Its place in a history, from which its usage is drawn.
    pub drawn: Option<u64>,
}

impl Asset {
    /// The purchase record and the line of an event.
    pub fn record(&self, place: usize) -> (String, String) {
        let [high, low] = draw::halves(self.id);
        let number = u64::try_from(place).unwrap_or_default();
        let record = format!("P{:012x}{number:02}", draw::mix(&[high, low]) >> 16);
        (record, (6_040_000_000 + draw::mix(&[high, low, number, 7]) % 900_000_000).to_string())
    }

    /// The record and line under which a meter's usage of a month is billed; both make the `UsageReference`.
    pub fn usage_record(&self, meter: usize, month: Date) -> (Uuid, Uuid) {
        let [high, low] = draw::halves(self.id);
        let meter = u64::try_from(meter).unwrap_or_default();
        let parts = [high, low, meter, draw::day(month.first_of_month())];
        (draw::id(&[&parts[..], &[1]].concat()), draw::id(&[&parts[..], &[2]].concat()))
    }

    /// The plan's id and name under which a meter was used: after a change of plan the old one's usage stays the old one's.
    pub fn plan_of(&self, meter: usize) -> (&str, &str) {
        let own = self.meters.get(meter).and_then(|meter| meter.plan.as_ref());
        own.map_or((&self.plan, &self.sku), |(plan, sku)| (plan, sku))
    }

    pub fn meter_id(&self, meter: usize) -> Uuid {
        let name = self.meters.get(meter).map_or("", |meter| meter.dimension.as_str());
        draw::id(&[draw::number(&self.offer_id), draw::number(self.plan_of(meter).0), draw::number(name)])
    }

    pub fn was_ended(&self, as_of: Timestamp) -> Option<Timestamp> {
        self.ended.filter(|end| *end <= as_of)
    }
}

/// US dollars of a currency at Microsoft's list, and what they are in a month.
pub fn rate(currency: &str, month: Date) -> Decimal {
    let list = list_rate(currency);
    if list == Decimal::ONE {
        return list;
    }
    let wobble = draw::mix(&[draw::number(currency), draw::day(month.first_of_month())]) % 41;
    let factor = Decimal::ONE + (Decimal::from(wobble) - Decimal::from(20)) / Decimal::from(1_000);
    (list * factor).round_dp(5)
}

pub fn list_rate(currency: &str) -> Decimal {
    let millionths = match currency {
        "EUR" => 1_080_000,
        "GBP" => 1_260_000,
        "CHF" => 1_120_000,
        "JPY" => 6_700,
        "INR" => 12_000,
        _ => return Decimal::ONE,
    };
    Decimal::new(millionths, 6)
}
