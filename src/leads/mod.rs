//! Leads: people whom Microsoft says to be interested in an offer, from their arrival to the systems of sales.
//!
//! Owns: the addresses at which leads arrive, arrivals as they came, leads and what people do with them, the destinations
//! that they are forwarded to. Does not own: customers and subscriptions (`fulfillment`), pages (`staff`).

pub mod destinations;
pub mod model;

pub use model::lead::{Lead, Person};
