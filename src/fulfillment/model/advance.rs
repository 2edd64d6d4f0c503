//! The one step that brings our row closer to what Microsoft says. Every signal (webhook, landing, portal, timer)
//! ends here, and none of them carries facts: what was read from Microsoft just now decides. So signals may come in
//! any order, late, doubled or not at all, and the row ends the same.

use jiff::{SignedDuration, Timestamp};

use super::event::{Actor, Cause, Event, EventKind};
use super::facts::{Facts, Plan, Status};
use super::operation::{Action, Decision, Operation, Outcome, RemoteOperation, RemoteStatus, decide, pause};
use super::subscription::{Subscription, Wish};
use crate::foundation::ids::SubscriptionId;

/// What was read: the row with its open operations, and Microsoft's view of each.
#[derive(Debug)]
pub struct Seen {
    pub id: SubscriptionId,
    pub row: Option<Subscription>,
    /// None: Microsoft does not know the subscription.
    pub facts: Option<Facts>,
    pub operations: Vec<(Operation, RemoteOperation)>,
    /// The plans known for this customer; needed only for operations that are not decided yet.
    pub plans: Vec<Plan>,
    /// How the operation of the row's change ended, when it is not among the open ones any more.
    pub settled_change: Option<Outcome>,
}

/// What is to be stored, and done after that.
#[derive(Debug, Default)]
pub struct Step {
    pub row: Option<Subscription>,
    pub events: Vec<Event>,
    pub operations: Vec<Operation>,
    /// Call Activate; the try is counted in the row already.
    pub activate: bool,
    /// Look again at this time.
    pub look_again: Option<Timestamp>,
}

/// An activation that was not accepted is tried again after this; an accepted one that does not show, after this.
const RETRY_ACTIVATION: SignedDuration = SignedDuration::from_secs(30);
const REPEAT_ACTIVATION: SignedDuration = SignedDuration::from_mins(30);
/// A wish whose call was cut off is given up after this, if Microsoft shows no trace of it.
const LOST_CHANGE: SignedDuration = SignedDuration::from_mins(10);

pub fn advance(seen: Seen, cause: &Cause, now: Timestamp) -> Step {
    let mut step = Step::default();
    let mut row = match (seen.row, &seen.facts) {
        (Some(row), _) => row,
        (None, Some(facts)) => discovered(seen.id, facts, cause, now, &mut step.events),
        (None, None) => {
            look_at_operations(seen.operations, None, now, &mut step);
            return step;
        }
    };
    match seen.facts {
        Some(facts) => {
            let because = seen.operations.first().map_or_else(|| cause.clone(), |(operation, _)| operation.cause());
            adopt(&mut row, facts, &because, now, &mut step.events);
            row.checked = now;
        }
        None => forgotten(&mut row, &seen.operations, now, &mut step.events),
    }
    let mut operations = seen.operations;
    announce(&mut row, &operations, &mut step.events);
    decide_open(&mut row, &mut operations, &seen.plans, now, &mut step.events);
    look_at_operations(operations, Some(&row.facts), now, &mut step);
    for operation in step.operations.iter().filter(|operation| operation.settled.is_some()) {
        if let Some((outcome, _)) = operation.settled {
            let kind = EventKind::Settled { action: operation.action.clone(), operation: operation.id, outcome };
            step.events.push(row.log(now, Actor::Marketplace, operation.cause(), kind));
        }
    }
    end_change(&mut row, seen.settled_change, cause, now, &mut step);
    advance_activation(&mut row, now, &mut step);
    row.next_check = step.look_again;
    step.row = Some(row);
    step
}

fn discovered(
    id: SubscriptionId,
    facts: &Facts,
    cause: &Cause,
    now: Timestamp,
    events: &mut Vec<Event>,
) -> Subscription {
    let mut row = Subscription::new(id, facts.clone(), now);
    let kind = EventKind::Discovered { status: facts.status, plan: facts.plan_id.clone() };
    events.push(row.log(now, Actor::Marketplace, cause.clone(), kind));
    row
}

/// Takes over what Microsoft says, and notes each difference.
fn adopt(row: &mut Subscription, mut facts: Facts, cause: &Cause, now: Timestamp, events: &mut Vec<Event>) {
    let old = row.facts.clone();
    if old.status == Status::Unsubscribed && facts.status != Status::Unsubscribed {
        // Unsubscribed is final (contract 3.5), so the answer is old or wrong. Said once, not at every look.
        if row.contradiction == Some(facts.status) {
            return;
        }
        row.contradiction = Some(facts.status);
        let detail =
            format!("Microsoft answered {} for a subscription that is Unsubscribed; it stays so.", facts.status);
        events.push(row.log(now, Actor::Marketplace, cause.clone(), EventKind::Contradiction { detail }));
        return;
    }
    if old.plan_id != facts.plan_id || old.is_free_trial != facts.is_free_trial {
        row.plan_since = Some(now);
    }
    if facts.status == Status::Unsubscribed {
        row.ended = row.ended.or(Some(now));
        // Seats and dates vanish from Microsoft's answer then; the last known ones stay for the record.
        facts.quantity = facts.quantity.or(old.quantity);
        if facts.term.start.is_none() {
            facts.term = old.term.clone();
        }
    }
    let mut note = |kind| events.push(row.log(now, Actor::Marketplace, cause.clone(), kind));
    if old.status != facts.status {
        note(EventKind::StatusChanged { from: old.status, to: facts.status });
    }
    if old.plan_id != facts.plan_id {
        note(EventKind::PlanChanged { from: old.plan_id.clone(), to: facts.plan_id.clone() });
    }
    if old.quantity != facts.quantity {
        note(EventKind::QuantityChanged { from: old.quantity, to: facts.quantity });
    }
    if old.term.start != facts.term.start && old.term.start.is_some() && facts.status == Status::Subscribed {
        note(EventKind::Renewed { start: facts.term.start, end: facts.term.end });
    }
    for (field, from, to) in [
        ("name", old.name.clone(), facts.name.clone()),
        ("autoRenew", old.auto_renew.to_string(), facts.auto_renew.to_string()),
        ("isFreeTrial", old.is_free_trial.to_string(), facts.is_free_trial.to_string()),
    ] {
        if from != to {
            note(EventKind::Edited { field: field.to_owned(), from, to });
        }
    }
    row.facts = facts;
}

/// Microsoft does not know the subscription any more. Only an operation that says Unsubscribe makes that an end;
/// otherwise it is more likely a fault of the moment.
fn forgotten(
    row: &mut Subscription,
    operations: &[(Operation, RemoteOperation)],
    now: Timestamp,
    events: &mut Vec<Event>,
) {
    let gone = |remote: &RemoteOperation| {
        matches!(
            remote,
            RemoteOperation::NotFound | RemoteOperation::Found { status: Some(RemoteStatus::Succeeded), .. }
        )
    };
    let ended = operations.iter().find(|(operation, remote)| operation.action == Action::Unsubscribe && gone(remote));
    let Some((operation, _)) = ended else { return };
    if row.facts.status != Status::Unsubscribed {
        let kind = EventKind::StatusChanged { from: row.facts.status, to: Status::Unsubscribed };
        row.facts.status = Status::Unsubscribed;
        row.ended = row.ended.or(Some(now));
        events.push(row.log(now, Actor::Marketplace, operation.cause(), kind));
    }
}

/// Notes the arrival of webhooks that are looked at for the first time.
fn announce(row: &mut Subscription, operations: &[(Operation, RemoteOperation)], events: &mut Vec<Event>) {
    for (operation, _) in operations.iter().filter(|(operation, _)| operation.looks == 0 && operation.body.is_some()) {
        let kind = EventKind::WebhookReceived { action: operation.action.clone(), operation: operation.id };
        events.push(row.log(operation.received, Actor::Marketplace, operation.cause(), kind));
    }
}

/// Decides changes that no webhook has made us decide: their webhook was lost, or our answer to it was.
fn decide_open(
    row: &mut Subscription,
    operations: &mut [(Operation, RemoteOperation)],
    plans: &[Plan],
    now: Timestamp,
    events: &mut Vec<Event>,
) {
    for (operation, remote) in operations.iter_mut().filter(|(operation, _)| operation.is_undecided()) {
        operation.complete(remote);
        let (accept, reason) = decide(operation, remote, Some(&row.facts), plans);
        operation.decision = Some(Decision { accept, reason: reason.to_owned(), at: now });
        let kind = EventKind::Decided {
            action: operation.action.clone(),
            operation: operation.id,
            accept,
            reason: reason.to_owned(),
        };
        events.push(row.log(now, Actor::System, operation.cause(), kind));
    }
}

fn look_at_operations(
    operations: Vec<(Operation, RemoteOperation)>,
    facts: Option<&Facts>,
    now: Timestamp,
    step: &mut Step,
) {
    for (mut operation, remote) in operations {
        operation.look(&remote, facts, now);
        if operation.settled.is_none() {
            sooner(&mut step.look_again, now + pause(operation.looks - 1));
        }
        step.operations.push(operation);
    }
}

fn sooner(at: &mut Option<Timestamp>, candidate: Timestamp) {
    *at = Some(at.map_or(candidate, |known| known.min(candidate)));
}

/// Clears a wish that has come to its end.
fn end_change(row: &mut Subscription, settled_before: Option<Outcome>, cause: &Cause, now: Timestamp, step: &mut Step) {
    let Some(change) = &row.change else { return };
    let settled = change.operation.and_then(|id| step.operations.iter().find(|operation| operation.id == id)?.settled);
    let shows = match &change.wish {
        Wish::Plan { plan } => row.facts.plan_id == *plan,
        Wish::Quantity { quantity } => row.facts.quantity == Some(*quantity),
        Wish::Cancel => row.facts.status == Status::Unsubscribed,
    };
    let lost = now.duration_since(change.requested) > LOST_CHANGE
        && (change.operation.is_none() || row.facts.status == Status::Unsubscribed);
    let outcome = match settled.map(|(outcome, _)| outcome).or(settled_before) {
        Some(outcome) => outcome,
        None if shows => Outcome::Succeeded,
        None if lost => Outcome::GivenUp,
        None => {
            sooner(&mut step.look_again, now + pause(4));
            return;
        }
    };
    let wish = change.wish.clone();
    row.change = None;
    step.events.push(row.log(now, Actor::Marketplace, cause.clone(), EventKind::ChangeEnded { wish, outcome }));
}

/// Decides whether Activate is (still) to be called.
fn advance_activation(row: &mut Subscription, now: Timestamp, step: &mut Step) {
    let pending = row.facts.status.is_pending();
    let Some(activation) = &mut row.activation else { return };
    if !pending {
        row.activation = None;
        return;
    }
    let wait = if activation.accepted { REPEAT_ACTIVATION } else { RETRY_ACTIVATION };
    let due = activation.tried.map_or(now, |tried| tried + wait);
    if due <= now {
        activation.tried = Some(now);
        activation.tries += 1;
        activation.accepted = false;
        step.activate = true;
    }
    // Soon at first, then ever more calmly: the longer it has taken, the longer it may take.
    let waited = now.duration_since(activation.tried.unwrap_or(now)) / 2;
    let calm = waited.clamp(SignedDuration::from_secs(2), SignedDuration::from_mins(2));
    sooner(&mut step.look_again, now + calm);
}
