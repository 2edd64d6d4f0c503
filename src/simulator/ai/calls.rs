//! The truth about AI calls: what was really produced and how it ended, whatever the caller was told of it.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::batches::Batches;
use super::vision_read::Reading;
use crate::simulator::{Simulator, lock};

/// Prompts are cached in steps of so many tokens.
const CACHE_STEP: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AiKind {
    Chat,
    Embedding,
    /// An answer of the Responses API.
    Response,
    /// Audio to text, at Azure OpenAI or at Azure Speech.
    Transcription,
    /// Audio to text in another language, at either.
    Translation,
    /// Text to audio, at either.
    Speech,
    Image,
    /// A look at a picture, reading included.
    Vision,
}

/// A call that a model worked on. Calls that were refused at the door, or struck by a fault before a model saw them,
/// are none. Of a batch job every input that succeeded is one, from when the job is first seen to have succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AiCall {
    /// From 1, in order of arrival.
    pub number: u64,
    /// The deployment: in the v1 family what the body calls the model. Azure Speech and Vision have none; there it is
    /// the service: `speech-fast`, `speech-short`, `speech-synthesis`, `speech-batch`, `speech-batch-synthesis`,
    /// `vision-4.0`, `vision-3.2`, `vision-read`.
    pub deployment: String,
    pub kind: AiKind,
    pub streamed: bool,
    pub prompt_tokens: u64,
    /// Part of `prompt_tokens`.
    pub cached_tokens: u64,
    /// What was really produced, also when nobody read it to its end. Reasoning is a part of it.
    pub completion_tokens: u64,
    /// The length of the audio that was heard or made. Of short audio it is what was taken of it.
    pub audio_ms: u64,
    /// Billable characters of text that was spoken: code points, and at Azure Speech some count twice.
    pub characters: u64,
    /// Looks at pictures: one for each feature, or for each page that was read.
    pub transactions: u64,
    /// Pictures that were made.
    pub images: u64,
    /// The whole answer was produced and, if streamed, handed over up to its end.
    pub finished: bool,
    /// A fault broke the answer off.
    pub cut: bool,
    /// The caller hung up before the end.
    pub client_gone: bool,
    /// The prompt was blocked by the content filter: looked at, and nothing produced.
    pub blocked: bool,
    /// Base clock.
    pub at: Timestamp,
}

/// All calls, and the prompts that were seen.
#[derive(Debug, Default)]
pub struct Books {
    calls: Vec<AiCall>,
    seen: HashSet<[u8; 32]>,
    tokens: u64,
    /// Readings of pictures, by their id.
    pub(super) readings: HashMap<Uuid, Reading>,
    pub(super) batches: Batches,
}

impl Books {
    /// How much of a prompt is in the cache; from now on it is there.
    fn cached(&mut self, deployment: &str, prompt: &Value, tokens: u64) -> u64 {
        let key: [u8; 32] = Sha256::digest(format!("{deployment}\n{prompt}")).into();
        let known = !self.seen.insert(key);
        if known { tokens / CACHE_STEP * CACHE_STEP } else { 0 }
    }
}

impl Simulator {
    /// Every AI call that a model worked on, in order of arrival.
    pub fn ai_calls(&self) -> Vec<AiCall> {
        lock(&self.0.ai).calls.clone()
    }

    /// How many calls there were, and how many tokens they brought.
    pub(super) fn ai_totals(&self) -> (u64, u64) {
        let books = lock(&self.0.ai);
        (books.calls.len() as u64, books.tokens)
    }
}

/// A call that is being worked on. Whoever drops it before it came to an end has lost its caller.
pub struct Running {
    simulator: Simulator,
    index: usize,
    over: bool,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub at: Timestamp,
}

impl Running {
    /// Books the call. A chat's prompt is looked up in the cache.
    pub fn begin(
        simulator: &Simulator,
        deployment: &str,
        kind: AiKind,
        streamed: bool,
        prompt: &Value,
        prompt_tokens: u64,
    ) -> Self {
        let at = simulator.base_now();
        let mut books = lock(&simulator.0.ai);
        let cached_tokens = match kind {
            AiKind::Chat | AiKind::Response => books.cached(deployment, prompt, prompt_tokens),
            _ => 0,
        };
        let index = books.calls.len();
        books.tokens = books.tokens.saturating_add(prompt_tokens);
        books.calls.push(AiCall {
            number: index as u64 + 1,
            deployment: deployment.to_owned(),
            kind,
            streamed,
            prompt_tokens,
            cached_tokens,
            completion_tokens: 0,
            audio_ms: 0,
            characters: 0,
            transactions: 0,
            images: 0,
            finished: false,
            cut: false,
            client_gone: false,
            blocked: false,
            at,
        });
        Self { simulator: simulator.clone(), index, over: false, prompt_tokens, cached_tokens, at }
    }

    /// Books a call whose work is not counted in tokens.
    pub fn without_tokens(simulator: &Simulator, deployment: &str, kind: AiKind) -> Self {
        Self::begin(simulator, deployment, kind, false, &Value::Null, 0)
    }

    pub fn number(&self) -> u64 {
        self.index as u64 + 1
    }

    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Writes down what was produced.
    pub fn book(&self, change: impl FnOnce(&mut AiCall)) {
        if let Some(call) = lock(&self.simulator.0.ai).calls.get_mut(self.index) {
            change(call);
        }
    }

    pub fn produced(&self, tokens: u64) {
        self.book(|call| call.completion_tokens += tokens);
    }

    pub fn finished(&mut self) {
        self.over = true;
        self.book(|call| call.finished = true);
    }

    pub fn broken(&mut self) {
        self.over = true;
        self.book(|call| call.cut = true);
    }

    pub fn blocked(&mut self) {
        self.over = true;
        self.book(|call| call.blocked = true);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.book(|call| call.client_gone = true);
        }
    }
}
