//! What a timer does: picks up what came to a stop.

use jiff::SignedDuration;

use super::{ARRIVALS, ArrivalMessage, FORWARDS, ForwardMessage, follow, send};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::leads::model::forward::State;
use crate::leads::repo::{self, Open};

/// What is overdue by so long has lost its message. Longer than a try is held, and than a row takes to be written.
const OVERDUE: SignedDuration = SignedDuration::from_mins(6);

/// Sends a message for everything that nobody has gone on with; gives how many those were.
pub async fn revive(app: &App) -> Result<usize, Problem> {
    let before = app.clock.now() - OVERDUE;
    let mut revived = 0;
    for arrival in repo::open_arrivals(app, before).await? {
        send(app, ARRIVALS, &ArrivalMessage { arrival }, SignedDuration::ZERO).await;
        revived += 1;
    }
    let mut failed = None;
    for line in repo::overdue(app, before).await? {
        match look(app, &line).await {
            Ok(goes_on) => revived += usize::from(goes_on),
            // The others need not wait for it.
            Err(problem) => {
                tracing::warn!(lead = %line.lead, problem = problem.code, "a lead that came to a stop does not go on");
                failed = Some(problem);
            }
        }
    }
    failed.map_or(Ok(revived), Err)
}

/// `true`: it was open and goes on.
async fn look(app: &App, line: &Open) -> Result<bool, Problem> {
    let record = repo::lead(app, &line.lead).await?.map(|(record, _)| record);
    let (Some(record), Some(destination)) = (&record, &line.destination) else {
        // A change whose consequences nobody drew, or that never was written.
        if let Some(record) = &record {
            follow(app, record).await?;
        }
        repo::close(app, line).await?;
        return Ok(record.is_some());
    };
    let forward = repo::forward(app, &line.lead, destination).await?.map(|(forward, _)| forward);
    let goes_on = forward.is_some_and(|forward| match forward.state {
        // One whose row says something else has been followed by another line.
        State::Waiting => forward.due == line.due,
        State::Sent => forward.sent_revision < record.lead.revision,
        State::NeedsAttention | State::GivenUp => false,
    });
    if goes_on && record.is_forwarded() {
        let message = ForwardMessage { lead: line.lead.clone(), destination: destination.clone() };
        send(app, FORWARDS, &message, SignedDuration::ZERO).await;
        return Ok(true);
    }
    repo::close(app, line).await?;
    Ok(false)
}
