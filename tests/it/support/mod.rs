//! What the tests stand on: real counterparts, and clients that use public doors only.

pub mod azurite;
