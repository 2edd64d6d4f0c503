//! Leaves: small things that every room uses and that import nothing of ours but each other.

pub mod azure_account;
pub mod clock;
pub mod erasure;
pub mod hex;
pub mod ids;
pub mod managed_identity;
pub mod outbound;
pub mod problem;
pub mod recent;
pub mod rng;
pub mod secret;
pub mod settings;
pub mod sheet;
pub mod smtp;
pub mod telemetry;
pub mod web;
