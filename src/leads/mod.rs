//! Leads: people whom Microsoft says to be interested in an offer, from their arrival to the systems of sales.
//!
//! Owns: the addresses at which leads arrive, arrivals as they came, leads and what people do with them, the destinations
//! that they are forwarded to. Does not own: customers and subscriptions (`fulfillment`), pages (`staff`).
//!
//! How data flows: whatever comes is kept as it came, with a mark that it is open, and a message names it. Whoever receives
//! the message reads it, finds or makes the lead that it belongs to, counts it there once, and has the destinations told.
//! A lead has a revision; a destination is told the newest one, in order, until it has it. All of it may come twice, late or
//! never; a timer finds what came to a stop. `docs/LEADS.md` tells the rules.

mod client;
pub mod destinations;
pub mod handlers;
pub mod model;
mod repo;
mod service;

pub use client::LeadTable;
pub use model::address::{Address, AddressKey, LeadAddress};
pub use model::arrival::{Arrival, Channel, Raw, State as ArrivalState};
pub use model::forward::{Attempt, Forward, State as ForwardState};
pub use model::lead::{Lead, Person, Status};
pub use model::matching::Why;
pub use model::record::{Actor, Company, Entry, Kind, Record, What};
pub use model::wire::Reason;
pub use repo::Listed;
pub use service::addresses::{address, addresses, create_address, remove_address, rotate_address, url};
pub use service::arrive::Memory;
pub use service::companies::{Match, companies};
pub use service::forward::resend;
pub use service::id;
pub use service::inbox::{Shown, TableState, shown, table_state};
pub use service::list::{Detail, Filter, LeadPage, arrival, history, lead, leads, months};
pub use service::privacy;
pub use service::table::ReadTable;
pub use service::trial::send_test;
pub use service::work::{add_note, mark_duplicate, set_company, set_owner, set_status, unmark_duplicate};
