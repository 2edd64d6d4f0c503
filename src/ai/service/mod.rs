//! The verbs of the AI API over the App.

pub mod admission;
pub mod ask;
pub mod batches;
pub mod books;
pub mod budgets;
pub mod call;
pub mod captures;
pub mod cooldown;
pub mod gate;
pub mod hearing;
mod inline;
pub mod meter;
pub mod price;
mod relay;
pub mod speaking;
pub mod stops;
pub mod vision;
pub mod whole;
