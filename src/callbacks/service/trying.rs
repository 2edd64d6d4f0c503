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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::callbacks::model::event::Owner;

    #[test]
    fn of_an_endpoint_that_fails_one_message_at_a_time_is_tried() {
        let mut endpoint = Endpoint {
            id: "ep_00000000000000000000000000000001".parse().unwrap(),
            owner: Owner::Publisher,
            url: "https://example.com".into(),
            description: String::new(),
            kinds: None,
            secrets: Vec::new(),
            created: Timestamp::UNIX_EPOCH,
            disabled: None,
            failing_since: None,
            recovery: None,
        };
        let trying = Trying::default();
        let fine = [trying.enter(&endpoint), trying.enter(&endpoint)];
        assert!(fine.iter().all(Option::is_some));
        endpoint.failing_since = Some(Timestamp::UNIX_EPOCH);
        let first = trying.enter(&endpoint);
        assert!(first.is_some() && trying.enter(&endpoint).is_none());
        drop((first, fine));
        assert!(trying.enter(&endpoint).is_some());
    }
}
