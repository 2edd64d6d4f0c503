//! A subscription's usage as its customer sees it: what was used of what is included, and what it costs so far. How we
//! talk with Microsoft about it is not their business.

use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::fulfillment::model::facts::Plan;
use crate::fulfillment::model::subscription::Subscription;
use crate::metering::model::catalogue::{Included, included};
use crate::metering::model::quantity::Quantity;
use crate::metering::model::resource::Resource;
use crate::metering::{self, DimensionUsage, PeriodUsage};

/// The section of the page; null where nothing is measured.
pub async fn section(app: &App, row: &Subscription, plan: Option<&Plan>) -> Result<Value, Problem> {
    let usage = metering::usage(app, &Resource::Subscription(row.id)).await?;
    let (current, earlier): (Vec<PeriodUsage>, Vec<PeriodUsage>) =
        usage.into_iter().flat_map(|usage| usage.periods).partition(|period| period.current);
    let mut current = current.first().filter(|period| !period.dimensions.is_empty()).map(period);
    let earlier: Vec<Value> = earlier.iter().filter(|period| !period.dimensions.is_empty()).map(period).collect();
    if current.is_none() && !row.facts.status.is_pending() && row.facts.status.as_str() != "Unsubscribed" {
        current = plan.filter(|plan| !plan.dimensions.is_empty()).map(|plan| unused(row, plan));
    }
    if current.is_none() && earlier.is_empty() {
        return Ok(Value::Null);
    }
    Ok(json!({ "current": current, "earlier": earlier, "trial": row.facts.is_free_trial }))
}

fn period(period: &PeriodUsage) -> Value {
    let rows: Vec<Value> = period.dimensions.iter().map(dimension).collect();
    json!({ "start": period.period.start, "end": period.period.end, "rows": rows })
}

fn dimension(usage: &DimensionUsage) -> Value {
    let balance = &usage.balance;
    let beyond = balance.recorded - balance.included;
    // What we could not bill in time is never charged.
    let charged = usage.amount - usage.lost_amount;
    let waived = (!balance.lost.is_zero()).then_some(balance.lost);
    line(
        &usage.name,
        &usage.unit,
        usage.included_quantity,
        balance.recorded,
        beyond,
        json!({
            "price": usage.price.to_string(), "currency": usage.currency, "amount": charged.to_string(), "waived": waived,
        }),
    )
}

/// The line of a dimension: how far the included quantity is used, in percent, rounded down.
fn line(name: &str, unit: &str, granted: Included, used: Quantity, beyond: Quantity, mut line: Value) -> Value {
    let percent = match granted {
        Included::Units(granted) if granted.is_positive() => {
            Some((used.at_least_zero().0 * 100 / granted.0).clamp(0, 100) as u8)
        }
        _ => None,
    };
    line["name"] = name.into();
    line["unit"] = unit.into();
    line["used"] = json!(used);
    line["unlimited"] = (granted == Included::Unlimited).into();
    line["included"] = match granted {
        Included::Units(granted) if granted.is_positive() => json!(granted),
        _ => Value::Null,
    };
    line["left"] = match granted {
        Included::Units(granted) => json!((granted - used).at_least_zero()),
        Included::Unlimited => Value::Null,
    };
    line["percent"] = json!(percent);
    line["beyond"] = if beyond.is_positive() { json!(beyond) } else { Value::Null };
    line
}

/// Nothing was used yet: the lines come from the plan.
fn unused(row: &Subscription, plan: &Plan) -> Value {
    let term = &row.facts.term;
    let price = plan.prices.iter().find(|price| price.term_unit == term.unit).or_else(|| plan.prices.first());
    let granted = |id: &str| {
        let text = price.and_then(|price| price.included.iter().find(|(known, _)| known == id));
        text.and_then(|(_, text)| included(text)).unwrap_or_default()
    };
    let rows: Vec<Value> = plan
        .dimensions
        .iter()
        .map(|dimension| {
            let money = json!({
                "price": dimension.price_per_unit, "currency": dimension.currency, "amount": "0", "waived": null,
            });
            let zero = Quantity::ZERO;
            line(&dimension.name, &dimension.unit, granted(&dimension.id), zero, zero, money)
        })
        .collect();
    json!({ "start": term.start, "end": term.end, "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_how_much_of_the_included_quantity_is_used_and_is_never_over_full() {
        for (granted, used, percent, left) in [
            (1000, 0, Some(0), 1000),
            (1000, 999, Some(99), 1),
            (1000, 1000, Some(100), 0),
            (1000, 5000, Some(100), 0),
            (1000, -5, Some(0), 1005),
            (0, 7, None, 0),
        ] {
            let (units, used) = (Quantity::units(granted), Quantity::units(used));
            let line = line("n", "u", Included::Units(units), used, used - units, json!({}));
            assert_eq!(line["percent"], json!(percent), "{granted} {used}");
            assert_eq!(line["left"], json!(Quantity::units(left)), "{granted} {used}");
        }
        let line = line("n", "u", Included::Unlimited, Quantity::units(5), Quantity::ZERO, json!({}));
        assert_eq!((&line["percent"], &line["beyond"], &line["unlimited"]), (&Value::Null, &Value::Null, &json!(true)));
    }
}
