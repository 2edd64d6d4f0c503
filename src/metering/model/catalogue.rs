//! What is sold by quantity, and how our own meters become dimensions. Microsoft's `listAvailablePlans` names a plan's
//! dimensions, prices and included quantities for each customer; the checked file adds what it does not tell: our own
//! meters with their factors and tiers, the rule for holding unusual quantities, and the terms of managed applications.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::quantity::Quantity;

/// How much of a dimension a term includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Included {
    Units(Quantity),
    /// Never billed (Partner Center's "unlimited").
    Unlimited,
}

impl Default for Included {
    fn default() -> Self {
        Self::Units(Quantity::ZERO)
    }
}

/// Reads Microsoft's or the file's text: a number of units, `unlimited`, or -1 for the same.
pub fn included(text: &str) -> Option<Included> {
    match text.trim() {
        "" => Some(Included::default()),
        text if text.eq_ignore_ascii_case("unlimited") || text == "-1" => Some(Included::Unlimited),
        text => text.parse::<Quantity>().ok().filter(|quantity| quantity.0 >= 0).map(Included::Units),
    }
}

/// A dimension as a plan sells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DimensionTerms {
    pub name: String,
    /// Such as `minute`.
    pub unit: String,
    /// Per unit beyond the included quantity.
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    pub currency: String,
    pub included: Included,
}

/// One step of a tiered meter: from this cumulative quantity of the period on, this dimension counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub dimension: String,
    #[serde(default)]
    pub from: Quantity,
}

/// A meter of ours: what it counts is divided by `per` and is then a quantity of the tiers' dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// So many of ours are one unit: 60000 for milliseconds to minutes, 1000 for tokens to thousands.
    #[serde(default = "one")]
    pub per: u32,
    /// Ascending by `from`, the first one from 0. One entry is the usual case.
    pub tiers: Vec<Tier>,
}

fn one() -> u32 {
    1
}

impl Meter {
    /// A dimension counted directly.
    pub fn direct(dimension: &str) -> Self {
        Self { per: 1, tiers: vec![Tier { dimension: dimension.to_owned(), from: Quantity::ZERO }] }
    }
}

/// When an hour's quantity is held for a person: `factor` times the largest hour before, and at least `least`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRule {
    pub factor: u32,
    #[serde(default)]
    pub least: Quantity,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanEntry {
    /// Off unless named.
    pub hold: Option<HoldRule>,
    /// For plans that Microsoft's API does not list: managed applications, and the worst case.
    pub dimensions: BTreeMap<String, DimensionEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionEntry {
    pub name: String,
    pub unit: String,
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    #[serde(default = "usd")]
    pub currency: String,
    /// By term unit (`P1M`, `P1Y`, ...): units, or `unlimited`.
    #[serde(default)]
    pub included: BTreeMap<String, String>,
}

fn usd() -> String {
    "USD".to_owned()
}

/// The checked file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogue {
    pub meters: BTreeMap<String, Meter>,
    pub plans: BTreeMap<String, PlanEntry>,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("it can not be read: {0}")]
    Unreadable(String),
    #[error("meter `{0}`: `per` must be at least 1")]
    Per(String),
    #[error("meter `{0}`: the tiers must begin at 0 and ascend, each with a dimension of its own")]
    Tiers(String),
    #[error(
        "plan `{plan}`, dimension `{dimension}`: the included quantity `{text}` is neither a number nor `unlimited`"
    )]
    Included { plan: String, dimension: String, text: String },
    #[error("plan `{0}`: the factor of `hold` must be at least 2")]
    Hold(String),
}

impl Catalogue {
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let this: Self = serde_json::from_str(text).map_err(|error| CatalogueError::Unreadable(error.to_string()))?;
        for (name, meter) in &this.meters {
            if meter.per == 0 {
                return Err(CatalogueError::Per(name.clone()));
            }
            let ascending = meter.tiers.windows(2).all(|pair| pair[0].from < pair[1].from);
            let own: std::collections::BTreeSet<_> = meter.tiers.iter().map(|tier| &tier.dimension).collect();
            let begins = meter.tiers.first().is_some_and(|tier| tier.from.is_zero());
            if !ascending || !begins || own.len() != meter.tiers.len() {
                return Err(CatalogueError::Tiers(name.clone()));
            }
        }
        for (plan, entry) in &this.plans {
            if entry.hold.as_ref().is_some_and(|hold| hold.factor < 2) {
                return Err(CatalogueError::Hold(plan.clone()));
            }
            for (dimension, terms) in &entry.dimensions {
                if let Some(text) = terms.included.values().find(|text| included(text).is_none()) {
                    let (plan, dimension, text) = (plan.clone(), dimension.clone(), text.clone());
                    return Err(CatalogueError::Included { plan, dimension, text });
                }
            }
        }
        Ok(this)
    }

    /// What the file says of a plan's dimensions for a term.
    pub fn dimensions(&self, plan: &str, term_unit: &str) -> BTreeMap<String, DimensionTerms> {
        let entries = self.plans.get(plan).into_iter().flat_map(|entry| &entry.dimensions);
        entries
            .map(|(id, entry)| {
                let text = entry.included.get(term_unit).map_or("", String::as_str);
                let terms = DimensionTerms {
                    name: entry.name.clone(),
                    unit: entry.unit.clone(),
                    price: entry.price,
                    currency: entry.currency.clone(),
                    included: included(text).unwrap_or_default(),
                };
                (id.clone(), terms)
            })
            .collect()
    }

    pub fn hold(&self, plan: &str) -> Option<&HoldRule> {
        self.plans.get(plan)?.hold.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_comes_with_the_product_is_in_order() {
        Catalogue::parse(include_str!("../catalogue.json")).unwrap();
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_place() {
        for (text, said) in [
            ("{", "can not be read"),
            (r#"{"metres": {}}"#, "unknown field `metres`"),
            (r#"{"meters": {"a": {"per": 0, "tiers": [{"dimension": "d"}]}}}"#, "meter `a`: `per`"),
            (r#"{"meters": {"a": {"tiers": []}}}"#, "meter `a`: the tiers"),
            (r#"{"meters": {"a": {"tiers": [{"dimension": "d", "from": "5"}]}}}"#, "meter `a`: the tiers"),
            (r#"{"plans": {"p": {"hold": {"factor": 1}}}}"#, "plan `p`: the factor"),
            (
                r#"{"plans": {"p": {"dimensions": {"d": {"name": "D", "unit": "u", "price": "1", "included": {"P1M": "lots"}}}}}}"#,
                "`lots`",
            ),
        ] {
            let error = Catalogue::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
