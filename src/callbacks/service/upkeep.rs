//! What timers do: pick up what came to a stop, and remove what has ended.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;

use super::{Message, send};
use crate::app::App;
use crate::callbacks::model::delivery::State;
use crate::callbacks::repo::{self, Open};
use crate::foundation::problem::Problem;

/// What is overdue by so long has lost its message. Longer than a try is held, and than a row takes to be written.
const OVERDUE: SignedDuration = SignedDuration::from_mins(4);
/// Lines that are looked at together.
const AT_ONCE: usize = 16;
/// How far back the first run looks for ends.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(48);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Sends a message for everything that nobody has gone on with; gives how many those were.
pub async fn revive(app: &App) -> Result<usize, Problem> {
    let lines = repo::overdue(app, app.clock.now() - OVERDUE).await?;
    // Collected first, so that nothing borrowed is held over the waits.
    let looks: Vec<_> = lines.into_iter().map(|line| look(app, line)).collect();
    let sent: Vec<bool> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(sent.into_iter().filter(|sent| *sent).count())
}

/// `true`: it was open and goes on.
async fn look(app: &App, line: Open) -> Result<bool, Problem> {
    if is_open(app, &line).await? {
        send(app, Message::from(line), SignedDuration::ZERO).await;
        return Ok(true);
    }
    repo::close(app, &line).await?;
    Ok(false)
}

/// Whether a line still has its row. One whose row says something else has been followed by another line.
async fn is_open(app: &App, line: &Open) -> Result<bool, Problem> {
    Ok(match (&line.endpoint, &line.event) {
        (None, Some(event)) => repo::event(app, &line.owner, event).await?.is_some_and(|(event, _)| !event.fanned_out),
        (Some(endpoint), Some(event)) => repo::delivery(app, endpoint, event)
            .await?
            .is_some_and(|(delivery, _)| delivery.state == State::Waiting && delivery.due == line.due),
        (Some(endpoint), None) => repo::endpoint(app, &line.owner, endpoint)
            .await?
            .and_then(|(endpoint, _)| endpoint.recovery)
            .is_some_and(|recovery| recovery.due == line.due),
        (None, None) => false,
    })
}

/// Removes events whose end has come. Goes on where the last run stopped, so a downtime leaves nothing behind.
pub async fn expire(app: &App) -> Result<usize, Problem> {
    let now = app.clock.now();
    let (mut at, mut removed) = (repo::ends_looked_at(app).await?.unwrap_or(now - FIRST_LOOK), 0);
    loop {
        for (owner, id, line) in repo::ended(app, at).await? {
            // The line stands under the hour after the end, so it is over now.
            repo::forget_event(app, &owner, &id).await?;
            repo::end_done(app, at, line).await?;
            removed += 1;
        }
        // The current hour is looked at again: lines may still be added to it.
        if at + HOUR > now {
            return Ok(removed);
        }
        at += HOUR;
        repo::look_at_ends(app, at).await?;
    }
}
