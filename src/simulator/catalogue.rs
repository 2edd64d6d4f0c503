//! What the simulated marketplace sells: the offer of MediaGenie and its plans, and how a plan looks in
//! `listAvailablePlans` (marketplace contract, section 1.5).

use serde::Serialize;
use serde_json::{Value, json};

/// The one offer on sale.
pub const OFFER_ID: &str = "mediagenie";

/// A billing term a plan can be bought for. `price` is in whole US dollars, per seat for per-seat plans.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Term {
    pub unit: &'static str,
    pub months: u32,
    pub price: u32,
    pub description: &'static str,
}

/// A metering dimension and how much of it each term includes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Dimension {
    pub id: &'static str,
    pub name: &'static str,
    pub unit: &'static str,
    pub price_per_unit: &'static str,
    pub included: u32,
}

/// A plan on sale. `seats` are the smallest and largest quantity of a per-seat plan, nothing for a flat one.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    pub id: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    pub seats: Option<(u32, u32)>,
    pub free_trial: bool,
    pub terms: &'static [Term],
    pub dimensions: &'static [Dimension],
}

const MONTH: &str = "P1M";

/// Every plan, in the order of the offer page.
pub const PLANS: &[Plan] = &[
    Plan {
        id: "starter",
        name: "Starter",
        description: "A flat monthly price for one team that begins with speech and vision.",
        seats: None,
        free_trial: false,
        terms: &[Term { unit: MONTH, months: 1, price: 49, description: "1-month subscription" }],
        dimensions: &[],
    },
    Plan {
        id: "team",
        name: "Team",
        description: "Per seat, monthly or yearly, from 1 to 200 seats.",
        seats: Some((1, 200)),
        free_trial: false,
        terms: &[
            Term { unit: MONTH, months: 1, price: 19, description: "1-month subscription, per seat" },
            Term { unit: "P1Y", months: 12, price: 190, description: "1-year subscription, per seat" },
        ],
        dimensions: &[],
    },
    Plan {
        id: "metered",
        name: "Metered",
        description: "A flat base price with included quantities; what goes beyond is metered.",
        seats: None,
        free_trial: false,
        terms: &[Term { unit: MONTH, months: 1, price: 99, description: "1-month subscription" }],
        dimensions: &[
            Dimension {
                id: "speech_minutes",
                name: "Speech, minutes",
                unit: "minute",
                price_per_unit: "0.02",
                included: 1_000,
            },
            Dimension {
                id: "vision_images",
                name: "Vision, images",
                unit: "image",
                price_per_unit: "0.002",
                included: 5_000,
            },
            Dimension {
                id: "chat_1k_tokens",
                name: "Chat, 1,000 tokens",
                unit: "1,000 tokens",
                price_per_unit: "0.01",
                included: 2_000,
            },
            Dimension {
                id: "spoken_1k_chars",
                name: "Speech, 1,000 characters",
                unit: "1,000 characters",
                price_per_unit: "0.016",
                included: 100,
            },
            Dimension {
                id: "generated_images",
                name: "Generated images",
                unit: "image",
                price_per_unit: "0.04",
                included: 20,
            },
            Dimension {
                id: "stored_gib_hours",
                name: "Stored files, GiB-hours",
                unit: "GiB-hour",
                price_per_unit: "0.00002",
                included: 7_200,
            },
        ],
    },
    Plan {
        id: "metered-large",
        name: "Metered Large",
        description: "The same meters with larger included quantities and lower prices beyond them.",
        seats: None,
        free_trial: false,
        terms: &[Term { unit: MONTH, months: 1, price: 399, description: "1-month subscription" }],
        dimensions: &[
            Dimension {
                id: "speech_minutes",
                name: "Speech, minutes",
                unit: "minute",
                price_per_unit: "0.01",
                included: 1_500,
            },
            Dimension {
                id: "vision_images",
                name: "Vision, images",
                unit: "image",
                price_per_unit: "0.001",
                included: 25_000,
            },
            Dimension {
                id: "chat_1k_tokens",
                name: "Chat, 1,000 tokens",
                unit: "1,000 tokens",
                price_per_unit: "0.008",
                included: 10_000,
            },
            Dimension {
                id: "spoken_1k_chars",
                name: "Speech, 1,000 characters",
                unit: "1,000 characters",
                price_per_unit: "0.012",
                included: 500,
            },
            Dimension {
                id: "generated_images",
                name: "Generated images",
                unit: "image",
                price_per_unit: "0.03",
                included: 100,
            },
            Dimension {
                id: "stored_gib_hours",
                name: "Stored files, GiB-hours",
                unit: "GiB-hour",
                price_per_unit: "0.00001",
                included: 72_000,
            },
        ],
    },
    Plan {
        id: "trial",
        name: "Trial",
        description: "A flat monthly price with the first month free.",
        seats: None,
        free_trial: true,
        terms: &[Term { unit: MONTH, months: 1, price: 29, description: "1-month subscription" }],
        dimensions: &[],
    },
];

/// A plan by its id.
pub fn plan(id: &str) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.id == id)
}

/// The length of a billing term such as `P1M` or `P3Y` in months; one month for what is not understood.
pub fn months_of(term_unit: &str) -> u32 {
    let number = term_unit.get(1..term_unit.len().saturating_sub(1)).and_then(|digits| digits.parse::<u32>().ok());
    match (number, term_unit.chars().last()) {
        (Some(count @ 1..=60), Some('M')) => count,
        (Some(count @ 1..=5), Some('Y')) => count * 12,
        _ => 1,
    }
}

impl Plan {
    /// The plan as `listAvailablePlans` shows it. Included units are strings there.
    pub fn view(&self) -> Value {
        let included: Vec<Value> = self
            .dimensions
            .iter()
            .map(|dimension| json!({ "dimensionId": dimension.id, "units": dimension.included.to_string() }))
            .collect();
        let terms: Vec<Value> = self
            .terms
            .iter()
            .map(|term| {
                json!({
                    "currency": "USD", "price": term.price, "termUnit": term.unit,
                    "termDescription": term.description, "meteredQuantityIncluded": included,
                })
            })
            .collect();
        let dimensions: Vec<Value> = self
            .dimensions
            .iter()
            .map(|dimension| {
                json!({
                    "id": dimension.id, "currency": "USD",
                    "pricePerUnit": dimension.price_per_unit.parse::<f64>().unwrap_or_default(),
                    "unitOfMeasure": dimension.unit, "displayName": dimension.name,
                })
            })
            .collect();
        let mut view = json!({
            "planId": self.id, "displayName": self.name, "isPrivate": false, "description": self.description,
            "hasFreeTrials": self.free_trial, "isPricePerSeat": self.seats.is_some(), "isStopSell": false,
            "market": "US",
            "planComponents": { "recurrentBillingTerms": terms, "meteringDimensions": dimensions },
        });
        if let Some((least, most)) = self.seats {
            view["minQuantity"] = least.into();
            view["maxQuantity"] = most.into();
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_in_months() {
        let read: Vec<u32> = ["P1M", "P1Y", "P3Y", "", "P", "nonsense", "P99Y"].map(months_of).to_vec();
        assert_eq!(read, [1, 12, 36, 1, 1, 1, 1]);
    }
}
