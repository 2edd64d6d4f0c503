//! Types and pure rules of metering: no I/O, no clock, no store.

pub mod account;
pub mod catalogue;
pub mod close;
pub mod cycle;
pub mod event;
pub mod hour;
pub mod ledger;
pub mod quantity;
pub mod record;
pub mod resource;
pub mod settle;
pub mod terms;
