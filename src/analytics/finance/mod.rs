//! Our books and Microsoft's, compared and closed by month: the reconciliation, what people said of its differences, the
//! numbered packages of closed months, and the funnel from visits to purchases.
//!
//! Owns: results of reconciliations, marks, closes. Does not own: any of the sides; it reads the ledger and the bookings
//! (`metering`), subscriptions (`fulfillment`), leads (`leads`) and the rows of the datasets.
//!
//! A month is gathered from all sides, compared by pure rules ([`super::model::reconcile`]) and its result put in force with
//! one conditional row. A package is written under a name of its own and becomes one by a row with the next number, which is
//! written once: a close that dies leaves no package or a whole one. `docs/FINANCE.md` tells what people do with it.

mod close;
mod contents;
mod earlier;
mod funnel;
mod gather;
pub mod handlers;
mod orders;
mod package;
mod repo;
mod rows;
mod run;
#[cfg(test)]
mod tests;

pub use close::{Close, CloseError, CloseOrder, close, closes, of_number};
pub use funnel::{MonthFunnel, funnel};
pub use run::{Marked, Outcome, Run, mark, nightly, outcome, reconcile, unmark};

/// Who did something: `staff:<object id>`, `api:<name of the key>`, `timer`; and the name that people know.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Who {
    pub id: String,
    pub name: String,
}
