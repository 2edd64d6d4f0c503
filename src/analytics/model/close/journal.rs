//! What lines come to: sums by account, plan, term and currency. Every line of a file of facts enters these sums by the same
//! rules whenever it is read, so that packages of different days can be compared.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::files::{File, Line};
use crate::analytics::model::value;

/// Where something is booked.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Such as `usage_accepted`.
    pub account: String,
    pub plan: String,
    /// Such as `P1M`; empty where there is none.
    pub term: String,
    pub currency: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub quantity: Decimal,
    pub amount: Decimal,
}

impl Sum {
    pub fn is_zero(&self) -> bool {
        self.quantity.is_zero() && self.amount.is_zero()
    }
}

/// Sums by account; none of them is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal(pub BTreeMap<Account, Sum>);

impl Journal {
    pub fn add(&mut self, account: Account, sum: Sum) {
        if sum.is_zero() {
            return;
        }
        let known = self.0.entry(account.clone()).or_default();
        *known = Sum {
            quantity: known.quantity.saturating_add(sum.quantity).normalize(),
            amount: known.amount.saturating_add(sum.amount).normalize(),
        };
        if known.is_zero() {
            self.0.remove(&account);
        }
    }

    /// Enters a line of a file.
    pub fn enter(&mut self, file: File, line: &Line) {
        for (account, sum) in postings(file, line) {
            self.add(account, sum);
        }
    }

    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().map(|(account, sum)| {
            let Account { account, plan, term, currency } = account.clone();
            vec![account, plan, term, currency, sum.quantity.to_string(), sum.amount.to_string()]
        })
    }

    /// Reads a line that [`Journal::lines`] gave.
    pub fn read(&mut self, line: &[String]) {
        let [account, plan, term, currency, quantity, amount] = line else { return };
        let number = |text: &str| value::number(text).unwrap_or_default();
        let account =
            Account { account: account.clone(), plan: plan.clone(), term: term.clone(), currency: currency.clone() };
        self.add(account, Sum { quantity: number(quantity), amount: number(amount) });
    }
}

/// The cells of a line by the names of their columns.
struct Cells<'a>(File, &'a Line);

impl Cells<'_> {
    fn text(&self, column: &str) -> &str {
        self.0.place(column).and_then(|at| self.1.get(at)).map_or("", String::as_str)
    }

    fn number(&self, column: &str) -> Decimal {
        value::number(self.text(column)).unwrap_or_default()
    }

    fn plan(&self) -> String {
        let id = self.text("PlanId");
        if id.is_empty() { self.text("SKU").to_owned() } else { id.to_owned() }
    }
}

/// What a line of a file of facts is booked as.
pub(super) fn postings(file: File, line: &Line) -> Vec<(Account, Sum)> {
    let cells = Cells(file, line);
    let one = |account: &str, plan: String, term: &str, currency: &str, quantity: Decimal, amount: Decimal| {
        let currency = currency.to_uppercase();
        (Account { account: account.to_owned(), plan, term: term.to_owned(), currency }, Sum { quantity, amount })
    };
    let none = Decimal::ZERO;
    match file {
        File::UsageEvents => {
            let (account, quantity) = match cells.text("state") {
                "accepted" => ("usage_accepted", cells.number("accepted_quantity")),
                "lost" => ("usage_lost", cells.number("quantity")),
                "carried" => return Vec::new(),
                _ => ("usage_waiting", cells.number("quantity")),
            };
            let currency = cells.text("currency");
            vec![one(account, cells.text("plan").to_owned(), "", currency, quantity, cells.number("amount"))]
        }
        File::BookedUsage => {
            vec![one("usage_booked", cells.text("plan").to_owned(), "", "", cells.number("submitted"), none)]
        }
        File::Usage => {
            let (charge, currency) = (cells.number("EstimatedExtendedChargeCC"), cells.text("CustomerCurrencyCC"));
            vec![one("usage_charged", cells.plan(), "", currency, cells.number("MeteredUsage"), charge)]
        }
        File::Revenue => {
            let by_usage = cells.text("BillingModel").eq_ignore_ascii_case("UsageBased");
            let account = if by_usage { "billed_usage" } else { "billed_subscription" };
            let (amount, earning) = (cells.number("TransactionAmountCC"), cells.number("EarningAmountPC"));
            vec![
                one(account, cells.plan(), "", cells.text("currency"), cells.number("Quantity"), amount),
                one("payout", cells.plan(), "", cells.text("EarningCurrencyCode"), none, earning),
            ]
        }
        File::Recognition => {
            let (term, currency) = (cells.text("term"), cells.text("currency"));
            let amount = |account, column| one(account, cells.plan(), term, currency, none, cells.number(column));
            vec![amount("earned", "earned"), amount("deferred", "deferred")]
        }
        File::Orders | File::Differences | File::Journal | File::Corrections => Vec::new(),
    }
}
