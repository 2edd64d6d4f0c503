//! The analytics in the JSON control API, for browser tests and other processes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Simulator;
use super::super::control::read;
use super::super::http::Request;
use super::{AnalyticsHistory, Drift, Planted, Waiting};

/// `POST /simulator/analytics-truth`: all rows of these days, or with `sum` its sums by the texts of `by`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Truth {
    dataset: String,
    from: Date,
    to: Date,
    sum: Option<String>,
    #[serde(default)]
    by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restate {
    month: Date,
    factor: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DriftOrder {
    dataset: String,
    drift: Drift,
}

/// `POST /simulator/analytics-times`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    execution_seconds: Option<u32>,
    usage_latency_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lose {
    report: Option<Uuid>,
    query: Option<String>,
}

/// Nothing for a verb that is not about analytics.
pub async fn answer(simulator: &Simulator, request: &Request) -> Option<Result<Value, String>> {
    let analytics = simulator.analytics();
    let done = |()| json!({});
    Some(match (request.method.as_str(), request.param("verb")) {
        ("GET", "analytics") => {
            let counts: BTreeMap<_, _> = analytics.row_counts().into_iter().collect();
            Ok(json!({ "rows": counts, "reports": analytics.reports(), "callbacks": analytics.callback_log() }))
        }
        ("POST", "analytics-history") => {
            read::<AnalyticsHistory>(request).map(|plan| analytics.set_history(Some(plan))).map(done)
        }
        ("POST", "analytics-plant") => read::<Planted>(request).and_then(|planted| analytics.plant(planted)).map(done),
        ("POST", "analytics-restate") => {
            read::<Restate>(request).map(|order| analytics.restate_month(order.month, order.factor)).map(done)
        }
        ("POST", "analytics-drift") => {
            read::<DriftOrder>(request).and_then(|order| analytics.drift(&order.dataset, order.drift)).map(done)
        }
        ("POST", "analytics-break") => read::<Waiting>(request)
            .map(|order| analytics.break_next(order.dataset.as_deref(), order.fault, order.executions))
            .map(done),
        ("POST", "analytics-calm") => {
            analytics.calm();
            Ok(json!({}))
        }
        ("POST", "analytics-times") => read::<Times>(request).map(|times| {
            let seconds = |seconds: u32| SignedDuration::from_secs(i64::from(seconds));
            times.execution_seconds.into_iter().for_each(|takes| analytics.set_duration(seconds(takes)));
            times.usage_latency_seconds.into_iter().for_each(|late| analytics.set_usage_latency(seconds(late)));
            json!({})
        }),
        ("POST", "analytics-lose") => read::<Lose>(request).map(|order| {
            order.report.into_iter().for_each(|report| analytics.lose_report(report));
            order.query.into_iter().for_each(|query| analytics.lose_query(&query));
            json!({})
        }),
        ("POST", "analytics-callbacks") => Ok(json!({ "delivered": analytics.deliver_callbacks().await })),
        ("POST", "analytics-truth") => read::<Truth>(request).map(|order| truth(simulator, &order)),
        _ => return None,
    })
}

fn truth(simulator: &Simulator, order: &Truth) -> Value {
    let Some(column) = &order.sum else {
        let rows = simulator.analytics_truth(&order.dataset, order.from, order.to);
        let rows: Vec<BTreeMap<_, _>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
        return json!({ "rows": rows });
    };
    let by: Vec<&str> = order.by.iter().map(String::as_str).collect();
    let sums = simulator.analytics_sums(&order.dataset, column, &by, order.from, order.to);
    let sums: Vec<Value> = sums.into_iter().map(|(key, sum)| json!({ "by": key, "sum": sum.to_string() })).collect();
    json!({ "sums": sums })
}
