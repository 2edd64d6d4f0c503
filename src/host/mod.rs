//! Between a trigger and a function. The same functions behind two front doors: [`serve`] (own listener, queue poller,
//! cron scheduler) and [`custom_handler`] (the Azure Functions host calls us).
//!
//! Owns: routes, bodies, limits, headers, logging of requests, retries of messages, leases of timers. Does not own: what
//! a function does.

pub mod bindings;
pub mod custom_handler;
pub mod dispatch;
pub mod edge;
pub mod envelope;
pub mod package;
pub mod poller;
pub mod scheduler;
pub mod serve;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::app::App;
use bindings::{BindingError, Functions};

/// The app with its functions, ready to be driven.
#[derive(Clone)]
pub struct Host {
    pub app: Arc<App>,
    pub functions: Arc<Functions>,
    security_headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Host {
    pub fn new(app: Arc<App>) -> Result<Self, BindingError> {
        let security_headers = edge::security_headers(&app.settings).into();
        Ok(Self { app, functions: Functions::load()?, security_headers })
    }
}
