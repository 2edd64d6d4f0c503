//! Verbs: a notification comes, an application is looked at, all are compared with Azure, people ask.

pub mod compare;
pub mod look;
pub mod queries;
pub mod receive;
