//! ISVCustomer: who came, who was lost, and where they are. A row is a customer with one plan; somebody with two plans is
//! one customer, who is lost when nothing is left.

use std::collections::BTreeMap;

use csv::StringRecord;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::{Pivot, cells, months};
use crate::analytics::model::value;

pub const COLUMNS: [&str; 7] =
    ["DateAcquired", "DateLost", "IsActive", "CustomerId", "BillingAccountId", "CustomerCountryRegion", "ReferenceId"];

#[derive(Debug)]
struct Customer {
    came: Date,
    /// Nothing is left; the last day on which something was.
    lost: Option<Date>,
    country: String,
}

#[derive(Debug, Default)]
pub struct Customers {
    all: BTreeMap<String, Customer>,
}

impl Customers {
    pub fn push(&mut self, row: &StringRecord) {
        let [came, lost, active, id, account, country, reference] = cells(row);
        let Some(came) = value::date(came) else { return };
        // A protected customer has no id of its own.
        let names = [id, account, reference];
        let name = names.into_iter().find(|name| !name.is_empty() && !name.starts_with('*')).unwrap_or_default();
        let active = value::boolean(active);
        // Without a day of the loss, the customer is there; whoever is said to be active is there, too.
        let lost = value::date(lost).filter(|_| active != Some(true));
        let known = self.all.get_mut(&name.to_lowercase());
        match known {
            Some(customer) => {
                customer.came = customer.came.min(came);
                customer.lost = customer.lost.zip(lost).map(|(one, other)| one.max(other));
            }
            None => {
                let customer = Customer { came, lost, country: country.to_owned() };
                self.all.insert(name.to_lowercase(), customer);
            }
        }
    }

    /// By month: `acquired`, `lost`, and how many there were at its end (`active`).
    pub fn months(&self, from: Date, to: Date) -> Pivot {
        let mut pivot = Pivot::default();
        let month = |day: Date| day.strftime("%Y-%m").to_string();
        let inside = |day: Date| day >= from && day <= to;
        for (month, end) in months(from, to) {
            let there = self.all.values().filter(|customer| customer.is_there(end.min(to))).count();
            pivot.add(&month, "active", Decimal::from(there as u64));
        }
        for customer in self.all.values() {
            if inside(customer.came) {
                pivot.count(&month(customer.came), "acquired");
            }
            if let Some(lost) = customer.lost.filter(|lost| inside(*lost)) {
                pivot.count(&month(lost), "lost");
            }
        }
        pivot
    }

    /// By country: the same over all of the time, `active` at its end.
    pub fn countries(&self, from: Date, to: Date) -> Pivot {
        let mut pivot = Pivot::default();
        let inside = |day: Date| day >= from && day <= to;
        for customer in self.all.values() {
            if customer.is_there(to) {
                pivot.count(&customer.country, "active");
            }
            if inside(customer.came) {
                pivot.count(&customer.country, "acquired");
            }
            if customer.lost.is_some_and(inside) {
                pivot.count(&customer.country, "lost");
            }
        }
        pivot
    }
}

impl Customer {
    fn is_there(&self, day: Date) -> bool {
        self.came <= day && self.lost.is_none_or(|lost| lost > day)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn somebody_with_two_plans_is_one_customer_and_lost_when_nothing_is_left() {
        let mut customers = Customers::default();
        for row in [
            ["2026-01-05", "2026-02-03", "false", "C1", "", "Germany", "a"],
            ["2026-01-20", "2026-03-03", "false", "c1", "", "Germany", "b"],
            ["2026-02-20", "", "true", "************", "B2", "Japan", "c"],
            ["2026-02-21", "", "true", "************", "B3", "Japan", "d"],
        ] {
            customers.push(&row.to_vec().into());
        }
        let (from, to) = (date(2026, 1, 1), date(2026, 3, 31));
        let months = customers.months(from, to);
        let row = |month: &str| {
            ["acquired", "lost", "active"].map(|column| months.get(month, column).unwrap_or_default().to_string())
        };
        assert_eq!(row("2026-01"), ["1", "0", "1"]);
        assert_eq!(row("2026-02"), ["2", "0", "3"]);
        assert_eq!(row("2026-03"), ["0", "1", "2"]);
        let countries = customers.countries(from, to);
        assert_eq!(countries.get("Germany", "active"), None);
        assert_eq!(countries.get("Japan", "active"), Some(Decimal::from(2)));
    }
}
