//! A media job and its items: what they are, and how they go on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ai::batches::Transcription;
use crate::foundation::ids::{FileId, JobId, SubscriptionId};

pub const MOST_ITEMS: usize = 10_000;
/// Tries of an item before it counts as failed.
pub const TRIES: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Transcription,
    Speech,
    ImageAnalysis,
}

impl Kind {
    /// Items worked on at the same time: files of audio are large.
    pub fn parallel(self) -> usize {
        match self {
            Self::Transcription => 2,
            Self::Speech => 4,
            Self::ImageAnalysis => 8,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Running,
    /// Somebody wants it to end; the next turn ends it.
    Cancelling,
    Succeeded,
    /// Some items failed.
    PartiallySucceeded,
    Failed,
    Cancelled,
}

impl State {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Cancelling)
    }
}

/// What an item is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    File(FileId),
    Url(String),
    Text(String),
}

/// Why an item, or a whole job, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `invalid_input`, `upstream_rejected`, `upstream_unavailable`, or a code of the AI API.
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    Waiting,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub number: u32,
    pub input: Input,
    pub state: ItemState,
    pub tries: u32,
    pub reason: Option<Reason>,
    /// The file of its own result.
    pub file: Option<FileId>,
    /// A small result, which goes into the job's own file.
    pub value: Option<Value>,
    /// Not to be tried, or asked about, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Timestamp>,
    /// A service works on it without us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// At list price, whatever is included.
    #[serde(default, with = "rust_decimal::serde::str_option", skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// Of the row that it was read from: what is written of it later is written over that one only.
    #[serde(skip)]
    pub version: Option<String>,
}

/// A recording in the hands of batch transcription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub since: Timestamp,
    /// Of the recording.
    pub name: String,
    pub duration_ms: u64,
    pub source: FileId,
    /// How often it has been handed over, and failed there.
    pub failed: u32,
    /// None: it is about to be handed over, or was by somebody who died.
    pub under: Option<Transcription>,
}

impl Item {
    pub fn new(number: u32, input: Input) -> Self {
        Self {
            number,
            input,
            state: ItemState::Waiting,
            tries: 0,
            reason: None,
            file: None,
            value: None,
            again: None,
            batch: None,
            price: None,
            version: None,
        }
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == ItemState::Waiting && self.again.is_none_or(|again| again <= now)
    }

    pub fn shown(&self) -> Value {
        let input = match &self.input {
            Input::File(id) => json!({ "file_id": id }),
            Input::Url(url) => json!({ "url": url }),
            Input::Text(text) => json!({ "characters": text.chars().count() }),
        };
        let status = match (self.state, self.tries) {
            (ItemState::Waiting, 1..) => json!("running"),
            (state, _) => json!(state),
        };
        json!({
            "number": self.number, "status": status, "input": input, "file_id": self.file, "error": self.reason,
            "tries": self.tries, "handed_over": self.batch.is_some(), "cost": self.price.map(shown_price),
        })
    }
}

/// Whose turn it is, until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub holder: String,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub subscription: SubscriptionId,
    /// Prefix of the key that submitted it: its budget pays.
    pub key: String,
    pub kind: Kind,
    pub model: String,
    /// As they were sent: format, language, voice, features.
    pub options: BTreeMap<String, String>,
    pub state: State,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub items: u32,
    pub succeeded: u32,
    pub failed: u32,
    /// All items below this one are settled and counted.
    pub next: u32,
    pub turn: Option<Turn>,
    /// When somebody should look after it if nobody holds the turn.
    pub due: Timestamp,
    pub reason: Option<Reason>,
    /// The job's own result, over all items.
    pub result: Option<FileId>,
    pub metadata: BTreeMap<String, String>,
    /// Of what was delivered, at list price, whatever is included; in `currency`.
    #[serde(default, with = "rust_decimal::serde::str")]
    pub price: Decimal,
    #[serde(default)]
    pub currency: String,
    /// How often in a row its message was given up without anything being done.
    #[serde(default)]
    pub setbacks: u32,
    /// When the last of them was counted.
    #[serde(default)]
    pub set_back: Option<Timestamp>,
    /// Hash of the idempotency key that it was submitted with.
    #[serde(default)]
    pub request: Option<String>,
}

fn shown_price(price: Decimal) -> String {
    price.round_dp(9).normalize().to_string()
}

impl Job {
    /// Takes the turn, if nobody has it.
    pub fn take_turn(&mut self, holder: &str, until: Timestamp, now: Timestamp) -> bool {
        if self.state.is_over() || self.turn.as_ref().is_some_and(|turn| turn.until > now && turn.holder != holder) {
            return false;
        }
        self.turn = Some(Turn { holder: holder.to_owned(), until });
        if self.state == State::Queued {
            self.state = State::Running;
        }
        self.started.get_or_insert(now);
        true
    }

    /// Counts a slice of settled items, which begins at `next`.
    pub fn count(&mut self, items: &[Item]) {
        for item in items {
            if item.number != self.next || item.state == ItemState::Waiting {
                return;
            }
            self.next += 1;
            self.add(item);
        }
    }

    /// Counts all settled items anew: those behind the first open one, too, when the job ends before its last.
    pub fn count_anew(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| item.state != ItemState::Waiting) {
            self.add(item);
        }
    }

    fn add(&mut self, item: &Item) {
        match item.state {
            ItemState::Succeeded => self.succeeded += 1,
            _ => self.failed += 1,
        }
        self.price += item.price.unwrap_or_default();
    }

    /// The name of an item's records in the ledger.
    pub fn call(&self, item: &Item) -> String {
        format!("{}:{:06}", self.id, item.number)
    }

    /// The options as the fields of OpenAI's form.
    pub fn fields(&self) -> Vec<(String, String)> {
        // A list is a field for each of its members.
        let each = |name: &str, value: &str| {
            let values = if name.ends_with("[]") { value.split(',').collect() } else { vec![value] };
            values.into_iter().map(|value| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        self.options.iter().flat_map(|(name, value)| each(name, value)).collect()
    }

    /// Of speech.
    pub fn format(&self) -> &str {
        self.options.get("response_format").map_or("mp3", String::as_str)
    }

    /// Begins again with what is not done; what was delivered stays so.
    pub fn resubmit(&mut self, now: Timestamp) {
        (self.state, self.finished, self.reason, self.turn) = (State::Queued, None, None, None);
        (self.next, self.succeeded, self.failed, self.setbacks) = (0, 0, 0, 0);
        (self.price, self.due) = (Decimal::ZERO, now);
    }

    pub fn is_worked_off(&self) -> bool {
        self.next >= self.items
    }

    /// How it ends when all its items are settled, or when it was cancelled.
    pub fn end(&mut self, now: Timestamp) {
        self.state = match self.state {
            State::Cancelling => State::Cancelled,
            _ if self.succeeded == 0 => State::Failed,
            _ if self.failed > 0 => State::PartiallySucceeded,
            _ => State::Succeeded,
        };
        (self.finished, self.turn) = (Some(now), None);
    }

    /// As the API shows it. Percent is of items: nothing is guessed within one.
    pub fn shown(&self) -> Value {
        let settled = self.succeeded + self.failed;
        let percent = if self.items == 0 { 0 } else { u64::from(settled) * 100 / u64::from(self.items) };
        json!({
            "id": self.id, "object": "media.job", "kind": self.kind, "model": self.model, "status": self.state,
            "created_at": self.created.as_second(), "started_at": self.started.map(Timestamp::as_second),
            "finished_at": self.finished.map(Timestamp::as_second),
            "progress": { "percent": percent, "items_succeeded": self.succeeded, "items_failed": self.failed, "items_total": self.items },
            "cost": { "amount": shown_price(self.price), "currency": self.currency },
            "options": self.options, "result_file_id": self.result, "error": self.reason, "metadata": self.metadata,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::rng::SeededRandom;

    fn job(items: u32) -> Job {
        let now = Timestamp::UNIX_EPOCH;
        Job {
            id: JobId::new(now, &SeededRandom::new(1)),
            subscription: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            key: "k".into(),
            kind: Kind::Speech,
            model: "speech".into(),
            options: BTreeMap::new(),
            state: State::Queued,
            created: now,
            started: None,
            finished: None,
            items,
            succeeded: 0,
            failed: 0,
            next: 0,
            turn: None,
            due: now,
            reason: None,
            result: None,
            metadata: BTreeMap::new(),
            price: Decimal::ZERO,
            currency: String::new(),
            setbacks: 0,
            set_back: None,
            request: None,
        }
    }

    fn item(number: u32, state: ItemState) -> Item {
        Item { state, ..Item::new(number, Input::Text("x".into())) }
    }

    #[test]
    fn only_one_has_the_turn_and_a_dead_one_loses_it() {
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let mut job = job(1);
        assert!(job.take_turn("a", later, now) && job.state == State::Running);
        assert!(!job.take_turn("b", later, now));
        assert!(job.take_turn("b", later, later), "the time of the first one is over");
        job.end(later);
        assert!(!job.take_turn("a", later, later), "an end is final");
    }

    #[test]
    fn items_count_once_in_order_and_decide_the_end() {
        let mut job = job(3);
        let slice = [item(0, ItemState::Succeeded), item(1, ItemState::Waiting), item(2, ItemState::Succeeded)];
        job.count(&slice);
        job.count(&slice);
        assert_eq!((job.next, job.succeeded, job.is_worked_off()), (1, 1, false));
        job.count(&[item(1, ItemState::Failed), item(2, ItemState::Succeeded)]);
        assert_eq!((job.next, job.succeeded, job.failed, job.is_worked_off()), (3, 2, 1, true));
        job.end(Timestamp::UNIX_EPOCH);
        assert_eq!(job.state, State::PartiallySucceeded);
        let mut cancelled = super::tests::job(3);
        cancelled.state = State::Cancelling;
        cancelled.end(Timestamp::UNIX_EPOCH);
        assert_eq!(cancelled.state, State::Cancelled);
    }
}
