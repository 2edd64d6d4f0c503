//! From a finished call to the ledger: the record is durable before the last byte of the answer leaves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::ai::model::deployments::Meters;
use crate::ai::model::usage::Tokens;
use crate::app::App;
use crate::foundation::ids::{RequestId, SubscriptionId};
use crate::metering::model::quantity::Quantity;
use crate::metering::model::record::{UsageRecord, What};
use crate::metering::model::resource::Resource;
use crate::metering::{self, Outcome};

/// Tries before a call is answered as failed although the service did it.
const TRIES: u32 = 5;

/// A call that is billed.
#[derive(Debug, Clone)]
pub struct Call {
    pub request: RequestId,
    pub subscription: SubscriptionId,
    pub key: String,
    pub model: String,
    pub meters: Meters,
    /// When it began: the plan of that time pays.
    pub began: Timestamp,
}

/// Where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The service's own word.
    Upstream,
    /// Counted by us, because the service said nothing.
    Estimated,
}

#[derive(Debug, thiserror::Error)]
#[error("the usage could not be recorded: {0}")]
pub struct Unrecorded(String);

/// Records what a call used, once, however often this is called.
pub async fn record(app: &Arc<App>, call: &Call, tokens: Tokens, basis: Basis) -> Result<(), Unrecorded> {
    let estimated = if basis == Basis::Estimated { ", estimated" } else { "" };
    let records: Vec<UsageRecord> = tokens
        .by_meter(&call.meters)
        .into_iter()
        .map(|(part, meter, tokens)| UsageRecord {
            id: format!("{}:{part}", call.request),
            resource: Resource::Subscription(call.subscription),
            what: What::Meter(meter.to_owned()),
            quantity: Quantity::units(i128::from(tokens)),
            occurred: Some(call.began),
            corrects: None,
            note: format!("{part} tokens of {}, key {}{estimated}", call.model, call.key),
        })
        .collect();
    if basis == Basis::Estimated {
        tracing::warn!(request = %call.request, model = call.model, ?tokens, "the service told no usage; it is estimated");
    }
    let mut problem = String::new();
    for attempt in 0..TRIES {
        let results = metering::record(app, "product", records.clone()).await;
        problem.clear();
        for result in results {
            match result {
                Ok(Outcome::Recorded(_) | Outcome::Repeated(..)) => {}
                // Never silently: this is work that nobody pays.
                Ok(other) => {
                    tracing::error!(request = %call.request, outcome = ?other, "usage of a call was not taken by the ledger");
                }
                Err(error) => problem = error.to_string(),
            }
        }
        if problem.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
    }
    tracing::error!(request = %call.request, subscription = %call.subscription, model = call.model, ?tokens, problem, "usage of a call was not recorded");
    Err(Unrecorded(problem))
}
