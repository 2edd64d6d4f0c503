//! Pure rules: what an event says, who wants it, how it is signed, when it is tried again.

pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod signature;
