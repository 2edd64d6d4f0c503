//! Streams on their way through: what the customer gets of each event, and what it tells about usage (AI services
//! contract 1.6, 1.10 and 6.1).

mod chat;
mod responses;

pub use chat::ChatStream;
pub use responses::ResponseStream;

use super::used::Used;

/// What becomes of one event of the service.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Goes on to the customer, in this form.
    Forward(String),
    /// Is not for the customer.
    Nothing,
    /// The service has sent everything; this is the last piece for the customer.
    Done(String),
    /// The service breaks off with an error.
    Broken(String),
}

/// A stream of either kind.
#[derive(Debug, Clone)]
pub enum Reading {
    Chat(ChatStream),
    Responses(ResponseStream),
}

impl Reading {
    /// Takes in one event.
    pub fn take(&mut self, data: &str) -> Step {
        match self {
            Self::Chat(stream) => stream.take(data),
            Self::Responses(stream) => stream.take(data),
        }
    }

    /// What the service said that it used.
    pub fn used(&self) -> Option<&Used> {
        match self {
            Self::Chat(stream) => stream.used.as_ref(),
            Self::Responses(stream) => stream.used.as_ref(),
        }
    }

    /// What tells the customer a usage that the service did not tell.
    pub fn usage_chunk(&self, used: &Used) -> Option<String> {
        match self {
            Self::Chat(stream) => stream.usage_chunk(used),
            Self::Responses(_) => None,
        }
    }

    /// Pieces of the answer so far: the last resort when no usage comes.
    pub fn pieces(&self) -> u64 {
        match self {
            Self::Chat(stream) => stream.pieces,
            Self::Responses(stream) => stream.pieces,
        }
    }
}

/// An event without a name.
pub fn data(text: &str) -> String {
    format!("data: {text}\n\n")
}
