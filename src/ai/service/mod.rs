//! The verbs of the AI API over the App.

pub mod admission;
pub mod ask;
pub mod audio;
pub mod books;
pub mod budgets;
pub mod call;
pub mod captures;
pub mod cooldown;
pub mod gate;
mod inline;
pub mod meter;
pub mod price;
mod relay;
pub mod stops;
pub mod vision;
pub mod whole;
