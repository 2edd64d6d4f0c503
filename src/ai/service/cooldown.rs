//! Deployments that failed a moment ago are asked last: a customer should not wait for the same failure again. When the
//! time is over the next call tries again, and its outcome decides.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::ai::client::UpstreamError;
use crate::ai::model::deployments::Deployment;

/// Also when a service says that nothing has to be waited for.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// After a failure without a word about waiting.
const SHORT: SignedDuration = SignedDuration::from_secs(5);
/// After a refusal of our configuration, and the longest in any case: some services ask to wait for a day.
const LONG: SignedDuration = SignedDuration::from_secs(60);

#[derive(Debug, Default)]
pub struct Cooldowns(Mutex<HashMap<String, Timestamp>>);

impl Cooldowns {
    /// The deployments in the order in which to ask: those that cool down last, and among them by priority.
    pub fn order<'a>(&self, deployments: &'a [Deployment], now: Timestamp) -> Vec<&'a Deployment> {
        let cooling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order: Vec<&Deployment> = deployments.iter().collect();
        order.sort_by_key(|deployment| cooling.get(&deployment.address()).is_some_and(|until| *until > now));
        order
    }

    /// Notes how a deployment answered.
    pub fn note(&self, deployment: &Deployment, error: Option<&UpstreamError>, now: Timestamp) {
        let pause = match error {
            Some(UpstreamError::Passing { wait, .. }) => {
                let asked = |wait: Duration| SignedDuration::try_from(wait).unwrap_or(LONG).clamp(SHORTEST, LONG);
                Some(wait.map_or(SHORT, asked))
            }
            Some(UpstreamError::Misconfigured(_)) => Some(LONG),
            Some(UpstreamError::Unreadable(_)) => Some(SHORT),
            // The customer's own mistake says nothing about the deployment.
            Some(UpstreamError::Refused { .. }) | None => None,
        };
        let mut cooling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pause {
            Some(pause) => cooling.insert(deployment.address(), now + pause),
            None => cooling.remove(&deployment.address()),
        };
    }
}
