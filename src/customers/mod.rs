//! Customers: everything of one company in one view.
//!
//! Owns: what makes a company (a tenant in Entra, or the mail domain of people who are no customers yet), and which rows of
//! other capabilities belong to it. Does not own: any of these rows; nothing is stored here.
//!
//! A subscription belongs to the tenants of its purchaser and its beneficiary. A lead belongs to the tenant that a person
//! decided, or else to every company whose people have its mail domain. A managed application tells no tenant, so a person
//! says whose it is. All of it is worked out when it is asked, over at most the newest 20,000 subscriptions.

pub mod handlers;
mod model;
mod service;

pub use model::{CustomerKey, What};
pub use service::{Customer, Found, Happened, customer, customers};
