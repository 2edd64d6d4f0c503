//! A month of real life through the front doors, reconciled and closed against the simulated Microsoft, whose sums are known.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::analytics::pulled;
use crate::support::month::{Life, to};

const FIRST: Date = date(2026, 4, 1);
const LAST: Date = date(2026, 4, 30);

pub async fn reconciled(life: &Life) -> Value {
    let (status, run) = life.app.post_api("/api/reconciliation/2026-04/run", &json!({})).await;
    assert_eq!(status, 200, "{run}");
    run
}

/// A column's sum in the simulator's own books, of usage that is metered.
fn simulated(life: &Life, dataset: &str, column: &str) -> Decimal {
    let by = if dataset == "ISVUsage" { "MeterDimension" } else { "BillingModel" };
    let sums = life.app.simulator.analytics_sums(dataset, column, &[by], FIRST, LAST);
    let metered = sums.into_iter().filter(|(key, _)| !key[0].is_empty() && key[0] != "SubscriptionBased");
    metered.map(|(_, sum)| sum).sum()
}

fn amount(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("{value} is no amount")).parse().unwrap()
}

#[tokio::test]
async fn a_month_of_real_life_is_the_same_on_all_sides() {
    let life = Life::begin(4, 1).await;
    life.live().await;
    for day in 1..=30 {
        let (_, seen) = life.app.get_api(&format!("/api/usage/differences?day=2026-04-{day:02}")).await;
        assert_eq!(seen["differences"], json!([]), "{day}");
    }
    to(&life.app, "2026-05-05T06:00:00Z");
    pulled(&life.app).await;
    let run = reconciled(&life).await;
    assert_eq!((&run["found"], &run["differences"]), (&json!(0), &json!([])), "{run:#}");
    assert_eq!(run["days_read_back"], 30);
    let (charged, revenue) = (
        simulated(&life, "ISVUsage", "EstimatedExtendedChargeCC"),
        simulated(&life, "ISVRevenue", "TransactionAmountCC"),
    );
    assert!(charged > Decimal::from(2000), "{charged}");
    let totals: BTreeMap<&str, Decimal> =
        ["accepted", "charged", "revenue"].map(|name| (name, amount(&run["totals"][name]["USD"]))).into();
    assert_eq!(totals, [("accepted", charged), ("charged", charged), ("revenue", revenue)].into());
    assert!(run["totals"]["lost"].as_object().unwrap().is_empty(), "{run}");
}
