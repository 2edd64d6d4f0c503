//! Numbers and ids that follow from others: the same arguments give the same result in every run, so that a history
//! can be computed at any of its days without the days before.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use uuid::Uuid;

/// One number of several (splitmix64).
pub fn mix(parts: &[u64]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

pub fn id(parts: &[u64]) -> Uuid {
    let high = mix(parts);
    let low = mix(&[high, 1]);
    let bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A number of a text.
pub fn number(text: &str) -> u64 {
    mix(&text.bytes().map(u64::from).collect::<Vec<_>>())
}

/// Both halves of an id.
pub fn halves(id: Uuid) -> [u64; 2] {
    let (high, low) = id.as_u64_pair();
    [high, low]
}

/// A number for a day.
pub fn day(day: Date) -> u64 {
    u64::from(day.year().unsigned_abs()) * 400 + u64::from(day.day_of_year().unsigned_abs())
}

pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Midnight UTC at the beginning of a day.
pub fn midnight(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).unwrap_or_default()
}

/// So many months later, the last day of a month staying one where it must.
pub fn months_after(day: Date, months: i64) -> Date {
    Span::new().try_months(months).and_then(|span| day.checked_add(span)).unwrap_or(day)
}

pub fn days_after(day: Date, days: i64) -> Date {
    Span::new().try_days(days).and_then(|span| day.checked_add(span)).unwrap_or(day)
}
