//! What a lead is and the rules that it follows: no I/O, no clock.

pub mod address;
pub mod arrival;
pub mod domains;
pub mod forward;
pub mod lead;
pub mod matching;
pub mod person;
pub mod record;
pub mod wire;
