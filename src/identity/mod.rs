//! Who somebody is and what they may do.
//!
//! Owns: Entra's signing keys, the check of Microsoft's webhook tokens, sign-in with OpenID Connect, sessions, CSRF,
//! keys of customers' programs, and the values that stand for "authorised" in every handler's signature ([`Customer`], [`Staff`],
//! [`MarketplaceCaller`]). Does not own: which subscription belongs to which tenant (`fulfillment`), pages (`portal`,
//! `staff`).

mod access;
pub mod api_keys;
mod caller;
pub mod handlers;
mod keys;
mod sessions;
mod sign_in;
pub mod tokens;
pub mod uploads;

pub use access::{
    Customer, ManagedAppCaller, Publisher, Role, Staff, User, call, customer, form, is_staff, managed_app_caller,
    publisher, session, staff,
};
pub use api_keys::{ApiKey, KeyError, KeyTerms, Limits, RememberedKeys, Scope, StoredKey, api_key};
pub use caller::{MarketplaceCaller, TokenError, marketplace_caller};
pub use keys::{KeysError, SigningKeys};
pub use sessions::{Session, end_all};
pub use sign_in::{SignInClient, local_path};
pub use uploads::{Upload, upload};
