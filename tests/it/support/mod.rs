//! What the tests stand on: the product as it is, real counterparts, and clients that use public doors only.

pub mod ai;
pub mod app;
pub mod azurite;
pub mod browser;
pub mod destination;
pub mod fake_host;
pub mod gate;
pub mod leads;
pub mod mail;
pub mod month;
pub mod process;
pub mod receiver;
pub mod usage;
