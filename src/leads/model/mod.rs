//! What a lead is and the rules that it follows: no I/O, no clock.

pub mod lead;
