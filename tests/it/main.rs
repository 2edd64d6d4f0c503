//! Behaviour from outside, one file per function or theme; one binary, because linking is the slow part.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where something is not as it says")]

mod ai;
mod ai_faults;
mod ai_hostile;
mod ai_limits;
mod ai_media;
mod ai_staff;
mod background;
mod budget_pages;
mod captures;
mod cli;
mod converge;
mod edge;
mod faults;
mod house;
mod keys_pages;
mod landing;
mod ledger_law;
mod media;
mod media_long;
mod media_pages;
mod metering;
mod parity;
mod playground;
mod purchase;
mod queues_pages;
mod routes;
mod seams;
mod support;
mod usage_lives;
mod usage_pages;
mod usage_periods;
mod usage_races;
mod usage_read_back;
mod usage_rules;
mod webhook;
