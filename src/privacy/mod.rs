//! Privacy: what is held of a person, handed out and taken out.
//!
//! Owns: requests for erasure and their way to the end, the time after which leads lose their people. Does not own: the rows
//! themselves; each capability knows its own and takes a person out of them ([`crate::foundation::erasure`]).
//!
//! How data flows: a request is a row with the e-mail address and a pseudonym made at random; a message names it. Whoever
//! receives it goes through leads, subscriptions, API keys, callbacks, Azure's reasons in managed applications, and sessions.
//! Everything may run twice: what is taken out is not found again. Who neither bought nor uses a subscription and acted on it
//! is found by the keys that they made; entries of its timeline name them by object id, which the address does not tell. A subscription that still lives keeps its people, because it has to be served and Microsoft tells
//! us of them each hour; the request waits for its end, and a timer looks every day. When nothing is left, the request itself
//! forgets the address. Usage and money have no people in them and stay as they are.
//!
//! What customers process with the product (files, jobs, kept calls) is theirs, and they remove it themselves.

pub mod handlers;
mod model;
mod repo;
mod service;

pub use model::{Request as PrivacyRequest, State};
pub use service::{held, request, requests};
