//! What was read a moment ago. Another process may have changed it since; so it is trusted for two seconds and no longer,
//! which is how soon a revoked key, an emergency stop or a suspension counts everywhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

const TRUSTED: SignedDuration = SignedDuration::from_secs(2);
/// Values remembered at the same time.
const REMEMBERED: usize = 10_000;

/// Whether something read then may be trusted now. A clock that steps back trusts nothing.
pub fn is_fresh(read: Timestamp, now: Timestamp) -> bool {
    read <= now && now.duration_since(read) < TRUSTED
}

#[derive(Debug)]
pub struct Recent<K, V>(Mutex<HashMap<K, (Timestamp, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    fn values(&self) -> MutexGuard<'_, HashMap<K, (Timestamp, V)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get<Q>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.values().get(key).filter(|(read, _)| is_fresh(*read, now)).map(|(_, value)| value.clone())
    }

    pub fn put(&self, key: K, value: V, now: Timestamp) {
        let mut values = self.values();
        if values.len() >= REMEMBERED {
            values.clear();
        }
        values.insert(key, (now, value));
    }

    pub fn forget<Q>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.values().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_for_two_seconds_and_not_before_it_was_read() {
        let (recent, read) = (Recent::<String, u8>::default(), Timestamp::from_second(10).unwrap());
        recent.put("a".into(), 1, read);
        let at = |ms: i64| recent.get("a", read + SignedDuration::from_millis(ms));
        assert_eq!((at(0), at(1_999), at(2_000), at(-1)), (Some(1), Some(1), None, None));
        recent.forget("a");
        assert_eq!(at(0), None);
    }
}
