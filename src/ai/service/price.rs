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

/// What a call used, and its list price.
#[derive(Debug, Clone)]
pub struct Priced {
    pub used: Used,
    pub price: Decimal,
    pub currency: String,
}

/// A call by its request id; None when the ledger has nothing of it (yet).
pub async fn of(app: &Arc<App>, subscription: SubscriptionId, request: &str) -> Result<Option<Priced>, RecordError> {
    let resource = Resource::Subscription(subscription);
    let mut found = Priced { used: Used::default(), price: Decimal::ZERO, currency: String::new() };
    for part in Part::ALL {
        let Some(record) = metering::recorded(app, &resource, &record_id(request, part)).await? else { continue };
        let amount = u64::try_from(record.quantity.0 / MICRO).unwrap_or_default();
        found.used = found.used.and(part, amount);
        let meter = record.counter.trim_start_matches("meter:");
        if let Ok(prices) = metering::admits(app, &resource, &[meter]).await? {
            for price in prices {
                found.price += price.unit * Decimal::from(amount);
                found.currency = price.currency;
            }
        }
    }
    Ok((found.used != Used::default()).then_some(found))
}
