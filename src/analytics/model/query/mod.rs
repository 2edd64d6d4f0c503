//! Microsoft's analytics query language (analytics contract 8): read, checked against what Microsoft offers, written
//! out again to be sent, and run over our own rows.

pub mod ast;
pub mod check;
pub mod fault;
pub mod filter;
pub mod hold;
#[cfg(test)]
mod laws;
mod lex;
pub mod parse;
pub mod run;
pub mod span;
mod stray;

pub use ast::{At, Query};
pub use check::check;
pub use fault::Fault;
pub use filter::Filter;
pub use hold::TooMuch;
pub use parse::{conditions, query};
pub use run::{Run, Table};
pub use span::Span;
