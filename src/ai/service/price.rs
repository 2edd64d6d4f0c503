//! What a finished call used and costs, read back from the ledger.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::meter::record_id;
use crate::ai::model::used::{Part, Used};
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::metering::model::quantity::MICRO;
use crate::metering::model::resource::Resource;
use crate::metering::{self, RecordError};
use crate::store::StoreError;

/// What a call used, and its list price.
#[derive(Debug, Clone)]
pub struct Priced {
    pub used: Used,
    pub price: Decimal,
    pub currency: String,
}

/// What the ledger has of a call, each part with the counter that it is on.
async fn recorded(app: &App, subscription: SubscriptionId, call: &str) -> Result<Vec<(Part, String, u64)>, StoreError> {
    let resource = Resource::Subscription(subscription);
    let mut found = Vec::new();
    for part in Part::ALL {
        if let Some(record) = metering::recorded(app, &resource, &record_id(call, part)).await? {
            found.push((part, record.counter, u64::try_from(record.quantity.0 / MICRO).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// What a call used by the ledger; nothing, when it has nothing of it.
pub async fn used(app: &App, subscription: SubscriptionId, call: &str) -> Result<Used, StoreError> {
    let parts = recorded(app, subscription, call).await?;
    Ok(parts.into_iter().fold(Used::default(), |used, (part, _, amount)| used.and(part, amount)))
}

/// A call by its request id; None when the ledger has nothing of it (yet).
pub async fn of(app: &Arc<App>, subscription: SubscriptionId, request: &str) -> Result<Option<Priced>, RecordError> {
    let parts = recorded(app, subscription, request).await?;
    let mut found = Priced { used: Used::default(), price: Decimal::ZERO, currency: String::new() };
    let meters: Vec<&str> = parts.iter().map(|(_, counter, _)| counter.trim_start_matches("meter:")).collect();
    let prices = metering::admits(app, &Resource::Subscription(subscription), &meters).await?.unwrap_or_default();
    for (index, (part, _, amount)) in parts.iter().enumerate() {
        found.used = found.used.and(*part, *amount);
        if let Some(price) = prices.get(index) {
            found.price += price.unit * Decimal::from(*amount);
            found.currency.clone_from(&price.currency);
        }
    }
    Ok((found.used != Used::default()).then_some(found))
}
