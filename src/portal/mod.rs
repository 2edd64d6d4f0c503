//! What buyers and customers see: the product page, the landing page in each of its states, their subscriptions.
//!
//! Owns: these pages and their forms. Does not own: any rule; it asks `fulfillment`, `metering`, `ai`, `media` and
//! `callbacks` and shows the answer.

pub mod budgets;
pub mod callback_pages;
pub mod callbacks;
pub mod captures;
pub mod files;
mod findings;
pub mod item;
pub mod job;
pub mod jobs;
mod key_terms;
pub mod keys;
pub mod landing;
pub mod playground;
pub mod product;
mod samples;
pub mod subscriptions;
mod transcript;
mod usage;
mod view;

pub use view::{plan_rows, subscription_view};
