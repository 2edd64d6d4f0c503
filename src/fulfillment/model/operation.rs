//! One operation: a change in a subscription's life that Microsoft tells us of or that we asked for. Received →
//! decided (plan and seats only) → settled, each step once (marketplace contract 2 and 3).

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::event::Cause;
use super::facts::{Facts, Plan, Status};
use super::subscription::MOST_SEATS;
use crate::foundation::ids::{OperationId, SubscriptionId};

/// `action` of a webhook or operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Subscribe,
    ChangePlan,
    ChangeQuantity,
    Renew,
    Suspend,
    Reinstate,
    Unsubscribe,
    /// Kept and answered 200: Microsoft may send words that no document names yet.
    Other(String),
}

impl Action {
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "subscribe" => Self::Subscribe,
            "changeplan" => Self::ChangePlan,
            "changequantity" => Self::ChangeQuantity,
            "renew" => Self::Renew,
            "suspend" => Self::Suspend,
            "reinstate" => Self::Reinstate,
            "unsubscribe" => Self::Unsubscribe,
            _ => Self::Other(text.trim().chars().take(60).collect()),
        }
    }

    /// Whether the publisher may refuse it, and has ten seconds to do so.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::ChangePlan | Self::ChangeQuantity)
    }

    /// The status that the subscription should show once the operation has succeeded; None where it keeps its own.
    fn expected(&self) -> Option<Status> {
        match self {
            Self::Subscribe | Self::Reinstate => Some(Status::Subscribed),
            Self::Suspend => Some(Status::Suspended),
            Self::Unsubscribe => Some(Status::Unsubscribed),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            known => fmt::Debug::fmt(known, f),
        }
    }
}

/// `status` of an operation at Microsoft. Documents write `Succeed`, `Success` and `Succeeded` for one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteStatus {
    NotStarted,
    InProgress,
    Succeeded,
    Failed,
    Conflict,
}

impl RemoteStatus {
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "notstarted" => Some(Self::NotStarted),
            "inprogress" => Some(Self::InProgress),
            "succeeded" | "succeed" | "success" => Some(Self::Succeeded),
            "failed" | "failure" => Some(Self::Failed),
            "conflict" => Some(Self::Conflict),
            _ => None,
        }
    }
}

/// What Get Operation said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteOperation {
    Found {
        status: Option<RemoteStatus>,
        action: Action,
        plan: Option<String>,
        quantity: Option<u64>,
    },
    /// 404, or 400 as the real service is seen to answer. New operations may show late, so this proves nothing.
    NotFound,
}

/// How an operation ended, as far as we are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    Failed,
    /// The value was what it was already.
    Conflict,
    /// Microsoft does not know the operation; the subscription itself was read and followed.
    FollowedSubscription,
    /// It stayed open for hours; the subscription itself was read and followed.
    GivenUp,
}

/// Our word on a change of plan or seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub accept: bool,
    pub reason: String,
    pub at: Timestamp,
}

/// Who started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The customer or Microsoft.
    Marketplace,
    /// We did, by API; it must not be acknowledged (contract 1.6: PATCHing it answers 500).
    Partner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: OperationId,
    pub subscription_id: SubscriptionId,
    pub action: Action,
    pub source: Source,
    pub plan: Option<String>,
    pub quantity: Option<u64>,
    pub received: Timestamp,
    /// The webhook's body as it came; absent when the operation was found by asking.
    pub body: Option<String>,
    pub remote: Option<RemoteStatus>,
    pub decision: Option<Decision>,
    /// Microsoft took our word, or there was none to give.
    pub acknowledged: bool,
    /// How often we looked and it was not over.
    pub looks: u32,
    pub settled: Option<(Outcome, Timestamp)>,
}

/// Looks before an operation that never ends is given up: with the pauses of [`pause`], about nine hours, a little
/// longer than Microsoft keeps trying.
const MOST_LOOKS: u32 = 20;
/// Looks at an operation that Microsoft does not know, before the subscription alone is followed.
const MOST_LOOKS_UNKNOWN: u32 = 3;

/// How long to wait before looking again.
pub fn pause(looks: u32) -> SignedDuration {
    const SECONDS: [i64; 10] = [2, 3, 5, 10, 20, 60, 300, 900, 1800, 3600];
    let index = usize::try_from(looks).unwrap_or(usize::MAX).min(SECONDS.len() - 1);
    SignedDuration::from_secs(SECONDS[index])
}

/// What an operation is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub action: Action,
    pub plan: Option<String>,
    pub quantity: Option<u64>,
}

impl Operation {
    /// One that nobody has looked at yet.
    pub fn new(
        id: OperationId,
        subscription_id: SubscriptionId,
        source: Source,
        asked: Asked,
        received: Timestamp,
    ) -> Self {
        let Asked { action, plan, quantity } = asked;
        Self {
            id,
            subscription_id,
            action,
            source,
            plan,
            quantity,
            received,
            body: None,
            remote: None,
            decision: None,
            acknowledged: false,
            looks: 0,
            settled: None,
        }
    }

    /// One look at Microsoft's operation and at the subscription as it is now.
    pub fn look(&mut self, remote: &RemoteOperation, facts: Option<&Facts>, now: Timestamp) {
        let outcome = match remote {
            RemoteOperation::Found { status, .. } => {
                self.remote = status.or(self.remote);
                match self.remote {
                    Some(RemoteStatus::Succeeded) => Some(Outcome::Succeeded),
                    Some(RemoteStatus::Failed) => Some(Outcome::Failed),
                    Some(RemoteStatus::Conflict) => Some(Outcome::Conflict),
                    _ if self.looks >= MOST_LOOKS => Some(Outcome::GivenUp),
                    _ => None,
                }
            }
            RemoteOperation::NotFound => {
                let shown = facts.is_some_and(|facts| self.shows_in(facts));
                (shown || self.looks >= MOST_LOOKS_UNKNOWN).then_some(Outcome::FollowedSubscription)
            }
        };
        self.looks += 1;
        if let Some(outcome) = outcome {
            self.settled = Some((outcome, now));
        }
    }

    /// Whether the subscription shows what the operation was to do.
    fn shows_in(&self, facts: &Facts) -> bool {
        match self.action {
            Action::ChangePlan => self.plan.as_ref() == Some(&facts.plan_id),
            Action::ChangeQuantity => self.quantity.is_some() && self.quantity == facts.quantity,
            Action::Renew | Action::Other(_) => true,
            _ => self.action.expected() == Some(facts.status),
        }
    }

    /// How we learned of it: by its webhook, by asking for it ourselves, or by the comparison.
    pub fn cause(&self) -> Cause {
        match (&self.body, self.source) {
            (Some(_), _) => Cause::Webhook { operation: self.id },
            (None, Source::Partner) => Cause::Portal,
            (None, Source::Marketplace) => Cause::Reconcile,
        }
    }

    /// Fills in what the webhook left out and Microsoft's operation says.
    pub fn complete(&mut self, remote: &RemoteOperation) {
        if let RemoteOperation::Found { plan, quantity, .. } = remote {
            self.plan = self.plan.take().or_else(|| plan.clone());
            self.quantity = self.quantity.or(*quantity);
        }
    }

    /// Whether it waits for our word.
    pub fn is_undecided(&self) -> bool {
        self.settled.is_none()
            && self.decision.is_none()
            && self.source == Source::Marketplace
            && self.action.is_change()
    }

    /// Whether our word must still be sent.
    pub fn owes_acknowledgement(&self) -> Option<bool> {
        let open = self.settled.is_none()
            && !self.acknowledged
            && self.source == Source::Marketplace
            && self.action.is_change();
        self.decision.as_ref().filter(|_| open).map(|decision| decision.accept)
    }
}

/// Accept or reject a change of plan or seats that somebody else asked for. `plans` is empty when they are not known;
/// then Microsoft's own checks have to do.
pub fn decide(
    operation: &Operation,
    remote: &RemoteOperation,
    facts: Option<&Facts>,
    plans: &[Plan],
) -> (bool, &'static str) {
    if operation.source == Source::Partner {
        return (true, "asked for by us");
    }
    if let RemoteOperation::Found { action, plan, quantity, .. } = remote {
        let said = *action != Action::Other(String::new());
        let differs = (said && *action != operation.action)
            || (plan.is_some()
                && operation.plan.is_some()
                && *plan != operation.plan
                && operation.action == Action::ChangePlan)
            || (quantity.is_some()
                && operation.quantity.is_some()
                && *quantity != operation.quantity
                && operation.action == Action::ChangeQuantity);
        if differs {
            return (false, "the webhook does not say what Microsoft's operation says");
        }
    }
    let Some(facts) = facts else { return (true, "nothing known that speaks against it") };
    if operation.action == Action::ChangePlan && operation.plan.as_ref() == Some(&facts.plan_id)
        || operation.action == Action::ChangeQuantity && operation.quantity == facts.quantity
    {
        // After a change that failed Microsoft sends the old value again; refusing it would drive us apart.
        return (true, "takes back an earlier change");
    }
    if facts.status != Status::Subscribed {
        return (false, "the subscription is not active");
    }
    match operation.action {
        Action::ChangePlan if operation.plan.is_none() => (false, "it names no plan"),
        Action::ChangePlan
            if !plans.is_empty() && !plans.iter().any(|plan| Some(&plan.id) == operation.plan.as_ref()) =>
        {
            (false, "the plan is not among those offered to this customer")
        }
        Action::ChangeQuantity => {
            decide_quantity(operation.quantity, plans.iter().find(|plan| plan.id == facts.plan_id))
        }
        _ => (true, "within the rules"),
    }
}

fn decide_quantity(quantity: Option<u64>, plan: Option<&Plan>) -> (bool, &'static str) {
    let Some(quantity) = quantity else { return (false, "it names no number of seats") };
    let least = plan.and_then(|plan| plan.min_quantity).unwrap_or(1);
    let most = plan.and_then(|plan| plan.max_quantity).filter(|most| *most > 0).unwrap_or(MOST_SEATS);
    if (least..=most).contains(&quantity) && quantity > 0 {
        (true, "within the rules")
    } else {
        (false, "the number of seats is outside the plan's limits")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::fulfillment::model::samples::{facts, plan};

    fn now() -> Timestamp {
        "2026-03-02T09:00:00Z".parse().unwrap()
    }

    fn operation(action: Action, plan: Option<&str>, quantity: Option<u64>) -> Operation {
        let (id, subscription) = (OperationId(Uuid::from_u128(1)), SubscriptionId(Uuid::from_u128(2)));
        let asked = Asked { action, plan: plan.map(str::to_owned), quantity };
        Operation::new(id, subscription, Source::Marketplace, asked, now())
    }

    #[test]
    fn changes_are_decided_by_the_rules() {
        let plans = [plan("team", Some(20)), plan("gold", None)];
        let gone = RemoteOperation::NotFound;
        let seats = |quantity| operation(Action::ChangeQuantity, None, quantity);
        let to = |plan| operation(Action::ChangePlan, plan, None);
        let subscribed = facts(Status::Subscribed);
        for (what, operation, facts, accept) in [
            ("an offered plan", to(Some("gold")), &subscribed, true),
            ("a plan that is not offered", to(Some("lead")), &subscribed, false),
            ("no plan at all", to(None), &subscribed, false),
            ("the plan it has already: an earlier change is taken back", to(Some("team")), &subscribed, true),
            ("the same while suspended", to(Some("team")), &facts(Status::Suspended), true),
            ("another plan while suspended", to(Some("gold")), &facts(Status::Suspended), false),
            ("another plan after the end", to(Some("gold")), &facts(Status::Unsubscribed), false),
            ("seats at the lower limit", seats(Some(2)), &subscribed, true),
            ("seats below it", seats(Some(1)), &subscribed, false),
            ("seats at the upper limit", seats(Some(20)), &subscribed, true),
            ("seats above it", seats(Some(21)), &subscribed, false),
            ("no number of seats", seats(None), &subscribed, false),
        ] {
            assert_eq!(decide(&operation, &gone, Some(facts), &plans).0, accept, "{what}");
        }
        assert!(
            decide(&to(Some("any")), &gone, Some(&subscribed), &[]).0,
            "plans not known: Microsoft's own check has to do"
        );
        assert!(decide(&seats(Some(3)), &gone, None, &plans).0, "a subscription not known yet");
        assert!(!decide(&seats(Some(2_000_000)), &gone, Some(&subscribed), &[]).0, "over Microsoft's own limit");
    }

    #[test]
    fn what_microsofts_operation_contradicts_is_rejected() {
        let remote = |action, plan: Option<&str>, quantity| RemoteOperation::Found {
            status: Some(RemoteStatus::InProgress),
            action,
            plan: plan.map(str::to_owned),
            quantity,
        };
        let (facts, change) = (facts(Status::Subscribed), operation(Action::ChangeQuantity, Some("team"), Some(9)));
        assert!(decide(&change, &remote(Action::ChangeQuantity, Some("team"), Some(9)), Some(&facts), &[]).0);
        assert!(
            decide(&change, &remote(Action::ChangeQuantity, None, None), Some(&facts), &[]).0,
            "what is missing contradicts nothing"
        );
        assert!(!decide(&change, &remote(Action::ChangeQuantity, None, Some(99)), Some(&facts), &[]).0);
        assert!(!decide(&change, &remote(Action::ChangePlan, None, Some(9)), Some(&facts), &[]).0);
        let own = Operation { source: Source::Partner, ..change };
        assert!(
            decide(&own, &remote(Action::ChangePlan, None, None), Some(&facts), &[]).0,
            "our own wishes are not judged again"
        );
    }

    #[test]
    fn an_operation_settles_when_microsoft_says_so_or_after_patience() {
        let found = |status| RemoteOperation::Found {
            status: Some(status),
            action: Action::Suspend,
            plan: None,
            quantity: None,
        };
        let outcome = |operation: &Operation| operation.settled.map(|(outcome, _)| outcome);
        for (status, expected) in [
            (RemoteStatus::Succeeded, Some(Outcome::Succeeded)),
            (RemoteStatus::Failed, Some(Outcome::Failed)),
            (RemoteStatus::Conflict, Some(Outcome::Conflict)),
            (RemoteStatus::InProgress, None),
            (RemoteStatus::NotStarted, None),
        ] {
            let mut operation = operation(Action::Suspend, None, None);
            operation.look(&found(status), None, now());
            assert_eq!(outcome(&operation), expected);
        }
        let mut open = operation(Action::Suspend, None, None);
        for _ in 0..=MOST_LOOKS {
            assert_eq!(outcome(&open), None);
            open.look(&found(RemoteStatus::InProgress), None, now());
        }
        assert_eq!(outcome(&open), Some(Outcome::GivenUp));
        let mut unknown = operation(Action::Suspend, None, None);
        unknown.look(&RemoteOperation::NotFound, Some(&facts(Status::Subscribed)), now());
        assert_eq!(outcome(&unknown), None, "it may show later");
        unknown.look(&RemoteOperation::NotFound, Some(&facts(Status::Suspended)), now());
        assert_eq!(outcome(&unknown), Some(Outcome::FollowedSubscription));
    }

    #[test]
    fn the_words_of_all_documents_are_understood() {
        for word in ["Succeeded", "succeed", "Success"] {
            assert_eq!(RemoteStatus::parse(word), Some(RemoteStatus::Succeeded));
        }
        assert_eq!(Action::parse(" changePlan "), Action::ChangePlan);
        assert_eq!(Action::parse("Transfer"), Action::Other("Transfer".into()));
        assert_eq!(facts(Status::Subscribed).offer(), "mediagenie", "purchases from the preview carry a suffix");
    }

    #[test]
    fn twenty_looks_last_a_little_longer_than_microsofts_eight_hours() {
        let total: i64 = (0..MOST_LOOKS).map(|looks| pause(looks).as_secs()).sum();
        assert!((8 * 3600..14 * 3600).contains(&total), "{total} s");
    }
}
