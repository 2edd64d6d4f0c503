//! How fast somebody may call: requests and tokens per minute as buckets that fill evenly.

use std::time::Duration;

use jiff::Timestamp;

/// A bucket that holds a minute's worth and fills again within a minute.
#[derive(Debug, Clone)]
pub struct Bucket {
    level: f64,
    at: Timestamp,
}

/// What an answer's headers tell of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub limit: u32,
    pub remaining: u32,
    /// Until it is full again.
    pub reset: Duration,
}

impl Bucket {
    pub fn full(per_minute: u32, now: Timestamp) -> Self {
        Self { level: f64::from(per_minute), at: now }
    }

    fn fill(&mut self, per_minute: u32, now: Timestamp) {
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.level = (self.level + seconds * f64::from(per_minute) / 60.0).min(f64::from(per_minute));
        self.at = now.max(self.at);
    }

    /// Takes so many out; else says how long to wait. More than a whole minute's worth passes when the bucket is full:
    /// it could never pass otherwise, and the debt keeps the average.
    pub fn take(&mut self, amount: u64, per_minute: u32, now: Timestamp) -> Result<(), Duration> {
        self.fill(per_minute, now);
        let wanted = (amount as f64).min(f64::from(per_minute));
        if self.level < wanted {
            let seconds = (wanted - self.level) * 60.0 / f64::from(per_minute.max(1));
            return Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(60)));
        }
        self.level -= amount as f64;
        Ok(())
    }

    /// Mends an estimate: gives back what was not used, or takes what was used beyond it.
    pub fn correct(&mut self, taken: u64, used: u64, per_minute: u32, now: Timestamp) {
        self.fill(per_minute, now);
        self.level = (self.level + taken as f64 - used as f64).min(f64::from(per_minute));
    }

    pub fn left(&self, limit: u32) -> Left {
        let missing = (f64::from(limit) - self.level).max(0.0);
        let reset = Duration::try_from_secs_f64(missing * 60.0 / f64::from(limit.max(1))).unwrap_or_default();
        // A level below zero is a debt, and nothing remains.
        Left { limit, remaining: self.level.max(0.0) as u32, reset }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_bucket_empties_fills_evenly_and_keeps_the_average() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let mut bucket = Bucket::full(60, start);
        for _ in 0..60 {
            assert_eq!(bucket.take(1, 60, start), Ok(()));
        }
        assert_eq!(bucket.take(1, 60, start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(1, 60, after(1)), Ok(()));
        assert_eq!(bucket.take(30, 60, after(1)), Err(Duration::from_secs(30)));
        // A single large one passes a full bucket, and the next waits for it.
        assert_eq!(bucket.take(120, 60, after(61)), Ok(()));
        assert_eq!(bucket.left(60), Left { limit: 60, remaining: 0, reset: Duration::from_secs(120) });
        assert_eq!(bucket.take(1, 60, after(121)), Err(Duration::from_secs(1)));
        // What was not used comes back, and never more than the bucket holds.
        bucket.correct(120, 20, 60, after(121));
        assert_eq!(bucket.left(60).remaining, 60);
        // A clock that steps back fills nothing.
        assert_eq!(bucket.take(60, 60, start), Ok(()));
        assert!(bucket.take(1, 60, start).is_err());
    }
}
