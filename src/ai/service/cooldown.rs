//! Deployments that failed a moment ago are asked last: a customer should not wait for the same failure again. When the
//! time is over one call tries again, and its outcome decides for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::ai::client::UpstreamError;
use crate::ai::model::deployments::Deployment;
use crate::foundation::rng::Random;

/// Also when a service says that nothing has to be waited for.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// After a failure without a word about waiting, and while one call tries again.
const SHORT: SignedDuration = SignedDuration::from_secs(5);
/// After a refusal of our configuration, and the longest in any case: some services ask to wait for a day.
const LONG: SignedDuration = SignedDuration::from_secs(60);

/// What this process knows of a deployment.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Until when it cools down.
    pub until: Option<Timestamp>,
    pub served: u64,
    pub failed: u64,
    pub last_error: Option<(Timestamp, String)>,
}

/// By [`Deployment::id`].
#[derive(Debug, Default)]
pub struct Cooldowns(Mutex<HashMap<String, Health>>);

impl Cooldowns {
    /// The deployments in the order in which to ask: those that cool down last; among the others by priority, and by
    /// weighted chance where that is the same. The first one to come after a cooldown is the probe: it cools on for
    /// everybody else until it has answered.
    pub fn order(&self, deployments: &[Arc<Deployment>], now: Timestamp, random: &dyn Random) -> Vec<Arc<Deployment>> {
        let mut order: Vec<Arc<Deployment>> = deployments.to_vec();
        if order.len() < 2 {
            return order;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = |health: &Health| health.until;
        order.sort_by_cached_key(|deployment| {
            let cools = known.get(&deployment.id()).and_then(until).is_some_and(|until| until > now);
            (cools, deployment.priority, chance(deployment.weight, random))
        });
        let first = order.first().and_then(|first| known.get_mut(&first.id()));
        if let Some(until) = first.and_then(|health| health.until.as_mut()) {
            *until = (*until).max(now + SHORT);
        }
        order
    }

    /// Notes how a deployment answered.
    pub fn note(&self, deployment: &Deployment, error: Option<&UpstreamError>, now: Timestamp) {
        let pause = match error {
            Some(UpstreamError::Passing { wait, .. }) => {
                let asked = |wait| SignedDuration::try_from(wait).unwrap_or(LONG).clamp(SHORTEST, LONG);
                Some(wait.map_or(SHORT, asked))
            }
            Some(UpstreamError::Misconfigured(_)) => Some(LONG),
            Some(UpstreamError::Unreadable(_)) => Some(SHORT),
            // The customer's own request says nothing about the deployment.
            Some(UpstreamError::Refused { .. } | UpstreamError::Unfit(_)) | None => None,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let health = known.entry(deployment.id()).or_default();
        health.until = pause.map(|pause| now + pause);
        match error.filter(|_| pause.is_some()) {
            Some(error) => {
                health.failed += 1;
                health.last_error = Some((now, error.to_string()));
            }
            None => health.served += u64::from(error.is_none()),
        }
    }

    pub fn health(&self, deployment: &Deployment) -> Health {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&deployment.id()).cloned().unwrap_or_default()
    }
}

/// A number that is lowest for one of several with the probability of its weight (exponential clocks).
fn chance(weight: u32, random: &dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    // Between 0 and 1, and never 0.
    let uniform = (u64::from_le_bytes(bytes) as f64 + 1.0) / (u64::MAX as f64 + 2.0);
    (-uniform.ln() / f64::from(weight.max(1)) * 1e15) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::rng::SeededRandom;

    fn deployment(name: &str, priority: u32, weight: u32) -> Arc<Deployment> {
        let entry = serde_json::json!({"model": "chat", "kind": "chat", "endpoint": "https://x.example", "deployment": name,
            "meters": {}, "priority": priority, "weight": weight});
        Arc::new(serde_json::from_value(entry).unwrap())
    }

    #[test]
    fn priority_comes_before_weight_and_one_call_probes_after_a_cooldown() {
        let (cooldowns, random, start) = (Cooldowns::default(), SeededRandom::new(7), Timestamp::UNIX_EPOCH);
        let all = [deployment("heavy", 0, 9), deployment("light", 0, 1), deployment("spare", 1, 1)];
        let first = |now| cooldowns.order(&all, now, &random)[0].deployment.clone();
        let heavy = (0..1000).filter(|_| first(start) == "heavy").count();
        assert!((850..950).contains(&heavy), "{heavy}");
        let failed = UpstreamError::Misconfigured(String::new());
        cooldowns.note(&all[0], Some(&failed), start);
        cooldowns.note(&all[1], Some(&failed), start);
        assert_eq!(first(start), "spare");
        let later = start + SignedDuration::from_secs(61);
        // The two probes, and then nobody until they have answered.
        let probes = [first(later), first(later), first(later)];
        assert!(probes.contains(&"heavy".to_owned()) && probes.contains(&"light".to_owned()));
        assert_eq!(probes[2], "spare");
        cooldowns.note(&all[1], None, later);
        assert_eq!(first(later), "light");
    }
}
