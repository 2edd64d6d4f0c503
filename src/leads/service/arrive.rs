//! A lead arrives: it is kept before anything else, whatever it is. What it means is looked at later, by its message.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::{ARRIVALS, ArrivalMessage, send};
use crate::app::App;
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::foundation::recent::Recent;
use crate::leads::model::address::{Address, LeadAddress};
use crate::leads::model::arrival::{Arrival, Channel, REPLAY, Raw, State, https_id};
use crate::leads::repo;
use crate::store::StoreError;

/// Arrivals at one address in one second, of one instance. Microsoft sends a few in a day; a flood is somebody else's.
const MOST_IN_A_SECOND: u32 = 1_200;
/// The message waits for the row that is written beside it; where that takes longer, the timer finds the row.
pub(super) const AFTER_ROW: SignedDuration = SignedDuration::from_secs(1);

/// What an instance remembers between arrivals.
#[derive(Debug, Default)]
pub struct Memory {
    /// How many arrivals each address had in its last second.
    counts: Mutex<HashMap<String, (i64, u32)>>,
    /// Addresses read a moment ago, by the hash of the key.
    pub(super) addresses: Recent<String, Address>,
}

impl Memory {
    /// Counts an arrival; `false`: there are too many.
    fn admits(&self, offer: &str, now: Timestamp) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(offer.to_owned()).or_default();
        if count.0 != now.as_second() {
            *count = (now.as_second(), 0);
        }
        count.1 += 1;
        count.1 <= MOST_IN_A_SECOND
    }
}

/// Our trouble is never the sender's mistake: whatever it is, it is to come again.
pub fn ours(error: StoreError) -> Problem {
    Problem::unavailable("store_unavailable", "Our store does not answer at the moment.").caused_by(error)
}

/// Keeps what came to an address; when this returns, nothing can be lost any more. The same body again within ten minutes
/// is the same arrival.
pub async fn receive(app: &App, address: &LeadAddress, body: &[u8]) -> Result<LeadId, Problem> {
    let now = app.clock.now();
    if !app.leads.admits(&address.offer, now) {
        let title = format!("More than {MOST_IN_A_SECOND} leads came to this address within a second.");
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_leads", title);
        problem.retry_after = Some(Duration::from_secs(1));
        return Err(problem);
    }
    let before = https_id(&address.offer, body, now, 1);
    if let Some((known, _)) = repo::arrival(app, &before).await.map_err(ours)?
        && now.duration_since(known.kept) < REPLAY
    {
        return Ok(before);
    }
    let arrival = Arrival {
        id: https_id(&address.offer, body, now, 0),
        channel: Channel::Https,
        offer: address.offer.clone(),
        offer_title: address.title.clone(),
        received: now,
        kept: now,
        state: State::Pending,
        lead: None,
        raw: Raw::of(body),
    };
    // Together, so that they share a commit.
    let started = Instant::now();
    let message = ArrivalMessage { arrival: arrival.id.clone() };
    let (kept, ()) = tokio::join!(repo::keep_arrival(app, &arrival), send(app, ARRIVALS, &message, AFTER_ROW));
    kept.map_err(ours)?;
    if started.elapsed() > AFTER_ROW.unsigned_abs() / 2 {
        // The message may have been there before the row.
        send(app, ARRIVALS, &message, AFTER_ROW).await;
    }
    Ok(arrival.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_taken_and_a_flood_is_not() {
        let (memory, now) = (Memory::default(), Timestamp::UNIX_EPOCH);
        assert!((0..MOST_IN_A_SECOND).all(|_| memory.admits("a", now)));
        assert!(!memory.admits("a", now) && memory.admits("b", now));
        assert!(memory.admits("a", now + SignedDuration::from_secs(1)));
    }
}
