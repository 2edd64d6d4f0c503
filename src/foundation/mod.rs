//! Leaves: small things that every room uses and that import nothing of ours.

pub mod clock;
pub mod rng;
