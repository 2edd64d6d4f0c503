//! What of an application needs a person.

use jiff::Timestamp;
use serde::Serialize;

use super::application::{GIVEN_UP, Instance, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Its last deployment or deletion failed.
    Failed,
    /// Azure knows nothing of it.
    Missing,
    /// Azure does not let us read it.
    Denied,
    /// Something is under way for longer than Microsoft tries to tell of its end.
    Silent,
    /// Azure told us what no notification did, and none will come any more.
    Lost,
    /// Its plan has no dimensions in the catalogue, so its usage waits.
    UnmeteredPlan,
}

/// What an instance itself needs; what Azure and the catalogue say of it is not known here.
pub fn of(instance: &Instance, now: Timestamp) -> Vec<Attention> {
    let over = |since: Timestamp| now.duration_since(since) > GIVEN_UP;
    let mut found = Vec::new();
    if instance.state != State::Deleted && instance.error.is_some() || instance.state == State::Failed {
        found.push(Attention::Failed);
    }
    if instance.state.is_passing() && over(instance.changed) {
        found.push(Attention::Silent);
    }
    // Of what is over, nobody has to do anything.
    if instance.deleted.is_none() && instance.unheard.iter().any(|(read, _)| over(*read)) {
        found.push(Attention::Lost);
    }
    found
}
