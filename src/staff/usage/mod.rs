//! The usage pages of staff: how submission goes, one resource with its hours and events, manual entry, CSV, losses,
//! differences and the catalogue.
//!
//! Owns: these pages and their forms. Does not own: any rule or number; it asks `metering` and shows the answer.

pub mod actions;
pub mod download;
mod grid;
pub mod import;
pub mod overview;
mod records;
pub mod reports;
pub mod resource;

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::web::Request;
use crate::fulfillment;
use crate::fulfillment::model::subscription::Subscription;
use crate::metering;
use crate::metering::model::resource::Resource;

/// What an address is about.
#[derive(Debug)]
struct Target {
    resource: Resource,
    /// Of a subscription: what is known of it.
    row: Option<Subscription>,
}

/// The resource of an address: by its key, by the bare GUID of a managed application, or a subscription for which
/// nothing was recorded yet.
async fn target(app: &App, text: &str) -> Result<Target, Problem> {
    let text = text.trim().to_lowercase();
    let key = text.parse::<SubscriptionId>().map_or_else(|_| text.clone(), |id| id.to_string());
    for known in [key.clone(), format!("app-{key}")] {
        if let Some(resource) = metering::by_key(app, &known).await? {
            let row = match resource.subscription() {
                Some(id) => fulfillment::find(app, id).await?,
                None => None,
            };
            return Ok(Target { resource, row });
        }
    }
    let id: SubscriptionId = key.parse().map_err(|_| Problem::not_found())?;
    let row = fulfillment::find(app, id).await?.ok_or_else(Problem::not_found)?;
    Ok(Target { resource: Resource::Subscription(id), row: Some(row) })
}

async fn targeted(app: &App, request: &Request) -> Result<Target, Problem> {
    target(app, request.param("resource")).await
}

/// The address of a resource's page.
fn address(resource: &Resource) -> String {
    format!("/publisher/usage/resources/{}", resource.key())
}

/// What a resource is called: a subscription by its name, an application by its address or id.
fn name(resource: &Resource, row: Option<&Subscription>) -> String {
    match row {
        Some(row) if row.facts.name.is_empty() => row.facts.offer().to_owned(),
        Some(row) => row.facts.name.clone(),
        None => resource.to_string(),
    }
}

/// A deadline, how long it is until then, and how near it is: `far`, `warn` (6 of the 24 hours are gone), `near` (12
/// are), `over`.
fn deadline(at: Timestamp, now: Timestamp) -> Value {
    let left = at.duration_since(now);
    let level = match left.as_hours() {
        _ if left.is_negative() || left.is_zero() => "over",
        hours if hours < 12 => "near",
        hours if hours < 18 => "warn",
        _ => "far",
    };
    json!({ "at": at, "hours": left.as_hours().max(0), "minutes": (left.as_mins() % 60).max(0), "level": level })
}

/// Sums of money by currency.
#[derive(Debug, Default)]
struct Sums(BTreeMap<String, Decimal>);

impl Sums {
    fn add(&mut self, amount: Decimal, currency: &str) {
        let sum = self.0.entry(currency.to_owned()).or_default();
        *sum = sum.checked_add(amount).unwrap_or(Decimal::MAX);
    }

    fn view(&self) -> Vec<Value> {
        self.0.iter().map(|(currency, sum)| json!({ "currency": currency, "amount": sum.to_string() })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_warns_when_six_and_when_twelve_of_the_hours_are_gone() {
        let now: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        for (minutes, level, hours, rest) in [
            (24 * 60, "far", 24, 0),
            (18 * 60, "far", 18, 0),
            (18 * 60 - 1, "warn", 17, 59),
            (12 * 60, "warn", 12, 0),
            (12 * 60 - 1, "near", 11, 59),
            (1, "near", 0, 1),
            (0, "over", 0, 0),
            (-90, "over", 0, 0),
        ] {
            let view = deadline(now + jiff::SignedDuration::from_mins(minutes), now);
            assert_eq!(
                (&view["level"], &view["hours"], &view["minutes"]),
                (&json!(level), &json!(hours), &json!(rest)),
                "{minutes}"
            );
        }
    }
}
