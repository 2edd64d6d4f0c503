//! What a month comes to on each side, and its differences counted.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::difference::{Class, Difference};
use super::sides::{EventState, Group, Sides};
use super::usage::times;
use crate::analytics::model::calendar::Month;

/// By currency; empty where a side names none.
pub type Money = BTreeMap<String, Decimal>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Usage that Microsoft has accepted, at our prices.
    pub accepted: Money,
    /// On its way, or held.
    pub waiting: Money,
    pub lost: Money,
    /// What ISVUsage charges customers for it.
    pub charged: Money,
    /// Usage in ISVRevenue.
    pub revenue: Money,
}

impl Totals {
    /// Enters what our ledger has of the month.
    pub(super) fn enter(&mut self, group: &Group, month: Month) {
        for (_, day) in group.days.iter().filter(|(day, _)| month.has(**day)) {
            for slot in &day.slots {
                let (money, quantity) = match slot.state {
                    EventState::Accepted { quantity, .. } => (&mut self.accepted, quantity),
                    EventState::Lost(_) => (&mut self.lost, slot.quantity),
                    EventState::Carried => continue,
                    _ => (&mut self.waiting, slot.quantity),
                };
                *money.entry(group.currency.clone()).or_default() += times(quantity, slot.price);
            }
        }
    }

    /// Enters what is charged and paid.
    pub(super) fn enter_money(&mut self, sides: &Sides) {
        for sum in sides.money.values().filter_map(|months| months.get(&sides.month)) {
            let currency = sum.currencies.first().cloned().unwrap_or_default();
            if sum.charge_rows > 0 {
                *self.charged.entry(currency.clone()).or_default() += sum.charge;
            }
            if sum.revenue_rows > 0 {
                *self.revenue.entry(currency).or_default() += sum.revenue;
            }
        }
    }
}

/// One class of differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub class: Class,
    pub count: usize,
    pub explained: usize,
    /// What the open ones come to.
    pub open: Money,
}

/// By class, in the order in which people look at them; classes without differences are left out.
pub fn summary(differences: &[Difference], explained: impl Fn(&Difference) -> bool) -> Vec<Summary> {
    let of = |class: Class| {
        let mut summary = Summary { class, count: 0, explained: 0, open: Money::new() };
        for one in differences.iter().filter(|one| one.class == class) {
            summary.count += 1;
            if explained(one) {
                summary.explained += 1;
            } else if !one.amount.is_zero() {
                *summary.open.entry(one.currency.clone()).or_default() += one.amount;
            }
        }
        summary
    };
    Class::ALL.into_iter().map(of).filter(|summary| summary.count > 0).collect()
}
