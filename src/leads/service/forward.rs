//! From a lead to the destinations: in order, one try at a time for each, until it is taken or given up.

use jiff::SignedDuration;

use super::{FORWARDS, ForwardMessage, ROUNDS, existing, send};
use crate::app::App;
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::leads::destinations::{Configured, DeliveryError, Receipt};
use crate::leads::model::forward::{Forward, HELD, LONGEST_TRY, State, Turn};
use crate::leads::model::record::{Actor, Entry, Record, What};
use crate::leads::repo::{self, Open, entry};
use crate::store::{Etag, StoreError};

/// A message that comes so little before its time is sent again; any other was overtaken.
const NEARLY: SignedDuration = SignedDuration::from_secs(60);

async fn go(app: &App, forward: &Forward) {
    let message = ForwardMessage { lead: forward.lead.clone(), destination: forward.destination.clone() };
    send(app, FORWARDS, &message, forward.due.duration_since(app.clock.now())).await;
}

/// Has a destination told of a lead, if it does not know the newest revision. May be repeated.
pub async fn wake(app: &App, record: &Record, destination: &str) -> Result<(), Problem> {
    let (lead, now) = (&record.lead, app.clock.now());
    for _ in 0..ROUNDS {
        let (forward, saved) = match repo::forward(app, &lead.id, destination).await? {
            None => {
                let forward = Forward::new(&lead.id, destination, now);
                repo::open(app, &Open::forward(&forward)).await?;
                let saved = repo::create_forward(app, &forward).await;
                (forward, saved)
            }
            Some((mut forward, etag)) if forward.state == State::Sent && forward.sent_revision < lead.revision => {
                forward.again(now);
                repo::open(app, &Open::forward(&forward)).await?;
                let saved = repo::save_forward(app, &forward, etag).await.map(drop);
                (forward, saved)
            }
            // A refusal is somebody's to look at; but whoever has the person has to hear this, once for each revision.
            Some((mut forward, etag)) if lead.do_not_contact && forward.is_ignorant_of(lead.revision) => {
                forward.again(now);
                repo::open(app, &Open::forward(&forward)).await?;
                let saved = repo::save_forward(app, &forward, etag).await.map(drop);
                (forward, saved)
            }
            // On its way already: the next try takes the lead as it is then. Its line may have gone while the lead was
            // somebody's duplicate, and its message with a process.
            Some((forward, _)) if forward.turn(now) == Turn::Mine => {
                repo::open(app, &Open::forward(&forward)).await?;
                (forward, Ok(()))
            }
            Some(_) => return Ok(()),
        };
        match saved {
            Ok(()) => {
                go(app, &forward).await;
                return Ok(());
            }
            // Somebody else did the same; a line of ours that is too many is removed by the timer.
            Err(StoreError::AlreadyExists | StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Precondition.into())
}

/// One try, if its time has come and nobody else is at it.
pub async fn attempt(app: &App, id: &LeadId, destination: &str) -> Result<(), Problem> {
    let Some((forward, etag)) = repo::forward(app, id, destination).await? else { return Ok(()) };
    let Some((record, _)) = repo::lead(app, id).await? else { return Ok(()) };
    match forward.turn(app.clock.now()) {
        Turn::Mine => {}
        Turn::Held => return Ok(()),
        Turn::Early(left) => {
            if left < NEARLY {
                go(app, &forward).await;
            }
            return Ok(());
        }
        Turn::Over => {
            if forward.state == State::Sent && record.is_forwarded() {
                wake(app, &record, destination).await?;
            }
            return Ok(repo::close(app, &Open::forward(&forward)).await?);
        }
    }
    if !record.is_forwarded() {
        // It waits until somebody says that it is no duplicate.
        return Ok(repo::close(app, &Open::forward(&forward)).await?);
    }
    match app.destinations.taking(&record.lead.offer).find(|configured| configured.name == destination) {
        Some(configured) => try_it(app, configured, forward, etag).await,
        None => {
            let (line, mut forward) = (Open::forward(&forward), forward);
            forward.give_up("The destination takes no leads of this offer any more.", app.clock.now());
            settle(app, &line, &forward, etag).await
        }
    }
}

async fn try_it(app: &App, configured: &Configured, mut forward: Forward, etag: Etag) -> Result<(), Problem> {
    let line = Open::forward(&forward);
    forward.held = Some(app.clock.now() + HELD);
    let etag = match repo::save_forward(app, &forward, etag).await {
        Ok(etag) => etag,
        // Another message came at the same time.
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // As it is now that nobody else is at it: so no older revision follows a newer one.
    let (record, _) = existing(app, &forward.lead).await?;
    if !record.is_forwarded() {
        return let_go(app, &line, forward, etag).await;
    }
    let left = forward.held.map_or(SignedDuration::ZERO, |held| held.duration_since(app.clock.now()));
    let outcome = if left > HELD / 2 {
        deliver(configured, &record, forward.receipt.as_ref()).await
    } else {
        Err(DeliveryError::Later { said: "Our store was too slow to begin.".to_owned(), after: None })
    };
    forward.tell(outcome, record.lead.revision, byte(app), app.clock.now());
    settle(app, &line, &forward, etag).await
}

/// Somebody said just now that it goes to nobody: it waits until that is taken back, as in [`attempt`].
async fn let_go(app: &App, line: &Open, mut forward: Forward, etag: Etag) -> Result<(), Problem> {
    forward.held = None;
    match repo::save_forward(app, &forward, etag).await {
        Ok(_) => {}
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    repo::close(app, line).await?;
    // Whoever took it back meanwhile saw that somebody was at it, and left the rest to us.
    let (record, _) = existing(app, &forward.lead).await?;
    if record.is_forwarded() {
        wake(app, &record, &forward.destination).await?;
    }
    Ok(())
}

async fn deliver(configured: &Configured, record: &Record, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
    let work = configured.destination.deliver(&record.lead, before);
    tokio::time::timeout(LONGEST_TRY, work).await.unwrap_or_else(|_| {
        let said = format!("It did not answer within {} s.", LONGEST_TRY.as_secs());
        Err(DeliveryError::Later { said, after: None })
    })
}

fn byte(app: &App) -> u8 {
    let mut byte = [0];
    app.random.fill(&mut byte);
    byte[0]
}

/// Writes down what came of a try, and sees to what follows. `line`: by which it was open.
async fn settle(app: &App, line: &Open, forward: &Forward, etag: Etag) -> Result<(), Problem> {
    let waits = forward.state == State::Waiting;
    if waits {
        repo::open(app, &Open::forward(forward)).await?;
    }
    match repo::save_forward(app, forward, etag).await {
        Ok(_) => {}
        // It took longer than a try may; whoever took over writes what holds.
        Err(StoreError::Precondition) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let destination = forward.destination.clone();
    match forward.state {
        State::Waiting => go(app, forward).await,
        State::Sent => {
            tell(app, forward, What::Forwarded { destination, revision: forward.sent_revision }).await?;
            // Whoever changed the lead meanwhile saw that somebody was at it, and left the rest to us.
            let (record, _) = existing(app, &forward.lead).await?;
            if record.is_forwarded() {
                wake(app, &record, &forward.destination).await?;
            }
        }
        State::NeedsAttention => {
            tracing::warn!(lead = %forward.lead, destination, "a destination refuses a lead; somebody has to look at it");
            tell(app, forward, What::NeedsAttention { destination }).await?;
        }
        State::GivenUp => {
            tracing::warn!(lead = %forward.lead, destination, "a lead was not taken by a destination and is given up");
            tell(app, forward, What::GivenUp { destination }).await?;
        }
    }
    if !waits || line.due != forward.due {
        repo::close(app, line).await?;
    }
    Ok(())
}

async fn tell(app: &App, forward: &Forward, what: What) -> Result<(), Problem> {
    Ok(repo::note(app, &forward.lead, &entry(app.clock.now(), what)).await?)
}

/// Sends a lead once more, as somebody asks for it: also what was refused, given up, or never due.
pub async fn resend(app: &App, id: &LeadId, destination: &str, actor: &Actor) -> Result<(), Problem> {
    let (record, _) = existing(app, id).await?;
    if !record.is_forwarded() {
        return Err(Problem::conflict("not_forwarded", "This lead is not forwarded.")
            .remedy("Tests, duplicates and leads of people who are not to be contacted stay here."));
    }
    if !app.destinations.taking(&record.lead.offer).any(|configured| configured.name == destination) {
        return Err(Problem::new(
            http::StatusCode::NOT_FOUND,
            "destination_not_found",
            "There is no such destination.",
        ));
    }
    let now = app.clock.now();
    let forward = match repo::forward(app, id, destination).await? {
        None => {
            let forward = Forward::new(id, destination, now);
            repo::open(app, &Open::forward(&forward)).await?;
            repo::create_forward(app, &forward).await?;
            forward
        }
        Some((forward, _)) if forward.is_held(now) => {
            return Err(Problem::conflict("being_sent", "The lead is being sent just now.").remedy("Try again."));
        }
        Some((mut forward, etag)) => {
            forward.again(now);
            repo::open(app, &Open::forward(&forward)).await?;
            repo::save_forward(app, &forward, etag).await?;
            forward
        }
    };
    let resend = What::Resend { destination: destination.to_owned() };
    repo::note(app, id, &Entry { at: now, actor: Some(actor.clone()), what: resend }).await?;
    go(app, &forward).await;
    Ok(())
}
