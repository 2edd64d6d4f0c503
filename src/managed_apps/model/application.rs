//! A managed application as it follows from everything that was heard of it, in whatever order it came and however often.
//!
//! What was heard is put into the order in which it happened, and then followed from the beginning; so neither the order of
//! arrival nor repetition can matter. `Deleted` is final for a `resourceUsageId`; the same address may come to life again
//! under another one (marketplace contract 6.4).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::heard::{Event, Failure, Heard, Plan, Reading, SKEW, What};

/// Microsoft gives up a notification after so long (contract 6.4).
pub const GIVEN_UP: SignedDuration = SignedDuration::from_hours(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The managed resource group is there, the deployment has begun.
    Installing,
    Active,
    /// An instance that is there gets another version.
    Updating,
    /// The last deployment failed; what was there before is still there.
    Failed,
    Deleting,
    Deleted,
    /// Only of combinations that nobody named was ever heard.
    Unknown,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Installing => "installing",
            Self::Active => "active",
            Self::Updating => "updating",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
        }
    }

    /// Whether something is under way, of whose end Microsoft will tell.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Installing | Self::Updating | Self::Deleting)
    }
}

/// One life of an address: from its first notification to its deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub state: State,
    /// When the state began.
    pub changed: Timestamp,
    /// Its id in metering.
    pub usage_id: Option<Uuid>,
    /// Plans in the order in which they came into force; a service catalog has none.
    pub plans: Vec<(Timestamp, Plan)>,
    pub definition: Option<String>,
    pub first_heard: Timestamp,
    pub last_heard: Timestamp,
    /// When it was fully provisioned for the first time.
    pub since: Option<Timestamp>,
    /// When its deletion began; None again when that failed.
    pub ending: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    /// Of the last thing that failed.
    pub error: Option<Failure>,
    /// States that Azure told us of and no notification did, with the time at which we asked.
    pub unheard: Vec<(Timestamp, State)>,
}

impl Instance {
    fn new(heard: &Heard) -> Self {
        let at = heard.when();
        Self {
            state: State::Unknown,
            changed: at,
            usage_id: heard.usage_id,
            plans: Vec::new(),
            definition: None,
            first_heard: at,
            last_heard: at,
            since: None,
            ending: None,
            deleted: None,
            error: None,
            unheard: Vec::new(),
        }
    }

    pub fn plan(&self) -> Option<&Plan> {
        self.plans.last().map(|(_, plan)| plan)
    }

    fn enter(&mut self, state: State, at: Timestamp) {
        if self.state != state {
            (self.state, self.changed) = (state, at);
        }
    }

    fn succeed(&mut self, at: Timestamp) {
        self.since.get_or_insert(at);
        (self.ending, self.error) = (None, None);
        self.enter(State::Active, at);
    }

    /// Takes in what is said besides the state.
    fn learn(&mut self, heard: &Heard) {
        let at = heard.when();
        self.last_heard = self.last_heard.max(at);
        self.usage_id = self.usage_id.or(heard.usage_id);
        if heard.definition.is_some() {
            self.definition.clone_from(&heard.definition);
        }
        // A plan counts when it has been provisioned; before that it says what will be.
        let in_force = matches!(
            heard.what,
            What::Notification(Event::PutSucceeded | Event::PatchSucceeded) | What::Reading(Reading::Found { .. })
        );
        if let Some(plan) = &heard.plan
            && (in_force || self.plans.is_empty())
            && self.plan() != Some(plan)
        {
            self.plans.push((at, plan.clone()));
        }
    }

    fn hear(&mut self, event: &Event, heard: &Heard) {
        let at = heard.when();
        match event {
            Event::PutAccepted => {
                self.enter(if self.since.is_some() { State::Updating } else { State::Installing }, at);
            }
            // A patch changes tags and the like, so it says that the instance is there.
            Event::PutSucceeded | Event::PatchSucceeded => self.succeed(at),
            Event::PutFailed => {
                self.error.clone_from(&heard.error);
                self.enter(State::Failed, at);
            }
            Event::DeleteDeleting => {
                self.ending.get_or_insert(at);
                self.enter(State::Deleting, at);
            }
            Event::DeleteDeleted => self.end(at),
            Event::DeleteFailed => {
                self.error.clone_from(&heard.error);
                self.ending = None;
                self.enter(if self.since.is_some() { State::Active } else { State::Failed }, at);
            }
            Event::Other(_) => return,
        }
        // What we had read moments before, by clocks that differ, has now been told.
        let state = self.state;
        self.unheard.retain(|(read, known)| *known != state || *read + SKEW < at);
    }

    fn end(&mut self, at: Timestamp) {
        self.ending.get_or_insert(at);
        self.deleted.get_or_insert(at);
        self.enter(State::Deleted, at);
    }

    /// Takes in what Azure answered; what nobody had told us is noted.
    fn read(&mut self, reading: &Reading, heard: &Heard) {
        let at = heard.when();
        let before = self.state;
        match reading {
            Reading::Gone => self.end(at),
            // Whoever told us that it was deleted: Azure has it.
            Reading::Found { .. } if self.deleted.is_some() => {
                self.deleted = None;
                self.succeed(at);
            }
            Reading::Found { state } => match told(state, self.since.is_some()) {
                Some(State::Active) => self.succeed(at),
                Some(State::Failed) if self.error.is_some() && self.state == State::Active => {}
                Some(State::Deleting) => {
                    self.ending.get_or_insert(at);
                    self.enter(State::Deleting, at);
                }
                Some(state) => self.enter(state, at),
                None => {}
            },
        }
        if self.state != before {
            self.unheard.push((at, self.state));
        }
    }

    /// Whether Azure's answer says the same as what is known.
    pub fn agrees(&self, state: &str) -> bool {
        match told(state, self.since.is_some()) {
            None => true,
            // A deletion that failed leaves a resource whose provisioning has "failed".
            Some(State::Failed) if self.state == State::Active && self.error.is_some() => true,
            Some(told) => told == self.state,
        }
    }

    /// Whether Azure is still at the deletion of which it told the end already.
    pub fn is_leaving(&self, state: &str) -> bool {
        self.deleted.is_some() && matches!(told(state, true), Some(State::Deleting | State::Deleted))
    }
}

/// Azure's `provisioningState` of the resource; words that say nothing about where it is going are None.
fn told(state: &str, installed: bool) -> Option<State> {
    let begun = if installed { State::Updating } else { State::Installing };
    match state.to_ascii_lowercase().as_str() {
        "succeeded" | "ready" => Some(State::Active),
        "failed" | "canceled" => Some(State::Failed),
        "deleting" => Some(State::Deleting),
        "deleted" => Some(State::Deleted),
        "accepted" | "creating" | "created" | "running" | "updating" => Some(begun),
        _ => None,
    }
}

/// What became of one thing that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Applied,
    /// It is about an instance that was over by then.
    Late,
    /// Nobody named this combination.
    Unknown,
}

/// What follows from everything that was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// The last one is the present one.
    pub instances: Vec<Instance>,
    /// In the order in which it happened: the place in what was given, and its effect.
    pub lines: Vec<(usize, Effect)>,
}

impl Story {
    pub fn of(all: &[Heard]) -> Self {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|index| all[*index].order());
        let mut story = Self::default();
        for index in order {
            let effect = story.follow(&all[index]);
            story.lines.push((index, effect));
        }
        story
    }

    fn follow(&mut self, heard: &Heard) -> Effect {
        if let What::Notification(Event::Other(_)) = heard.what {
            if self.instances.is_empty() {
                self.instances.push(Instance::new(heard));
            }
            return Effect::Unknown;
        }
        let found = matches!(&heard.what, What::Reading(Reading::Found { .. }));
        let over = |instance: &Instance| instance.deleted.is_some() && instance.usage_id == heard.usage_id;
        let (last, before) = match self.instances.split_last() {
            Some((last, before)) => (Some(last), before),
            None => (None, &[][..]),
        };
        // Deleted is final, whatever is told; only Azure itself can say that it was not so.
        let late = before.iter().any(over) || last.is_some_and(over) && !found;
        if heard.usage_id.is_some() && late {
            return Effect::Late;
        }
        let begins = match (self.instances.last(), heard.usage_id) {
            (None, _) => true,
            (Some(last), Some(_)) if over(last) => false,
            (Some(last), id) if last.deleted.is_some() => {
                // Only what brings something into the world begins another life.
                let creates = match &heard.what {
                    What::Notification(event) => {
                        matches!(event, Event::PutAccepted | Event::PutSucceeded | Event::PutFailed)
                    }
                    // What has no usage id tells lives apart by their deletion only.
                    What::Reading(reading) => {
                        matches!(reading, Reading::Found { .. }) && (id.is_some() || last.usage_id.is_none())
                    }
                };
                if !creates {
                    return Effect::Late;
                }
                true
            }
            (Some(last), Some(id)) if last.usage_id.is_some_and(|known| known != id) => {
                // The address belongs to somebody else now, so the one before is gone, whoever told us.
                if let Some(last) = self.instances.last_mut() {
                    last.end(heard.when());
                    last.unheard.push((heard.when(), State::Deleted));
                }
                true
            }
            _ => false,
        };
        if begins {
            self.instances.push(Instance::new(heard));
        }
        if let Some(instance) = self.instances.last_mut() {
            instance.learn(heard);
            match &heard.what {
                What::Notification(event) => instance.hear(event, heard),
                What::Reading(reading) => instance.read(reading, heard),
            }
        }
        Effect::Applied
    }

    pub fn present(&self) -> Option<&Instance> {
        self.instances.last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_772_442_000 + minute * 60).unwrap()
    }

    fn heard(event: Event, minute: i64, life: u128) -> Heard {
        Heard {
            application: "/subscriptions/x".into(),
            shown: String::new(),
            what: What::Notification(event.clone()),
            at: at(minute),
            received: at(10_000),
            usage_id: (life > 0 && event != Event::PutAccepted).then(|| Uuid::from_u128(life)),
            plan: Some(Plan { name: format!("plan{life}"), ..Plan::default() }),
            definition: None,
            error: matches!(event, Event::PutFailed | Event::DeleteFailed).then(Failure::default),
            body: String::new(),
        }
    }

    fn read(state: Option<&str>, minute: i64, life: u128) -> Heard {
        let reading = state.map_or(Reading::Gone, |state| Reading::Found { state: state.into() });
        let mut row = heard(Event::PutSucceeded, minute, life);
        (row.what, row.received) = (What::Reading(reading), row.at);
        row
    }

    fn present(all: &[Heard]) -> Instance {
        Story::of(all).present().unwrap().clone()
    }

    /// A whole life, and the beginning of another one at the same address.
    fn life() -> Vec<Heard> {
        vec![
            heard(Event::PutAccepted, 0, 1),
            heard(Event::PutFailed, 3, 1),
            heard(Event::PutAccepted, 10, 1),
            heard(Event::PutSucceeded, 15, 1),
            heard(Event::PatchSucceeded, 20, 1),
            heard(Event::DeleteDeleting, 30, 1),
            heard(Event::DeleteFailed, 31, 1),
            heard(Event::DeleteDeleting, 40, 1),
            heard(Event::DeleteDeleted, 44, 1),
            heard(Event::PutAccepted, 50, 2),
            heard(Event::PutSucceeded, 55, 2),
        ]
    }

    #[test]
    fn a_life_goes_through_its_states() {
        let all = life();
        let states: Vec<State> = (1..=all.len()).map(|count| present(&all[..count]).state).collect();
        use State::{Active, Deleted, Deleting, Failed, Installing};
        assert_eq!(
            states,
            [Installing, Failed, Installing, Active, Active, Deleting, Active, Deleting, Deleted, Installing, Active]
        );
        let story = Story::of(&all);
        assert_eq!(story.instances.len(), 2);
        assert_eq!((story.instances[0].since, story.instances[0].ending), (Some(at(15)), Some(at(40))));
        assert_eq!(story.instances[1].plan().unwrap().name, "plan2");
    }

    #[test]
    fn deleted_is_final_for_a_usage_id_and_what_comes_after_is_late() {
        let mut all = life();
        all.truncate(9);
        all.push(heard(Event::PutSucceeded, 60, 1));
        all.push(heard(Event::PatchSucceeded, 61, 0));
        let story = Story::of(&all);
        assert_eq!(story.present().unwrap().state, State::Deleted);
        assert_eq!(story.lines[9..].iter().map(|line| line.1).collect::<Vec<_>>(), [Effect::Late, Effect::Late]);
    }

    #[test]
    fn an_address_that_another_usage_id_took_over_is_gone_though_nobody_said_so() {
        let all = [heard(Event::PutSucceeded, 0, 1), heard(Event::PutSucceeded, 90, 2)];
        let story = Story::of(&all);
        assert_eq!(story.instances[0].deleted, Some(at(90)));
        assert_eq!(story.instances[0].unheard, [(at(90), State::Deleted)]);
    }

    #[test]
    fn a_time_in_the_future_does_not_stand_above_everything_that_comes_later() {
        let mut early = heard(Event::DeleteDeleting, 1_000_000, 1);
        early.received = at(20);
        let all = [heard(Event::PutSucceeded, 0, 1), early, heard(Event::DeleteFailed, 30, 1)];
        assert_eq!(present(&all).state, State::Active);
    }

    #[test]
    fn what_azure_says_and_nobody_told_is_noted_until_it_is_told_after_all() {
        let accepted = heard(Event::PutAccepted, 0, 1);
        let found = read(Some("Succeeded"), 60, 1);
        let silent = present(&[accepted.clone(), found.clone()]);
        assert_eq!((silent.state, silent.since), (State::Active, Some(at(60))));
        assert_eq!(silent.unheard, [(at(60), State::Active)]);
        let told = present(&[accepted.clone(), found.clone(), heard(Event::PutSucceeded, 20, 1)]);
        assert_eq!((told.since, told.unheard.len()), (Some(at(20)), 0));
        // By a clock that goes a little ahead of ours.
        let ahead = present(&[accepted, found, heard(Event::PutSucceeded, 61, 1)]);
        assert!(ahead.unheard.is_empty());
        let gone = present(&[heard(Event::PutSucceeded, 0, 1), read(None, 90, 0)]);
        assert_eq!((gone.state, gone.deleted), (State::Deleted, Some(at(90))));
    }

    #[test]
    fn a_deletion_that_azure_knows_nothing_of_did_not_happen() {
        let mut all = vec![heard(Event::PutSucceeded, 0, 1), heard(Event::DeleteDeleted, 10, 1)];
        all.push(read(Some("Succeeded"), 15, 1));
        let alive = present(&all);
        assert_eq!((alive.state, alive.ending, alive.since), (State::Active, None, Some(at(0))));
        all.push(heard(Event::DeleteDeleted, 30, 1));
        assert_eq!((present(&all).state, Story::of(&all).instances.len()), (State::Deleted, 1));
    }

    #[test]
    fn a_failed_deletion_and_a_failed_provisioning_agree() {
        let all =
            [heard(Event::PutSucceeded, 0, 1), heard(Event::DeleteDeleting, 5, 1), heard(Event::DeleteFailed, 6, 1)];
        let instance = present(&all);
        assert!(instance.agrees("Failed") && instance.agrees("Succeeded") && !instance.agrees("Deleting"));
        assert_eq!(present(&[&all[..], &[read(Some("Failed"), 9, 1)]].concat()).state, State::Active);
    }

    /// Anything at all, at times that often coincide; each thing once, as the store keeps it.
    fn anything() -> impl Strategy<Value = Vec<Heard>> {
        let one = (0..9usize, 0..30i64, 0..3u128).prop_map(|(what, minute, life)| {
            use Event::*;
            let events =
                [PutAccepted, PutSucceeded, PutFailed, PatchSucceeded, DeleteDeleting, DeleteDeleted, DeleteFailed];
            match events.into_iter().nth(what) {
                Some(event) => heard(event, minute, life),
                None if what == 7 => read(Some("Succeeded"), minute, life),
                None => read(None, minute, 0),
            }
        });
        prop::collection::vec(one, 0..40).prop_map(|all| {
            let mut known = std::collections::HashSet::new();
            all.into_iter().filter(|heard| known.insert(heard.key())).collect()
        })
    }

    proptest! {
        #[test]
        fn every_order_of_the_same_ends_in_the_same_state(
            (all, shuffled) in anything().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            prop_assert_eq!(Story::of(&shuffled).instances, Story::of(&all).instances);
        }

        #[test]
        fn what_was_heard_twice_changes_nothing(all in anything(), again in any::<Index>()) {
            prop_assume!(!all.is_empty());
            let mut doubled = all.clone();
            doubled.push(again.get(&all).clone());
            prop_assert_eq!(Story::of(&doubled).instances, Story::of(&all).instances);
        }

        #[test]
        fn a_whole_life_in_any_order_ends_as_it_did(shuffled in Just(life()).prop_shuffle()) {
            prop_assert_eq!(Story::of(&shuffled).instances, Story::of(&life()).instances);
        }
    }

    #[test]
    fn what_azure_still_deletes_after_it_told_the_end_has_not_come_to_life_again() {
        let all = [heard(Event::PutSucceeded, 1, 1), heard(Event::DeleteDeleted, 2, 1)];
        let story = Story::of(&all);
        let over = story.present().unwrap();
        assert!(over.is_leaving("Deleting") && !over.is_leaving("Succeeded"));
    }
}
