//! One arrival: what came, as it came, and what became of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::wire::Reason;
use crate::foundation::hex::hex;
use crate::foundation::ids::LeadId;

/// The largest body, in bytes. Microsoft's have about one kilobyte.
pub const LARGEST: usize = 256 * 1024;
/// The same body at the same address within so long is the same arrival.
pub const REPLAY: SignedDuration = SignedDuration::from_mins(10);
/// Text that would need more than this as JSON is kept as base64, which is never longer than a row may be.
const LONGEST_TEXT: usize = 384 * 1024;

/// By which way it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Https,
    Table,
}

/// Bytes as they came, whatever they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raw {
    Text(String),
    Base64(String),
}

impl Raw {
    pub fn of(bytes: &[u8]) -> Self {
        let escaped = |text: &str| text.chars().map(|c| if c.is_control() { 6 } else { 2 }).sum::<usize>();
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= LONGEST_TEXT / 2 || escaped(text) <= LONGEST_TEXT => Self::Text(text.to_owned()),
            _ => Self::Base64(STANDARD.encode(bytes)),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Pending,
    /// It belongs to a lead.
    Taken,
    /// It can not be read as a lead.
    Quarantined {
        reason: Reason,
    },
}

/// The row of an arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub id: LeadId,
    pub channel: Channel,
    /// The offer whose address it was, and its title; empty where the lead itself has to say so.
    pub offer: String,
    pub offer_title: String,
    /// When it came, by Microsoft's clock where that is told.
    pub received: Timestamp,
    /// When it was written down, by ours.
    pub kept: Timestamp,
    #[serde(flatten)]
    pub state: State,
    /// The lead that it is counted to, written before it is.
    pub lead: Option<LeadId>,
    pub raw: Raw,
}

/// The id of an arrival at an offer's address, `back` spans of [`REPLAY`] before now.
pub fn https_id(offer: &str, body: &[u8], now: Timestamp, back: i64) -> LeadId {
    let span = REPLAY.as_secs();
    let begin = (now.as_second().div_euclid(span) - back) * span;
    let at = Timestamp::from_second(begin).unwrap_or(now);
    LeadId::named(at, &format!("https\n{offer}\n{begin}\n{}", hex(&Sha256::digest(body))))
}

/// The id of a row of Microsoft's table, whenever it is read: its keys are all that does not change.
pub fn table_id(partition: &str, row: &str) -> LeadId {
    LeadId::named(Timestamp::UNIX_EPOCH, &format!("table\n{}\n{partition}\n{row}", partition.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_came_is_kept_to_the_byte_and_fits_a_row() {
        for bytes in [
            b"{}".to_vec(),
            vec![0xff, 0xfe, 0],
            "王芳 🎉".as_bytes().to_vec(),
            vec![0; LARGEST],
            vec![b'"'; LARGEST],
            vec![b'x'; LARGEST],
            vec![0xff; LARGEST],
        ] {
            let raw = Raw::of(&bytes);
            assert_eq!(raw.bytes(), bytes);
            assert!(serde_json::to_string(&raw).unwrap().len() < 450 * 1024);
        }
        assert_eq!(Raw::of(b"{}"), Raw::Text("{}".into()));
    }

    #[test]
    fn ids_tell_offers_bodies_and_times_apart_and_nothing_else() {
        let now = Timestamp::from_second(6_000).unwrap();
        let id = https_id("a", b"x", now, 0);
        assert_eq!(id, https_id("a", b"x", now + SignedDuration::from_secs(599), 0));
        assert_eq!(id, https_id("a", b"x", now + REPLAY, 1));
        assert!(id != https_id("a", b"x", now + REPLAY, 0));
        assert!(id != https_id("b", b"x", now, 0) && id != https_id("a", b"y", now, 0));
        assert!(table_id("a", "bc") != table_id("ab", "c") && table_id("a", "b") == table_id("a", "b"));
    }
}
