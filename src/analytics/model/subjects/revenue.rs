//! ISVRevenue: what was billed, in the customer's currency; what of it is the publisher's, in the currency of the payout and
//! by its status; and Microsoft's estimate in US dollars, apart.
//!
//! The dataset does not say in which currency a customer was billed (analytics contract 9.5). Orders and usage of the same
//! asset or billing account do.

use std::collections::HashMap;

use csv::StringRecord;

use super::{Pivot, cells, number};

pub const COLUMNS: [&str; 9] = [
    "MonthStartDate",
    "AssetId",
    "BillingAccountId",
    "Revenue",
    "EarningCurrencyCode",
    "EarningAmountPC",
    "PayoutStatus",
    "EstimatedRevenueUSD",
    "EarningAmountUSD",
];

/// Of ISVOrder and ISVUsage: a name of somebody, and the currency.
pub const CURRENCY_OF_ORDERS: [&str; 3] = ["AssetId", "BillingAccountId", "Currency"];
pub const CURRENCY_OF_USAGE: [&str; 3] = ["ReferenceId", "BillingAccountId", "CustomerCurrencyCC"];

/// In which currency assets and billing accounts are billed.
#[derive(Debug, Default)]
pub struct Currencies {
    /// Empty: more than one was told.
    known: HashMap<String, String>,
}

impl Currencies {
    /// A row of [`CURRENCY_OF_ORDERS`] or [`CURRENCY_OF_USAGE`].
    pub fn push(&mut self, row: &StringRecord) {
        let [asset, account, currency] = cells(row);
        if currency.is_empty() {
            return;
        }
        for name in [asset, account].into_iter().filter(|name| !name.is_empty()) {
            let known = self.known.entry(name.to_lowercase()).or_insert_with(|| currency.to_owned());
            if *known != currency {
                known.clear();
            }
        }
    }

    /// The asset's, else its account's; None: nobody has told.
    pub fn of(&self, asset: &str, account: &str) -> Option<&str> {
        let find =
            |name: &str| self.known.get(&name.to_lowercase()).map(String::as_str).filter(|known| !known.is_empty());
        find(asset).or_else(|| find(account))
    }
}

#[derive(Debug, Default)]
pub struct Revenue {
    /// Months by currency; the empty one where it is not known.
    pub billed: Pivot,
    /// By currency of the payout.
    pub earned: Pivot,
    /// Months by `<currency> <status>`.
    pub by_status: Pivot,
    /// Columns `billed` and `earned`.
    pub dollars: Pivot,
}

impl Revenue {
    pub fn push(&mut self, row: &StringRecord, currencies: &Currencies) {
        let [month, asset, account, billed, earning_currency, earned, status, billed_usd, earned_usd] = cells(row);
        let month = month.get(..7).unwrap_or(month);
        self.billed.add(month, currencies.of(asset, account).unwrap_or_default(), number(billed));
        self.earned.add(month, earning_currency, number(earned));
        self.by_status.add(month, format!("{earning_currency} {status}").trim(), number(earned));
        self.dollars.add(month, "billed", number(billed_usd));
        self.dollars.add(month, "earned", number(earned_usd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_summed_by_the_currency_that_orders_and_usage_tell() {
        let mut currencies = Currencies::default();
        for row in [["A1", "B1", "EUR"], ["", "B2", "JPY"], ["A3", "B3", "EUR"], ["A4", "B3", "GBP"], ["A5", "", ""]] {
            currencies.push(&row.to_vec().into());
        }
        let mut revenue = Revenue::default();
        for row in [
            ["2026-02-01", "a1", "b1", "10.10", "USD", "11", "Sent", "12", "11"],
            ["2026-02-01", "new", "b1", "0.05", "USD", "0.05", "Upcoming", "0.06", "0.05"],
            ["2026-02-01", "", "b2", "900", "USD", "6", "Sent", "6.5", "6"],
            ["2026-02-01", "a4", "b3", "3", "USD", "3", "Sent", "4", "3"],
            ["2026-02-01", "a9", "b3", "7", "USD", "7", "Sent", "8", "7"],
        ] {
            revenue.push(&row.to_vec().into(), &currencies);
        }
        let billed = |currency: &str| revenue.billed.get("2026-02", currency).unwrap().to_string();
        assert_eq!((billed("EUR"), billed("JPY"), billed("GBP")), ("10.15".into(), "900".into(), "3".into()));
        assert_eq!(billed(""), "7", "an account of two currencies tells nothing");
        assert_eq!(revenue.by_status.get("2026-02", "USD Upcoming").unwrap().to_string(), "0.05");
        assert_eq!(revenue.dollars.get("2026-02", "billed").unwrap().to_string(), "30.56");
    }
}
