//! What a call used, by the kinds of units in which AI services count, and where the numbers come from (AI services
//! contract 8.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A kind of unit. The names are those of the deployments file, and the ends of the ids of usage records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Tokens of the prompt that were not cached.
    Input,
    /// Cached ones.
    CachedInput,
    /// Tokens of the answer, reasoning among them.
    Output,
    /// Milliseconds of audio that were listened to.
    AudioMs,
    /// Characters that were spoken.
    Characters,
    /// Images times features.
    Transactions,
    /// Images that were made.
    Images,
}

impl Part {
    pub const ALL: [Self; 7] = [
        Self::Input,
        Self::CachedInput,
        Self::Output,
        Self::AudioMs,
        Self::Characters,
        Self::Transactions,
        Self::Images,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::Output => "output",
            Self::AudioMs => "audio_ms",
            Self::Characters => "characters",
            Self::Transactions => "transactions",
            Self::Images => "images",
        }
    }

    /// As a person reads it behind a number.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Input => "input tokens",
            Self::CachedInput => "cached input tokens",
            Self::Output => "output tokens",
            Self::AudioMs => "ms of audio",
            Self::Characters => "characters",
            Self::Transactions => "image features",
            Self::Images => "images",
        }
    }
}

/// Where numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The service's own word.
    Upstream,
    /// Counted by us in what was sent: characters, images, the length of audio.
    Measured,
    /// Guessed, because the service said nothing.
    Estimated,
}

/// So many of each kind; kinds of which nothing was used do not appear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used(BTreeMap<Part, u64>);

impl Used {
    pub fn of(part: Part, amount: u64) -> Self {
        Self::default().and(part, amount)
    }

    #[must_use]
    pub fn and(mut self, part: Part, amount: u64) -> Self {
        if amount > 0 {
            *self.0.entry(part).or_default() += amount;
        }
        self
    }

    pub fn get(&self, part: Part) -> u64 {
        self.0.get(&part).copied().unwrap_or(0)
    }

    pub fn parts(&self) -> impl Iterator<Item = (Part, u64)> {
        self.0.iter().map(|(part, amount)| (*part, *amount))
    }

    /// Tokens of all kinds: what limits by the minute count.
    pub fn tokens(&self) -> u64 {
        [Part::Input, Part::CachedInput, Part::Output].into_iter().map(|part| self.get(part)).sum()
    }
}
