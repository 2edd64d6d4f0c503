//! Signed callbacks: what happened is told to the addresses that customers and the publisher have named, by the Standard
//! Webhooks scheme 1.0.0.
//!
//! Owns: events, endpoints and their secrets, deliveries and their schedule. Does not own: what an event means (whoever
//! calls [`announce`]), pages (`portal`, `staff`), the guard of outward addresses (`foundation::outbound`).
//!
//! How data flows: an event is a row with the endpoints that it is for; a message names it. Whoever receives the message
//! makes one delivery row for each endpoint and tries it; a later try is a delayed message. All of it may come twice, late
//! or never: each step re-reads its row and writes it on condition, and an index of what is open, by the time at which it
//! is due, lets a timer find what came to a stop. `docs/CALLBACKS.md` tells what receivers may rely on.

pub mod handlers;
mod model;
mod repo;
mod service;

pub use model::delivery::{Attempt, Delivery, State};
pub use model::endpoint::{Disabled, Endpoint, MOST_ENDPOINTS, Reason};
pub use model::event::{Event, EventKind, KEPT, Owner};
pub use model::signature::sign;
pub use repo::erase;
pub use service::announce::announce;
pub use service::endpoints::{Wanted, create, delete, endpoint, endpoints, rotate, send_test, switch};
pub use service::history::{Told, deliveries};
pub use service::recover::{recover, resend};
pub use service::trying::Trying;
