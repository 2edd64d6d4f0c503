//! Managed applications: the publisher's product, deployed into customers' own Azure subscriptions.
//!
//! Owns: notifications as they come, what follows from them (states, plans, lives of an address), the comparison with Azure
//! Resource Manager. Does not own: usage and its ledger (`metering`), who a customer is, pages (`staff`).
//!
//! How data flows: a notification with the right `sig` becomes a row before it is answered; a message names the application.
//! Whoever receives the message puts everything that was ever heard of the application into the order in which it happened,
//! asks Azure whether it is so, and writes down what follows. What Azure says and nobody told is heard, too: it becomes a
//! row like a notification. So order, repetition and loss of notifications cost time only. From the row metering learns
//! which usage can be recorded until when. A timer does the same for every application, and finds those of which nothing
//! was ever told. `docs/MANAGED_APPS.md` tells the whole way.

mod client;
pub mod handlers;
pub mod model;
mod repo;
mod service;

pub use client::ArmClient;
pub use model::application::{Effect, Instance, State};
pub use model::attention::Attention;
pub use model::heard::{ApplicationKey, Heard};
pub use repo::{Application, Confirmation, Unread, erase};
pub use service::look::look;
pub use service::queries::{Detail, Line, detail, fleet, set_customer, unread};
pub use service::receive::{notification_address, send_test};
