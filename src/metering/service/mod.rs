//! The verbs of metering over the App.

pub mod books;
pub mod csv;
pub mod events;
pub mod export;
pub mod lanes;
pub mod look;
pub mod queries;
pub mod read_back;
pub mod record;
pub mod run;
pub mod submit;
pub mod terms;
