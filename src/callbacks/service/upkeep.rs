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

/// Removes events whose end has come.
pub async fn expire(app: &App) -> Result<usize, Problem> {
    let mut walk = repo::ENDS.walk(&*app.rows, app.clock.now()).await?;
    let mut removed = 0;
    while let Some(lines) = walk.hour().await? {
        for line in lines {
            let Some((owner, id)) = repo::ended(&line) else { continue };
            repo::forget_event(app, &owner, &id).await?;
            walk.done(line).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
