//! An endpoint that fails, perhaps by saying nothing for fifteen seconds, must not hold up those of others: in each
//! process it is tried by one message at a time, and the others come back later.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::callbacks::model::endpoint::Endpoint;
use crate::foundation::ids::EndpointId;

/// The failing endpoints that are being tried here.
#[derive(Debug, Default)]
pub struct Trying(Mutex<HashSet<EndpointId>>);

/// Leave to try an endpoint; it ends when dropped.
#[derive(Debug)]
pub struct Leave<'a> {
    trying: &'a Trying,
    endpoint: Option<EndpointId>,
}

impl Trying {
    /// None: it fails, and somebody is at it.
    pub fn enter(&self, endpoint: &Endpoint) -> Option<Leave<'_>> {
        if endpoint.failing_since.is_none() {
            return Some(Leave { trying: self, endpoint: None });
        }
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.id.clone());
        new.then(|| Leave { trying: self, endpoint: Some(endpoint.id.clone()) })
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            self.trying.0.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
        }
    }
}
