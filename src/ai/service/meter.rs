//! From a finished call to the ledger: the record is durable before the last byte of the answer leaves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::admission::client;
use super::admission::{Hold, Terms};
use super::books;
use crate::ai::model::costs;
use crate::ai::model::deployments::{Deployment, Kind};
use crate::ai::model::used::{Basis, Part, Used};
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::metering::model::quantity::Quantity;
use crate::metering::model::record::{UsageRecord, What};
use crate::metering::model::resource::Resource;
use crate::metering::{self, Outcome};

/// Tries before a call is answered as failed although the service did it.
const TRIES: u32 = 5;

/// A call that was let in.
#[derive(Debug)]
pub struct Call {
    pub request: String,
    pub subscription: SubscriptionId,
    /// The prefix of the key.
    pub key: String,
    pub model: String,
    pub kind: Kind,
    /// When it began: the plan of that time pays.
    pub began: Timestamp,
    pub terms: Arc<Terms>,
    pub hold: Hold,
    /// It is recorded.
    pub served: bool,
    /// The request as it is kept for the customer, where the customer wants that.
    pub captured: Option<String>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.served {
            let app = Arc::clone(self.hold.app());
            books::note(&app, self, &books::Ending::Failed);
        }
    }
}

impl Call {
    /// The price by the plan's list, whatever is included.
    pub fn price(&self, used: &Used) -> Decimal {
        self.terms.rates.iter().map(|rate| Decimal::from(used.get(rate.part)) * rate.price).sum()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the usage could not be recorded: {0}")]
pub struct Unrecorded(String);

/// The id of the record of a part.
pub fn record_id(call: &str, part: Part) -> String {
    format!("{call}:{}", part.name())
}

/// What stands beside the number in the ledger: what it is of, what it cost the publisher, what it costs by the list.
fn note(call: &Call, part: Part, amount: u64, cost: Option<Decimal>, how: &str) -> String {
    let shown = |money: Decimal| money.round_dp(9).normalize();
    let price = shown(call.price(&Used::of(part, amount)));
    let cost = cost.map_or_else(|| "unknown".to_owned(), |cost| shown(cost).to_string());
    format!(
        "{} of {}, key {}{how}; cost {cost}, price {price} {}",
        part.unit(),
        call.model,
        call.key,
        call.terms.currency
    )
}

/// Records what a call used, once, however often this is called; then its budgets are settled.
pub async fn record(
    app: &Arc<App>,
    call: &mut Call,
    deployment: &Deployment,
    used: &Used,
    basis: Basis,
) -> Result<(), Unrecorded> {
    let how = match basis {
        Basis::Upstream => "",
        Basis::Measured => ", measured",
        Basis::Estimated => ", estimated",
    };
    let prices = deployment.cost.as_ref().and_then(|name| client(app).ok()?.deployments.costs.get(name));
    let costs = |used: &Used| prices.and_then(|prices| costs::cost(prices, used, call.began));
    let cost = costs(used);
    let metered = deployment.metered(used);
    let records: Vec<UsageRecord> = metered
        .into_iter()
        .map(|(part, meter, amount)| UsageRecord {
            id: record_id(&call.request, part),
            resource: Resource::Subscription(call.subscription),
            what: What::Meter(meter.to_owned()),
            quantity: Quantity::units(i128::from(amount)),
            occurred: Some(call.began),
            corrects: None,
            note: note(call, part, amount, costs(&Used::of(part, amount)), how),
        })
        .collect();
    if basis == Basis::Estimated {
        tracing::warn!(request = %call.request, model = call.model, ?used, "the service told no usage; it is estimated");
    }
    let mut problem = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(25 << attempt)).await;
        }
        problem.clear();
        for result in metering::record(app, "product", records.clone()).await {
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
            call.served = true;
            books::note(app, call, &books::Ending::Served { used, cost });
            call.hold.settle(used).await;
            return Ok(());
        }
    }
    tracing::error!(request = %call.request, subscription = %call.subscription, model = call.model, ?used, problem, "usage of a call was not recorded");
    Err(Unrecorded(problem))
}
