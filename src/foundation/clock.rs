//! Time as an argument. Nothing else in the house may ask the machine for the time of day (`clippy.toml` bans it),
//! so a deadline, a month end or a token's expiry can be tested at any date.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Answers "what time is it", in UTC.
pub trait Clock: Send + Sync + Debug {
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved. Used by tests and by the simulator.
#[derive(Debug)]
pub struct VirtualClock {
    microseconds: AtomicI64,
}

impl VirtualClock {
    pub fn at(start: Timestamp) -> Self {
        Self { microseconds: AtomicI64::new(start.as_microsecond()) }
    }

    /// Moves the clock; a negative duration moves it back, as a corrected machine clock would.
    pub fn advance(&self, by: SignedDuration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(0);
        self.microseconds.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.microseconds.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}
