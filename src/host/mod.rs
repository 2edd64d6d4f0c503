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
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue};

use crate::app::{App, DrivenQueue};
use bindings::{BindingError, Functions, Trigger};

/// The app with its functions, ready to be driven.
#[derive(Clone)]
pub struct Host {
    pub app: Arc<App>,
    pub functions: Arc<Functions>,
    security_headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Requests being answered.
    in_flight: Arc<AtomicUsize>,
}

/// As many requests at the same time are a crowd, to which background work gives way.
const CROWD: usize = 16;

impl Host {
    pub fn new(app: Arc<App>) -> Result<Self, BindingError> {
        let security_headers = edge::security_headers(&app.settings).into();
        let functions = Functions::load()?;
        let driven = functions.all().iter().filter_map(|function| match &function.trigger {
            Trigger::Queue { queue } => Some(DrivenQueue { queue: queue.clone(), function: function.name.clone() }),
            _ => None,
        });
        // The same for every host of a process.
        let _ = app.driven.set(driven.collect());
        Ok(Self { app, functions, security_headers, in_flight: Arc::default() })
    }

    fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= CROWD
    }

    /// Counts a request for as long as the value lives.
    fn arrival(&self) -> Arrival {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Arrival(Arc::clone(&self.in_flight))
    }
}

struct Arrival(Arc<AtomicUsize>);

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
