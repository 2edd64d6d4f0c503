//! What is said about managed applications, and what follows from it: no I/O, no clock.

pub mod application;
pub mod attention;
pub mod heard;
pub mod wire;
